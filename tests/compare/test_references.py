"""References as two engines have them: an engine that gets one of them wrong diverges, at the item, in readable values."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime

from diffcheck.backend import registry
from diffcheck.backend.contract import Host
from diffcheck.capsule.build import build
from diffcheck.capsule.forms import Form
from diffcheck.capsule.layout import MAX_DEPTH, MAX_ELEMENTS, MAX_OBJECTS
from diffcheck.capsule.recorder.reference_types import MAX_TESTS
from diffcheck.capsule.seal import World
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.observation import Threw
from diffcheck.runner import case_run, planning
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.request import Request
from diffcheck.verdict import CaseReport
from diffcheck.wasm.module import read
from diffcheck.wasm.values import BEYOND, FUNCTION, IDENTITY, OPAQUE, Value, reference
from tests.capsule.helpers import binary, calls, run
from tests.runner.test_run import reports
from tests.triage.localising import localised

OBJECTS = """(module
  (type $point (sub (struct (field $x (mut i32)) (field $y (mut i64)))))
  (type $pixel (sub $point (struct (field $x (mut i32)) (field $y (mut i64)) (field $shade i8))))
  (type $node (struct (field $value (mut i32)) (field $next (mut (ref null $node)))))
  (type $bytes (array (mut i8)))
  (type $halves (array (mut f32)))
  (type $pair (struct (field $a anyref) (field $b anyref)))
  (global $kept (export "kept") (mut anyref) (ref.null any))
  (table $t (export "t") 4 anyref)
  (func (export "i31") (result i31ref) (ref.i31 (i32.const 1007)))
  (func (export "point") (result (ref null struct)) (struct.new $pixel (i32.const 1031) (i64.const 1032) (i32.const 200)))
  (func (export "bytes") (result arrayref) (array.new_fixed $bytes 4 (i32.const 1) (i32.const 2) (i32.const 1033) (i32.const 4)))
  (func (export "floats") (result (ref $halves)) (array.new $halves (f32.const 1.25) (i32.const 3)))
  (func (export "hidden") (result externref) (extern.convert_any (struct.new $point (i32.const 1034) (i64.const 0))))
  (func (export "cycle") (result (ref $node)) (local $first (ref null $node)) (local $second (ref null $node))
    (local.set $first (struct.new $node (i32.const 1035) (ref.null $node)))
    (local.set $second (struct.new $node (i32.const 1036) (local.get $first)))
    (struct.set $node $next (local.get $first) (local.get $second))
    (ref.as_non_null (local.get $first)))
  (func (export "shared") (result anyref anyref) (local $one (ref null $point)) (local $other (ref null $point))
    (local.set $one (struct.new_default $point)) (local.set $other (struct.new_default $point))
    (local.get $one) (local.get $one) (nop) (nop))
  (func (export "pair") (result (ref $pair)) (local $one (ref null $point)) (local $other (ref null $point))
    (local.set $one (struct.new_default $point)) (local.set $other (struct.new_default $point))
    (struct.new $pair (local.get $one) (local.get $other) (nop) (nop)))
  (func (export "derived") (result (ref $point)) (struct.new_default $pixel))
  (func (export "keep") (global.set $kept (struct.new $point (i32.const 1037) (i64.const 0)))
    (table.set $t (i32.const 2) (array.new $bytes (i32.const 1038) (i32.const 2)))))"""


def const(value: int) -> bytes:
    """``i32.const`` of a number of two bytes."""
    return b"\x41" + bytes([value & 0x7F | 0x80, value >> 7])


def report(host: Host, source: str, before: bytes = b"", after: bytes = b"", *, words: bool = False) -> CaseReport:
    """The report of a case whose subject is given the program with some bytes altered."""
    path = host.folder / "artifact.wasm"
    path.write_bytes(wasmtime.wat2wasm(source))

    def edit(wasm: bytes) -> bytes:
        assert wasm.count(before) <= 1, "the fault is at one place"
        return wasm.replace(before, after)

    oracle = registry.create("wasmtime", {})
    fault = Fault("", "", Expected(), edit=edit) if before else None
    subject = FaultyBackend(registry.create("wasmtime", {}), fault, words=words)
    try:
        request = Request((str(path),), subject="wasmtime", mode="capsule", rows="auto")
        planned = planning.make(case_of(ObserveRequest(str(path))), request, oracle, oracle, subject, host)
        return case_run.run(planned, 100, oracle, subject, host, "wasmtime")
    finally:
        oracle.close()
        subject.inner.close()


def differences(found: CaseReport) -> list[tuple[str, str, str, str]]:
    """Row, item and both values of each divergence."""
    return [(each.where.row, each.where.item, each.oracle, each.subject) for one in found.passes for each in one.divergences]


LOCAL_0, LOCAL_1 = b"\x20\x00", b"\x20\x01"
FAULTS = {
    "an i31": (const(1007), const(1008), ("i31", "result 0", "(ref.i31 1007)", "(ref.i31 1008)")),
    "a field": (const(1031), const(1039), ("point", "field 0 of the struct in result 0", "1031", "1039")),
    "an element": (const(1033), const(1040), ("bytes", "element 2 of the array in result 0", "9", "16")),
    "a length": (b"\x43\x00\x00\xa0\x3f\x41\x03", b"\x43\x00\x00\xa0\x3f\x41\x04", (
        "floats", "result 0", "an array of type 4 and length 3", "an array of type 4 and length 4")),
    "behind extern": (const(1034), const(1041), ("hidden", "field 0 of the struct in result 0", "1034", "1041")),
    "behind a reference": (const(1036), const(1042), (
        "cycle", "field 0 of the struct in field 1 of the struct in result 0", "1036", "1042")),
    "no cycle": (b"\xfb\x05\x02\x01", b"\x1a\x1a\x01\x01", ("cycle", "field 1 of the struct in result 0", "a struct of type 2 (object 1)", "null")),
    "sharing": (LOCAL_0 + LOCAL_0 + b"\x01\x01", LOCAL_0 + LOCAL_1 + b"\x01\x01", (
        "shared", "result 1", "a struct of type 0 (object 0)", "a struct of type 0 (object 1)")),
    "sharing in fields": (LOCAL_0 + LOCAL_1 + b"\x01\x01", LOCAL_0 + LOCAL_0 + b"\x01\x01", (
        "pair", "field 1 of the struct in result 0", "a struct of type 0 (object 2)", "a struct of type 0 (object 1)")),
    "another type": (b"\xfb\x01\x01", b"\xfb\x01\x00", ("derived", "result 0", "a struct of type 1", "a struct of type 0")),
    "a global": (const(1037), const(1043), ("", "field 0 of the struct in global kept", "1037", "1043")),
    "a table": (const(1038), const(1044), ("", "element 0 of the array in table 0 element 2", "14", "20")),
}  # fmt: skip


@pytest.mark.parametrize("words", [pytest.param(False, marks=pytest.mark.whole), True])
@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_object_is_a_divergence_at_its_place(host: Host, name: str, words: bool) -> None:
    before, after, expected = FAULTS[name]
    found = differences(report(host, OBJECTS, before, after, words=words))
    assert expected in found
    assert {row for row, *_ in found} == {expected[0]}


@pytest.mark.parametrize("words", [pytest.param(False, marks=pytest.mark.whole), True])
def test_the_same_objects_agree(host: Host, words: bool) -> None:
    found = report(host, OBJECTS, words=words)
    assert (found.verdict, found.vacuous) == ("agree", False)
    assert not found.not_done or "not instrumented" in found.not_done[0]


FUNCTIONS = """(module
  (type $op (func (param i32) (result i32)))
  (type $maker (func (result (ref $op))))
  (table $t (export "t") 8 funcref)
  (elem (i32.const 0) $double $triple $halve)
  (global $held (export "held") (mut funcref) (ref.null func))
  (func $double (type $op) (i32.mul (local.get 0) (i32.const 2)))
  (func $triple (type $op) (i32.mul (local.get 0) (i32.const 3)))
  (func $halve (type $op) (i32.shr_u (local.get 0) (i32.const 1)))
  (func $make (type $maker) (ref.func $halve))
  (elem declare func $make)
  (func (export "copy") (table.copy $t $t (i32.const 3) (i32.const 0) (i32.const 2)))
  (func (export "pick") (result funcref) (ref.func $triple))
  (func (export "set") (table.set $t (i32.const 7) (ref.func $double)))
  (func (export "hold") (global.set $held (ref.func $make)))
  (func (export "typed") (result (ref $maker)) (ref.func $make)))"""
FUNCTION_FAULTS = {
    "table.copy off by one": (b"\x41\x03\x41\x00\x41\x02\xfc\x0e", b"\x41\x03\x41\x01\x41\x02\xfc\x0e", (
        "", "table 0 element 3", "function 0 ($double)", "function 1 ($triple)")),
    "ref.func of the neighbour": (b"\xd2\x01\x0b", b"\xd2\x02\x0b", ("pick", "result 0", "function 1 ($triple)", "function 2 ($halve)")),
    "table.set of another one": (b"\x41\x07\xd2\x00", b"\x41\x07\xd2\x01", (
        "", "table 0 element 7", "function 0 ($double)", "function 1 ($triple)")),
    "a segment shifted": (b"\x41\x00\x0b\x03\x00\x01", b"\x41\x01\x0b\x03\x00\x01", (
        "", "table 0 element 0", "ref", "null")),
}  # fmt: skip


@pytest.mark.parametrize("words", [pytest.param(False, marks=pytest.mark.whole), True])
@pytest.mark.parametrize("name", FUNCTION_FAULTS)
def test_a_wrong_function_is_a_divergence_at_its_place(host: Host, name: str, words: bool) -> None:
    before, after, expected = FUNCTION_FAULTS[name]
    assert expected in differences(report(host, FUNCTIONS, before, after, words=words))


ALONE = {
    "an exported global": ('(global (export "kept") (mut (ref null $f)) (ref.null $f))', "(global.set 0 (ref.func $one))", "global kept"),
    "an imported global": ('(import "host" "kept" (global (mut funcref)))', "(global.set 0 (ref.func $one))", "global host kept"),
    "an exception": ("(tag $thrown (param funcref))", "(throw $thrown (ref.func $one))", "payload 0"),
}  # fmt: skip


@pytest.mark.parametrize("words", [pytest.param(False, marks=pytest.mark.whole), True])
@pytest.mark.parametrize("place", ALONE)
def test_a_wrong_function_is_seen_where_nothing_else_holds_references(host: Host, place: str, words: bool) -> None:
    item, body, shown = ALONE[place]
    imported, defined = (item, "") if item.startswith("(import") else ("", item)
    source = f"""(module (type $f (func (result i32))) {imported} {defined} (elem declare func $one $two)
      (func $one (type $f) (i32.const 1)) (func $two (type $f) (i32.const 2)) (func (export "run_row_0") {body}))"""
    found = differences(report(host, source, b"\xd2\x00", b"\xd2\x01", words=words))
    assert any(shown in each[1] for each in found), found


def test_the_same_functions_agree_and_cost_one_further_run(host: Host) -> None:
    found = report(host, FUNCTIONS)
    assert found.verdict == "agree"
    assert found.passes[0].subject.cost.executions == 2
    without = report(
        host, '(module (table 3 funcref) (elem (i32.const 1) $f) (func $f) (func (export "run") (call_indirect (i32.const 1))))'
    )
    assert without.passes[0].subject.cost.executions == 1


FIXED = """(module
  (type $op (func (param i32) (result i32)))
  (type $act (func))
  (type $wide (func (param i64 f64)))
  (table $t 9 funcref)
  (table $typed i64 3 (ref null $op))
  (table $filled 2 (ref $wide) (ref.func $store))
  (func $double (type $op) (i32.mul (local.get 0) (i32.const 2)))
  (func $triple (type $op) (i32.mul (local.get 0) (i32.const 3)))
  (func $nothing (type $act))
  (func $store (type $wide))
  (elem (table $t) (i32.const 1) func $double $triple $nothing $store $double)
  (elem (table $t) (i32.const 6) funcref (ref.func $nothing) (ref.null func) (ref.func $store))
  (elem (table $typed) (i64.const 1) (ref null $op) (ref.func $triple))
  (func (export "run") (result i32) (table.size $t)))"""
SEGMENT = b"\x41\x01\x0b\x00\x05\x00\x01\x02\x03\x00"
PERMUTED = {
    "permuted": (SEGMENT, b"\x41\x01\x0b\x00\x05\x00\x02\x01\x03\x00", ("table 0 element 2", "type 0", "of another type")),
    "shifted": (SEGMENT, b"\x41\x02\x0b\x00\x05\x00\x01\x02\x03\x00", ("table 0 element 1", "type 0", "null")),
    "an expression": (b"\xd2\x02\x0b\xd0", b"\xd2\x01\x0b\xd0", ("table 0 element 6", "type 1", "of another type")),
    "a null": (b"\xd0\x70\x0b\xd2\x03", b"\xd2\x02\x0b\xd2\x03", ("table 0 element 7", "null", "ref")),
}


@pytest.mark.parametrize("words", [pytest.param(False, marks=pytest.mark.whole), True])
@pytest.mark.parametrize("name", PERMUTED)
def test_a_function_of_another_type_is_seen_in_a_table_that_nothing_writes(host: Host, name: str, words: bool) -> None:
    before, after, (item, *ends) = PERMUTED[name]
    found = report(host, FIXED, before, after, words=words)
    (different,) = differences(found)
    assert different[1] == item
    assert [text.endswith(end) for text, end in zip(different[2:], ends, strict=True)] == [True, True]


def test_functions_in_tables_that_nothing_writes_take_no_further_run(host: Host) -> None:
    found = report(host, FIXED)
    assert (found.verdict, found.passes[0].subject.cost.executions) == ("agree", 1)
    assert [each for each in found.not_done if "of several functions of one type a table holds" in each]
    assert run(FIXED).state.elements == (
        tuple(0 if typeidx is None else typeidx << 32 | FUNCTION for typeidx in (None, 0, 0, 1, 2, 0, 1, None, 2)),
        (0, FUNCTION, 0),
        (2 << 32 | FUNCTION, 2 << 32 | FUNCTION),
    )


def test_so_many_functions_of_a_table_have_their_type_tested(host: Host) -> None:
    types = "".join(f"(type $t{at} (func (param {'i32 ' * at})))(func $f{at} (type $t{at}))" for at in range(3))
    functions = " ".join(f"$f{at % 3}" for at in range(3 * MAX_TESTS - 2))
    source = f'(module {types} (table 400 funcref) (elem (i32.const 10) {functions}) (func (export "r")))'
    (words,) = run(source).state.elements
    tested = {at: word >> 32 for at, word in enumerate(words) if word & 0xFF == FUNCTION}
    assert tested == {at: (at - 10) % 3 for at in range(10, 10 + 3 * MAX_TESTS - 2, 3)}
    assert any("the types of 126 more functions in tables" in each for each in report(host, source).not_done)


def test_later_segments_and_unknown_offsets(host: Host) -> None:
    source = """(module (type $a (func)) (type $b (func (param i32))) (table 4 funcref) (global $at i32 (i32.const 1))
      (func $f (type $a)) (func $g (type $b)) (elem (i32.const 0) $f $f $f) (elem (i32.const {}) $g) (func (export "r")))"""
    (words,) = run(source.format(1)).state.elements
    assert [word >> 32 for word in words] == [0, 1, 0, 0]
    unknown = source.format(1).replace("(elem (i32.const 1)", "(elem (global.get $at)")
    assert run(unknown).state.elements == ((OPAQUE, OPAQUE, OPAQUE, 0),)


# The recorder's bounds.

LIST = """(module (type $node (struct (field $next (ref null $node))))
  (func (export "list") (result (ref null $node)) (local $list (ref null $node)) (local $n i32)
    (loop (local.set $list (struct.new $node (local.get $list)))
      (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {n})))) (local.get $list)))"""
WIDE = """(module (type $empty (struct)) (type $many (array (mut (ref null $empty))))
  (func (export "many") (result (ref $many)) (local $many (ref $many)) (local $n i32)
    (local.set $many (array.new_default $many (i32.const {n})))
    (loop (array.set $many (local.get $many) (local.get $n) (struct.new $empty))
      (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {n})))) (local.get $many)))"""


EXCEPTIONS = """(module
  (type $point (struct (field (mut i32))))
  (tag $number (export "number") (param i32 f64)) (tag $pair (param (ref null $point) v128)) (tag $nested (param exnref))
  (tag $empty) (tag $other)
  (table $t (export "t") 4 exnref)
  (global $kept (export "kept") (mut exnref) (ref.null exn))
  (func $catch (param i32) (result exnref)
    (block $caught (result exnref)
      (try_table (catch_all_ref $caught)
        (if (i32.eq (local.get 0) (i32.const 0)) (then (throw $number (i32.const 1051) (f64.const 1.5))))
        (if (i32.eq (local.get 0) (i32.const 1))
          (then (throw $pair (struct.new $point (i32.const 1052)) (v128.const i64x2 7 0x1122334455667788))))
        (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $nested (call $catch (i32.const 0)))))
        (throw $empty))
      unreachable))
  (func (export "result") (result exnref) (call $catch (i32.const 0)))
  (func (export "nested") (result exnref) (call $catch (i32.const 2)))
  (func (export "empty") (result exnref) (call $catch (i32.const 3)))
  (func (export "keep") (global.set $kept (call $catch (i32.const 1))) (table.set $t (i32.const 2) (call $catch (i32.const 0)))))"""
EXCEPTION_FAULTS = {
    "number": (const(1051), const(1053), {"result 0", "table 0 element 2"}),
    "float": (b"\xf8\x3f\x08\x00", b"\xf0\x3f\x08\x00", {"result 0", "table 0 element 2"}),
    "vector": (b"\x88\x77\x66\x55", b"\x89\x77\x66\x55", {"global kept"}),
    "field": (const(1052), const(1054), {"field 0 of the struct in the payload of an exception"}),
    "tag": (b"\x08\x03\x0b", b"\x08\x04\x0b", {"result 0"}),
}


@pytest.mark.parametrize("words", [pytest.param(False, marks=pytest.mark.whole), True])
@pytest.mark.parametrize("name", EXCEPTION_FAULTS)
def test_a_wrong_exception_is_a_divergence_where_it_is_kept(host: Host, name: str, words: bool) -> None:
    before, after, items = EXCEPTION_FAULTS[name]
    found = report(host, EXCEPTIONS, before, after, words=words)
    assert {item for _, item, _, _ in differences(found)} == items
    assert all("an exception of tag " in oracle for _, _, oracle, _ in differences(found) if name != "field")


def test_the_same_exceptions_agree(host: Host) -> None:
    found = report(host, EXCEPTIONS)
    assert (found.verdict, [each for each in found.passes[0].agreement.not_compared if "references refer to" in each]) == (
        "agree",
        [],
    )


@pytest.mark.parametrize("nodes", [1, MAX_DEPTH, MAX_DEPTH + 1, 100])
def test_objects_are_followed_to_a_depth(nodes: int) -> None:
    (row,) = run(LIST.format(n=nodes)).rows
    assert (len(row.objects.found), row.objects.cut) == (min(nodes, MAX_DEPTH), nodes > MAX_DEPTH)


@pytest.mark.parametrize("others", [1, MAX_OBJECTS - 1, MAX_OBJECTS, 1500])
def test_so_many_objects_have_a_number(others: int) -> None:
    (row,) = run(WIDE.format(n=others)).rows
    assert (len(row.objects.found), row.objects.cut) == (min(others + 1, MAX_OBJECTS), others >= MAX_OBJECTS)
    beyond = [each for each in row.objects.found[0].values if reference(each)[0] == BEYOND]
    assert len(beyond) == max(0, others + 1 - MAX_OBJECTS)


@pytest.mark.parametrize("type_, width", [("i8", 1), ("f64", 1), ("v128", 2)])
@pytest.mark.parametrize("over", [0, 1])
def test_so_many_elements_of_an_array_are_recorded(type_: str, width: int, over: int) -> None:
    length = MAX_ELEMENTS // width + over
    (row,) = run(f"""(module (type $a (array {type_})) (func (export "r") (result (ref $a))
      (array.new_default $a (i32.const {length}))))""").rows
    (found,) = row.objects.found
    assert (found.length, len(found.values), row.objects.cut) == (length, MAX_ELEMENTS // width, bool(over))


@pytest.mark.parametrize("index", ["i32", "i64"])
def test_so_many_elements_of_a_table_are_recorded(index: str) -> None:
    source = f"""(module (table {index} {MAX_ELEMENTS + 3} i31ref (ref.i31 (i32.const -1))) (table {index} 0 funcref)
      (func (export "r")))"""
    state = run(source).state
    assert [len(each) for each in state.elements] == [MAX_ELEMENTS, 0]
    assert {str(Value("ref", word)) for word in state.elements[0]} == {"(ref.i31 -1)"}


def test_what_is_beyond_the_bounds_is_listed(host: Host) -> None:
    found = report(host, LIST.format(n=20))
    assert any("8 levels" in each for each in found.not_done)
    found = report(host, f'(module (table {MAX_ELEMENTS + 3} funcref) (func (export "r")))')
    assert any("3 elements of table 0" in each for each in found.not_done)


# Other references, other engines.


def test_without_gc_instructions_references_are_null_or_not(host: Host) -> None:
    data = binary("""(module (table 3 funcref) (elem (i32.const 1) $f) (func $f (export "f") (result funcref) (ref.func $f)))""")
    module = read(data)
    made = build(module, "", calls(module), World(), Form(references="nullness"))
    done = run(made)
    assert done.state.elements == ((0, OPAQUE, 0),)
    assert [str(each) for each in done.rows[0].results] == ["ref"]
    assert made.identified() is None


def test_the_payload_of_an_exception_is_followed(host: Host) -> None:
    source = """(module (type $box (struct (field i32))) (tag $t (param i31ref (ref $box)))
      (func (export "r") (throw $t (ref.i31 (i32.const 1044)) (struct.new $box (i32.const 1045)))))"""
    (row,) = run(source).rows
    assert isinstance(row.outcome, Threw)
    assert [str(each) for each in row.payload] == ["(ref.i31 1044)", "object 0"]
    assert [each.values[0].bits for each in row.objects.found] == [1045]
    assert differences(report(host, source, const(1045), const(1046))) == [
        ("r", "field 0 of the struct in payload 1", "1045", "1046")
    ]


def test_functions_of_every_kind_are_known_by_their_index() -> None:
    source = """(module (type $none (func (param (ref exn)))) (type $box (struct (field i32)))
      (import "env" "log" (func $log (param i32) (result i32)))
      (table (export "t") 8 funcref)
      (func $values (param f64 externref (ref $box)) (result v128 (ref $box) funcref) (unreachable))
      (func $uncallable (type $none) (unreachable))
      (func $tail (result i32) (return_call $log (i32.const 1)))
      (elem declare func $log $values $uncallable $tail)
      (func (export "r") (table.set (i32.const 1) (ref.func $log)) (table.set (i32.const 2) (ref.func $values))
        (table.set (i32.const 3) (ref.func $uncallable)) (table.set (i32.const 4) (ref.func $tail))))"""
    data = binary(source)
    module = read(data)
    made = build(module, "", calls(module), World()).identified()
    assert made is not None
    done = run(made)
    assert not done.trap
    kinds = [reference(each)[0] if each.bits else 0 for each in (Value("ref", word) for word in done.state.elements[0])]
    assert [word >> 32 for word in done.state.elements[0] if word & 0xFF == IDENTITY] == [0, 1, 3]
    assert kinds == [0, IDENTITY, IDENTITY, FUNCTION, IDENTITY, 0, 0, 0]
    assert all(calls_ == 0 for row in done.rows for calls_ in row.stub_calls), "a function that is asked for its index does not run"


def test_indices_of_types_are_written_long() -> None:
    """kilnd 0.4.4 reads a short one behind a GC instruction as an instruction: 14 as br_table."""
    types = "".join(f"(type $t{at} (func (param {'i32 ' * at})))(func $f{at} (type $t{at}))" for at in range(16))
    data = binary(
        f'(module {types} (table 1 funcref) (elem (i32.const 0) $f14) (func (export "r") (result funcref) (table.get 0 (i32.const 0))))'
    )
    module = read(data)
    wasm = build(module, "", calls(module), World()).wasm
    assert b"\xfb\x14\x8e\x80\x80\x80\x00" in wasm
    assert b"\xfb\x14\x0e" not in wasm


@pytest.mark.kilnd
def test_a_real_kilnd_agrees_on_functions_and_on_objects_without_references(host: Host, real_kilnd: str) -> None:
    objects = """(module (type $point (sub (struct (field (mut i32)) (field f64) (field i8)))) (type $bytes (array (mut i16)))
      (type $third (sub $point (struct (field (mut i32)) (field f64) (field i8) (field (mut funcref)))))
      (table $t (export "t") 3 anyref) (global $g (export "g") (mut eqref) (ref.null eq))
      (func (export "i31") (result i31ref externref) (ref.i31 (i32.const -7)) (extern.convert_any (ref.i31 (i32.const 9))))
      (func $f (export "point") (result (ref $point)) (struct.new $third (i32.const 5) (f64.const 0.5) (i32.const 255) (ref.func $f)))
      (func (export "bytes") (table.set $t (i32.const 1) (array.new $bytes (i32.const 77) (i32.const 9)))
        (global.set $g (ref.cast eqref (table.get $t (i32.const 1))))))"""
    for source in (FUNCTIONS, objects):
        path = host.folder / "artifact.wasm"
        path.write_bytes(wasmtime.wat2wasm(source))
        oracle, subject = registry.create("wasmtime", {}), registry.create("kilnd", {"kilnd": real_kilnd})
        request = Request((str(path),), subject="kilnd", mode="capsule", rows="auto", deadline_s=120.0)
        planned = planning.make(case_of(ObserveRequest(str(path))), request, oracle, oracle, subject, host)
        found = case_run.run(planned, 100, oracle, subject, host, "kilnd")
        oracle.close()
        assert (found.verdict, differences(found)) == ("agree", [])


IN_RECORDER = """(module (type $box (struct (field i32)))
  (global $g (export "g") (mut (ref null $box)) (ref.null $box))
  (func (export "idle") (result i32) (i32.const 7))
  (func (export "set") (global.set $g (struct.new $box (i32.const 1045))))
  (func (export "result") (result (ref $box)) (struct.new $box (i32.const 1046))))"""
STRUCT_GET = b"\xfb\x02" + 2 * b"\x80\x80\x80\x80\x00"  # as the recorder has it
TRAPS = b"\x1a\x00" + 10 * b"\x01"  # drop, unreachable


@pytest.mark.parametrize("words", [False, True])
def test_a_trap_in_the_recorder_is_no_outcome_of_a_row(host: Host, words: bool) -> None:
    found = report(host, IN_RECORDER, STRUCT_GET, TRAPS, words=words)
    assert differences(found) == [("set", "recorder", "whole", "trapped: unreachable in the recorder")]
    assert (found.verdict, found.passes[0].in_recorder) == ("diverge", True)


LINKED_LIST = """(module (rec (type $n (struct (field $v (mut i32)) (field $next (mut (ref null $n))))))
  (global $root (export "root") (mut (ref null $n)) (ref.null $n))
  (func (export "push") (param i32) (global.set $root (struct.new $n (local.get 0) (global.get $root))))
  (func (export "top") (result i32) (struct.get $n $v (struct.get $n $next (global.get $root)))))"""


@pytest.mark.kilnd
def test_the_instruction_that_damages_an_object_of_the_artifact_is_found_if_the_recorder_traps(tmp_path, real_kilnd) -> None:
    (tmp_path / "list.wasm").write_bytes(wasmtime.wat2wasm(LINKED_LIST))
    (tmp_path / "list.toml").write_text('rows = ["push=1", "push=2", "top"]')
    (found,) = reports(tmp_path, subject="kilnd", options={"kilnd": str(real_kilnd)}).values()
    assert [each.where.item for each in found.passes[0].divergences] == ["instruction struct.new"]


def test_an_innocent_instruction_is_not_blamed_for_a_trap_in_the_recorder(host: Host, tmp_path: Path) -> None:
    answer = localised(host, IN_RECORDER, lambda wasm: wasm.replace(STRUCT_GET, TRAPS), tmp_path)
    assert (answer.depth, answer.instruction, "in the recorder" in answer.why) == ("row", "", True)


@pytest.mark.parametrize("words", [False, True])
def test_a_trap_in_a_row_stays_its_outcome_where_references_are_described(host: Host, words: bool) -> None:
    found = report(host, IN_RECORDER, const(1045), b"\x00\x01\x01", words=words)
    assert ("set", "outcome", "returned", "trapped: unreachable") in differences(found)
