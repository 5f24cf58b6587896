"""What a program consists of, to recognise a find whose wrong instruction is not known, such as a refused module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.errors import ArtifactError
from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import all_instructions, read_locals
from diffcheck.wasm.constexpr import read_constexpr
from diffcheck.wasm.leb import Reader
from diffcheck.wasm.types import FuncType, StructType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.wasm.module import Module

_COMMON: Final = frozenset(
    {
        *("end", "else", "drop", "nop", "return", "call", "block", "if", "unreachable", "local.get", "local.set", "local.tee"),
        *("i32.const", "i64.const", "f32.const", "f64.const", "v128.const", "global.get", "global.set", "ref.null", "ref.func"),
    }
)
"""Instructions that most programs have."""
_MANY: Final = 64
"""Programs have fewer of everything, unless they are generated with constructs in large numbers."""


def ingredients(data: bytes) -> frozenset[str]:
    """What not every module has: instructions, those of constant expressions, constructs in large numbers. Empty if unreadable."""
    try:
        module = wasm.read(data)
        found = {each.name for each in all_instructions(data, module.bodies)} - _COMMON
        return frozenset({*found, *_constant(module), *_many(module, data)})
    except ArtifactError:
        return frozenset()


def essence(found: frozenset[str]) -> tuple[str, ...]:
    """What identifies a reduced program: its constructs in large numbers, or else all its ingredients."""
    return tuple(sorted({each for each in found if each.startswith("many ")} or found))


def _constant(module: Module) -> Iterator[str]:
    """``struct.new in an element segment`` and the like."""
    places = {
        "a global": [each.init for each in module.globals],
        "a table": [each.init for each in module.tables if each.init],
        "an element segment": [one for each in module.elements for one in each.exprs],
    }
    for place, expressions in places.items():
        names = {one.name for raw in expressions for one in read_constexpr(Reader(raw)).instrs} - _COMMON
        yield from (f"{name} in {place}" for name in names)


def _many(module: Module, data: bytes) -> Iterator[str]:
    """``many parameters`` and the like."""
    return (f"many {what}" for what, count in _counts(module, data).items() if count > _MANY)


def _counts(module: Module, data: bytes) -> dict[str, int]:
    composites = [each.composite for each in module.types]
    functions = [each for each in composites if isinstance(each, FuncType)]
    structures = [each for each in composites if isinstance(each, StructType)]
    labels = (len(each.immediates[0]) for each in all_instructions(data, module.bodies) if each.name == "br_table")
    counts = (sum(count for count, _ in read_locals(data[at : at + size]).groups) for at, size in module.bodies)
    return {
        "types": len(composites),
        "parameters": max((len(each.params) for each in functions), default=0),
        "results": max((len(each.results) for each in functions), default=0),
        "fields": max((len(each.fields) for each in structures), default=0),
        "exports": len(module.exports),
        "globals": len(module.globals),
        "segments": len(module.data) + len(module.elements),
        "labels": max(labels, default=0),
        "locals": max(counts, default=0),
    }
