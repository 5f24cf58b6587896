"""The HTML page's first view: one row per cause, new ones first, with its state, history, section, places and commands."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from diffcheck.report import terminal_text
from diffcheck.report.summary import cluster_verdict, code_of, kind_and_item
from diffcheck.text import plural, visible
from diffcheck.verdict import EntryState, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from diffcheck.report.model import Cluster
    from diffcheck.report.page_data import Life
    from diffcheck.verdict import Cause, Report

CauseState: TypeAlias = EntryState | Literal["expected"]
"""The state against the baseline, or *expected*: by the case file, without a baseline."""
STRIP: Final = 30
"""How many runs a history shows."""
_ORDER: Final[tuple[CauseState, ...]] = (
    "new", "returned", "wider", "expired", "flaky", "fixed", "stale", "expected", "known", "masked", "absent", "not run",
)  # fmt: skip
_TITLE: Final = 240
_VALUE: Final = 600
_SHORT: Final = 80
_MOST_CASES: Final = 12
_MOST_PLACES: Final = 8
_WEB: Final = re.compile(r"https?://[A-Za-z0-9][A-Za-z0-9./_~#?=&:%+-]{0,500}")


class NextCommand(msgspec.Struct, frozen=True):
    """A shell command and its purpose."""

    purpose: str
    line: str


class CauseRow(msgspec.Struct, frozen=True):
    """A cause, or a cluster that was not localised. All strings are safe to show.

    ``link`` is the issue's address if it is one. ``history`` has a word per run, the latest last; ``cases`` are indices in the
    report.
    """

    title: str
    state: CauseState
    verdict: Verdict | None = None
    section: str = ""
    finding: str = ""
    issue: str = ""
    link: str = ""
    note: str = ""
    history: tuple[str, ...] = ()
    what: str = ""
    where: str = ""
    oracle: str = ""
    subject: str = ""
    detail: str = ""
    places: tuple[str, ...] = ()
    more_places: int = 0
    signatures: tuple[str, ...] = ()
    cases: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    count: int = 0
    commands: tuple[NextCommand, ...] = ()

    @property
    def seen(self) -> str:
        """The history as text: in how many of the last runs the cause was seen."""
        runs = [word for word in self.history if word != "not run"]
        return f"seen in {sum(word != 'absent' for word in runs):,} of {plural(len(runs), 'run')}"

    @property
    def more_cases(self) -> int:
        """How many cases are not named."""
        return max(0, len(self.cases or self.names) - _MOST_CASES)

    @property
    def shown_cases(self) -> tuple[str, ...]:
        """The names of the first cases."""
        return self.names[:_MOST_CASES]


def cause_rows(report: Report, clusters: Sequence[Cluster], lives: Mapping[str, Life]) -> tuple[CauseRow, ...]:
    """The rows by state, then by number of cases, with the entries of the baseline that were not seen."""
    by_signature = {each.signature: each for each in clusters}
    index = {case.case: at for at, case in enumerate(report.cases)}
    rows: list[CauseRow] = []
    grouped: set[str] = set()
    for cause in report.causes:
        members = [by_signature[each] for each in cause.signatures if each in by_signature]
        if members:
            rows.append(_row(members, lives, index, cause))
            grouped.update(each.signature for each in members)
    rows += [_row([each], lives, index, None) for each in clusters if each.signature not in grouped]
    rows += _entries(report, set(by_signature), lives)
    return tuple(sorted(rows, key=lambda each: (_ORDER.index(each.state), -len(each.cases))))


def _row(members: Sequence[Cluster], lives: Mapping[str, Life], index: Mapping[str, int], cause: Cause | None) -> CauseRow:
    head = members[0].members[0]
    first, case = head.first, head.case
    cases = sorted({index[member.case.case] for each in members for member in each.members})
    by_index = {index[member.case.case]: member.case for each in members for member in each.members}
    known = [lives[each.signature] for each in members if each.signature in lives]
    oracle, subject = terminal_text.side_by_side(first.oracle, first.subject, _VALUE)
    what = kind_and_item(first)
    issue = next((each.issue for each in known if each.issue), "")
    row = f" in {first.where.row}" if first.where.row else ""
    title = (cause.title or cause.name) if cause else f"{what}{row}: {_short(first.subject)}, expected {_short(first.oracle)}"
    return CauseRow(
        visible(title, _TITLE),
        min((_state(each, lives) for each in members), key=_ORDER.index),
        cluster_verdict(members[0]),
        visible(cause.section, _VALUE) if cause else "",
        visible(next((each for at in cases for each in by_index[at].findings), ""), _VALUE * 2),
        visible(issue, _TITLE),
        issue if _WEB.fullmatch(issue) else "",
        visible(next((each.note for each in known if each.note), "") or _expected(members, known), _VALUE),
        _history([each.strip for each in known]),
        visible(what, _TITLE),
        visible(" · ".join((case.case, *filter(None, (first.where.row,)), *code_of(first.where))), _VALUE),
        oracle,
        subject,
        visible(terminal_text.detail(first), _VALUE),
        tuple(visible(each, _VALUE) for each in (cause.places[:_MOST_PLACES] if cause else ())),
        max(0, len(cause.places) - _MOST_PLACES) if cause else 0,
        tuple(visible(each.signature, _TITLE) for each in members[:_MOST_PLACES]),
        tuple(cases),
        tuple(visible(by_index[at].case, 120) for at in cases[:_MOST_CASES]),
        sum(each.count for each in members),
        _commands(case.case, first.where.row),
    )


def _short(value: str) -> str:
    return value if len(value) <= _SHORT else value[: _SHORT - 1] + "…"


def _commands(case: str, row: str) -> tuple[NextCommand, ...]:
    """The next commands for a case; none if its name cannot be typed as it is shown."""
    if visible(case, 1000) != case or visible(row, 1000) != row:
        return ()
    name, option = shlex.quote(case), f" --row {shlex.quote(row)}" if row else ""
    return (
        NextCommand("reduce and write an issue", f"diffcheck triage {name}{option}"),
        NextCommand("localise", f"diffcheck localise {name}{option}"),
        NextCommand("all values", f"diffcheck show {name}"),
    )


def _state(cluster: Cluster, lives: Mapping[str, Life]) -> CauseState:
    life = lives.get(cluster.signature)
    if life is not None and life.state:
        return life.state
    verdicts = {member.case.verdict for member in cluster.members}
    if verdicts == {"flaky"}:
        return "flaky"
    if verdicts == {"known"}:
        return "known"
    return "expected" if all(member.case.expected == "diverge" for member in cluster.members) else "new"


def _expected(members: Sequence[Cluster], known: Sequence[Life]) -> str:
    """The reason why a divergence is not new without a baseline."""
    expected = all(member.case.expected == "diverge" for each in members for member in each.members)
    return "expected by the case file" if expected and not any(each.state for each in known) else ""


def _history(strips: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The longest history of a cause's clusters."""
    return tuple(visible(word, 20) for word in max(strips, key=len, default=())[-STRIP:])


def _entries(report: Report, seen: set[str], lives: Mapping[str, Life]) -> Iterable[CauseRow]:
    """The baseline's entries that this run did not show, such as fixed ones."""
    for each in report.baseline.standings if report.baseline else ():
        if each.signature in seen:
            continue
        life = lives.get(each.signature)
        yield CauseRow(
            visible(each.note or each.signature, _TITLE),
            each.state,
            issue=visible(each.issue, _TITLE),
            link=each.issue if _WEB.fullmatch(each.issue) else "",
            note=visible(each.why, _VALUE),
            history=_history([life.strip]) if life else (),
            signatures=(visible(each.signature, _TITLE),),
            names=tuple(visible(case, 120) for case in each.cases),
        )
