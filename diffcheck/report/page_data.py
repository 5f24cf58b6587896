"""The cases of the HTML page as JSON: an index of all cases, and their details in blocks that the script parses when needed.

Every string is safe to show and bounded in length. The page is made for 10,000 cases, so the data has a budget. Cases beyond it
keep their verdicts, costs and first differences; ``trimmed`` marks them, and the rest is in ``report.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.observation import sentence
from diffcheck.report import terminal_text as words
from diffcheck.report.summary import code_of, costs, kind_and_item
from diffcheck.text import plural, visible
from diffcheck.verdict import EntryState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
BLOCK: Final = 50
"""How many cases a block of details has."""
_NAME: Final = 300
_SENTENCE: Final = 600
_VALUE: Final = 600
_LOG: Final = 4000
_MAX_DIVERGENCES: Final = 50
_MAX_ITEMS: Final = 40


class Life(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signature's state in the baseline and its history: a word per run, the latest last. The words are verdicts, ``absent`` and
    ``not run``.
    """

    state: EntryState | Literal[""] = ""
    issue: str = ""
    note: str = ""
    strip: tuple[str, ...] = ()


def life(standing: BaselineStatus | None, strip: tuple[str, ...]) -> Life:
    """A signature's life from its standing against the baseline, if there is one, and its history."""
    if standing is None:
        return Life(strip=strip)
    why = "" if standing.state == "new" else standing.why  # the values describe what is new
    note = "; ".join(dict.fromkeys(part for part in (why, standing.note) if part))
    return Life(standing.state, standing.issue, note, strip)


class IndexCase(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of the list of cases: costs are of the oracle and the subject, in milliseconds and bytes."""

    name: str
    verdict: str
    reason: str = ""
    state: str = ""
    expected: bool = False
    marks: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    ms: tuple[float, float] = (0.0, 0.0)
    bytes: tuple[int, int] = (0, 0)


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
    """One case in full."""

    name: str
    verdict: str
    expected: str
    reason: str
    purpose: str = ""
    ms: float = 0.0
    artifact: str = ""
    sha256: str = ""
    plan: str = ""
    rows: tuple[str, ...] = ()
    rows_total: int = 0
    passes: tuple[PagePass, ...] = ()
    not_compared: tuple[str, ...] = ()
    explanation: str = ""
    again: str = ""
    trimmed: bool = False


def index(report: Report, states: Mapping[int, str]) -> Iterator[bytes]:
    """Each case of the index as JSON; ``states`` are those of the causes, by the case's place in the report."""
    for at, case in enumerate(report.cases):
        oracle, subject = costs(case)
        yield msgspec.json.encode(
            IndexCase(
                visible(case.case, 200),
                case.verdict,
                visible(case.reason or case.purpose, 200),
                states.get(at, ""),
                case.as_expected and case.verdict != "agree",
                _marks(case),
                tuple(f"{each.mode}: {each.verdict if each.applicable else 'not applicable'}" for each in case.passes),
                (_ms(oracle.elapsed_ns), _ms(subject.elapsed_ns)),
                (oracle.peak_bytes, subject.peak_bytes),
            )
        )


def cases(report: Report, defaults: dict[str, str]) -> Iterator[bytes]:
    """Each case in full as JSON, in the report's order; ``defaults`` are the options' defaults."""
    left = BUDGET_BYTES
    # Trimmed cases have to fit as well: their least size is reserved.
    reserve = 2000
    for at, case in enumerate(report.cases):
        room = max(left - (len(report.cases) - at) * reserve, reserve)
        # A case that cannot fit is not encoded in full.
        data = msgspec.json.encode(_case(report, case, defaults)) if _least(case) <= room else b""
        if not data or len(data) > room:
            data = msgspec.json.encode(_trimmed(case))
        left -= len(data)
        yield data


def _case(report: Report, case: CaseReport, defaults: dict[str, str]) -> PageCase:
    return PageCase(
        name=visible(case.case, _NAME),
        verdict=case.verdict,
        expected=case.expected,
        reason=visible(case.reason, _SENTENCE),
        purpose=visible(case.purpose, _SENTENCE),
        ms=_ms(case.elapsed_ns),
        artifact=visible(case.artifact, _SENTENCE),
        sha256=visible(case.sha256, 80),
        plan=visible(case.plan, 80),
        rows=tuple(visible(row, 80) for row in case.rows[:_MAX_ITEMS]),
        rows_total=len(case.rows),
        passes=tuple(_pass(each) for each in case.passes),
        not_compared=tuple(visible(what, _SENTENCE) for what in case.not_done[:_MAX_ITEMS]),
        explanation=_lines(case.explanation),
        again=words.rerun_command(report, case, defaults),
    )


def _least(case: CaseReport) -> int:
    """The fewest bytes that a case takes in full: at least a third of the limit is shown of long values."""
    shown = (one for each in case.passes for one in each.divergences[:_MAX_DIVERGENCES])
    return sum(min(len(value), _VALUE // 3) for one in shown for value in (one.oracle, one.subject))


def _trimmed(case: CaseReport) -> PageCase:
    """A case with its verdicts, its costs and the first difference of each pass."""
    first = [
        msgspec.structs.replace(each, divergences=each.divergences[:1], divergences_total=_total(each)) for each in case.passes
    ]
    return PageCase(
        name=visible(case.case, 100),
        verdict=case.verdict,
        expected=case.expected,
        reason=visible(case.reason, 100),
        ms=_ms(case.elapsed_ns),
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
        "vacuous": case.vacuous,
        "zero stubs": any(use.kind == "zero" for each in passes for use in each.stubs),
        "allowed": any(each.allowances for each in passes),
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
        ("MC/DC conclusions that differ", tuple(_mcdc(one) for one in each.mcdc[:_MAX_ITEMS])),
        ("allowed by the specification", tuple(_allowance(one) for one in each.allowances[:_MAX_ITEMS])),
        (
            "stubbed imports that were called",
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
    return f"condition {one.condition} of decision {one.decision} ({one.file[:_NAME]}{line}): {_sides(one)}"


def _sides(one: McdcImpact) -> str:
    return f"{one.oracle} under the oracle, {one.subject} under the subject"


def _printed(one: Printed) -> tuple[str, str]:
    cut = ", truncated" if one.total > len(one.text.encode(errors="replace")) else ""
    return f"{one.stream} of {visible(one.row, 80)} ({plural(one.total, 'byte')}{cut})", _lines(one.text)


def _lines(text: str) -> str:
    """The last ``_LOG`` characters of a text, each line safe to show."""
    return "\n".join(visible(line, 1000) for line in text[-_LOG:].splitlines())
