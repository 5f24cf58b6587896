from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings

from diffcheck.errors import ArtifactError
from diffcheck.wasm import leb, section
from diffcheck.wasm.global_constants import rewrite_data, rewrite_elements, rewrite_globals
from diffcheck.wasm.module import (
    Export,
    Import,
    Module,
    read,
    write,
)
from diffcheck.wasm.types import (
    ArrayType,
    FieldType,
    FuncType,
    GlobalType,
    Limits,
    MemoryType,
    RefType,
    StructType,
    SubType,
    TableType,
    TagType,
    encode_globaltype,
    encode_memorytype,
    encode_rectype,
    encode_tabletype,
    encode_valtype,
)

from .generate import described, modules, strategy
from .oracle import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

FUNCREF = RefType(nullable=True, heap="func")
NOTHING = SubType(final=True, supers=(), composite=FuncType())
TYPE = (section.TYPE, b"\x01\x60\x00\x00")
BODY = b"\x02\x00\x0b"
HEAD = len(section.PREAMBLE)


def made(*parts: tuple[int, bytes]) -> bytes:
    return write(section.section(id_, payload) for id_, payload in parts)


def failure(data: bytes) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        read(data)
    assert caught.value.offset is not None
    return caught.value


# What a module says


def test_an_empty_module_is_read() -> None:
    module = read(section.PREAMBLE)
    assert (module.sections, module.types, module.bodies) == ((), (), ())
    assert module.start is module.data_count is None
    assert module.n_imported("func") == module.n_elements == module.n_data == 0


def test_types_are_flattened_over_recursion_groups() -> None:
    leaf = SubType(final=False, supers=(), composite=StructType((FieldType("i8", mutable=True),)))
    heir = SubType(
        final=True,
        supers=(1,),
        composite=StructType((FieldType("i8", mutable=True), FieldType(RefType(nullable=False, heap=3), mutable=False))),
    )
    array = SubType(final=True, supers=(), composite=ArrayType(FieldType("v128", mutable=False)))
    content = encode_rectype((NOTHING,)) + encode_rectype((leaf, heir, array)) + encode_rectype(())
    module = read(made((section.TYPE, b"\x03" + content)))
    assert module.types == (NOTHING, leaf, heir, array)
    assert module.sections[0].vector() == (3, 1)


def test_imports_come_first_in_every_index_space() -> None:
    table = TableType(FUNCREF, Limits(1))
    memory = MemoryType(Limits(1, 2, is64=True, shared=True))
    paged = MemoryType(Limits(1, None, page_size_log2=0))
    value = GlobalType("i64", mutable=True)
    imports = b"".join((
        b"\x01a\x01b\x00\x00",
        b"\x00\x00\x01" + encode_tabletype(table),
        b"\x00\x00\x02" + encode_memorytype(memory),
        b"\x00\x00\x03" + encode_globaltype(value),
        b"\x00\x00\x04\x00\x00",
    ))  # fmt: skip
    module = read(
        made(
            TYPE,
            (section.IMPORT, b"\x05" + imports),
            (section.FUNCTION, b"\x01\x00"),
            (section.MEMORY, b"\x01" + encode_memorytype(paged)),
            (section.TAG, b"\x01\x00\x00"),
            (section.GLOBAL, b"\x01\x7f\x00\x41\x05\x0b"),
            (section.EXPORT, b"\x01\x01x\x03\x01"),
            (section.CODE, b"\x01" + BODY),
        )
    )
    assert module.imports[0] == Import("a", "b", "func", 0)
    assert module.all_functions == (0, 0)
    assert module.all_tables == (table,)
    assert module.all_memories == (memory, paged)
    assert module.all_globals == (value, GlobalType("i32", mutable=False))
    assert module.all_tags == (TagType(0), TagType(0))
    assert module.globals[0].init == b"\x41\x05\x0b"
    assert module.exports == (Export("x", "global", 1),)
    assert [module.n_imported(kind) for kind in ("func", "table", "memory", "global", "tag")] == [1] * 5
    assert module.function_type(1) == FuncType()


def test_bodies_are_told_by_file_offset_and_size() -> None:
    data = made(TYPE, (section.FUNCTION, b"\x02\x00\x00"), (section.CODE, b"\x02" + BODY + b"\x03\x00\x01\x0b"))
    assert [data[at : at + size] for at, size in read(data).bodies] == [b"\x00\x0b", b"\x00\x01\x0b"]


def test_tables_keep_their_initialiser() -> None:
    plain, filled = b"\x70\x00\x01", b"\x40\x00\x64\x70\x05\x01\x02\xd2\x00\x0b"
    module = read(made((section.TABLE, b"\x02" + plain + filled)))
    assert module.tables[0].init is None
    assert module.tables[1].init == b"\xd2\x00\x0b"
    assert module.tables[1].type == TableType(RefType(nullable=False, heap="func"), Limits(1, 2, is64=True))


@pytest.mark.parametrize(
    "flags,code,mode,table,n_funcs,n_exprs",
    [
        (0, "4100 0b 02 00 01", "active", 0, 2, 0),
        (1, "00 01 00", "passive", None, 1, 0),
        (2, "03 4100 0b 00 01 00", "active", 3, 1, 0),
        (3, "00 02 00 00", "declarative", None, 2, 0),
        (4, "4100 0b 02 d200 0b d070 0b", "active", 0, 0, 2),
        (5, "70 01 d200 0b", "passive", None, 0, 1),
        (6, "03 4100 0b 64 6c 01 4100 fb1c 0b", "active", 3, 0, 1),
        (7, "70 00", "declarative", None, 0, 0),
    ],
)
def test_every_form_of_element_segment_is_read(
    flags: int, code: str, mode: str, table: int | None, n_funcs: int, n_exprs: int
) -> None:
    data = made((section.ELEMENT, b"\x01" + bytes([flags]) + bytes.fromhex(code)))
    (element,) = read(data).elements
    assert (element.mode, element.table) == (mode, table)
    assert (len(element.funcs), len(element.exprs)) == (n_funcs, n_exprs)
    assert element.offset == (b"\x41\x00\x0b" if mode == "active" else None)


def test_every_form_of_data_segment_is_read() -> None:
    content = b"\x00\x41\x00\x0b\x02hi" + b"\x01\x00" + b"\x02\x05\x42\x07\x0b\x01x"
    data = made((section.DATA_COUNT, b"\x03"), (section.DATA, b"\x03" + content))
    module = read(data)
    assert [(each.mode, each.memory) for each in module.data] == [("active", 0), ("passive", None), ("active", 5)]
    assert [data[each.start : each.start + each.size] for each in module.data] == [b"hi", b"", b"x"]
    assert module.data_count == 3


@pytest.mark.parametrize(
    "value,encoded",
    [
        ("i32", "7f"),
        (FUNCREF, "70"),
        (RefType(nullable=True, heap="noexn"), "74"),
        (RefType(nullable=False, heap="extern"), "64 6f"),
        (RefType(nullable=True, heap=3), "63 03"),
        (RefType(nullable=False, heap=64), "64 c000"),
    ],
)
def test_a_type_is_written_in_its_shortest_form(value: str | RefType, encoded: str) -> None:
    assert encode_valtype(value) == bytes.fromhex(encoded)


def test_the_long_form_of_an_abstract_reference_is_read() -> None:
    module = read(made((section.GLOBAL, b"\x01\x63\x70\x00\xd0\x70\x0b")))
    assert module.globals[0].type == GlobalType(FUNCREF, mutable=False)


# Writing


def test_padded_sizes_and_custom_sections_anywhere_are_written_as_they_were() -> None:
    custom = b"\x00\x83\x80\x80\x80\x00\x01xy"
    data = section.PREAMBLE + custom + b"\x01\x84\x00\x01\x60\x00\x00" + custom
    module = read(data)
    assert write(module.sections) == data
    assert [each.name for each in module.sections] == ["x", "", "x"]
    assert bytes(module.sections[0].content()) == b"y"


def test_a_replaced_payload_gets_a_new_size() -> None:
    (old,) = read(section.PREAMBLE + b"\x01\x84\x00\x01\x60\x00\x00").sections
    count, at = old.vector()
    payload = leb.u(count + 1) + bytes(old.payload[at:]) + b"\x60\x00\x00"
    new = write([msgspec.structs.replace(old, payload=payload)])
    assert read(new).types == (NOTHING, NOTHING)


@pytest.mark.parametrize("id_", [section.CUSTOM, section.START, section.DATA_COUNT])
def test_a_section_that_is_no_vector_says_so(id_: int) -> None:
    with pytest.raises(ValueError, match="not a vector"):
        section.section(id_, b"\x00").vector()


# Global reads

READS = made(
    (section.IMPORT, b"\x02" + b"\x00\x00\x03\x7f\x00" * 2),
    (section.TABLE, b"\x01\x40\x00\x6c\x00\x01\x23\x00\xfb\x1c\x0b"),
    (section.GLOBAL, b"\x02\x7f\x00\x23\x01\x0b\x7f\x00\x23\x00\x23\x00\x6a\x0b"),
    (section.ELEMENT, b"\x02\x06\x00\x23\x00\x0b\x6c\x02\x23\x01\x0b\x23\x00\xfb\x1c\x0b" + b"\x01\x00\x01\x23"),
    (section.DATA, b"\x02\x00\x23\x01\x0b\x04\x23\x01\x23\x01" + b"\x01\x02\x23\x01"),
)
REWRITERS: dict[int, Callable[[Module, dict[int, bytes]], bytes]] = {
    section.GLOBAL: rewrite_globals,
    section.ELEMENT: rewrite_elements,
    section.DATA: rewrite_data,
}


def test_global_reads_are_replaced_in_expressions_only() -> None:
    module = read(READS)
    zero, one = {0: b"\x41\x07"}, {1: b"\x41\x7f"}
    assert rewrite_globals(module, zero) == b"\x7f\x00\x23\x01\x0b\x7f\x00\x41\x07\x41\x07\x6a\x0b"
    assert rewrite_elements(module, zero | one) == (b"\x06\x00\x41\x07\x0b\x6c\x02\x41\x7f\x0b\x41\x07\xfb\x1c\x0b\x01\x00\x01\x23")
    assert rewrite_data(module, one) == b"\x00\x41\x7f\x0b\x04\x23\x01\x23\x01\x01\x02\x23\x01"


@pytest.mark.parametrize("id_", sorted(REWRITERS))
def test_with_nothing_to_replace_the_content_stays(id_: int) -> None:
    module = read(READS)
    there = module.section(id_)
    assert there is not None
    assert REWRITERS[id_](module, {}) == REWRITERS[id_](module, {9: b"\x01"}) == there.content()
    assert REWRITERS[id_](read(section.PREAMBLE), {0: b"\x01"}) == b""


# Errors


@pytest.mark.parametrize(
    "data,reason,offset",
    [
        (b"", "empty", 0),
        (b"(module)", "not WebAssembly", 0),
        (b"\0asm", "missing", 4),
        (b"\0asm\x02\0\0\0", "version", 4),
        (b"\0asm\x0d\0\x01\0", "component", 4),
        (section.PREAMBLE + b"\x0e\x00", "unknown section id 14", 8),
        (section.PREAMBLE + b"\x01", "ends within an integer", 9),
        (section.PREAMBLE + b"\x01\x05\x00", "5 bytes, but only 1 are left", 9),
        (section.PREAMBLE + b"\x00\x02\x05a", "a name of 5 bytes, but only 1 are left", 10),
        (section.PREAMBLE + b"\x00\x02\x01\xff", "UTF-8", 11),
        (made(TYPE, TYPE), "second type section", HEAD + 6),
        (made((section.MEMORY, b"\x00"), TYPE), "out of order", HEAD + 3),
        (made((section.GLOBAL, b"\x00"), (section.TAG, b"\x00")), "out of order, after the global", HEAD + 3),
        (made((section.CODE, b"\x00"), (section.DATA_COUNT, b"\x00")), "out of order, after the code", HEAD + 3),
        (made((section.TYPE, b"\x00\x00")), "1 trailing bytes after the type section", HEAD + 3),
        (made((section.START, b"\x00\x00")), "trailing", HEAD + 3),
        (made(TYPE, (section.FUNCTION, b"\x00\x00")), "trailing", HEAD + 9),
        (made((section.TYPE, b"\x80\x80\x80\x80\x10")), "exceeds 32 bits", HEAD + 2),
        (made((section.TYPE, b"\xff\xff\xff\xff\x0f")), "4294967295", HEAD + 2),
        (made(TYPE, (section.FUNCTION, b"\x01\x00")), "1 functions are declared, 0", HEAD + 8),
        (made((section.CODE, b"\x01" + BODY)), "0 functions are declared, 1", HEAD + 2),
        (made((section.DATA_COUNT, b"\x01")), "data count is 1", HEAD + 2),
        (made((section.DATA_COUNT, b"\x00"), (section.DATA, b"\x01\x01\x00")), "data count is 0", HEAD + 5),
        (made(TYPE, (section.FUNCTION, b"\x02\x00\x01"), (section.CODE, b"\x00")), "type index 1", HEAD + 10),
        (made((section.TYPE, b"\x01\x5f\x00"), (section.FUNCTION, b"\x01\x00")), "not a function type", HEAD + 8),
        (made(TYPE, (section.IMPORT, b"\x01\x00\x00\x00\x01")), "type index 1", HEAD + 12),
        (made(TYPE, (section.IMPORT, b"\x01\x00\x00\x05\x01")), "not a kind", HEAD + 11),
        (made(TYPE, (section.IMPORT, b"\x01\x00\x00\x03\x63\x07\x00")), "type index 7", HEAD + 13),
        (made(TYPE, (section.TAG, b"\x01\x00\x01")), "type index 1", HEAD + 10),
        (made((section.TYPE, b"\x01\x5f\x00"), (section.TAG, b"\x01\x00\x00")), "not a function type", HEAD + 8),
        (made(TYPE, (section.TAG, b"\x01\x01\x00")), "attribute", HEAD + 9),
        (made((section.EXPORT, b"\x02\x00\x00\x00\x01a\x00\x00")), "func index 0 is out of range", HEAD + 3),
        (made((section.EXPORT, b"\x01\x01\xff\x00\x00")), "UTF-8", HEAD + 4),
        (made((section.START, b"\x00")), "start function is 0", HEAD + 2),
        (made((section.TYPE, b"\x01\x50\x01\x01\x60\x00\x00")), "type index 1", HEAD + 5),
        (made((section.TYPE, b"\x01\x60\x01\x65\x70\x00")), "shared reference types are not supported", HEAD + 5),
        (made((section.TYPE, b"\x01\x60\x01\x63\x68\x00")), "not supported", HEAD + 6),
        (made((section.TYPE, b"\x01\x5d\x00")), "not supported", HEAD + 3),
        (made((section.TYPE, b"\x01\x60\x01\x40\x00")), "does not begin a reference type", HEAD + 5),
        (made((section.MEMORY, b"\x01\x10\x00")), "unknown flags 0x10", HEAD + 3),
        (made((section.TABLE, b"\x01\x70\x08\x00\x00")), "unknown flags", HEAD + 4),
        (made((section.TABLE, b"\x01\x40\x01\x70\x00\x00")), "reserved", HEAD + 4),
        (made((section.GLOBAL, b"\x01\x7f\x02\x41\x00\x0b")), "mutability", HEAD + 4),
        (made((section.ELEMENT, b"\x01\x08")), "flags", HEAD + 3),
        (made((section.ELEMENT, b"\x01\x01\x01\x00")), "element kind", HEAD + 4),
        (made((section.DATA, b"\x01\x03")), "flags", HEAD + 3),
        (made((section.DATA, b"\x01\x01\x02a")), "2 bytes of a data segment", HEAD + 5),
        (made((section.CODE, b"\x01\x05\x00")), "a function body", HEAD + 4),
    ],
)
def test_a_malformed_module_is_an_error_with_its_reason_and_offset(data: bytes, reason: str, offset: int) -> None:
    error = failure(data)
    assert reason in error.reason
    assert error.offset == offset


def test_a_component_comes_with_what_to_do() -> None:
    assert "meld fuse" in failure(b"\0asm\x0d\0\x01\0").hint


# Generated modules


def test_generated_modules_are_valid_and_written_as_they_were_read() -> None:
    refused = []
    for seed in range(300):
        data = modules(seed)
        assert write(read(data).sections) == data, seed
        if reason := refusal(data):
            refused.append((seed, reason))
    assert len(refused) <= 6, refused


def test_generated_modules_are_read_as_they_were_meant() -> None:
    for seed in range(300):
        data, space = described(seed)
        module = read(data)
        assert module.types == tuple(space.types)
        assert module.all_functions == tuple(space.functions)
        assert module.all_tables == tuple(space.tables)
        assert module.all_memories == tuple(space.memories)
        assert module.all_globals == tuple(space.globals)
        assert module.all_tags == tuple(map(TagType, space.tags))
        assert tuple(each.ref.heap for each in module.elements) == tuple(ref.heap for ref in space.elements)
        assert module.n_data == module.data_count == space.n_data


def test_generated_modules_have_what_a_sealer_must_cope_with() -> None:
    read_ = [read(modules(seed)) for seed in range(600)]
    n_memories = {len(module.all_memories) for module in read_}
    assert {0, 1, 99, 100} <= n_memories
    assert {each.kind for module in read_ for each in module.imports} == {"func", "table", "memory", "global", "tag"}
    assert {bool(table.global_gets) for module in read_ for table in module.tables} == {True, False}
    assert any(not table.type.ref.nullable for module in read_ for table in module.tables)
    assert any(len(module.exports) > 255 for module in read_)
    assert any(module.start is not None for module in read_)
    assert {(each.mode, bool(each.exprs)) for module in read_ for each in module.elements} >= {
        (mode, by_expr) for mode in ("active", "passive", "declarative") for by_expr in (True, False)
    }


@settings(max_examples=50, deadline=None)
@given(strategy())
def test_replacing_a_global_by_its_own_read_changes_nothing(data: bytes) -> None:
    module = read(data)
    own = {index: b"\x23" + leb.u(index) for index in range(len(module.all_globals))}
    for id_, rewrite in REWRITERS.items():
        there = module.section(id_)
        assert rewrite(module, own) == (there.content() if there else b"")


@pytest.mark.parametrize("mutants", [800, pytest.param(4000, marks=pytest.mark.whole)])
def test_a_mutated_module_is_read_or_is_an_artifact_error(mutants: int) -> None:
    rng = random.Random(20)
    outcomes = {True: 0, False: 0}
    for seed in range(mutants):
        data = bytearray(modules(seed % 200))
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        outcomes[survives(bytes(data))] += 1
    assert min(outcomes.values()) > mutants / 20, outcomes


def survives(data: bytes) -> bool:
    refused: ArtifactError | None = None
    try:
        assert write(read(data).sections) == data
    except ArtifactError as error:
        refused = error
    assert refused is None or (refused.offset is not None and 0 <= refused.offset <= len(data))
    return refused is None
