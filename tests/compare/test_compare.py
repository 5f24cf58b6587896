"""Comparing: what is equal agrees, what differs mirrors, and is counted by its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffcheck.capsule import layout as lo
from diffcheck.compare import allowances as allow
from diffcheck.compare import outcomes
from diffcheck.compare import rows as compare_rows
from diffcheck.compare import state as compare_state
from diffcheck.compare.findings import Findings
from diffcheck.observation import (
    TRAP_KINDS,
    Crashed,
    Exited,
    FinalState,
    HarnessFailed,
    Outcome,
    OutOfMemory,
    Output,
    Refused,
    Returned,
    RowRecord,
    TimedOut,
    Trapped,
)
from diffcheck.wasm.values import Value

ONES = (1 << 64) - 1

LAYOUT = lo.Layout(
    rows=(lo.RowLayout("r", ("i32", "f64")),),
    stubs=(lo.Stub("m", "f", "zero", 0), lo.Stub("m", "g", "zero", 1)),
    branches=(3, 8),
    counters=(0, 7),
    globals=(("g", "f32"), ("h", "v128")),
    tables=2,
    memories=(lo.Memory(0, is64=False), lo.Memory(2, is64=True)),
    digest_pages=4,
    plan_digest=1,
    has_trace=True,
    has_output=True,
)


def values(kinds: Sequence[str]) -> st.SearchStrategy[tuple[Value, ...]]:
    widths = {"i32": 32, "i64": 64, "f32": 32, "f64": 64, "v128": 128}
    return st.tuples(*(st.integers(0, (1 << widths[kind]) - 1).map(lambda bits, kind=kind: Value(kind, bits)) for kind in kinds))


u32, u64 = st.integers(0, (1 << 32) - 1), st.integers(0, ONES)
outputs = st.builds(Output, st.integers(0, 99), st.binary(max_size=5), u64)
ends: st.SearchStrategy[Outcome] = st.one_of(
    st.just(Returned()),
    st.builds(Exited, st.integers(0, 2)),
    st.builds(Trapped, st.sampled_from(TRAP_KINDS[:4])),
    st.builds(Refused, st.sampled_from(["load", "unknown"]), st.sampled_from(["", "why"])),
)


@st.composite
def seen(draw: st.DrawFn) -> RowRecord:
    outcome = draw(ends)
    if isinstance(outcome, Trapped) and draw(st.booleans()):
        return RowRecord("r", outcome, entered=False)
    return RowRecord(
        name="r",
        outcome=outcome,
        results=draw(values(("i32", "f64"))) if isinstance(outcome, Returned) else (),
        brvals=draw(st.tuples(u32, u32)),
        brcnts=draw(st.tuples(u32, u32)),
        trace=draw(st.binary(max_size=4).map(lambda data: data * 4)),
        trace_overflow=draw(st.booleans()),
        stdout=draw(outputs),
        stderr=draw(outputs),
        stub_calls=draw(st.tuples(u32, u32)),
    )


lanes = st.tuples(st.integers(0, 3), st.integers(0, 3))
finals = st.builds(
    FinalState,
    counters=st.dictionaries(st.sampled_from([0, 7, 9]), u64, min_size=1),
    globals=values(("f32", "v128")).map(lambda both: {"g": both[0], "h": both[1]}),
    tables=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    memories=st.just((2, 3)),
    pages=st.tuples(st.tuples(lanes, lanes), st.tuples(lanes, lanes, lanes)),
)


def row(**changes: object) -> RowRecord:
    plain = RowRecord(
        name="r",
        outcome=Returned(),
        results=(Value("i32", 1), Value("f64", 2)),
        brvals=(0, 1),
        brcnts=(0, 1),
        trace=bytes(8),
        stdout=Output(3, b"abc", 1),
        stderr=Output(0, b"", 2),
        stub_calls=(0, 1),
    )
    return msgspec.structs.replace(plain, **changes)


def final(**changes: object) -> FinalState:
    plain = FinalState(
        counters={0: 1, 7: 0},
        globals={"g": Value("f32", 1), "h": Value("v128", 1)},
        tables=(1, 2),
        memories=(1, 2),
        pages=(((1, 1),), ((0, 0), (2, 2))),
    )
    return msgspec.structs.replace(plain, **changes)


def test_the_same_trap_within_a_row_and_before_it_is_a_divergence():
    trap = Trapped("unreachable")
    found = compared_rows(row(outcome=trap, results=()), RowRecord("r", trap, entered=False)).divergences
    assert [(each.kind, each.oracle, each.subject) for each in found] == [
        ("outcome", "trapped: unreachable, in the row", "trapped: unreachable, before the row was entered")
    ]
    assert not compared_rows(RowRecord("r", trap, entered=False), RowRecord("r", trap, entered=False)).divergences


def compared_rows(one: RowRecord, other: RowRecord) -> Findings:
    findings = Findings()
    compare_rows.compare(one, other, LAYOUT, findings)
    return findings


def compared_states(one: FinalState, other: FinalState) -> tuple[Findings, list[tuple[int, int]]]:
    findings = Findings()
    return findings, compare_state.compare(one, other, LAYOUT, findings)


def mirrored(one: Findings, other: Findings) -> bool:
    """Whether both found the same things with the sides exchanged."""
    ones = [(each.kind, each.where.item, each.oracle, each.subject) for each in one.divergences]
    others = [(each.kind, each.where.item, each.subject, each.oracle) for each in other.divergences]
    allowed = sorted((each.rule, each.where.item, each.oracle, each.subject) for each in one.allowances)
    turned = sorted((each.rule, each.where.item, each.subject, each.oracle) for each in other.allowances)
    return (ones, allowed, one.total) == (others, turned, other.total)


@given(seen())
def test_a_row_agrees_with_itself(one: RowRecord) -> None:
    assert compared_rows(one, one).total == 0


@given(seen(), seen())
def test_comparing_rows_mirrors(one: RowRecord, other: RowRecord) -> None:
    assert mirrored(compared_rows(one, other), compared_rows(other, one))


@given(finals)
def test_a_state_agrees_with_itself(one: FinalState) -> None:
    findings, pages = compared_states(one, one)
    assert (findings.total, pages) == (0, [])


@given(finals, finals)
def test_comparing_states_mirrors(one: FinalState, other: FinalState) -> None:
    (first, pages), (second, turned) = compared_states(one, other), compared_states(other, one)
    assert mirrored(first, second)
    assert pages == turned


@settings(max_examples=100)
@given(seen(), seen())
def test_rows_that_differ_in_anything_diverge(one: RowRecord, other: RowRecord) -> None:
    findings = compared_rows(one, other)
    assert findings.total or one == other or isinstance(one.outcome, Refused)


ROW_CHANGES = {
    "result": {"results": (Value("i32", 2), Value("f64", 2))},
    "brval": {"brvals": (0, 2)},
    "brcnt": {"brcnts": (1, 1)},
    "trace": {"trace": bytes(7) + b"\1"},
    "trace shorter": {"trace": bytes(4)},
    "trace overflow": {"trace_overflow": True},
    "output": {"stdout": Output(3, b"abd", 1)},
    "output past the cap": {"stdout": Output(4, b"abc", 1)},
    "output's digest": {"stderr": Output(0, b"", 3)},
    "stub calls": {"stub_calls": (1, 1)},
    "outcome": {"outcome": Exited(0), "results": ()},
    "not reached": {"outcome": None},
}


@pytest.mark.parametrize("name", ROW_CHANGES)
def test_each_part_of_a_row_is_compared(name: str) -> None:
    changed = row(**ROW_CHANGES[name])
    findings = compared_rows(row(), changed)
    kind = {"not reached": "outcome", "trace shorter": "trace", "trace overflow": "trace"}.get(name, name)
    assert [each.kind for each in findings.divergences] == ["output" if name.startswith("output") else kind]
    assert mirrored(findings, compared_rows(changed, row()))


STATE_CHANGES = {
    "counter": {"counters": {0: 2, 7: 0}},
    "counter missing": {"counters": {0: 1}},
    "counter extra": {"counters": {0: 1, 7: 0, 9: 0}},
    "global": {"globals": {"g": Value("f32", 0x80000001), "h": Value("v128", 1)}},
    "table size": {"tables": (1, 3)},
    "memory size": {"memories": (1, 3)},
}


@pytest.mark.parametrize("name", STATE_CHANGES)
def test_each_part_of_a_state_is_compared(name: str) -> None:
    findings, pages = compared_states(final(), final(**STATE_CHANGES[name]))
    assert [each.kind for each in findings.divergences] == [name.removesuffix(" missing").removesuffix(" extra")]
    assert pages == []


def test_counters_that_are_exchanged_are_two_divergences() -> None:
    findings, _ = compared_states(final(counters={0: 1, 7: 5}), final(counters={0: 5, 7: 1}))
    assert [(each.where.item, each.oracle, each.subject) for each in findings.divergences] == [
        ("counter 0", "1", "5"),
        ("counter 7", "5", "1"),
    ]


def test_pages_whose_digests_differ_are_given_to_be_looked_into() -> None:
    findings, pages = compared_states(final(), final(pages=(((1, 2),), ((0, 0), (3, 3)))))
    assert (findings.total, pages) == (0, [(0, 0), (1, 1)])


def test_a_page_that_only_one_side_digested_is_a_divergence() -> None:
    findings, _ = compared_states(final(), final(pages=(((1, 1),), ((0, 0),))))
    assert findings.total == 1


def test_pages_that_were_not_digested_are_said() -> None:
    findings, _ = compared_states(final(memories=(5, 2)), final(memories=(5, 2)))
    assert findings.agreement.not_compared == ("4 pages of memory 0 after the limit of digested pages",)


# Outcomes.

FAILED = (Crashed(11), OutOfMemory(1), TimedOut(1.0), HarnessFailed("no answer"))


STATED = [each for each in TRAP_KINDS if each not in ("unknown", "unstated")]


@pytest.mark.parametrize("kind", STATED)
def test_the_same_trap_kind_is_the_same_whatever_the_words(kind: str) -> None:
    assert outcomes.same(Trapped(kind, "a"), Trapped(kind, "b"))
    assert not any(outcomes.same(Trapped(kind), Trapped(other)) for other in STATED if other != kind)


@pytest.mark.parametrize("kind", STATED)
def test_an_unknown_trap_kind_is_a_finding_on_either_side(kind: str) -> None:
    known, unknown = row(outcome=Trapped(kind), results=()), row(outcome=Trapped("unknown", kind), results=())
    assert compared_rows(known, unknown).total == 1
    assert compared_rows(unknown, known).total == 1


def test_two_unknown_trap_kinds_are_the_same_only_in_the_same_words() -> None:
    assert outcomes.same(Trapped("unknown", "a"), Trapped("unknown", "a"))
    assert not outcomes.same(Trapped("unknown", "a"), Trapped("unknown", "b"))


def test_a_kind_that_an_engine_does_not_state_is_not_compared_and_that_is_said() -> None:
    findings = compared_rows(row(outcome=Trapped("unreachable"), results=()), row(outcome=Trapped("unstated", "x"), results=()))
    assert findings.total == 0
    assert findings.agreement.not_compared
    assert not outcomes.same(Trapped("unstated"), Returned())


@pytest.mark.parametrize("failure", FAILED)
def test_an_engine_that_came_to_no_answer_is_never_the_same(failure: Outcome) -> None:
    assert not any(outcomes.same(failure, each) or outcomes.same(each, failure) for each in (failure, Returned(), Exited(0)))


def test_exit_codes_are_compared_and_returning_is_no_exit() -> None:
    assert outcomes.same(Exited(1), Exited(1))
    assert not outcomes.same(Exited(0), Exited(1))
    assert not outcomes.same(Returned(), Exited(0))


def test_two_refusals_agree_and_it_is_said_where_the_reason_is_not_compared() -> None:
    findings = Findings()
    assert outcomes.compare(Refused("load", "a"), Refused("unknown", ""), findings)
    assert findings.total == 0
    assert len(findings.agreement.not_compared) == 1


def test_after_a_stack_was_exhausted_the_state_is_not_compared() -> None:
    deep = Trapped("call stack exhausted")
    findings = compared_rows(row(outcome=deep, results=(), brcnts=(9, 9)), row(outcome=deep, results=()))
    assert findings.total == 0
    assert findings.agreement.not_compared


def test_the_first_differing_byte_of_a_page_is_told() -> None:
    findings = Findings()
    differing = [allow.Word(16, 0x1100, 0x2200), allow.Word(24, 1, 2)]
    compare_state.compare_page(2, 3, differing, findings)
    (divergence,) = findings.divergences
    assert (divergence.where.item, divergence.oracle, divergence.subject) == (f"memory 2 at {3 * 65536 + 17:#x}", "0x11", "0x22")


def test_words_are_those_that_differ() -> None:
    assert allow.words(80, bytes(24), bytes(8) + b"\1" + bytes(15)) == [allow.Word(88, 0, 1)]


def test_differences_are_counted_by_place() -> None:
    findings = Findings()
    for value in ("2", "3"):
        findings.diverge("result", "result 0", "1", value, row="f")
    findings.diverge("counter", "counter 0", "1", "2")
    assert [(key, each.subject, each.count) for key, each in findings.places.items()] == [
        (("result", "f", "result 0"), "2", 2),
        (("counter", "", "counter 0"), "2", 1),
    ]


@pytest.mark.parametrize("change", [lambda: row(results=(Value("i32", 9), Value("f64", 2))), lambda: row(trace=b"abcdefgh")])
def test_a_divergence_keeps_its_signature_while_its_values_drift(change: Callable[[], RowRecord]) -> None:
    one, other = compared_rows(row(), change()), compared_rows(row(), change())
    assert [each.signature for each in one.divergences] == [each.signature for each in other.divergences]
    drifted = compared_rows(row(), row(results=(Value("i32", 77), Value("f64", 2))))
    if one.divergences[0].kind == "result":
        assert drifted.divergences[0].signature == one.divergences[0].signature
