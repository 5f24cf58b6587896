"""Sealing keeps every index, every code byte and validity; what cannot be sealed is reported, and is a short list."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings

from diffcheck.capsule import layout as lo
from diffcheck.capsule.build import build
from diffcheck.capsule.forms import Capsule
from diffcheck.capsule.seal import World
from diffcheck.errors import UnsealableError
from diffcheck.wasm import section as ids
from diffcheck.wasm.module import Module, read
from diffcheck.wasm.types import GlobalType, RefType, TableType
from tests.capsule.helpers import binary, calls, capsule, results, run
from tests.wasm import generate
from tests.wasm.oracle import refusal

IN_A_BLOCK = 50
REASONS = re.compile(r"the imported (global|table) .* has an? (element )?type without a value|the artifact has 100 memories")


def sealed(data: bytes) -> Capsule | None:
    """The capsule of a module that wasmtime takes, checked to be one that it takes; None for an unsealable one."""
    module = read(data)
    try:
        made = build(module, "0" * 64, calls(module), World())
    except UnsealableError as error:
        assert REASONS.match(str(error)), error
        assert len(module.all_memories) >= 100 or valueless_imports(module), error
        return None
    assert refusal(made.wasm) == ""
    return made


def valueless_imports(module: Module) -> list[RefType]:
    """The types of imported globals and tables that may have no value: references that are never null."""
    refs = [each.type.value for each in module.imports if isinstance(each.type, GlobalType)]
    refs += [each.type.ref for each in module.imports if isinstance(each.type, TableType)]
    return [each for each in refs if isinstance(each, RefType) and not each.nullable]


def bodies(data: bytes, module: Module) -> list[bytes]:
    return [data[at : at + size] for at, size in module.bodies]


def check_indices(data: bytes, made: Capsule) -> None:
    """Every index of the artifact means the same thing in its capsule."""
    module, inside = read(data), read(made.wasm)
    n_imported = module.n_imported("func")
    assert not inside.imports
    assert (inside.start is None) == (module.start is None)
    assert bodies(made.wasm, inside)[n_imported : n_imported + len(module.bodies)] == bodies(data, module)
    assert inside.all_functions[: len(module.all_functions)] == module.all_functions
    assert inside.types[: len(module.types)] == module.types
    assert inside.all_globals[: len(module.all_globals)] == module.all_globals
    assert inside.all_tags[: len(module.all_tags)] == module.all_tags
    tables = inside.all_tables[: len(module.all_tables)]
    assert [each.ref for each in tables] == [each.ref for each in module.all_tables]
    memories = inside.all_memories[: len(module.all_memories)]
    for ones, others in ((module.all_memories, memories), (module.all_tables, tables)):
        for one, other in zip(ones, others, strict=True):
            assert (one.limits.minimum, one.limits.is64) == (other.limits.minimum, other.limits.is64)
            assert other.limits.maximum is not None
            assert one.limits.maximum is None or other.limits.maximum <= one.limits.maximum
    assert (inside.data[: len(module.data)] and len(inside.data) == len(module.data) + 1) or not module.data
    assert [(each.mode, each.memory, each.size) for each in inside.data[:-1]] == [
        (each.mode, each.memory, each.size) for each in module.data
    ]
    kept = [(each.mode, each.table, each.ref, each.funcs) for each in inside.elements[: len(module.elements)]]
    assert kept == [(each.mode, each.table, each.ref, each.funcs) for each in module.elements]


def check_code_section(data: bytes, made: Capsule) -> None:
    """All bodies of the artifact stand in the capsule as one piece, byte for byte."""
    code = read(data).section(ids.CODE)
    assert code is not None
    assert code.content() in made.wasm


@pytest.mark.parametrize("block", [0, 1, *(pytest.param(at, marks=pytest.mark.whole) for at in range(2, 8))])
def test_every_generated_module_that_wasmtime_takes_seals_to_one_that_it_takes(block: int) -> None:
    n_sealed = n_valid = 0
    for seed in range(block * IN_A_BLOCK, (block + 1) * IN_A_BLOCK):
        data = generate.modules(seed)
        if refusal(data):
            continue
        n_valid += 1
        made = sealed(data)
        if made is None:
            continue
        n_sealed += 1
        check_indices(data, made)
        check_code_section(data, made)
    assert n_valid > IN_A_BLOCK * 0.9
    assert n_sealed > n_valid * 0.6


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(generate.strategy())
def test_a_random_module_seals_or_is_told_as_unsealable(data: bytes) -> None:
    if not refusal(data):
        made = sealed(data)
        if made is not None:
            check_indices(data, made)


def test_the_parameters_stand_where_the_capsule_says() -> None:
    parameters = lo.Parameters(3, 5, 1, 1, 7, 9, 0x1122334455667788, 0x99AABBCC)
    for seed in range(20):
        data = generate.modules(seed)
        made = None if refusal(data) else sealed(data)
        if made is None:
            continue
        changed = made.with_parameters(parameters)
        at = made.parameters_offset
        assert made.wasm[at : at + 40] == bytes(40)
        assert changed[at : at + 40] == parameters.encode()
        assert changed[:at] + bytes(40) + changed[at + 40 :] == made.wasm
        segment = read(changed).data[-1]
        assert segment.start + lo.PARAMETERS_ADDRESS == at
        assert refusal(changed) == ""


def test_a_pass_gets_the_rows_that_its_parameters_say() -> None:
    made = capsule('(module (func (export "a") (result i32) i32.const 1) (func (export "b") (result i32) i32.const 2))')
    assert [row.results[0].bits for row in run(made, lo.Parameters(1, 2)).rows] == [2]
    assert [row.results[0].bits for row in run(made, lo.Parameters(0, 2)).rows] == [1, 2]


VALID = {
    "an export that only ref.func names": """(module (func $f (export "f"))
        (func (export "r") (result i32) ref.func $f ref.is_null))""",
    "an exported import that only ref.func names": """(module (import "m" "f" (func $f)) (export "f" (func $f))
        (func (export "r") (result i32) ref.func $f ref.is_null))""",
    "an export named by ref.func and by nothing else, twice": """(module (func $f (export "f") (export "g"))
        (func (export "r") (result funcref) ref.func $f))""",
    "a global over an imported global": """(module (import "m" "g" (global $g i32)) (import "m" "h" (global $h i64))
        (global i32 (i32.add (global.get $g) (i32.const 3))) (global i64 (global.get $h)) (func (export "r")))""",
    "a segment offset over an imported global": """(module (import "m" "g" (global $g i32)) (memory 1) (table 4 funcref)
        (data (offset (global.get $g)) "abc") (elem (offset (global.get $g)) func 0) (func (export "r")))""",
    "a table initialiser over an imported global": """(module (import "m" "g" (global $g funcref))
        (table 4 funcref (global.get $g)) (func (export "r")))""",
    "a non-null table initialiser over an imported global": """(module (type $t (func (param i32)))
        (import "m" "g" (global $g (ref $t))) (table 4 (ref $t) (global.get $g)) (func (export "r")))""",
    "an imported table of functions that are not null": """(module (type $t (func (result i32)))
        (import "m" "t" (table $t 3 (ref $t)))
        (func (export "r") (result i32) (call_ref $t (table.get $t (i32.const 1)))))""",
    "an imported table of i31": """(module (import "m" "t" (table $t 3 (ref i31)))
        (func (export "r") (result i32) (i31.get_u (table.get $t (i32.const 1)))))""",
    "imported tags": """(module (import "m" "e" (tag $e (param i32))) (import "m" "f" (tag))
        (func (export "r") (result i32) (block $h (result i32) (try_table (catch $e $h) (throw $e (i32.const 7))) (i32.const 1))))""",
    "non-null references of every kind": """(module (type $f (func)) (type $s (struct (field (mut i32)) (field i8)))
        (type $a (array i64)) (type $n (struct (field (ref $s)) (field (ref $a)) (field (ref $f))))
        (import "m" "1" (global (ref $f))) (import "m" "2" (global (ref $s))) (import "m" "3" (global (ref $a)))
        (import "m" "4" (global (ref $n))) (import "m" "5" (global (ref func))) (import "m" "6" (global (ref extern)))
        (import "m" "7" (global (ref any))) (import "m" "8" (global (ref eq))) (import "m" "9" (global (ref i31)))
        (import "m" "10" (global (ref struct))) (import "m" "11" (global (ref array))) (func (export "r")))""",
    "mutable globals of every number type": """(module (import "m" "1" (global (mut i32))) (import "m" "2" (global (mut i64)))
        (import "m" "3" (global (mut f32))) (import "m" "4" (global (mut f64))) (import "m" "5" (global (mut v128)))
        (import "m" "6" (global (mut externref))) (func (export "r")))""",
    "stubs with results of every kind": """(module (type $s (struct (field i32))) (type $t (func (result (ref $s))))
        (import "m" "1" (func (param v128 f32) (result i32 f64 v128 externref))) (import "m" "2" (func (result (ref $s))))
        (import "m" "3" (func (result (ref $t)))) (import "m" "4" (func (result (ref func) (ref extern))))
        (import "m" "5" (func (result (ref exn)))) (func (export "r")))""",
    "a start function": "(module (global $g (mut i32) (i32.const 1)) (func $s (global.set $g (i32.const 5))) (start $s) "
    '(func (export "r") (result i32) global.get $g))',
    "an imported start function": '(module (import "m" "s" (func $s)) (start $s) (func (export "r")))',
    "memory64 beside memory32": """(module (memory $a 1) (memory $b i64 2) (memory $c i64 1 3)
        (func (export "r") (result i32) (i32.store $a (i32.const 8) (i32.const 4)) (i64.store $b (i64.const 70000) (i64.const 9))
        (memory.copy $b $a (i64.const 0) (i32.const 8) (i32.const 4)) (i32.load $b (i64.const 0))))""",
    "table64 beside table32": """(module (table $a 1 funcref) (table $b i64 2 externref)
        (func (export "r") (result i64) (table.size $b)))""",
    "imported memory64": '(module (import "m" "m" (memory i64 1)) (func (export "r") (result i64) (i64.load (i64.const 8))))',
    "passive segments and a data count": """(module (memory 1) (data $d "abcdef") (elem $e func $f) (table 2 funcref) (func $f)
        (func (export "r") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3)) (table.init $e (i32.const 0) (i32.const 0)
        (i32.const 1)) (data.drop $d) (elem.drop $e)))""",
    "no code at all": '(module (memory (export "m") 1))',
    "nothing": "(module)",
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in VALID.items()])
def test_a_module_seals_and_its_capsule_runs(text: str) -> None:
    data = binary(text)
    assert refusal(data) == ""
    made = sealed(data)
    assert made is not None
    check_indices(data, made)
    done = run(capsule(text))
    assert done.trap == ""
    assert all(row.outcome is not None for row in done.rows)


def test_values_through_sealed_items_are_the_types_zeros() -> None:
    def one(name: str) -> int:
        return results(run(VALID[name]))["r"][0].bits

    assert one("imported tags") == 7
    assert one("an imported table of i31") == 0
    assert one("a start function") == 5
    assert one("memory64 beside memory32") == 4
    assert one("table64 beside table32") == 2
    assert one("an imported table of functions that are not null") == 0


def test_a_function_that_a_global_is_given_is_not_the_recorder() -> None:
    done = run("""(module (type $digest (func (param i32 i32 i32))) (import "m" "g" (global (ref func)))
        (func (export "r") (result i32) (ref.test (ref $digest) (global.get 0))))""")
    assert results(done)["r"][0].bits == 0


def test_the_start_function_is_the_first_row() -> None:
    rows = run(VALID["a start function"]).rows
    assert [row.name for row in rows] == ["(start)", "r"]


def test_many_exports_that_ref_func_names_are_declared_in_segments_that_engines_take() -> None:
    functions = "".join(f'(func (export "f{at}"))' for at in range(5000))
    made = sealed(binary(f'(module {functions} (func (export "r") (result funcref) ref.func 4999))'))
    assert made is not None
    assert max(len(each.funcs) for each in read(made.wasm).elements) <= 4096


@pytest.mark.parametrize("memories", [0, 1, 98, 99])
def test_up_to_99_memories_seal(memories: int) -> None:
    text = "(module" + "(memory 1)" * memories + '(func (export "r")))'
    made = sealed(binary(text))
    assert made is not None
    assert len(read(made.wasm).all_memories) == memories + 1
    assert len(run(capsule(text)).state.memories) == memories


def test_a_hundred_memories_are_unsealable() -> None:
    data = binary("(module" + "(memory 0)" * 100 + ")")
    assert refusal(data) == ""
    with pytest.raises(UnsealableError, match="100 memories"):
        capsule(data)


@pytest.mark.parametrize(
    "item",
    [
        "(global (ref exn))",
        "(global (ref none))",
        "(global (ref nofunc))",
        "(global (ref noextern))",
        "(table 1 (ref exn))",
        "(table 0 (ref none))",
        "(global (ref $s))",
    ],
)
def test_a_type_without_a_value_is_unsealable(item: str) -> None:
    data = binary(f'(module (type $s (struct (field (ref $s)))) (import "m" "n" {item}))')
    assert refusal(data) == ""
    with pytest.raises(UnsealableError, match="'m' 'n' has an? (element )?type without a value"):
        capsule(data)


def test_a_type_whose_value_would_be_exponential_is_not_built() -> None:
    structs = "".join(f"(type $s{at} (struct (field (ref $s{at - 1})) (field (ref $s{at - 1}))))" for at in range(1, 60))
    data = binary(f'(module (type $s0 (struct)) {structs} (import "m" "n" (global (ref $s59))))')
    assert refusal(data) == ""
    with pytest.raises(UnsealableError, match="without a value"):
        capsule(data)


def test_a_chain_of_a_thousand_structures_has_a_value() -> None:
    structs = "".join(f"(type $s{at} (struct (field (ref $s{at - 1}))))" for at in range(1, 1500))
    made = sealed(binary(f'(module (type $s0 (struct)) {structs} (import "m" "n" (global (ref $s1499))))'))
    assert made is not None


@pytest.mark.parametrize("first", ["$a", "$b", "$c"])
def test_structures_that_need_each_other_have_no_value_and_others_beside_them_have(first: str) -> None:
    types = """(rec (type $a (struct (field (ref $b)))) (type $b (struct (field (ref $d)) (field (ref $a))))
      (type $c (struct (field (ref $a)))) (type $d (struct (field i32) (field (ref null $a)))))"""
    with pytest.raises(UnsealableError):
        capsule(f'(module {types} (import "m" "n" (global (ref {first}))))')
    assert sealed(binary(f'(module {types} (import "m" "n" (global (ref $d))) (import "m" "o" (global (ref $d))))')) is not None


def test_memories_and_tables_get_a_maximum_so_that_growing_fails_alike() -> None:
    text = """(module (memory $a 1) (memory $b 1 2) (memory $c i64 9) (table $t 1 funcref) (table $u 1 3 funcref)
      (func (export "a") (result i32) (memory.grow $a (i32.const 4))) (func (export "b") (result i32) (memory.grow $a (i32.const 1)))
      (func (export "t") (result i32) (table.grow $t (ref.null func) (i32.const 5))))"""
    made = capsule(text, world=World(memory_pages=4, table_elements=5))
    inside = read(made.wasm)
    assert [each.limits.maximum for each in inside.all_memories[:3]] == [4, 2, 9]
    assert [each.limits.maximum for each in inside.all_tables] == [5, 3]
    assert {name: values[0].bits for name, values in results(run(made)).items()} == {"a": 0xFFFFFFFF, "b": 1, "t": 0xFFFFFFFF}


def test_debug_sections_go_and_names_stay() -> None:
    custom = [ids.custom(name, b"\x00") for name in (".debug_info", "name", "producers", "sourceMappingURL", "reloc.CODE")]
    data = binary("(module (func))") + ids.write(custom)[8:]
    assert [each.name for each in read(capsule(data).wasm).sections if each.id == ids.CUSTOM] == ["name", "producers"]


PAST_THE_END = {
    # The capsule has all of these: its recorder memory, its slot globals, its functions, its types.
    "memory": "(module (memory 1) (func (drop (i32.load {} (i32.const 0)))))",
    "global": "(module (global i64 (i64.const 0)) (func (drop (global.get {}))))",
    "function": "(module (func (call {})))",
    "type": "(module (table 1 funcref) (func (param i32 i32 i32) (call_indirect 0 (type {}) (local.get 0) (i32.const 0))))",
    "table": "(module (table 1 funcref) (func (drop (table.get {} (i32.const 0)))))",
    "tag": "(module (tag) (func (throw {})))",
    "data": '(module (memory 1) (data "a") (func (data.drop {})))',
}


def just_past(kind: str) -> bytes:
    """A module with a body that uses the index just past the end; the valid one before it is patched."""
    module = PAST_THE_END[kind].format(0)
    if kind == "memory":
        good, bad = b"\x28\x02\x00\x1a", b"\x28\x42\x01\x00\x1a"  # the memarg gets an index
    else:
        good, bad = {
            "global": (b"\x23\x00", b"\x23\x01"),
            "function": (b"\x10\x00", b"\x10\x01"),
            "type": (b"\x11\x00\x00", b"\x11\x01\x00"),
            "table": (b"\x25\x00", b"\x25\x01"),
            "tag": (b"\x08\x00", b"\x08\x01"),
            "data": (b"\xfc\x09\x00", b"\xfc\x09\x01"),
        }[kind]
    text = module.replace("(type 0)", "(type 0)") if kind != "type" else module
    data = binary(text)
    made = read(data)
    code = made.section(ids.CODE)
    assert code is not None
    payload = bytes(code.payload)
    assert payload.count(good) == 1
    changed = payload.replace(good, bad)
    if len(bad) > len(good):  # the body's own size is one more
        changed = bytes([changed[0], changed[1] + 1]) + changed[2:]
    sections = [ids.section(each.id, changed) if each.id == ids.CODE else each for each in made.sections]
    return ids.write(sections)


@pytest.mark.parametrize("kind", PAST_THE_END)
def test_wasmtime_refuses_a_body_that_uses_an_index_just_past_the_end(kind: str) -> None:
    assert refusal(just_past(kind)) != ""


def test_sealing_would_make_some_of_them_valid_so_the_oracle_has_to_go_first() -> None:
    """Why ``build`` is only given what the oracle takes: the index past the artifact's end is the recorder's."""
    made_valid = set()
    for kind in PAST_THE_END:
        module = read(just_past(kind))
        if not refusal(build(module, "0" * 64, (), World()).wasm):
            made_valid.add(kind)
    assert {"memory", "global", "data"} <= made_valid
