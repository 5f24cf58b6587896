"""What came out: divergences, allowances, verdicts of passes and cases, and the report that they make up.

Everything a report shows is in these structs, so that a stored report can be rendered again. 64-bit numbers are text here
(hex or decimal words), since readers in JavaScript lose them; names are as they came, each output makes them safe.
"""

from __future__ import annotations

from html import escape
from typing import Literal

import msgspec

from diffcheck.observation import Cost, Identity, Outcome
from diffcheck.text import visible

Verdict = Literal["agree", "diverge", "known", "flaky", "inconclusive", "skipped"]
VERDICTS: tuple[Verdict, ...] = ("agree", "diverge", "known", "flaky", "inconclusive", "skipped")
"""From best to worst only as far as a case's verdict is chosen from its passes: see ``worst``."""

_RANK: dict[str, int] = {"skipped": 0, "agree": 1, "known": 2, "inconclusive": 3, "flaky": 4, "diverge": 5}

DivergenceKind = Literal[
    "outcome",
    "result",
    "counter",
    "brval",
    "brcnt",
    "trace",
    "global",
    "table size",
    "table",
    "memory size",
    "memory",
    "output",
    "stub calls",
    "stream",
    "instruction",
    "not located",
    "validity",
]
"""``instruction`` is a result that the specification does not allow, seen in the deterministic form; ``not located`` is only in
reports of earlier versions."""

Form = Literal["plain", "deterministic"]
"""The form of the program that a difference was found in; see ``capsule.deterministic``."""


class Where(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place in the artifact's own terms: the row, the item (``counter 17``, ``memory 0 at 0x1f40``, ``result 0``), and for a
    branch its function, kind and source line from the manifest.
    """

    row: str = ""
    item: str = ""
    function: str = ""
    branch: str = ""
    file: str = ""
    line: int | None = None


class Divergence(msgspec.Struct, frozen=True, omit_defaults=True):
    """One difference that the specification does not allow. ``oracle`` and ``subject`` are the two values in words."""

    kind: DivergenceKind
    where: Where
    oracle: str
    subject: str
    signature: str = ""
    detail: str = ""
    form: Form = "plain"


class Allowance(msgspec.Struct, frozen=True, omit_defaults=True):
    """A difference that the specification leaves open: the rule's name, its section, where, and how often (``at_least`` where not
    all such differences were located).
    """

    rule: str
    section: str
    where: Where
    oracle: str = ""
    subject: str = ""
    count: int = 1
    at_least: bool = False


Conclusion = Literal["proved", "gap", "dead"]
"""What a run says of a condition, in witness's words: its independent effect is shown, not shown, or it was never evaluated."""


class McdcImpact(msgspec.Struct, frozen=True):
    """A condition about which the subject's run says another thing than the oracle's: ``decision`` is the manifest's id,
    ``condition``
    the index in it, ``branch`` the branch's id.
    """

    decision: int
    condition: int
    branch: int
    file: str
    line: int | None
    oracle: Conclusion
    subject: Conclusion


class StubUse(msgspec.Struct, frozen=True):
    """A stub that was called during the rows: coverage that rests on it is a weaker claim."""

    module: str
    name: str
    kind: str
    calls: int


class Agreement(msgspec.Struct, frozen=True):
    """How much was compared: values are counters, results, globals, sizes, outputs and pages."""

    rows: int = 0
    counters: int = 0
    counters_nonzero: int = 0
    values: int = 0
    values_nonzero: int = 0
    pages: int = 0
    not_compared: tuple[str, ...] = ()

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.rows + other.rows,
            max(self.counters, other.counters),
            max(self.counters_nonzero, other.counters_nonzero),
            self.values + other.values,
            self.values_nonzero + other.values_nonzero,
            self.pages + other.pages,
            tuple(dict.fromkeys(self.not_compared + other.not_compared)),
        )


class SideReport(msgspec.Struct, frozen=True):
    """One engine's part of a pass."""

    outcome: Outcome
    words: str
    cost: Cost = Cost()
    digest: str = ""
    log: str = ""


class Printed(msgspec.Struct, frozen=True):
    """What a row wrote to a standard stream under the oracle: the beginning of it as text, and how many bytes in all."""

    row: str
    stream: Literal["stdout", "stderr"]
    text: str
    total: int


class Repeat(msgspec.Struct, frozen=True):
    """What one run of a pass came to: its verdict, the signatures of what diverged, and the reason in words."""

    verdict: Verdict
    signatures: tuple[str, ...] = ()
    reason: str = ""


class PassReport(msgspec.Struct, frozen=True):
    """One pass over a case; where it is not applicable ``why`` says so and nothing else is filled.

    ``mcdc`` are the conclusions about the artifact's decisions that differ; it is empty where nothing diverges. ``repeats`` are
    the runs after the first, where the pass was run again to confirm what it said; costs and values are those of the first.
    ``in_recorder`` is whether something went wrong in the recorder, and not in a row.
    """

    mode: Literal["capsule", "direct"]
    applicable: bool
    why: str = ""
    verdict: Verdict = "skipped"
    reason: str = ""
    oracle: SideReport | None = None
    subject: SideReport | None = None
    divergences: tuple[Divergence, ...] = ()
    divergences_total: int = 0
    allowances: tuple[Allowance, ...] = ()
    agreement: Agreement = Agreement()
    stubs: tuple[StubUse, ...] = ()
    printed: tuple[Printed, ...] = ()
    vacuous: bool = False
    mcdc: tuple[McdcImpact, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    in_recorder: bool = False

    @property
    def signatures(self) -> tuple[str, ...]:
        """The signatures of what diverged in the first run, the earliest first."""
        return tuple(dict.fromkeys(each.signature for each in self.divergences if each.signature))


class CaseReport(msgspec.Struct, frozen=True):
    """What became of a case. ``plan`` is the plan's digest in hex; ``not_done`` says what was left out, in sentences; ``findings``
    is what the case file says of why it diverges, with the specification's section. ``cached`` are the sides that were not run at
    all, since what they do is known; their costs are those of the run in which they were. ``bad_input`` is whether the user named
    this very file and it, or its case file, cannot be read.
    """

    case: str
    artifact: str
    sha256: str
    verdict: Verdict
    reason: str
    expected: Verdict
    vacuous: bool
    plan: str
    rows: tuple[str, ...]
    passes: tuple[PassReport, ...]
    purpose: str = ""
    elapsed_ns: int = 0
    not_done: tuple[str, ...] = ()
    explanation: str = ""
    findings: tuple[str, ...] = ()
    cached: tuple[Literal["oracle", "subject"], ...] = ()
    bad_input: bool = False

    @property
    def took_ns(self) -> int:
        """What the case took; where it came from the cache, what its executions took when they were run."""
        if "subject" not in self.cached:
            return self.elapsed_ns
        return sum(side.cost.elapsed_ns for each in self.passes for side in (each.oracle, each.subject) if side)

    @property
    def as_expected(self) -> bool:
        """Whether this is the verdict that the case should have."""
        return self.verdict == self.expected


class EngineFinding(msgspec.Struct, frozen=True):
    """What is true of an engine and not of a case, from the probes: told once."""

    name: str
    what: str
    section: str = ""


class Tool(msgspec.Struct, frozen=True):
    """Which diffcheck wrote the report."""

    name: str
    version: str


EntryState = Literal["new", "returned", "known", "fixed", "masked", "flaky", "absent", "expired", "wider", "stale", "not run"]
"""What a run says of a signature against the baseline: *new* is in none of its entries, *returned* in one that is marked as fixed;
*known* shows up as the entry says, *wider* in more cases than it says, *expired* past its date. *fixed* ran on another subject and
showed up nowhere; *masked* is not seen because an earlier difference hides its place; *flaky* shows up in some runs only; *absent*
was not seen though the subject is still the same; *stale* names no case that exists; *not run* had no complete run this time."""


class BaselineStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """One signature against the baseline; ``cases`` are those it showed up in, or where it did not, those of its entry."""

    signature: str
    state: EntryState
    cases: tuple[str, ...] = ()
    issue: str = ""
    note: str = ""
    why: str = ""


class BaselineReport(msgspec.Struct, frozen=True):
    """A run against a baseline: each signature's standing. With ``strict`` more than what is new is an error."""

    file: str = ""
    strict: bool = False
    standings: tuple[BaselineStatus, ...] = ()

    def of(self, *states: EntryState) -> tuple[BaselineStatus, ...]:
        """The standings in one of these states, in their order."""
        return tuple(each for each in self.standings if each.state in states)


class Cause(msgspec.Struct, frozen=True, omit_defaults=True):
    """An instruction that an engine executes wrongly. ``name`` identifies the cause in all artifacts, ``title`` describes its first
    occurrence, ``section`` is the specification's. ``places`` are the first occurrence of each of the ``signatures``.
    """

    name: str
    signatures: tuple[str, ...]
    places: tuple[str, ...]
    title: str = ""
    section: str = ""


class Report(msgspec.Struct, frozen=True):
    """A run: what ``reports/report.json`` holds. ``division`` is that of its shards, where it is one; every case under one of
    ``places`` (ids of folders and cases) that exists is in it, unless an option left it out. ``root`` is the folder that ids are
    relative to, as an absolute path; a report of an earlier version has none. ``error`` is what ended an interrupted run, unless it
    was a signal.
    """

    schema: Literal["diffcheck-report-v1"]
    tool: Tool
    subject: Identity
    oracle: Identity
    started: str
    elapsed_ns: int
    notice: str
    options: dict[str, str]
    totals: dict[str, int]
    engine_findings: tuple[EngineFinding, ...]
    cases: tuple[CaseReport, ...]
    interrupted: bool = False
    baseline: BaselineReport | None = None
    division: str = ""
    causes: tuple[Cause, ...] = ()
    places: tuple[str, ...] = ("",)
    root: str = ""
    error: str = ""

    def _repr_html_(self) -> str:
        """The report for a notebook: a row for each case that is not as expected, and the totals."""
        counts = ", ".join(f"{self.totals.get(verdict, 0)} {verdict}" for verdict in VERDICTS if self.totals.get(verdict))
        head = f"{self.subject.name} against {self.oracle.name}, {self.totals.get('cases', 0)} cases: {counts or 'none'}"
        cells = [(each.case, each.verdict, each.reason) for each in self.cases if not each.as_expected]
        rows = "".join("<tr>" + "".join(f"<td>{escape(visible(text))}</td>" for text in row) + "</tr>" for row in cells)
        return f"<p>{escape(visible(head))}</p>" + (f"<table>{rows}</table>" if rows else "")


def worst(verdicts: list[Verdict]) -> Verdict:
    """A case's verdict from those of its applicable passes."""
    return max(verdicts, key=_RANK.__getitem__, default="skipped")


def totals(cases: tuple[CaseReport, ...]) -> dict[str, int]:
    """A count for each verdict, and of the vacuous and the unexpected ones."""
    counts: dict[str, int] = dict.fromkeys(VERDICTS, 0)
    for case in cases:
        counts[case.verdict] += 1
    return {
        "cases": len(cases),
        **counts,
        "vacuous": sum(case.vacuous for case in cases),
        "unexpected": sum(not case.as_expected and case.verdict != "known" for case in cases),
    }
