"""The rows that may change the state of an instance, and those after which it cannot be restored from a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.capsule.callgraph import CallGraph
from diffcheck.capsule.seal import MAX_MEMORIES
from diffcheck.errors import ArtifactError
from diffcheck.wasm.code import has_any, read_locals
from diffcheck.wasm.opcodes import OPS
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diffcheck.capsule.driver import Call
    from diffcheck.wasm.module import Module

_TABLE_CHANGES: Final = frozenset({"table.set", "table.fill", "table.copy", "table.init", "table.grow"})
_LASTING: Final = frozenset(
    {"data.drop", "elem.drop", "struct.set", "array.set", "array.fill", "array.copy", "array.init_data", "array.init_elem"}
)
_CHANGES: Final = (
    _TABLE_CHANGES
    | _LASTING
    | {"global.set", "memory.grow", "memory.fill", "memory.copy", "memory.init"}
    | {each.name for each in OPS if ".store" in each.name or ".atomic.rmw" in each.name}
)
_DECODED_BYTES: Final = 1 << 20
"""The largest code of which a call graph is made, in 1.5 s (measured 2026-11-28)."""


def unrestorable(module: Module, calls: Sequence[Call]) -> frozenset[int] | None:
    """Return the rows, init rows not counted, that may drop segments or change objects; None if no state can be restored."""
    init = [each.function for each in calls if each.init]
    rows = [None if each.reads else each.function for each in calls if not each.init]
    try:
        if not _copyable(module):
            return None
        lasting = {at for at, _ in _bodies_with(module, _LASTING)}
        if not lasting:
            return frozenset()
        if sum(size for _, size in module.bodies) > _DECODED_BYTES:
            return None
        graph = CallGraph(module)
    except ArtifactError:  # an unknown instruction
        return None
    if any(_reaches(graph, function, lasting) for function in init):
        return None
    reaching = {function for function in set(rows) if function is not None and _reaches(graph, function, lasting)}
    return frozenset(at for at, function in enumerate(rows) if function in reaching)


def may_change_state(module: Module, calls: Sequence[Call]) -> bool:
    """Return whether these calls may change memories, tables, globals, objects or segments; calls of imports do not count."""
    if not calls:
        return False
    try:
        changing = {at for at, _ in _bodies_with(module, _CHANGES)}
        if not changing or sum(size for _, size in module.bodies) > _DECODED_BYTES:
            return bool(changing)
        graph = CallGraph(module)
    except ArtifactError:  # an unknown instruction
        return True
    return any(_reaches(graph, each.function, changing) for each in calls if not each.reads)


def _copyable(module: Module) -> bool:
    """Whether memories, tables and traces can be restored."""
    witness = formats.instrumentation(module)
    memories = [each for at, each in enumerate(module.all_memories) if at != witness.trace]
    return (
        len(module.all_memories) + 1 < MAX_MEMORIES
        and all(each.limits.page_size_log2 is None for each in memories)
        and all(module.all_tables[table].ref.nullable for table in changed_tables(module))
        and (witness.trace is None or witness.trace_reset is not None)
    )


def _bodies_with(module: Module, names: frozenset[str]) -> Iterator[tuple[int, bytes]]:
    """Yield the functions that contain one of the instructions, with their bodies."""
    for at, (offset, body) in enumerate(module.body_bytes(), module.n_imported("func")):
        if has_any(body, names, start=read_locals(body, offset).end, base_offset=offset):
            yield at, body


def changed_tables(module: Module) -> list[int]:
    """Return the tables, all if code changes any: an artifact has few."""
    changes = bool(module.all_tables) and next(_bodies_with(module, _TABLE_CHANGES), None) is not None
    return list(range(len(module.all_tables))) if changes else []


def _reaches(graph: CallGraph, function: int, lasting: set[int]) -> bool:
    """Whether a call of ``function`` may enter one of the functions in ``lasting``."""

    def callees(at: int) -> Iterable[int]:
        use = graph.functions[at]
        return graph.callees[at] | (graph.escaped if use.tables or use.slots else frozenset())

    return bool(graph.nearest([function], callees, lasting.__contains__))
