"""The times of cases in an earlier run, from its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.config.input_files import read_regular
from diffcheck.errors import ReportError
from diffcheck.text import visible

if TYPE_CHECKING:
    from pathlib import Path

_CAP_BYTES: Final = 1 << 30


class _Cost(msgspec.Struct, frozen=True):
    elapsed_ns: int = 0


class _Side(msgspec.Struct, frozen=True):
    cost: _Cost = _Cost()


class _Pass(msgspec.Struct, frozen=True):
    oracle: _Side | None = None
    subject: _Side | None = None


class _Case(msgspec.Struct, frozen=True):
    case: str
    elapsed_ns: int = 0
    cached: tuple[str, ...] = ()
    passes: tuple[_Pass, ...] = ()

    def took_ns(self) -> int:
        """The time of the case; if the subject is cached, that of the original executions."""
        if "subject" not in self.cached:
            return self.elapsed_ns
        return sum(side.cost.elapsed_ns for each in self.passes for side in (each.oracle, each.subject) if side)


class _Report(msgspec.Struct, frozen=True):
    """The times of a report, which can be read in a fraction of the time and memory of the whole."""

    cases: tuple[_Case, ...]


def read(path: Path) -> dict[str, int]:
    """Nanoseconds by case; raises ``ReportError`` if the file is not a report."""
    name = visible(str(path))
    try:
        report = msgspec.json.decode(read_regular(str(path), _CAP_BYTES, name, ReportError), type=_Report)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ReportError(f"{name} has no times: {visible(str(error))}", hint="name the report.json of an earlier run") from error
    return {each.case: each.took_ns() for each in report.cases}
