"""Two observations of a case side by side: the row, witness's trace where it differs, and the counters that differ. Pure."""

from __future__ import annotations

import struct
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.observation import RowRecord, sentence
from diffcheck.runner.observation_reader import CaseObservation
from diffcheck.text import plural
from diffcheck.triage.localise.location import Localisation
from diffcheck.wasm.values import render
from diffcheck.witness.formats import BranchPlace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_RECORD: Final = struct.Struct("<HBB")
_CONDITION, _ROW_MARKER, _DECISION = range(3)
_AGREEING: Final = 3
_DIFFERING: Final = 2
_COUNTERS: Final = 8


class ComparedLine(msgspec.Struct, frozen=True):
    """A line of two columns: its subject, both engines' values, and whether they are the same."""

    where: str
    oracle: str
    subject: str
    same: bool = False


class SideBySide(msgspec.Struct, frozen=True):
    """The localised instruction, the row that differs, its trace around the first difference, and the counters that differ.

    ``cut`` is whether the subject's counters lack a row that it did not report and later ones. ``unread`` is the reason why its
    observation could not be read, else empty.
    """

    answer: Localisation
    row: str = ""
    ends: tuple[ComparedLine, ...] = ()
    trace: tuple[ComparedLine, ...] = ()
    counters: tuple[ComparedLine, ...] = ()
    cut: bool = False
    unread: str = ""


def compare_side_by_side(
    answer: Localisation, oracle: CaseObservation, subject: CaseObservation, places: Mapping[int, BranchPlace], row: str = ""
) -> SideBySide:
    """Compare two observations in ``row``, or if it is empty in the row of the localisation, or the first that differs."""
    oracle_row, subject_row = _differing_rows(row or answer.row, oracle, subject)
    common = SideBySide(
        answer,
        answer.row if oracle_row is None else oracle_row.name,
        counters=tuple(_counters(oracle, subject, places)),
        cut=any(not each.state_reported for each in subject.stops),
    )
    if oracle_row is None:
        return common
    if subject_row is None:
        stop = next((each for each in subject.stops if each.row == oracle_row.name), None)
        end = ComparedLine("outcome", _ending(oracle_row), sentence(stop.outcome) if stop is not None else "not reached")
        return msgspec.structs.replace(common, ends=(end,))
    trace = tuple(_trace(oracle_row, subject_row, places))
    return msgspec.structs.replace(common, ends=tuple(_ends(oracle_row, subject_row)), trace=trace)


def _differing_rows(wanted: str, oracle: CaseObservation, subject: CaseObservation) -> tuple[RowRecord | None, RowRecord | None]:
    """The row of that name on both sides if it differs, else the first one that does; None for a side without the row, and for
    both if no row differs.
    """
    oracle_rows = [row for each in oracle.instances for row in each.rows]
    subject_rows = [row for each in subject.instances for row in each.rows]
    pairs = [
        (row, other if other is not None and other.name == row.name else None)
        for row, other in zip_longest(oracle_rows, subject_rows[: len(oracle_rows)])
    ]
    differ = [pair for pair in pairs if pair[0] != pair[1]]
    return next((pair for pair in differ if pair[0].name == wanted), differ[0] if differ else (None, None))


def _ending(row: RowRecord) -> str:
    if row.results:
        return "returned " + ", ".join(map(render, row.results))
    return sentence(row.outcome) if row.outcome is not None else "not reached"


def _ends(oracle: RowRecord, subject: RowRecord) -> Iterator[ComparedLine]:
    yield _line("outcome", _ending(oracle), _ending(subject))
    if oracle.trace or subject.trace:
        yield _line("trace records", str(len(oracle.trace) // _RECORD.size), str(len(subject.trace) // _RECORD.size))


def _line(name: str, oracle: str, subject: str) -> ComparedLine:
    return ComparedLine(name, oracle, subject, same=oracle == subject)


def _trace(oracle: RowRecord, subject: RowRecord, places: Mapping[int, BranchPlace]) -> Iterator[ComparedLine]:
    """The records around the first one that differs; none if all are equal."""
    pairs = list(zip_longest(_RECORD.iter_unpack(oracle.trace), _RECORD.iter_unpack(subject.trace)))
    first = next((at for at, (one, other) in enumerate(pairs) if one != other), len(pairs))
    begin, end = max(0, first - _AGREEING), first + 1 + _DIFFERING
    for at, (one, other) in enumerate(pairs[begin:end] if first < len(pairs) else (), begin):
        yield ComparedLine(f"record {at}", _record(one, places), _record(other, places), same=at < first)


def _record(record: tuple[int, int, int] | None, places: Mapping[int, BranchPlace]) -> str:
    if record is None:
        return "(ends)"
    branch, value, kind = record
    if kind == _ROW_MARKER:
        return "row marker"
    where = f" ({places[branch]})" if branch in places else ""
    return f"{'decision of branch' if kind == _DECISION else 'branch'} {branch} is {value}{where}"


def _counters(oracle: CaseObservation, subject: CaseObservation, places: Mapping[int, BranchPlace]) -> Iterator[ComparedLine]:
    """The first counters that differ, each with its neighbours."""
    counts, subject_counts = oracle.counters, subject.counters
    ids = sorted({*counts, *subject_counts})
    differ = [at for at, id_ in enumerate(ids) if counts.get(id_) != subject_counts.get(id_)]
    for at in sorted({near for index in differ[:_COUNTERS] for near in (index - 1, index, index + 1) if 0 <= near < len(ids)}):
        id_ = ids[at]
        where = f" {places[id_]}" if id_ in places else ""
        yield _line(f"counter {id_}{where}", f"{counts.get(id_, 0):,}", f"{subject_counts.get(id_, 0):,}")
    if len(differ) > _COUNTERS:
        yield ComparedLine(f"and {plural(len(differ) - _COUNTERS, 'counter')} more that differ", "", "")
