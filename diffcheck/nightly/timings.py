"""How long each case took in an earlier run, from its stored report."""

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
        """What it took, or where it came from the cache, what it had taken when it was run."""
        if "subject" not in self.cached:
            return self.elapsed_ns
        return sum(side.cost.elapsed_ns for each in self.passes for side in (each.oracle, each.subject) if side)


class _Report(msgspec.Struct, frozen=True):
    """A report as far as it says times; so that it can be read in a fraction of the time and memory."""

    cases: tuple[_Case, ...]


def read(path: Path) -> dict[str, int]:
    """Nanoseconds by case; raises ``ReportError`` where the file is not a report."""
    name = visible(str(path))
    try:
        report = msgspec.json.decode(read_regular(str(path), _CAP_BYTES, name, ReportError), type=_Report)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ReportError(f"{name} says no times: {visible(str(error))}", hint="give the report.json of an earlier run") from error
    return {each.case: each.took_ns() for each in report.cases}
