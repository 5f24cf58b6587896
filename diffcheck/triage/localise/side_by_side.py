"""Where two runs of a case part, by what both observed: witness's trace record by record, the counters around those that differ. Pure."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.observation import RowSeen, sentence
from diffcheck.runner.observation_reader import CaseObservation
from diffcheck.text import plural
from diffcheck.triage.localise.location import Localisation
from diffcheck.values import render
from diffcheck.witness.formats import BranchPlace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_RECORD: Final = struct.Struct("<HBB")
_CONDITION, _ROW_MARKER, _DECISION = range(3)
_AGREEING: Final = 3
_BEHIND: Final = 2
_COUNTERS: Final = 8


class ComparedLine(msgspec.Struct, frozen=True):
    """A line of the two columns: what it is about, what each engine has; ``same`` where both agree."""

    where: str
    oracle: str
    subject: str
    same: bool = False


class Explained(msgspec.Struct, frozen=True):
    """A case's two runs side by side: the instruction, then the row, its trace where it parts, and the counters nearby.

    ``cut`` is whether the subject's counters lack a row that it did not report and all that follows it; ``unread`` says why its observation
    could not be read whole.
    """

    answer: Localisation
    row: str = ""
    ends: tuple[ComparedLine, ...] = ()
    trace: tuple[ComparedLine, ...] = ()
    counters: tuple[ComparedLine, ...] = ()
    cut: bool = False
    unread: str = ""


def explained(
    answer: Localisation,
    oracle: CaseObservation,
    subject: CaseObservation | None,
    places: Mapping[int, BranchPlace],
    *,
    row: str = "",
    unread: str = "",
) -> Explained:
    """Put together what localising and the two observations say; ``row`` is the one to show, where one was named."""
    if subject is None:
        return Explained(answer, answer.row, unread=unread)
    one, other = _parted(row or answer.row, oracle, subject)
    cut = any(not each.state_reported for each in subject.stops)
    if one is None:
        return Explained(answer, answer.row, counters=tuple(_counters(oracle, subject, places)), cut=cut, unread=unread)
    if other is None:
        stop = next((each for each in subject.stops if each.row == one.name), None)
        ends = (ComparedLine("outcome", _ending(one), sentence(stop.outcome) if stop is not None else "not reached"),)
        return Explained(answer, one.name, ends, counters=tuple(_counters(oracle, subject, places)), cut=cut, unread=unread)
    return Explained(
        answer, one.name, tuple(_ends(one, other)), tuple(_trace(one, other, places)), tuple(_counters(oracle, subject, places)),
        cut, unread,
    )  # fmt: skip


def _parted(wanted: str, oracle: CaseObservation, subject: CaseObservation) -> tuple[RowSeen | None, RowSeen | None]:
    """The row of that name where the runs differ in it, else the first one in which they do, of both; None where an engine has no such row, and
    twice where no row differs.
    """
    ones = [row for each in oracle.instances for row in each.rows]
    others = [row for each in subject.instances for row in each.rows]
    beside = [others[at] if at < len(others) and others[at].name == one.name else None for at, one in enumerate(ones)]
    differ = [(one, other) for one, other in zip(ones, beside, strict=True) if one != other]
    return next((each for each in differ if each[0].name == wanted), differ[0] if differ else (None, None))


def _ending(row: RowSeen) -> str:
    if row.results:
        return "returned " + ", ".join(map(render, row.results))
    return sentence(row.outcome) if row.outcome is not None else "not reached"


def _ends(one: RowSeen, other: RowSeen) -> Iterator[ComparedLine]:
    yield ComparedLine("outcome", _ending(one), _ending(other), same=_ending(one) == _ending(other))
    count = f"{len(one.trace) // _RECORD.size}", f"{len(other.trace) // _RECORD.size}"
    if one.trace or other.trace:
        yield ComparedLine("trace records", *count, same=count[0] == count[1])


def _trace(one: RowSeen, other: RowSeen, places: Mapping[int, BranchPlace]) -> Iterator[ComparedLine]:
    """The last records that agree, and from the first that differs on both."""
    ones, others = list(_RECORD.iter_unpack(one.trace)), list(_RECORD.iter_unpack(other.trace))
    part = next((at for at, pair in enumerate(zip(ones, others, strict=False)) if pair[0] != pair[1]), min(len(ones), len(others)))
    if part == len(ones) == len(others):
        return
    for at in range(max(0, part - _AGREEING), min(part + 1 + _BEHIND, max(len(ones), len(others)))):
        left = _record(ones[at], places) if at < len(ones) else "(ends)"
        right = _record(others[at], places) if at < len(others) else "(ends)"
        yield ComparedLine(f"record {at}", left, right, same=at < part)


def _record(record: tuple[int, int, int], places: Mapping[int, BranchPlace]) -> str:
    branch, value, kind = record
    if kind == _ROW_MARKER:
        return "row marker"
    where = f" ({places[branch]})" if branch in places else ""
    return f"{'decision of branch' if kind == _DECISION else 'branch'} {branch} is {value}{where}"


def _counters(oracle: CaseObservation, subject: CaseObservation, places: Mapping[int, BranchPlace]) -> Iterator[ComparedLine]:
    """The first counters that differ, each with its neighbours."""
    ones, others = oracle.counters, subject.counters
    ids = sorted({*ones, *others})
    differ = [at for at, id_ in enumerate(ids) if ones.get(id_) != others.get(id_)]
    shown = sorted({near for at in differ[:_COUNTERS] for near in (at - 1, at, at + 1) if 0 <= near < len(ids)})
    for at in shown:
        id_ = ids[at]
        one, other = ones.get(id_, 0), others.get(id_, 0)
        where = f" {places[id_]}" if id_ in places else ""
        yield ComparedLine(f"counter {id_}{where}", f"{one:,}", f"{other:,}", same=one == other)
    if len(differ) > _COUNTERS:
        yield ComparedLine(f"and {plural(len(differ) - _COUNTERS, 'counter')} more that differ", "", "")
