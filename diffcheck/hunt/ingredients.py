"""What a program consists of, to recognise a find whose wrong instruction is not known, such as a refused module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.errors import ArtifactError
from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import all_instructions, read_locals
from diffcheck.wasm.types import ArrayType, FuncType, StructType

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
_SIZES: Final = (16, 64, 128, 256, 1024, 4096, 16_384, 65_536)


def ingredients(data: bytes) -> frozenset[str]:
    """The instructions of a module that not every module has, and the sizes of what it has much of. Empty if it cannot be read."""
    try:
        module = wasm.read(data)
        found = {each.name for each in all_instructions(data, module.bodies)} - _COMMON
        return frozenset({*found, *_large(module, data)})
    except ArtifactError:
        return frozenset()


def _large(module: Module, data: bytes) -> Iterator[str]:
    """``parameters > 128`` and the like, for every limit that is exceeded."""
    for what, count in _counts(module, data).items():
        yield from (f"{what} > {limit}" for limit in _SIZES if count > limit)


def _counts(module: Module, data: bytes) -> dict[str, int]:
    composites = [each.composite for each in module.types]
    functions = [each for each in composites if isinstance(each, FuncType)]
    structures = [each for each in composites if isinstance(each, StructType)]
    labels = (len(each.immediates[0]) for each in all_instructions(data, module.bodies) if each.name == "br_table")
    counts = (sum(count for count, _ in read_locals(data[at : at + size]).groups) for at, size in module.bodies)
    return {
        "types": len(composites),
        "arrays": sum(isinstance(each, ArrayType) for each in composites),
        "parameters": max((len(each.params) for each in functions), default=0),
        "results": max((len(each.results) for each in functions), default=0),
        "fields": max((len(each.fields) for each in structures), default=0),
        "exports": len(module.exports),
        "globals": len(module.globals),
        "labels": max(labels, default=0),
        "locals": max(counts, default=0),
    }
