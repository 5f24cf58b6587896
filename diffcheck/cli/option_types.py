"""The click type of each kind of option."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from diffcheck.config import option_table
from diffcheck.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    _SizeBase = click.ParamType[int]
    _TextBase = click.ParamType[str]
    _TimeBase = click.ParamType[float]
else:
    _SizeBase = _TextBase = _TimeBase = click.ParamType  # generic only in newer versions of click


class _Size(_SizeBase):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - click's
        try:
            return option_table.parse_size(str(value))
        except ConfigError as error:
            self.fail(error.line, param, ctx)


class _Checked(_TextBase):
    """A text that ``check`` accepts; it is parsed again where it is used."""

    def __init__(self, name: str, check: Callable[[str], object]) -> None:
        self.name, self._check = name, check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 - click's
        try:
            self._check(str(value))
        except ConfigError as error:
            self.fail(error.line, param, ctx)
        return str(value).strip()


_DIGITS: Final = re.compile(r"[+-]?[0-9]*\.?[0-9]*(?:e[+-]?[0-9]+)?\Z|[+-]?(?:inf|nan)\Z", re.IGNORECASE)
"""What Python reads as a number without underscores and digits of other scripts."""


class Number(click.FloatRange):
    """A number from ``least`` to ``most``; ``name`` is its unit."""

    def __init__(self, least: float, most: float, unit: str) -> None:
        super().__init__(min=least, max=most)
        self.name = unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - click's
        """The number."""
        if not _DIGITS.match(str(value).strip(" ")):
            self.fail(f"{value!r} is not a valid float.", param, ctx)
        number = float(click.FLOAT.convert(value, param, ctx))
        if not self.min <= number <= self.max:  # type: ignore[operator] # both are given; a NaN is not either
            self.fail(f"{value} is not between {self.min:g} and {self.max:,.0f} {self.name}", param, ctx)
        return number

    def _describe_range(self) -> str:
        return ""  # --help stays narrow


_TIME: Final = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>s|m|min|h|)\Z")
_TIME_UNITS: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


class Time(_TimeBase):
    """A time limit in seconds, written as 90, 10m or 2h."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - click's
        """The seconds."""
        if isinstance(value, float):
            return value
        match = _TIME.match(str(value).strip())
        seconds = float(match["number"]) * _TIME_UNITS[match["unit"]] if match else 0.0
        if not 0 < seconds <= 7 * 86_400:
            self.fail(f"{value!r} is not a time; write seconds, or 10m, or 2h", param, ctx)
        return seconds


class Count(click.IntRange):
    """An integer from ``min`` to ``max``, which are both given."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - click's
        """The integer."""
        if not _DIGITS.match(str(value).strip(" ")):
            self.fail(f"{value!r} is not a valid integer.", param, ctx)
        number = int(click.INT.convert(value, param, ctx))
        if not self.min <= number <= self.max:  # type: ignore[operator] # both are given
            self.fail(f"{value} is not between {self.min:,} and {self.max:,}", param, ctx)
        return number

    def _describe_range(self) -> str:
        return ""  # as above


SEED: Final = Count(0, (1 << 63) - 1)
"""The seed of random numbers."""


def type_of(option: option_table.Option) -> Any:  # noqa: ANN401 - what click takes
    """The click type of an option's values."""
    return {
        "text": click.STRING,
        "path": click.STRING,
        "choice": click.Choice(option.choices),
        "count": Count(1, 4096),
        "number": Count(0, 4096),
        "seconds": Number(0.001, 86_400, "seconds"),
        "size": _Size(),
        "flag": click.BOOL,
        "shard": _Checked("shard", option_table.parse_shard),
        "executor": _Checked("executor", option_table.parse_executor),
        "causes": _Checked("causes", option_table.parse_causes),
    }[option.kind]
