"""Which memory and which realloc a stub works with: those of its caller's component, or none."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from diffcheck.capsule import provenance
from diffcheck.capsule.seal import StubbedImport, close_functions
from diffcheck.wasm.module import custom, read, write
from tests.capsule.helpers import binary

CORPUS = Path(__file__).parents[2] / "corpus"
RANDOM = '(import "wasi:random/random@0.2.0" "get-random-bytes{0}" (func $random{1} (param i64 i32)))'
CHECK = '(import "wasi:io/streams@0.2.0" "[method]output-stream.check-write" (func $check (param i32 i32)))'
REALLOC = """(func $realloc{0} (export "{1}") (param i32 i32 i32 i32) (result i32)
  (i32.load {2} (i32.const 0)) (global.get {3}) (i32.add))"""
CALLER = (
    '(func $caller{0} (export "caller{0}") (call {1} (i64.const 1) (i32.const 8)) (i32.store {2} (i32.const 0) (global.get {3})))'
)
GLOBALS = "(global $a (mut i32) (i32.const 0)) (global $b (mut i32) (i32.const 0))"
TWO = f"""(module {RANDOM.format("", 0)} {RANDOM.format("$1", 1)} (memory $m 1) (memory $n 1) {GLOBALS}
  {REALLOC.format(0, "cabi_realloc", "$m", "$a")} {REALLOC.format(1, "cabi_realloc$1", "$n", "$b")}
  {CALLER.format(0, "$random0", "$n", "$b")} {CALLER.format(1, "$random1", "$m", "$a")})"""
ONE_MEMORY_TWO_REALLOCS = f"""(module {RANDOM.format("", 0)} (memory 1) {GLOBALS}
  {REALLOC.format(0, "cabi_realloc", "0", "$a")} {REALLOC.format(1, "cabi_import_realloc", "0", "$b")}
  {{0}})"""


def close(source: str | bytes) -> tuple[StubbedImport, ...]:
    return close_functions(read(binary(source)), "zero")


def places(source: str | bytes) -> list[tuple[int, int | None]]:
    assert {each.stub.kind for each in close(source)} == {"functional"}
    return [(each.bound.memory, each.bound.realloc) for each in close(source)]


def reason(source: str | bytes, at: int = 0) -> str:
    closed = close(source)[at]
    assert (closed.stub.kind, closed.spec) == ("trap", None)
    return closed.stub.reason


def test_with_one_memory_it_is_that_one() -> None:
    source = f"(module {RANDOM.format('', 0)} {CHECK} (memory 1) {GLOBALS} {REALLOC.format(0, 'cabi_realloc', '0', '$a')})"
    assert places(source) == [(0, 2), (0, None)]


def test_witness_s_trace_memory_is_not_one_to_write_to() -> None:
    source = f"""(module {RANDOM.format("", 0)} (memory (export "__witness_trace") 1) (memory $m 1) {GLOBALS}
      {REALLOC.format(0, "cabi_realloc", "$m", "$a")})"""
    assert places(source) == [(1, 1)]


def test_numbers_in_names_pair_nothing_the_callers_do() -> None:
    assert places(TWO) == [(1, 3), (0, 2)]


@pytest.mark.parametrize("name", ["cabi_realloc", "cabi_realloc$2", "cabi_import_realloc", "cabi_import_realloc$1"])
def test_a_realloc_s_names(name: str) -> None:
    assert places(f"(module {RANDOM.format('', 0)} (memory 1) {GLOBALS} {REALLOC.format(0, name, '0', '$a')})") == [(0, 1)]


@pytest.mark.parametrize("export", ["cabi_export_realloc", "realloc", "cabi_realloc2"])
def test_other_functions_are_no_realloc(export: str) -> None:
    source = f"(module {RANDOM.format('', 0)} (memory 1) {GLOBALS} {REALLOC.format(0, export, '0', '$a')})"
    assert reason(source) == "no cabi_realloc for its caller's memory is exported"
    source = f'(module {RANDOM.format("", 0)} (memory 1) (func (export "cabi_realloc") (param i32) (result i32) (i32.const 0)))'
    assert reason(source) == "no cabi_realloc for its caller's memory is exported"


def test_without_a_memory_or_with_one_of_64_bits_there_is_nothing_to_write_to() -> None:
    assert reason(f"(module {CHECK})") == "the artifact has no memory"
    assert reason(f"(module {CHECK} (memory i64 1))") == "its memory has 64-bit addresses"
    preview1 = '(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))'
    assert reason(f"(module {preview1} (memory i64 1))") == "its memory has 64-bit addresses"


def test_preview_1_uses_the_memory_that_is_exported_as_memory() -> None:
    preview1 = '(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))'
    assert places(f'(module {preview1} (memory 1) (memory (export "memory") 1))') == [(1, None)]
    assert "no caller uses a memory" in reason(f"(module {preview1} (memory 1) (memory 1))")


def test_a_shim_in_a_table_is_looked_through() -> None:
    source = f"""(module {CHECK} (memory $m 1) (memory $n 1) (type $t (func (param i32 i32))) (table $imports 2 2 funcref)
      (elem (table $imports) (i32.const 1) func $check)
      (func $shim (export "1") (param i32 i32)
        (call_indirect $imports (type $t) (local.get 0) (local.get 1) (i32.const 1)))
      (func (export "main") (call $shim (i32.const 1) (i32.const 8)) (drop (i32.load $n (i32.const 8))))
      (func (export "other") (drop (i32.load $m (i32.const 8)))))"""
    assert places(source) == [(1, None)]
    changed = source.replace('(func (export "other")', '(func (export "other") (table.set $imports (i32.const 0) (ref.null func))')
    assert "a reference to it is taken" in reason(changed)


@pytest.mark.parametrize(
    ("callers", "said"),
    [
        ("", "no caller uses a memory"),
        ("(func (call $check (i32.const 0) (i32.const 8)))", "no caller uses a memory"),
        (
            """(func (call $check (i32.const 0) (i32.const 8)) (drop (i32.load $m (i32.const 8))))
               (func (call $check (i32.const 0) (i32.const 8)) (drop (i32.load $n (i32.const 8))))""",
            "its callers use different memories",
        ),
        (
            "(func (call $check (i32.const 0) (i32.const 8)) (memory.copy $m $n (i32.const 0) (i32.const 0) (i32.const 0)))",
            "use different memories",
        ),
        ("(table 1 funcref) (elem (i32.const 0) func $check)", ""),
        (
            "(table 1 funcref) (elem (i32.const 0) func $check) (func (param i32) (call_indirect (local.get 0)))",
            "a reference to it is taken",
        ),
        ("(elem declare func $check) (func (drop (ref.func $check)))", "a reference to it is taken"),
        ("(elem func $check)", "a reference to it is taken"),
        ("(table 1 funcref) (elem (i32.const 0) funcref (ref.func $check))", "a reference to it is taken"),
    ],
)
def test_a_memory_that_is_uncertain_is_not_bound(callers: str, said: str) -> None:
    why = reason(f"(module {CHECK} (memory $m 1) (memory $n 1) {callers})")
    assert why.startswith("which of 2 memories its caller uses is uncertain")
    assert said in why


def test_the_caller_of_a_caller_tells_where_the_caller_touches_none() -> None:
    source = f"""(module {CHECK} (memory $m 1) (memory $n 1)
      (func $wrapper (param i32) (call $check (i32.const 0) (local.get 0)))
      (func (call $wrapper (i32.const 8)) (i32.store8 $n (i32.const 8) (i32.const 8))))"""
    assert places(source) == [(1, None)]


def test_of_two_reallocs_it_is_the_one_in_the_caller_s_core_module() -> None:
    by_a, by_b = CALLER.format(0, "$random0", "0", "$a"), CALLER.format(0, "$random0", "0", "$b")
    assert places(ONE_MEMORY_TWO_REALLOCS.format(by_a)) == [(0, 1)]
    assert places(ONE_MEMORY_TWO_REALLOCS.format(by_b)) == [(0, 2)]


def test_functions_that_call_without_an_export_are_of_one_core_module() -> None:
    inner = """(func $inner (global.set $b (i32.const 1)))
      (func (export "main") (call $random0 (i64.const 1) (i32.const 8)) (call $inner))"""
    assert places(ONE_MEMORY_TWO_REALLOCS.format(inner)) == [(0, 2)]
    outer = inner.replace("(func $inner", '(func $inner (export "inner")')
    assert reason(ONE_MEMORY_TWO_REALLOCS.format(outer)) == "which of 2 reallocs its caller uses is uncertain"


@pytest.mark.parametrize(
    "callers",
    [
        "",
        '(func (export "main") (call $random0 (i64.const 1) (i32.const 8)))',
        f"{CALLER.format(0, '$random0', '0', '$a')} {CALLER.format(1, '$random0', '0', '$b')}",
        f'{CALLER.format(0, "$random0", "0", "$a")} (func (export "both") (global.set $a (global.get $b)))',
    ],
)
def test_a_realloc_that_is_uncertain_is_not_bound(callers: str) -> None:
    assert reason(ONE_MEMORY_TWO_REALLOCS.format(callers)) == "which of 2 reallocs its caller uses is uncertain"


# What meld says


def with_provenance(source: str, modules: list[tuple[str, int]], *, shift: int = 0) -> bytes:
    """The module with a section that says of each defined function its component and its index there."""
    data = binary(source)
    module = read(data)
    code = module.section(10)
    assert code is not None
    first = module.n_imported("func")
    content = struct.pack("<4sBBB32sI", b"SCPV", 3, 0, 0, bytes(32), len(modules))
    for at, (component, origin) in enumerate(modules):
        offset, size = module.bodies[at]
        start = offset - code.offset + shift
        name = component.encode()
        content += struct.pack("<II", first + at, len(name)) + name + struct.pack("<IBII", origin, 1, start, start + size)
    return write([*module.sections, custom(provenance.PROVENANCE, content)])


UNCLEAR = ONE_MEMORY_TWO_REALLOCS.format('(func (export "main") (call $random0 (i64.const 1) (i32.const 8)))')


def test_the_provenance_tells_core_modules_apart_where_it_fits() -> None:
    assert places(with_provenance(UNCLEAR, [("c", 4), ("c", 0), ("c", 1)])) == [(0, 2)]
    assert places(with_provenance(UNCLEAR, [("c", 4), ("d", 5), ("d", 6)])) == [(0, 2)]
    assert "is uncertain" in reason(with_provenance(UNCLEAR, [("c", 4), ("c", 5), ("c", 6)]))


def test_a_provenance_that_does_not_fit_is_used_only_for_the_number_of_components() -> None:
    moved = with_provenance(UNCLEAR, [("c", 4), ("c", 0), ("c", 1)], shift=1)
    assert provenance.origins(read(moved)) == {}
    assert "is uncertain" in reason(moved)
    one = f"(module {RANDOM.format('', 0)} (memory 1) {GLOBALS} {REALLOC.format(0, 'cabi_realloc', '0', '$a')})"
    assert places(with_provenance(one, [("c", 0)], shift=1)) == [(0, 1)]
    # Two components that share a memory have only one realloc exported, which may be the other's.
    two = one[:-1] + f"{CALLER.format(0, '$random0', '0', '$b')})"
    assert places(with_provenance(two, [("c", 0), ("c", 1)], shift=1)) == [(0, 1)]
    assert reason(with_provenance(two, [("c", 0), ("d", 1)], shift=1)) == "which of 1 reallocs its caller uses is uncertain"


def test_the_provenance_has_to_agree_with_the_callers() -> None:
    modules = [("c", 0), ("d", 0), ("d", 1), ("c", 1)]
    assert places(with_provenance(TWO, modules)) == [(1, 3), (0, 2)]
    assert "use different memories" in reason(with_provenance(TWO, [("c", 0), ("d", 0), ("c", 2), ("d", 3)]))


def test_a_provenance_that_cannot_be_read_is_none() -> None:
    good = with_provenance(UNCLEAR, [("c", 4), ("c", 0), ("c", 1)])
    at = good.index(b"SCPV")
    for damaged in (good[:at] + b"XCPV" + good[at + 4 :], good[: at + 4] + b"\x02" + good[at + 5 :]):
        assert provenance.entries(read(damaged)) == ()
    sections = read(good).sections
    whole = bytes(sections[-1].content())
    for size in range(len(whole)):
        cut = write([*sections[:-1], custom(provenance.PROVENANCE, whole[:size])])
        assert provenance.entries(read(cut)) == ()
    huge = whole[:39] + b"\xff\xff\xff\xff" + whole[43:]
    assert provenance.entries(read(write([*sections[:-1], custom(provenance.PROVENANCE, huge)]))) == ()


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b'{"inputs": 3}', b'{"inputs": [1]}', b'{"inputs": [{"module_count": "x"}]}', b"\xff"]
)
def test_an_attestation_that_cannot_be_read_counts_one_component(text: bytes) -> None:
    module = read(write([*read(binary("(module)")).sections, custom(provenance.ATTESTATION, text)]))
    assert provenance.n_components(module) == 1


def test_an_attestation_counts_the_inputs_that_have_modules() -> None:
    text = b'{"inputs": [{"module_count": 4}, {"module_count": 0}, {"module_count": 1}]}'
    assert provenance.n_components(read(write([custom(provenance.ATTESTATION, text)]))) == 2


def test_a_real_fuse_of_two_components_is_told_apart_though_witness_numbered_its_functions_anew() -> None:
    module = read((CORPUS / "10-components/two_printers.wasm").read_bytes())
    assert provenance.n_components(module) == 2
    assert len(provenance.entries(module)) == 8
    assert provenance.origins(module) == {}
    bound = {each.stub.name: each.bound for each in close_functions(module, "zero")}
    ours, theirs = bound["get-random-bytes"], bound["get-random-bytes$2"]
    exports = {each.name: each.index for each in module.exports}
    assert (ours.memory, ours.realloc) == (1, exports["cabi_realloc$1"])
    assert (theirs.memory, theirs.realloc) == (0, exports["cabi_realloc"])
