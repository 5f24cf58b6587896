"""One small set of results that every report renders, as the events of a run."""

from __future__ import annotations

from diffcheck.observation import Cost, Identity, Refused, Returned, TimedOut, Trapped
from diffcheck.runner.events import CaseFinished, CaseStarted, EngineProbed, RunFinished, RunStarted
from diffcheck.verdict import (
    Agreement,
    Allowance,
    BaselineReport,
    BaselineStatus,
    CaseReport,
    Divergence,
    EngineFinding,
    PassReport,
    SideReport,
    StubUse,
    Where,
)

SUBJECT = Identity("kilnd", "0.4.4", "/opt/kiln/kilnd", "ab" * 32, "--kilnd")
ORACLE = Identity("wasmtime", "50.0.1", "/lib/wasmtime.so", "cd" * 32, "Python package")
NOTICE = "No kilnd was found, so the subject is wasmtime's own interpreter: this compares wasmtime with itself."
HOSTILE = ("\x1b[31mred\x1b[0m", "[red]markup[/red]", "[/]", "right\u202eto left", "nul\0here", "two\nlines\r\n", "x" * (1 << 20))


def side(outcome, words, ms=12):
    return SideReport(outcome, words, Cost(ms * 1_000_000, ms * 900_000, 44_000_000, 1), "5f3c9a0211aa77ee")


def agreed(mode="capsule", **fields):
    outcome = side(Returned(), "returned")
    amount = Agreement(4, 120, 37, 160, 60, 3)
    return PassReport(mode, applicable=True, verdict="agree", oracle=outcome, subject=outcome, agreement=amount, **fields)


def case(name, passes, verdict="agree", **fields):
    given = {
        "artifact": f"corpus/{name}.wasm",
        "sha256": "12" * 32,
        "reason": "",
        "expected": "agree",
        "vacuous": False,
        "plan": "77" * 8,
        "rows": ("run_row_0", "run_row_1"),
        "purpose": "a purpose",
        "elapsed_ns": 420_000_000,
        **fields,
    }
    return CaseReport(case=name, verdict=verdict, passes=tuple(passes), **given)


def not_applicable(why="29 imports"):
    return PassReport("direct", applicable=False, why=why)


COUNTER = Divergence(
    "counter",
    Where("run_row_2", "counter 17", "is_leap_year", "br_if", "leap_year.c", 12),
    "3",
    "2",
    "counter/is_leap_year/br_if/leap_year.c:12",
)


def diverged(divergences, mode="capsule"):
    return PassReport(
        mode,
        applicable=True,
        verdict="diverge",
        reason=f"{divergences[0].kind} differs",
        oracle=side(Returned(), "returned"),
        subject=side(Trapped("unreachable"), "trapped: unreachable"),
        divergences=tuple(divergences),
        divergences_total=len(divergences),
        agreement=Agreement(4, 120, 37, 160, 60, 3, ("the state at the trap",)),
    )


CASES = (
    case("decisions/leap_year", [diverged([COUNTER, COUNTER]), agreed("direct")], "diverge", reason="counter 17 differs"),
    case("decisions/triangle", [diverged([COUNTER]), not_applicable()], "diverge", reason="counter 17 differs"),
    case(
        "memory/grow",
        [
            agreed(),
            diverged(
                [
                    Divergence(
                        "outcome",
                        Where("grow=65535", "memory 0 at 0x1f40"),
                        "returned",
                        "refused at load: failed to load WITNESS_MODULE, no reason given",
                        "outcome/refused",
                        "the module has 300 exports",
                    )
                ],
                "direct",
            ),
        ],
        "diverge",
        expected="diverge",
        reason="the subject refuses it",
        not_done=("1,200 pages were not digested",),
        explanation="Value of root['memory'] changed from 17 to 18.\nIts neighbours are equal.",
    ),
    case(
        "floats/nan",
        [
            agreed(
                allowances=(
                    Allowance("NaN bits", "core specification 4.3.3", Where("nan", "result 0"), "nan:0x400000", "nan:0x400001", 3),
                ),
                stubs=(StubUse("wasi_snapshot_preview1", "fd_write", "functional", 4), StubUse("env", "host_log", "zero", 2)),
            ),
            agreed("direct"),
        ],
    ),
    case(
        "loops/endless",
        [
            PassReport(
                "capsule",
                applicable=True,
                verdict="inconclusive",
                reason="both timed out",
                oracle=side(TimedOut(10), "timed out after 10 s", 10_000),
                subject=side(TimedOut(10), "timed out after 10 s", 10_000),
            ),
            not_applicable("no entry"),
        ],
        "inconclusive",
        reason="both engines timed out after 10 s",
        expected="inconclusive",
    ),
    case(
        "odd/memories", [not_applicable("it has 100 memories already")], "skipped", reason="unsealable: it has 100 memories already"
    ),
    case("odd/empty", [agreed(vacuous=True)], vacuous=True),
    case("odd/refused", [PassReport("direct", applicable=True, verdict="agree", oracle=side(Refused("load"), "refused"))]),
)

FINDINGS = (
    EngineFinding(
        "missing memory import", "a module instantiates although its memory import is missing", "core specification, instantiation"
    ),
    EngineFinding("export limit", "a module with 257 exports is refused, one with 256 is accepted"),
)


ISSUE = "https://github.com/example/kiln/issues/12"
BASELINE = BaselineReport(
    "baseline.toml",
    standings=(
        BaselineStatus("outcome/refused", "new", ("memory/grow",), why="outcome memory 0 at 0x1f40"),
        BaselineStatus("gone/1", "fixed", ("floats/nan", "odd/empty"), ISSUE, "result 0 of nan", "gone in 0.4.4"),
        BaselineStatus("gone/2", "stale", ("no/more",), why="the case no/more no longer exists"),
        BaselineStatus(COUNTER.signature, "known", ("decisions/leap_year", "decisions/triangle"), ISSUE, "the leap day"),
    ),
)
"""Of the sample's two clusters one is known, the other new; two entries did not show up."""


def events(cases=CASES, notice="", findings=FINDINGS, *, finished=True, interrupted=False, total=0):
    yield RunStarted(total or len(cases), 2, SUBJECT, ORACLE, notice)
    yield EngineProbed(findings)
    for each in cases:
        yield CaseStarted(each.case)
        yield CaseFinished(each)
    if finished:
        yield RunFinished(interrupted, 12_345_000_000)
