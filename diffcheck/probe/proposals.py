"""The proposals beyond WebAssembly 1.0 that a module uses, and for each a small valid module to test an engine's support."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Final

from diffcheck.probe.programs import body, raw, start
from diffcheck.wasm import code, module
from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.types import FuncType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.opcodes import Op

_MEMORY, _MEMORY64, _MEMORY_SHARED = b"\x00\x01", b"\x04\x01", b"\x03\x01\x01"
_NUMBERS: Final = "i64.const 1 i64.const 2"
_VECTOR: Final = 0xFD
_EMPTY_TYPE: Final = b"\x60\x00\x00"

PROBES: Final[dict[str, bytes]] = {
    "sign extension": start(body("i32.const 0 i32.extend8_s drop")),
    "saturating conversions": start(body("f32.const 0 i32.trunc_sat_f32_s drop")),
    "multiple results": start(
        body("i32.const 1 i32.const 2 block (type 1) end drop drop"), type=[_EMPTY_TYPE, b"\x60\x02\x7f\x7f\x02\x7f\x7f"]
    ),
    "bulk memory": start(raw(bytes.fromhex("410041004100fc0b00")), memory=[_MEMORY]),
    "reference types": start(raw(bytes.fromhex("d0701a")), table=[b"\x6f\x00\x01"]),
    "SIMD": start(body("i32.const 0 i8x16.splat drop")),
    "relaxed SIMD": start(body("i32.const 0 i8x16.splat i32.const 0 i8x16.splat i8x16.relaxed_swizzle drop")),
    "wide arithmetic": start(body(f"{_NUMBERS} {_NUMBERS} i64.add128 drop drop")),
    "tail calls": start(body("i32.const 0 if return_call 0 end")),
    "threads": start(raw(bytes.fromhex("4100fe1002001a")), memory=[b"\x01\x01\x01"]),
    "shared memories": start(body(""), memory=[_MEMORY_SHARED]),
    "multiple memories": start(body(""), memory=[_MEMORY, _MEMORY]),
    "64-bit memories": start(body(""), memory=[_MEMORY64]),
    "64-bit tables": start(body(""), table=[b"\x70\x04\x01"]),
    "copies between memories of two index types": start(
        raw(bytes.fromhex("410042004100fc0a0001")), memory=[_MEMORY, _MEMORY64]
    ),
    "custom page sizes": start(body(""), memory=[b"\x08\x01\x00"]),
    "exceptions": start(raw(bytes.fromhex("02401f400102000b0b")), tag=[b"\x00\x00"]),
    "legacy exceptions": start(raw(bytes.fromhex("0640190b"))),
    "function references": start(raw(bytes.fromhex("d0001a"))),
    "garbage collection": start(raw(bytes.fromhex("fb00011a")), type=[_EMPTY_TYPE, b"\x5f\x00"]),
}  # fmt: skip

_PREFIXES: Final[dict[int | None, str]] = {0xFB: "garbage collection", 0xFD: "SIMD", 0xFE: "threads"}
_OPERATIONS: Final[dict[str, frozenset[str]]] = {
    "exceptions": frozenset({"throw", "throw_ref", "try_table"}),
    "function references": frozenset({"call_ref", "ref.as_non_null", "br_on_null", "br_on_non_null"}),
    "reference types": frozenset(
        {"ref.null", "ref.func", "ref.is_null", "table.get", "table.set", "table.size", "table.grow", "table.fill"}
    ),
    "bulk memory": frozenset({"memory.init", "memory.copy", "memory.fill", "data.drop", "table.init", "table.copy", "elem.drop"}),
    "sign extension": frozenset({"i32.extend8_s", "i32.extend16_s", "i64.extend8_s", "i64.extend16_s", "i64.extend32_s"}),
}


def used(wasm: bytes) -> tuple[str, ...]:
    """Return the proposals that a valid module uses, in the order of ``PROBES``. Decodes its code."""
    read = module.read(wasm)
    proposals = set(_of_types(read))
    for each in code.all_instructions(wasm, read.bodies):
        proposals.add(_of_instruction(BY_NAME[each.name]))
        if each.name == "memory.copy" and _index_types_differ(each, read):
            proposals.add("copies between memories of two index types")
        if each.name == "ref.null" and isinstance(each.immediates[0], int):
            proposals.add("function references")
    return tuple(name for name in PROBES if name in proposals)


def _of_types(read: Module) -> Iterator[str]:
    for memory in read.all_memories:
        flags = (memory.limits.is64, memory.limits.shared, memory.limits.page_size_log2 is not None)
        yield from compress(("64-bit memories", "shared memories", "custom page sizes"), flags)
    if len(read.all_memories) > 1:
        yield "multiple memories"
    if any(each.limits.is64 for each in read.all_tables):
        yield "64-bit tables"
    if read.all_tags:
        yield "exceptions"
    for each in read.types:
        if not isinstance(each.composite, FuncType):
            yield "garbage collection"
        elif len(each.composite.results) > 1:
            yield "multiple results"


def _index_types_differ(copy: Instruction, read: Module) -> bool:
    return len({read.all_memories[index].limits.is64 for index in copy.immediates}) > 1


def _of_instruction(op: Op) -> str:
    """Return the proposal of an instruction; empty for those of 1.0."""
    if op.prefix == _VECTOR and "relaxed" in op.name:
        return "relaxed SIMD"
    if op.prefix in _PREFIXES:
        return _PREFIXES[op.prefix]
    if op.proposal:
        return op.proposal.replace("-", " ")
    if op.name.startswith("return_call"):
        return "tail calls"
    if "trunc_sat" in op.name:
        return "saturating conversions"
    return next((name for name, operations in _OPERATIONS.items() if op.name in operations), "")
