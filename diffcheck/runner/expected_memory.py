"""The memory that a subject is expected to take, by the costs in its capabilities: to admit runs and to slice, not to limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.capsule import layout as lo
from diffcheck.capsule.slicing.slice_form import slice_module
from diffcheck.errors import ArtifactError
from diffcheck.wasm.code import count, read_locals
from diffcheck.wasm.opcodes import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffcheck.backend.contract import Capabilities
    from diffcheck.wasm.module import Module

_VECTORS: Final = frozenset({"br_table", "try_table", "select_t"})
"""The instructions with a vector as immediate (core specification 5.4)."""
_VECTOR_CODES: Final = tuple(BY_NAME[each].encoding for each in _VECTORS)
_ELEMENT_BYTES: Final = 24
_MOST_PAGES: Final = 1 << 16
_MOST_ELEMENTS: Final = 10_000_000
_RECORDER_PAGES: Final = 4


def expected_memory(module: Module, functions: int, known: Capabilities) -> int:
    """Return the expected memory after loading, in bytes; ``functions`` is the number of functions, those of a capsule included."""
    pages = sum(min(each.limits.minimum, _MOST_PAGES) for each in module.all_memories)
    elements = sum(min(each.limits.minimum, _MOST_ELEMENTS) for each in module.all_tables)
    segments = sum(each.mode == "active" for each in module.elements)
    return (
        known.base_bytes
        + functions * known.function_bytes
        + segments * known.segment_bytes
        + sum(body_memory(body, offset, known) for offset, body in module.body_bytes())
        + elements * _ELEMENT_BYTES
        + 2 * (pages + _RECORDER_PAGES) * lo.PAGE
    )


def body_memory(body: bytes, offset: int, known: Capabilities) -> int:
    """Return the expected memory for the code of a function, in bytes; ``body`` is at ``offset`` in the file."""
    return len(body) * known.code_bytes + (_vectors(body, offset) * known.vector_bytes if known.vector_bytes else 0)


class SliceMemory:
    """The expected memory of slices of a module, with ``added`` functions besides those of the slice."""

    def __init__(self, module: Module, added: int, known: Capabilities) -> None:
        empty = slice_module(module, frozenset()).module
        self._known, self._first, self._bodies = known, module.n_imported("func"), list(module.body_bytes())
        self._empty = expected_memory(empty, added + len(empty.all_functions), known)

    def of(self, functions: Iterable[int]) -> int:
        """Return the expected memory of the slice that has these functions, given as funcidxs, in bytes."""
        return self._empty + sum(map(self.function, functions))

    def function(self, funcidx: int) -> int:
        """Return what a function adds to a slice, in bytes; 0 for an imported one."""
        if funcidx < self._first:
            return 0
        offset, body = self._bodies[funcidx - self._first]
        return self._known.function_bytes + body_memory(body, offset, self._known)


def _vectors(body: bytes, offset: int) -> int:
    if not any(each in body for each in _VECTOR_CODES):
        return 0
    try:
        return count(body, _VECTORS, start=read_locals(body, offset).end, base_offset=offset)
    except ArtifactError:  # an unknown instruction
        return 0
