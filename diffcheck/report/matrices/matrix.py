"""The matrix: several engines on the same cases against one oracle, made of one report for each engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.compare import judgement
from diffcheck.observation import Cost, Identity
from diffcheck.report import model, summary
from diffcheck.verdict import Opinion, Tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from diffcheck.report.model import Cluster, Member
    from diffcheck.verdict import CaseReport, Report

SCHEMA: Final = "diffcheck-matrix-v1"
_SUFFIX: Final = ".wast:"
ENDED: Final = ("agree", "diverge", "known", "oracle")
Answer = Literal["agrees", "diverges", "not compared"]


class EngineReport(msgspec.Struct, frozen=True):
    """The report of one engine: ``name`` is its column, ``engine`` what makes it independent of others."""

    name: str
    engine: str
    report: Report


class EngineColumn(msgspec.Struct, frozen=True):
    """An engine with its verdicts, and the cost of the cases that all engines completed."""

    name: str
    engine: str
    identity: Identity
    totals: dict[str, int]
    cost: Cost


class FamilyRow(msgspec.Struct, frozen=True):
    """A family of cases: its number, and for each engine how many agree and how many were compared."""

    name: str
    cases: int
    agree: tuple[int, ...]
    compared: tuple[int, ...]


class MatrixCause(msgspec.Struct, frozen=True):
    """A cause, or a cluster without one: the answer of each engine, the number of cases, and the judgement of all engines."""

    title: str
    answers: tuple[Answer, ...]
    cases: tuple[str, ...]
    judgement: str


class Matrix(msgspec.Struct, frozen=True):
    """The matrix, as stored in ``matrix.json``. ``common`` is the number of cases that all engines completed."""

    schema: Literal["diffcheck-matrix-v1"]
    tool: Tool
    oracle: Identity
    started: str
    cases: int
    common: int
    engines: tuple[EngineColumn, ...]
    families: tuple[FamilyRow, ...]
    causes: tuple[MatrixCause, ...]


def matrix(reports: Sequence[EngineReport], oracle_engine: str) -> Matrix:
    """The matrix of at least one report; ``oracle_engine`` is the engine of the oracle."""
    first = reports[0].report
    by_case = [{case.case: case for case in each.report.cases} for each in reports]
    names = sorted({name for cases in by_case for name in cases})
    common = [name for name in names if all(name in cases and cases[name].verdict in ENDED for cases in by_case)]
    return Matrix(
        schema=SCHEMA,
        tool=first.tool,
        oracle=first.oracle,
        started=first.started,
        cases=len(names),
        common=len(common),
        engines=tuple(_column(each, cases, common) for each, cases in zip(reports, by_case, strict=True)),
        families=tuple(_families(names, by_case)),
        causes=tuple(_causes(reports, by_case, oracle_engine)),
    )


def _column(each: EngineReport, cases: Mapping[str, CaseReport], common: Sequence[str]) -> EngineColumn:
    cost = sum((summary.costs(cases[name])[1] for name in common), Cost())
    return EngineColumn(each.name, each.engine, each.report.subject, each.report.totals, cost)


def family(case: str) -> str:
    """The family of a case: its folder; of a script also the first word of its name."""
    folder, _, name = case.rpartition("/")
    if _SUFFIX not in name:
        return folder or "."
    return "/".join(filter(None, (folder, name.partition(_SUFFIX)[0].partition("_")[0])))


def _families(names: Sequence[str], by_case: Sequence[Mapping[str, CaseReport]]) -> Iterator[FamilyRow]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(family(name), []).append(name)
    for title, own in sorted(found.items()):
        verdicts = [[cases[name].verdict for name in own if name in cases] for cases in by_case]
        agree = tuple(sum(each == "agree" for each in one) for one in verdicts)
        yield FamilyRow(title, len(own), agree, tuple(sum(each in ENDED for each in one) for one in verdicts))


def _causes(
    reports: Sequence[EngineReport], by_case: Sequence[Mapping[str, CaseReport]], oracle_engine: str
) -> Iterator[MatrixCause]:
    """One row for each signature, or for each cause that was localised, those of most cases first."""
    titles = {
        signature: cause.title or cause.name for each in reports for cause in each.report.causes for signature in cause.signatures
    }
    rows: dict[str, list[tuple[int, Cluster]]] = {}
    for at, each in enumerate(reports):
        for cluster in model.clusters(each.report):
            rows.setdefault(titles.get(cluster.signature, cluster.signature), []).append((at, cluster))
    found = []
    for key, several in rows.items():
        first = several[0][1].members[0]
        cases = tuple(dict.fromkeys(member.case.case for _, each in several for member in each.members))
        answers = tuple(_answer(at, several, reports[at], own) for at, own in enumerate(by_case))
        title = key if key in titles.values() else f"{first.case.case}: {first.first}"
        found.append(MatrixCause(title, answers, cases, _judgement(several[0], reports, by_case, oracle_engine)))
    yield from sorted(found, key=lambda each: (-len(each.cases), each.title))


def _answer(at: int, several: Sequence[tuple[int, Cluster]], engine: EngineReport, cases: Mapping[str, CaseReport]) -> Answer:
    """The answer of an engine to a cause: ``agrees`` if it gives the oracle's value in all places."""
    if any(its == at for its, _ in several):
        return "diverges"
    gives = {_opinion(engine, cases, each, same_form=True).gives for _, cluster in several for each in cluster.members}
    return "agrees" if gives == {"oracle"} else "not compared" if gives <= {"oracle", ""} else "diverges"


def _opinion(engine: EngineReport, cases: Mapping[str, CaseReport], member: Member, *, same_form: bool) -> Opinion:
    """The opinion of an engine on a difference of another one."""
    blank, own = Opinion(engine.name, engine.engine), cases.get(member.case.case)
    return judgement.opinion(blank, member.first, own, member.modes[0], same_form=same_form) if own is not None else blank


def _judgement(
    found: tuple[int, Cluster], reports: Sequence[EngineReport], by_case: Sequence[Mapping[str, CaseReport]], oracle_engine: str
) -> str:
    """Who stands alone in the first case of a cluster, with all other engines as judges."""
    at, cluster = found
    head = cluster.members[0]
    opinions = tuple(
        _opinion(each, cases, head, same_form=False)
        for number, (each, cases) in enumerate(zip(reports, by_case, strict=True))
        if number != at
    )
    judged = judgement.with_judgements(head.case, {cluster.signature: opinions}, oracle_engine, reports[at].engine)
    every = (each.judgement for one in judged.passes for each in one.divergences if each.signature == cluster.signature)
    alone = next((each.alone for each in every if each is not None), "")
    return {"oracle": "the oracle stands alone", "subject": f"{reports[at].name} stands alone", "both": "the oracle and "
            f"{reports[at].name} each stand alone"}.get(alone, "undecided")  # fmt: skip


def cell(agree: int, compared: int) -> str:
    """The number of agreeing cases, and of compared ones if it is another."""
    return f"{agree:,}" if agree == compared else f"{agree:,} of {compared:,}"
