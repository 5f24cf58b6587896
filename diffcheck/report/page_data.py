"""What the HTML page's script reads: each case and cluster as JSON, every string safe to show and bounded in length.

The page is made for 10,000 cases, so the data has a budget. Within it a case is there in full as far as a reader looks; beyond it
cases keep their verdicts, costs and first differences, and ``trimmed`` says that the rest is in ``report.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.observation import sentence
from diffcheck.report import styles as words
from diffcheck.report.summary import cluster_verdict, code_of, kind_and_item
from diffcheck.text import plural, visible
from diffcheck.verdict import EntryState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diffcheck.report.model import Cluster
    from diffcheck.verdict import (
        Allowance,
        BaselineStatus,
        CaseReport,
        Divergence,
        McdcImpact,
        PassReport,
        Printed,
        Report,
        SideReport,
    )

BUDGET_BYTES: Final = 48 << 20
STRIP: Final = 30
"""How many runs a cluster's strip shows."""
_NAME: Final = 300
_SENTENCE: Final = 600
_VALUE: Final = 600
_LOG: Final = 4000
_MAX_DIVERGENCES: Final = 50
_MAX_ITEMS: Final = 40


class Life(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a baseline and the runs before say of a cluster; ``strip`` has a word a run, the latest last: a verdict, or ``absent``
    where the cluster did not show up, or ``not run``.
    """

    state: EntryState | Literal[""] = ""
    issue: str = ""
    note: str = ""
    strip: tuple[str, ...] = ()


class AbsentEntry(msgspec.Struct, frozen=True):
    """An entry of the baseline that did not show up, with the cases that it names."""

    signature: str
    life: Life
    cases: tuple[str, ...]


_URGENT: Final[tuple[EntryState, ...]] = ("new", "returned", "fixed", "stale", "expired")


def life(standing: BaselineStatus | None, strip: tuple[str, ...]) -> Life:
    """A cluster's life from its standing against the baseline, where there is one, and its strip."""
    if standing is None:
        return Life(strip=strip)
    why = "" if standing.state == "new" else standing.why  # what is new says what it is by its values
    said = "; ".join(dict.fromkeys(part for part in (why, standing.note) if part))
    return Life(standing.state, standing.issue, said, strip)


class PageSide(msgspec.Struct, frozen=True, omit_defaults=True):
    """An engine's part of a pass: times in milliseconds, memory in bytes."""

    words: str
    ms: float
    cpu: float
    bytes: int
    runs: int
    digest: str = ""
    log: str = ""


class PageDivergence(msgspec.Struct, frozen=True, omit_defaults=True):
    """One difference: what, its row, its place in the code, the two values."""

    what: str
    oracle: str
    subject: str
    row: str = ""
    place: tuple[str, ...] = ()
    detail: str = ""
    signature: str = ""


class PagePass(msgspec.Struct, frozen=True, omit_defaults=True):
    """One pass; ``verdict`` is empty where it was not applicable, and ``reason`` then says why. Lists are sentences."""

    mode: str
    verdict: str = ""
    reason: str = ""
    vacuous: bool = False
    oracle: PageSide | None = None
    subject: PageSide | None = None
    compared: str = ""
    divergences: tuple[PageDivergence, ...] = ()
    total: int = 0
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    printed: tuple[tuple[str, str], ...] = ()


class PageCase(msgspec.Struct, frozen=True, omit_defaults=True):
    """One case. ``marks`` are what the page can filter by beside the verdict."""

    name: str
    verdict: str
    expected: str
    reason: str
    purpose: str = ""
    ms: float = 0.0
    marks: tuple[str, ...] = ()
    artifact: str = ""
    sha256: str = ""
    plan: str = ""
    rows: tuple[str, ...] = ()
    rows_total: int = 0
    passes: tuple[PagePass, ...] = ()
    not_done: tuple[str, ...] = ()
    explanation: str = ""
    again: str = ""
    trimmed: bool = False


class PageMember(msgspec.Struct, frozen=True, omit_defaults=True):
    """A case of a cluster, by its index, with the modes it was seen in."""

    case: int
    modes: tuple[str, ...]


class PageCluster(msgspec.Struct, frozen=True, omit_defaults=True):
    """A cluster under its first divergence."""

    signature: str
    verdict: str
    first: PageDivergence
    count: int
    members: tuple[PageMember, ...]
    expected: bool = False
    life: Life | None = None


def cases(report: Report, defaults: dict[str, str]) -> Iterator[bytes]:
    """Each case as JSON, in the report's order; ``defaults`` are the options' defaults."""
    left = BUDGET_BYTES
    # Trimmed cases have to fit as well: what they need at the least is kept for them.
    reserve = 2000
    for at, case in enumerate(report.cases):
        room = max(left - (len(report.cases) - at) * reserve, reserve)
        # Most of a flood of large cases is never shown in full, so what cannot fit is not made first.
        data = msgspec.json.encode(_case(report, case, defaults)) if _least(case) <= room else b""
        if not data or len(data) > room:
            data = msgspec.json.encode(_trimmed(case))
        left -= len(data)
        yield data


def entries(report: Report, found: tuple[Cluster, ...], lives: Mapping[str, Life]) -> tuple[AbsentEntry, ...]:
    """What became of the baseline's entries that are no cluster of this run, those that ask for something first."""
    shown = {cluster.signature for cluster in found}
    told = report.baseline.standings if report.baseline else ()
    gone = [(each, _life(lives.get(each.signature)) or life(each, ())) for each in told if each.signature not in shown]
    gone.sort(key=lambda each: _URGENT.index(each[0].state) if each[0].state in _URGENT else len(_URGENT))
    return tuple(AbsentEntry(each.signature, one, each.cases) for each, one in gone)


def clusters(report: Report, found: tuple[Cluster, ...], lives: Mapping[str, Life]) -> Iterator[bytes]:
    """Each cluster as JSON; beyond half the budget those that come last are left out, and the page says how many."""
    index = {case.case: at for at, case in enumerate(report.cases)}
    left = BUDGET_BYTES // 2
    for cluster in found:
        members = tuple(PageMember(index[member.case.case], member.modes) for member in cluster.members)
        data = msgspec.json.encode(
            PageCluster(
                visible(cluster.signature, _NAME),
                cluster_verdict(cluster),
                _divergence(cluster.members[0].first),
                cluster.count,
                members,
                all(member.case.expected == "diverge" for member in cluster.members),
                _life(lives.get(cluster.signature)),
            )
        )
        left -= len(data)
        if left < 0:
            return
        yield data


def _life(life: Life | None) -> Life | None:
    if life is None:
        return None
    strip = tuple(visible(word, 20) for word in life.strip[-STRIP:])
    return Life(life.state, visible(life.issue, _NAME), visible(life.note, _SENTENCE), strip)


def _case(report: Report, case: CaseReport, defaults: dict[str, str]) -> PageCase:
    return PageCase(
        name=visible(case.case, _NAME),
        verdict=case.verdict,
        expected=case.expected,
        reason=visible(case.reason, _SENTENCE),
        purpose=visible(case.purpose, _SENTENCE),
        ms=_ms(case.elapsed_ns),
        marks=_marks(case),
        artifact=visible(case.artifact, _SENTENCE),
        sha256=visible(case.sha256, 80),
        plan=visible(case.plan, 80),
        rows=tuple(visible(row, 80) for row in case.rows[:_MAX_ITEMS]),
        rows_total=len(case.rows),
        passes=tuple(_pass(each) for each in case.passes),
        not_done=tuple(visible(what, _SENTENCE) for what in case.not_done[:_MAX_ITEMS]),
        explanation=_lines(case.explanation),
        again=words.again(report, case, defaults),
    )


def _least(case: CaseReport) -> int:
    """How many bytes a case in full has at the least: of long values a third of the limit and more is shown."""
    shown = (one for each in case.passes for one in each.divergences[:_MAX_DIVERGENCES])
    return sum(min(len(value), _VALUE // 3) for one in shown for value in (one.oracle, one.subject))


def _trimmed(case: CaseReport) -> PageCase:
    """A case by its verdicts and costs, and its first difference a pass."""
    first = [
        msgspec.structs.replace(each, divergences=each.divergences[:1], divergences_total=_total(each)) for each in case.passes
    ]
    return PageCase(
        name=visible(case.case, 100),
        verdict=case.verdict,
        expected=case.expected,
        reason=visible(case.reason, 100),
        ms=_ms(case.elapsed_ns),
        marks=_marks(case),
        passes=tuple(
            PagePass(
                each.mode,
                each.verdict if each.applicable else "",
                visible(each.reason or each.why, 100),
                each.vacuous,
                _side(each.oracle, brief=True),
                _side(each.subject, brief=True),
                divergences=tuple(_divergence(one, 60) for one in each.divergences),
                total=_total(each),
            )
            for each in first
        ),
        trimmed=True,
    )


def _marks(case: CaseReport) -> tuple[str, ...]:
    passes = [each for each in case.passes if each.applicable]
    marks = {
        "unexpected": not case.as_expected,
        "vacuous": case.vacuous,
        "zero stubs": any(use.kind == "zero" for each in passes for use in each.stubs),
        "let pass": any(each.allowances for each in passes),
        "not compared": bool(case.not_done) or any(each.agreement.not_compared for each in passes),
    }
    return tuple(mark for mark, holds in marks.items() if holds)


def _total(each: PassReport) -> int:
    return max(each.divergences_total, len(each.divergences))


def _pass(each: PassReport) -> PagePass:
    if not each.applicable:
        return PagePass(each.mode, reason=visible(each.why, _SENTENCE))
    lists = (
        ("not compared", each.agreement.not_compared),
        ("conclusions about decisions that differ", tuple(_mcdc(one) for one in each.mcdc[:_MAX_ITEMS])),
        ("let pass, because the specification leaves it open", tuple(_allowance(one) for one in each.allowances[:_MAX_ITEMS])),
        (
            "imports that were called, answered by stubs",
            tuple(f"{use.module}.{use.name} ({use.kind}): {plural(use.calls, 'call')}" for use in each.stubs[:_MAX_ITEMS]),
        ),
    )
    return PagePass(
        each.mode,
        each.verdict,
        visible(each.reason, _SENTENCE),
        each.vacuous,
        _side(each.oracle),
        _side(each.subject),
        words.compared(each.agreement),
        tuple(_divergence(one) for one in each.divergences[:_MAX_DIVERGENCES]),
        _total(each),
        tuple((name, tuple(visible(line, _SENTENCE) for line in lines[:_MAX_ITEMS])) for name, lines in lists if lines),
        tuple(_printed(one) for one in each.printed[:_MAX_ITEMS]),
    )


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 2)


def _side(side: SideReport | None, *, brief: bool = False) -> PageSide | None:
    if side is None:
        return None
    cost = side.cost
    return PageSide(
        visible(side.words or sentence(side.outcome), 100 if brief else _SENTENCE),
        _ms(cost.elapsed_ns),
        _ms(cost.cpu_ns),
        cost.peak_bytes,
        cost.executions,
        "" if brief else visible(side.digest, 80),
        "" if brief else _lines(side.log),
    )


def _divergence(one: Divergence, limit: int = _VALUE) -> PageDivergence:
    oracle, subject = words.side_by_side(one.oracle, one.subject, limit)
    return PageDivergence(
        visible(kind_and_item(one), limit),
        oracle,
        subject,
        visible(one.where.row, min(limit, _NAME)),
        tuple(visible(part, limit) for part in code_of(one.where)),
        visible(words.detail(one), limit),
        visible(one.signature, min(limit, _NAME)),
    )


def _allowance(one: Allowance) -> str:
    where = ", ".join(part for part in (one.where.row[:_NAME], *words.place(one.where)) if part)
    values = f": {one.oracle[:100]} and {one.subject[:100]}" if one.oracle or one.subject else ""
    return (
        f"{one.rule[:100]} ({one.section[:100]})"
        + (f" at {where[:_NAME]}" if where else "")
        + values
        + f", {words.times(one.count, 'time', at_least=one.at_least)}"
    )


def _mcdc(one: McdcImpact) -> str:
    line = f":{one.line}" if one.line is not None else ""
    return f"condition {one.condition} of decision {one.decision} ({one.file[:_NAME]}{line}): {one.oracle} against {one.subject}"


def _printed(one: Printed) -> tuple[str, str]:
    cut = ", its beginning" if one.total > len(one.text.encode(errors="replace")) else ""
    return f"{one.stream} of {visible(one.row, 80)} ({plural(one.total, 'byte')}{cut})", _lines(one.text)


def _lines(text: str) -> str:
    """A text of several lines, each safe; the last ``_LOG`` characters are what tells most in a log."""
    return "\n".join(visible(line, 1000) for line in text[-_LOG:].splitlines())
