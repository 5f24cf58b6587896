"""Results: divergences, allowances, the verdicts of passes and cases, and the report of a run.

These structs hold everything that a report shows, so that a stored report can be rendered again. 64-bit numbers are text, since
JavaScript readers lose their low bits. Names are unescaped: each output escapes them.
"""

from __future__ import annotations

from html import escape
from typing import Literal

import msgspec

from diffcheck.observation import Cost, Execution, Identity, Outcome, sentence
from diffcheck.text import visible

Verdict = Literal["agree", "diverge", "known", "oracle", "flaky", "inconclusive", "skipped"]
VERDICTS: tuple[Verdict, ...] = ("agree", "diverge", "known", "oracle", "flaky", "inconclusive", "skipped")
"""``oracle``: in all that differs the oracle stands alone, a finding about the oracle. See ``worst`` for how a case gets its
verdict from its passes.
"""

RANK: dict[str, int] = {"skipped": 0, "agree": 1, "known": 2, "oracle": 3, "inconclusive": 4, "flaky": 5, "diverge": 6}
"""The order of verdicts, from the least to the most important."""

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
    "expectation",
]
"""``expectation``: the engines agree, but not with what the script or case file expects. ``instruction`` is a result that the
specification does not allow, found in the deterministic form. Only reports of earlier versions have ``not located``.
"""

Form = Literal["plain", "deterministic"]
"""The form of the program in which a difference was found; see ``capsule.deterministic``."""

SETTLED: tuple[Verdict, ...] = ("known", "oracle")
"""The verdicts that need no attention, whatever a case expects."""


class Where(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place in the artifact: the row, the item (``counter 17``, ``memory 0 at 0x1f40``, ``result 0``), and for a branch its
    function, kind and source line from the manifest.
    """

    row: str = ""
    item: str = ""
    function: str = ""
    branch: str = ""
    file: str = ""
    line: int | None = None


SCRIPT = "the script"
"""The judge that is the expected results of a script, a case file or ``--rows``."""


class Opinion(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a judge gives where oracle and subject differ: the ``oracle``'s value, the ``subject``'s, or another ``value``.

    Empty ``gives`` means that it cannot say, with the reason in ``why``. Judges with the same ``engine`` count as one.
    """

    judge: str
    engine: str
    gives: Literal["oracle", "subject", "other", ""] = ""
    value: str = ""
    why: str = ""

    def __str__(self) -> str:
        if self.judge == SCRIPT:
            return f"expected {self.value}"
        if self.gives == "other":
            return f"{self.judge} gives {self.value}"
        return f"{self.judge} agrees with the {self.gives}" if self.gives else f"{self.judge} cannot say ({self.why})"


Alone = Literal["oracle", "subject", "both", ""]


class Judgement(msgspec.Struct, frozen=True, omit_defaults=True):
    """The opinions of all judges, and which engine stands ``alone``; empty if that is undecided."""

    opinions: tuple[Opinion, ...]
    alone: Alone = ""

    def __str__(self) -> str:
        conclusion = {
            "oracle": "the oracle stands alone",
            "subject": "the subject stands alone",
            "both": "oracle and subject each stand alone",
        }.get(self.alone, "undecided")
        return f"{', '.join(map(str, self.opinions))}: {conclusion}"


class Divergence(msgspec.Struct, frozen=True, omit_defaults=True):
    """One difference that the specification does not allow. ``oracle`` and ``subject`` are the two values as text.

    ``judgement`` is that of the first difference with the same signature, None without judges.
    """

    kind: DivergenceKind
    where: Where
    oracle: str
    subject: str
    signature: str = ""
    detail: str = ""
    form: Form = "plain"
    judgement: Judgement | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """Its kind and place, by which differences of two reports are matched."""
        return self.kind, self.where.row, self.where.item

    def __str__(self) -> str:
        row = f"row {self.where.row}: " if self.where.row else ""
        expected = f" ({self.detail})" if self.kind == "expectation" else ""
        return f"{row}{self.where.item}: oracle {self.oracle}, subject {self.subject}{expected}"


class Allowance(msgspec.Struct, frozen=True, omit_defaults=True):
    """A difference that the specification allows: the name of the rule, its section, the place, and the number of occurrences
    (``at_least`` if some were not located).
    """

    rule: str
    section: str
    where: Where
    oracle: str = ""
    subject: str = ""
    count: int = 1
    at_least: bool = False


Conclusion = Literal["proved", "gap", "dead"]
"""The MC/DC conclusion on a condition, in witness's words: independent effect shown, not shown, or never evaluated."""


class McdcImpact(msgspec.Struct, frozen=True):
    """A condition on which oracle and subject lead to different conclusions: ``decision`` is the id in the manifest, ``condition``
    the index in the decision, ``branch`` the id of the branch.
    """

    decision: int
    condition: int
    branch: int
    file: str
    line: int | None
    oracle: Conclusion
    subject: Conclusion


class StubUse(msgspec.Struct, frozen=True):
    """A stub that the rows called; results depend on it."""

    module: str
    name: str
    kind: str
    calls: int


class Agreement(msgspec.Struct, frozen=True):
    """How much was compared. Values are counters, results, globals, sizes, outputs and pages."""

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
    """One engine's result in a pass."""

    outcome: Outcome
    words: str
    """The outcome as a sentence."""
    cost: Cost = Cost()
    digest: str = ""
    """The digest of the stream in hex; in the capsule pass only."""
    log: str = ""
    """The end of the engine's output."""


def side(execution: Execution) -> SideReport:
    """One engine's result in a pass with a single execution."""
    cost = execution.cost if execution.cost.executions else Cost()
    return SideReport(execution.outcome, sentence(execution.outcome), cost, log=execution.log)


class Printed(msgspec.Struct, frozen=True):
    """The output of a row under the oracle: the beginning as text, and the total number of bytes."""

    row: str
    stream: Literal["stdout", "stderr"]
    text: str
    total: int


class Repeat(msgspec.Struct, frozen=True):
    """The result of one repetition of a pass: verdict, signatures of its divergences, reason."""

    verdict: Verdict
    signatures: tuple[str, ...] = ()
    reason: str = ""


class PassReport(msgspec.Struct, frozen=True):
    """One pass over a case. If it is not applicable, only ``why`` is set.

    ``mcdc`` are the conclusions on decisions that differ, empty if nothing diverges. ``repeats`` are the reruns that confirm the
    first run; costs and values are those of the first run. ``in_recorder`` is whether the recorder failed, and not a row.
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
        """The signatures of the divergences of the first run, earliest first."""
        return tuple(dict.fromkeys(each.signature for each in self.divergences if each.signature))


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """The diffcheck that wrote the report, or a tool that made an artifact; ``sha256`` is known of those that diffcheck ran."""

    name: str
    version: str
    sha256: str = ""


class CaseReport(msgspec.Struct, frozen=True):
    """The result of a case. ``plan`` is the plan's digest in hex; ``not_done`` are sentences on what was not compared; ``findings``
    are the case file's explanations of divergences, with sections of the specification, ``requirements`` the names of those that it
    tests. ``cached`` are the sides that came entirely from the cache, with the costs of the original run. ``bad_input`` is whether
    the user named this file and it is not a module, or its case file has a mistake. ``made_by`` are the tools that made the
    artifact.
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
    requirements: tuple[str, ...] = ()
    made_by: tuple[Tool, ...] = ()

    @property
    def took_ns(self) -> int:
        """The time of the case; if the subject is cached, the time of the original executions."""
        if "subject" not in self.cached:
            return self.elapsed_ns
        return sum(side.cost.elapsed_ns for each in self.passes for side in (each.oracle, each.subject) if side)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What was not compared, each sentence once: of the case and of its passes."""
        return tuple(dict.fromkeys((*self.not_done, *(what for each in self.passes for what in each.agreement.not_compared))))

    @property
    def as_expected(self) -> bool:
        """Whether the case has its expected verdict."""
        return self.verdict == self.expected


class EngineFinding(msgspec.Struct, frozen=True):
    """An engine issue found by the probes, independent of cases and reported once."""

    name: str
    what: str
    section: str = ""


EntryState = Literal["new", "returned", "known", "fixed", "masked", "flaky", "absent", "expired", "wider", "stale", "not run"]
"""The status of a signature relative to the baseline. *new*: in no entry. *returned*: in an entry marked as fixed. *known*: in the
cases of its entry. *wider*: in more cases. *expired*: past the date of its entry. *fixed*: found nowhere with another subject.
*masked*: hidden by an earlier difference. *flaky*: only in some runs. *absent*: not found although the subject is the same.
*stale*: its entry names no existing case. *not run*: its cases did not complete."""


class BaselineStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """The status of one signature; ``cases`` are those in which it was found, or those of its entry if it was not found."""

    signature: str
    state: EntryState
    cases: tuple[str, ...] = ()
    issue: str = ""
    note: str = ""
    why: str = ""


class BaselineReport(msgspec.Struct, frozen=True):
    """A run compared with a baseline: the status of each signature. With ``strict`` not only new signatures are errors."""

    file: str = ""
    strict: bool = False
    standings: tuple[BaselineStatus, ...] = ()

    def of(self, *states: EntryState) -> tuple[BaselineStatus, ...]:
        """The entries in one of these states, in order."""
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


class MapShare(msgspec.Struct, frozen=True):
    """How much of the map of instructions and operands the last sweep checked: cells, of which ``checked``, and checks."""

    cells: int
    checked: int
    checks: int


class SelftestResult(msgspec.Struct, frozen=True):
    """The last selftest of this diffcheck, whose sources have the digest ``sha256``: ``reported`` of ``faults`` were reported
    correctly, and ``findings`` are the runs without a fault, of as many, that had one.
    """

    sha256: str
    engine: str
    seed: int
    faults: int
    reported: int
    findings: int


class Report(msgspec.Struct, frozen=True):
    """A run, as stored in ``reports/report.json``."""

    schema: Literal["diffcheck-report-v1"]
    tool: Tool
    subject: Identity
    oracle: Identity
    started: str
    """The start in UTC, ISO 8601 to the second."""
    elapsed_ns: int
    """The wall-clock time of the run."""
    notice: str
    """What a run with these two engines cannot show; empty for nothing."""
    options: dict[str, str]
    """The options of the command by name, as text."""
    totals: dict[str, int]
    """The number of cases by verdict, and of vacuous and unexpected cases."""
    engine_findings: tuple[EngineFinding, ...]
    """Engine issues that the probes found, independent of cases."""
    cases: tuple[CaseReport, ...]
    interrupted: bool = False
    """The run ended before its last case."""
    baseline: BaselineReport | None = None
    division: str = ""
    """Identifies the division among shards; empty without shards."""
    causes: tuple[Cause, ...] = ()
    """The instructions that go wrong, as far as they are known."""
    places: tuple[str, ...] = ("",)
    """Ids of folders and cases: the run has every existing case under them that no option left out."""
    root: str = ""
    """The folder that ids are relative to, an absolute path; reports of earlier versions have none."""
    error: str = ""
    """What interrupted the run, unless it was a signal or the first failing case."""
    planned: int = 0
    """The number of cases of the whole run, 0 if not known."""
    failed_fast: bool = False
    """The first failing case ended the run."""
    judges: tuple[Identity, ...] = ()
    """The engines of ``--judge``."""
    map: MapShare | None = None
    """What the last sweep of the same build checked; None without one."""
    selftest: SelftestResult | None = None
    """The last selftest of the same sources; None without one."""

    def _repr_html_(self) -> str:
        """The report for a notebook: the totals, and a row for each unexpected case."""
        counts = ", ".join(f"{self.totals.get(verdict, 0)} {verdict}" for verdict in VERDICTS if self.totals.get(verdict))
        head = f"{self.subject.name} against {self.oracle.name}, {self.totals.get('cases', 0)} cases: {counts or 'none'}"
        cells = [(each.case, each.verdict, each.reason) for each in self.cases if not each.as_expected]
        rows = "".join("<tr>" + "".join(f"<td>{escape(visible(text))}</td>" for text in row) + "</tr>" for row in cells)
        return f"<p>{escape(visible(head))}</p>" + (f"<table>{rows}</table>" if rows else "")


def worst(verdicts: list[Verdict]) -> Verdict:
    """The verdict of a case from those of its applicable passes."""
    return max(verdicts, key=RANK.__getitem__, default="skipped")


def totals(cases: tuple[CaseReport, ...]) -> dict[str, int]:
    """The number of cases by verdict, and of vacuous and unexpected cases."""
    counts: dict[str, int] = dict.fromkeys(VERDICTS, 0)
    for case in cases:
        counts[case.verdict] += 1
    return {
        "cases": len(cases),
        **counts,
        "vacuous": sum(case.vacuous for case in cases),
        "unexpected": sum(not case.as_expected and case.verdict not in SETTLED for case in cases),
    }
