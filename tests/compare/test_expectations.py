"""Expected results as text: which a row may have, and which values and outcomes meet them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from diffcheck.capsule import layout as lo
from diffcheck.compare.expectations import check, met
from diffcheck.compare.expected_results import ExpectedResults
from diffcheck.compare.findings import Findings
from diffcheck.errors import CaseError
from diffcheck.observation import Returned, RowRecord, Threw, Trapped
from diffcheck.verdict import Judgement, Opinion
from diffcheck.wasm.values import Value

if TYPE_CHECKING:
    from diffcheck.observation import TrapKind

TEXTS = [
    ("f32", "nan:canonical", 0xFFC00000, True),
    ("f32", "nan:canonical", 0x7FC00001, False),
    ("f64", "nan:arithmetic", 0x7FF8000000000001, True),
    ("f64", "nan:arithmetic", 0x7FF4000000000000, False),
    ("i32", "1 | 2", 2, True),
    ("i32", "1 | 2", 3, False),
    ("f32", "-0", 0, False),
    ("v128", "i16x8 1 2 3 4 5 6 7 -1", 0xFFFF0007000600050004000300020001, True),
    ("v128", "f64x2 nan:canonical 1", 0x3FF00000000000007FF8000000000000, True),
    ("v128", "0x10", 16, True),
    ("ref", "null", 0, True),
    ("ref", "(ref.func)", 0, False),
    ("ref", "(ref.func)", 4, True),
    ("ref", "(ref.i31)", 2 | 5 << 32, True),
    ("ref", "(ref.struct)", 2 | 5 << 32, False),
    ("ref", "(ref.struct)", 3, True),
    ("ref", "(ref.extern 5)", 2 | 5 << 32, True),
    ("ref", "(ref.extern 5)", 2 | 6 << 32, False),
]


@pytest.mark.parametrize(("type_", "text", "bits", "result"), TEXTS)
def test_an_expected_result_is_a_set_of_values(type_: str, text: str, bits: int, *, result: bool) -> None:
    check(text, ("func" if "func" in text else "any" if type_ == "ref" else type_,))
    assert met(text, RowRecord("f", Returned(), (Value(type_, bits),))) == result
    assert not met(text, RowRecord("f", Trapped("unreachable")))


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("1", ()),
        ("()", ("i32",)),
        ("1, 2", ("i32",)),
        ("one", ("i32",)),
        ("f32x4 1 2", ("v128",)),
        ("(ref.x)", ("any",)),
        ("(ref.struct)", ("func",)),
        ("(ref.extern)", ("func",)),
        ("(ref.func)", ("any",)),
        ("null|(ref.func)", ("extern",)),
        ("(ref.i31)", ("exn",)),
        ("", ("i32",)),
        ("trap: ", ("i32",)),
        ("trap: of its own", ("i32",)),
    ],
)
def test_an_expectation_that_cannot_be_of_the_row_is_an_error(text: str, types: tuple[str, ...]) -> None:
    with pytest.raises(CaseError):
        check(text, types)


def test_traps_exhaustion_and_exceptions_are_expected_by_name() -> None:
    trap, stack = RowRecord("f", Trapped("unreachable")), RowRecord("f", Trapped("call stack exhausted"))
    thrown = RowRecord("f", Threw(0))
    for text, row in (("trap", trap), ("trap: unreachable", trap), ("exhaustion", stack), ("exception", thrown)):
        assert [met(text, each) for each in (trap, stack, thrown)] == [each is row for each in (trap, stack, thrown)]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("unreachable", "unreachable"),
        ("undefined element", "out of bounds table access"),
        ("uninitialized element 2", "uninitialized element"),
        ("null structure reference", "null reference"),
        ("null reference", "null reference"),
    ],
)
def test_a_trap_is_expected_by_its_reason(reason: str, kind: TrapKind) -> None:
    check(f"trap: {reason}", ())
    assert met(f"trap: {reason}", RowRecord("f", Trapped(kind)))
    assert met(f"trap: {reason}", RowRecord("f", Trapped("unstated")))
    assert not met(f"trap: {reason}", RowRecord("f", Trapped("integer overflow")))


@pytest.mark.parametrize(
    ("oracle", "subject", "gives"),
    [(5, 6, "oracle"), (6, 5, "subject"), (6, 7, "other")],
)
def test_a_script_has_an_opinion_on_a_divergence(oracle: int, subject: int, gives: str) -> None:
    layout = lo.Layout(
        rows=(lo.RowLayout("f", ("i32",), expected="5"),), stubs=(), branches=(), counters=(), globals=(), tables=0, memories=(),
        digest_pages=1, plan_digest=0, has_trace=False, has_output=False, known_answer=0,
    )  # fmt: skip
    findings = Findings()
    judge = ExpectedResults(layout, findings)
    judge.oracle([RowRecord("f", Returned(), (Value("i32", oracle),))], 0)
    judge.subject([RowRecord("f", Returned(), (Value("i32", subject),))])
    findings.diverge("result", "result 0", str(oracle), str(subject), row="f", detail="bits")
    judge.conclude(findings)
    assert findings.divergences[0].judgement == Judgement((Opinion("the script", "the script", gives, "5"),))
