"""What the specification leaves open agrees with an allowance; an engine that goes further diverges, whatever its values look like."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from diffcheck.cases.discovery import Case
from diffcheck.compare.allowances import NAN_RULE, NAN_SECTION
from diffcheck.faults import module_edit
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner import case_run as cases
from diffcheck.runner import planning
from diffcheck.runner.request import Request
from diffcheck.verdict import CaseReport
from diffcheck.wasm.module import Module, read
from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.types import FuncType
from diffcheck_backends import wasmtime

PASSES = 1000
QUIET = {"f32": 0x7FC0_0000, "f64": 0x7FF8 << 48}


def program(body: str, *, entry: str = "f") -> str:
    return f"""(module (memory (export "m") 1) (type $f32 (func (param f32) (result f32))) (type $f64 (func (param f64) (result f64)))
      (global $seen (export "__witness_counter_0") (mut i64) (i64.const 0)) (global $zero (mut f64) (f64.const 0))
      (func $nan (result f64) (f64.div (global.get $zero) (global.get $zero)))
      (func $nan32 (result f32) (f32.demote_f64 (call $nan)))
      (func (export "{entry}") {body}))"""


def other_nan(name: str, nan: int) -> Fault:
    """An engine in which that instruction gives another NaN, with these bits, where its result is one."""
    kind = "f64" if BY_NAME[name].results == ("f64",) else "f32"
    text = f"local.get 0 local.get 0 {kind}.eq if (result {kind}) local.get 0 else {kind}.const bits:{nan} end"
    instead = module_edit.function(module_edit.instructions(text))

    def change(wasm: bytes) -> bytes:
        module = read(wasm)
        call = module_edit.call(len(module.all_functions))
        bodies = {at: _behind(module_edit.body(module, wasm, at), name, call) for at in range(len(module.bodies))}
        return module_edit.rewrite(module, wasm, bodies, added=(_type(module, kind), instead))

    return Fault(name, name, Expected(), edit=change)


def _behind(body: bytes, name: str, inserted: bytes) -> bytes:
    for each in reversed([each for each in module_edit.listing(body) if each.name == name]):
        body = body[: each.end] + inserted + body[each.end :]
    return body


def _type(module: Module, kind: str) -> int:
    return next(at for at, each in enumerate(module.types) if each.composite == FuncType((kind,), (kind,)))


@pytest.fixture(params=[pytest.param(False, marks=pytest.mark.whole), True], ids=["memory", "words"])
def compared(request, host, tmp_path) -> Callable[..., CaseReport]:
    """Runs a program on the oracle and on it with a fault, as an engine that carries its memory or windows."""

    def run(source: str, fault: Fault | None, rows: tuple[str, ...] = ("f",), mode: str = "capsule",
            deadline_s: float = 10.0) -> CaseReport:  # fmt: skip
        path = tmp_path / "case.wat"
        path.write_text(source)
        oracle, inner = wasmtime.create(None, {}), wasmtime.create(None, {})
        subject = FaultyBackend(inner, fault, words=request.param)
        asked = Request((), mode=mode, max_passes=PASSES, deadline_s=deadline_s)
        plan = planning.make(Case("case", str(path), rows=rows), asked, oracle, oracle, subject, host)
        try:
            return cases.run(plan, PASSES, oracle, subject, host, "faulty", asked)
        finally:
            oracle.close()
            inner.close()

    return run


CHOICES = {
    "a result": "(result f64) (call $nan)",
    "a sign that copysign takes": "(result f64) (f64.copysign (f64.const 1) (call $nan))",
    "an integer": "(result i32) (i32.wrap_i64 (i64.shr_u (i64.reinterpret_f64 (call $nan)) (i64.const 63)))",
    "a branch": "(result i32) (if (result i32) (i64.lt_s (i64.reinterpret_f64 (call $nan)) (i64.const 0)) "
    "(then (i32.const 3)) (else (i32.const 4)))",
    "a trap": "(if (i64.lt_s (i64.reinterpret_f64 (call $nan)) (i64.const 0)) (then unreachable)) (f64.store (i32.const 8) (call $nan))",
    "memory": "(f64.store (i32.const 8) (call $nan))",
    "a lane": "(result v128) (f64x2.splat (call $nan))",
    "a counter": "(global.set $seen (i64.reinterpret_f64 (call $nan)))",
}


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_agrees_however_it_shows_and_is_named_as_an_allowance(compared, name):
    found = compared(program(CHOICES[name]), other_nan("f64.div", QUIET["f64"])).passes[0]
    assert (found.verdict, found.divergences) == ("agree", ())
    assert {(each.rule, each.section) for each in found.allowances} == {(NAN_RULE, NAN_SECTION)}
    assert not found.vacuous


@pytest.mark.parametrize("name", CHOICES)
def test_a_nan_that_is_not_allowed_diverges_however_it_shows(compared, name):
    found = compared(program(CHOICES[name]), other_nan("f64.div", QUIET["f64"] | 1)).passes[0]
    assert found.verdict == "diverge"
    assert {each.form for each in found.divergences} == {"deterministic"}
    named = next(each for each in found.divergences if each.kind == "instruction")
    assert named.where.item.startswith("f64.div of function 0 at ")
    assert (named.oracle, named.subject) == ("allowed", "not allowed by the specification")
    assert not found.allowances


def test_without_the_deterministic_form_a_choice_diverges_at_the_cost_of_one_form(host, tmp_path):
    path = tmp_path / "case.wat"
    path.write_text(program(CHOICES["a result"]))
    oracle, inner = wasmtime.create(None, {}), wasmtime.create(None, {})
    subject = FaultyBackend(inner, other_nan("f64.div", QUIET["f64"]), words=True)
    found = {}
    for form in (True, False):
        asked = Request((), mode="capsule", deterministic=form)
        plan = planning.make(Case("case", str(path), rows=("f",)), asked, oracle, oracle, subject, host)
        found[form] = cases.run(plan, PASSES, oracle, subject, host, "faulty", asked).passes[0]
    oracle.close()
    inner.close()
    assert [found[form].verdict for form in (True, False)] == ["agree", "diverge"]
    assert found[False].subject.cost.executions < found[True].subject.cost.executions


FIXED = {
    "f64.neg": "(result f64) (f64.neg (call $nan))",
    "f64.abs": "(result f64) (f64.abs (f64.neg (f64.abs (call $nan))))",
    "f32.copysign": "(result f32) (f32.copysign (call $nan32) (f32.const -1))",
    "f64.load": "(result f64) (i64.store (i32.const 0) (i64.const 0x7ff8000000000007)) (f64.load (i32.const 0))",
    "f32.const": "(result f32) (f32.const nan:0x400001)",
    "select": "(result f64) (select (f64.const nan:0x8000000000009) (call $nan) (i32.const 1))",
    "f32.reinterpret_i32": "(result i32) (i32.reinterpret_f32 (f32.reinterpret_i32 (i32.const 0x7fc00003)))",
    "local.get": "(param f64) (result f64) (drop (call $nan)) (local.get 0)",
}


@pytest.mark.parametrize("name", FIXED)
def test_bits_that_the_specification_fixes_are_compared_also_where_other_nans_are_open(compared, name):
    both = ("f=nan:0x8000000000001",) if "param" in FIXED[name] else ("f",)
    kind = "f32" if "result f32" in FIXED[name] or name.startswith("f32") else "f64"
    fault = fixed(name, kind)
    found = compared(program(FIXED[name]), fault, both).passes[0]
    assert found.verdict == "diverge"
    assert [(each.kind, each.where.item) for each in found.divergences] == [("result", "result 0")]


def fixed(name: str, kind: str) -> Fault:
    """An engine in which an instruction that has any type, or that type, gives another quiet NaN for one."""
    nan = QUIET[kind] | (1 << 50 if kind == "f64" else 1 << 21 | 1 << 31)
    text = f"local.get 0 local.get 0 {kind}.eq if (result {kind}) local.get 0 else {kind}.const bits:{nan} end"
    instead = module_edit.function(module_edit.instructions(text))

    def change(wasm: bytes) -> bytes:
        module = read(wasm)
        call = module_edit.call(len(module.all_functions))
        entry = 2  # the row's own function
        body = module_edit.body(module, wasm, entry)
        at = max(each.end for each in module_edit.listing(body) if each.name == name)
        return module_edit.rewrite(module, wasm, {entry: body[:at] + call + body[at:]}, added=(_type(module, kind), instead))

    return Fault(name, name, Expected(), edit=change)


RELAXED = """(module (func $unused) (func $as_well)
  (func (export "f") (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))"""


@pytest.mark.parametrize(("instead", "verdict"), [("i8x16.swizzle", "agree"), ("v128.and", "diverge")])
def test_a_relaxed_result_is_an_allowance_or_named_with_its_row(compared, instead, verdict):
    rows = ("f=0x0102030405060708090a0b0c0d0e0f10,0x0", "f=0x0102030405060708090a0b0c0d0e0f10,0x10111213", "f=0,0")
    fault = Fault("", "", Expected(), edit=lambda wasm: relaxed_replaced(wasm, instead))
    found = compared(RELAXED, fault, rows).passes[0]
    assert found.verdict == verdict
    if verdict == "agree":
        assert [(each.rule, each.where.row, each.where.item) for each in found.allowances] == [
            ("relaxed SIMD", rows[1], "result 0")
        ]
    else:
        assert [(each.kind, each.where.row, each.where.item.split()[0]) for each in found.divergences] == [
            ("instruction", rows[0], "i8x16.relaxed_swizzle")
        ]


def relaxed_replaced(wasm: bytes, name: str) -> bytes:
    module = read(wasm)
    body = module_edit.body(module, wasm, 2)
    found = next(each for each in module_edit.listing(body) if each.name == "i8x16.relaxed_swizzle")
    return module_edit.rewrite(module, wasm, {2: body[: found.offset] + BY_NAME[name].encoding + body[found.end :]})


def test_without_a_choice_the_plain_form_says_what_differs(compared):
    source = program("(result f64 i32) (f64.add (f64.const 1) (f64.const 2)) (i32.sub (i32.const 9) (i32.const 2))")
    swapped = Fault("", "", Expected(), edit=lambda wasm: replaced(wasm, "i32.sub", "i32.mul", function=2))
    found = compared(source, swapped).passes[0]
    assert [(each.form, each.where.item, each.oracle, each.subject) for each in found.divergences] == [
        ("plain", "result 1", "7", "18")
    ]


def replaced(wasm: bytes, name: str, other: str, *, function: int) -> bytes:
    """The program with an instruction of a function replaced by another one of the same length."""
    module = read(wasm)
    body = module_edit.body(module, wasm, function)
    found = next(each for each in module_edit.listing(body) if each.name == name)
    return module_edit.rewrite(module, wasm, {function: body[: found.offset] + BY_NAME[other].encoding + body[found.end :]})


def test_an_allowance_and_a_divergence_in_one_program_are_told_apart(compared):
    source = program("(result f64 i32) (call $nan) (i32.sub (i32.const 9) (i32.const 2))")
    nan = other_nan("f64.div", QUIET["f64"])
    both = Fault("", "", Expected(), edit=lambda wasm: replaced(nan.edit(wasm), "i32.sub", "i32.mul", function=2))
    found = compared(source, both).passes[0]
    assert [(each.form, each.where.item) for each in found.divergences] == [("deterministic", "result 1")]
    assert [(each.where.row, each.where.item, each.count) for each in found.allowances] == [("f", "result 0", 1)]


def refusing(then: Fault) -> Fault:
    """An engine that does not take the deterministic form."""

    def change(wasm: bytes) -> bytes:
        module = read(wasm)
        plain = len(module.all_globals) in (2, 252)
        return then.edit(wasm) if plain else wasm[:4] + b"\2" + wasm[5:]

    return Fault("", "", Expected(), edit=change)


def test_where_the_form_cannot_be_compared_the_differences_are_inconclusive(compared):
    found = compared(program(CHOICES["a result"]), refusing(other_nan("f64.div", QUIET["f64"]))).passes[0]
    assert (found.verdict, found.divergences) == ("inconclusive", ())
    assert (
        "the deterministic form could not be compared: the subject instantiates the artifact alone, with stubbed imports"
        in found.reason
    )


def test_a_choice_that_decides_whether_a_loop_ends_is_no_hang(compared):
    source = program(
        """(local $x i64) (local.set $x (i64.reinterpret_f64 (f64.div (global.get $zero) (global.get $zero))))
        (loop $again (br_if $again (i64.eq (local.get $x) (i64.const 0x7ff8000000000000))))"""
    )
    report = compared(source, other_nan("f64.div", QUIET["f64"]), deadline_s=0.3)
    assert report.verdict == "inconclusive"
    assert "both timed out" in report.reason


def test_a_refusal_is_no_choice(compared):
    fault = Fault("", "", Expected(), edit=lambda wasm: wasm[:4] + b"\2" + wasm[5:])
    found = compared(program(CHOICES["a result"]), fault).passes[0]
    assert (found.verdict, [each.kind for each in found.divergences]) == ("diverge", ["outcome"])


def test_hundreds_of_equal_choices_agree_and_are_not_all_located(compared):
    source = """(module (type $f64 (func (param f64) (result f64)))
      (func (export "f") (param v128 f64) (result v128 v128 f64) (local.get 0) (local.get 0) (f64.div (local.get 1) (local.get 1))))"""
    rows = tuple(f"f=0x{at:x},0" for at in range(700))
    found = compared(source, other_nan("f64.div", QUIET["f64"]), rows).passes[0]
    assert found.verdict == "agree"
    number = sum(each.count for each in found.allowances)
    assert number == 700 or (number < 700 and any(each.at_least for each in found.allowances))
    assert found.subject.cost.executions < 20


def test_a_divergence_among_hundreds_of_choices_has_its_row(compared):
    source = """(module (type $f64 (func (param f64) (result f64))) (func $unused)
      (func (export "f") (param v128 f64) (result v128 f64) (local.get 0) (f64.div (local.get 1) (local.get 1)))
      (func (export "g") (param i32 v128) (result i32 v128) (i32.sub (local.get 0) (i32.const 2)) (local.get 1)))"""
    rows = (*(f"f=0x{at:x},0" for at in range(700)), "g=9,1", "f=0,0")
    nan = other_nan("f64.div", QUIET["f64"])
    both = Fault("", "", Expected(), edit=lambda wasm: replaced(nan.edit(wasm), "i32.sub", "i32.mul", function=2))
    found = compared(source, both, rows).passes[0]
    assert [(each.where.row, each.where.item) for each in found.divergences] == [("g=9,1", "result 0")]


DIRECT = "(global.set $seen (i64.shr_u (i64.reinterpret_f64 (call $nan)) (i64.const 63)))"


@pytest.mark.parametrize(("nan", "verdict"), [(QUIET["f64"], "agree"), (QUIET["f64"] | 1, "diverge")])
def test_the_direct_pass_is_judged_by_the_form_too(compared, nan, verdict):
    found = compared(program(DIRECT, entry="run"), other_nan("f64.div", nan), mode="direct").passes[1]
    assert found.verdict == verdict
    if verdict == "agree":
        assert [(each.rule, each.where.item) for each in found.allowances] == [("NaN bits", "counter 0")]
    else:
        assert found.divergences[0].form == "deterministic"


def test_what_was_not_located_is_inconclusive_unless_something_was(host, tmp_path):
    path = tmp_path / "case.wat"
    path.write_text(
        '(module (func $unused) (func $as_well) (func (export "f") (param v128) (result v128) (i32x4.add (local.get 0) (local.get 0))))'
    )
    rows = tuple(f"f=0x{at + 1:x}" for at in range(900))
    oracle, inner = wasmtime.create(None, {}), wasmtime.create(None, {})
    subject = FaultyBackend(inner, Fault("", "", Expected(), edit=swapped_add), words=True)
    try:
        for passes, verdict in ((1, "inconclusive"), (5, "diverge"), (PASSES, "diverge")):
            asked = Request((), mode="capsule", max_passes=passes)
            plan = planning.make(Case("case", str(path), rows=rows), asked, oracle, oracle, subject, host)
            found = cases.run(plan, passes, oracle, subject, host, "faulty", asked).passes[0]
            assert found.verdict == verdict
            assert all(each.where.row for each in found.divergences)
            assert ("not located" in " ".join(found.agreement.not_compared)) is (passes < PASSES)
            assert ("use a larger --max-passes" in found.reason) is (passes == 1)
        assert found.divergences_total == len(rows)
    finally:
        oracle.close()
        inner.close()


def swapped_add(wasm: bytes) -> bytes:
    return replaced(wasm, "i32x4.add", "i32x4.sub", function=2)
