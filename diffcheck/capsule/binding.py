"""Determine the memory and the realloc of an import: those of the component that imports it.

A stub reads and writes the memory of its caller, and allocates with its caller's realloc. The canonical ABI specifies both where a
component lowers the function, but a fused core module no longer contains them. They are derived by the following rules, in this
order. An uncertain import is not bound, since a stub that writes to a wrong memory would be worse than a stub that traps.

*Memory.* If the artifact has one memory (not counting witness's trace), it is that. With several:

1. WASI preview 1 uses the memory exported as ``memory``, unless components were fused.
2. All callers of the import access the same single memory. A caller that accesses no memory is replaced by its own callers, and so
   on. Callers are those by ``call``, and by ``call_indirect`` with a constant index in an unchanged table: this resolves the shims
   that ``wasm-tools component new`` adds. An import that is also referenced in another way is uncertain.
3. If meld's ``component-provenance`` fits the code, all functions of the callers' component must access only that memory.

*Realloc.* The candidates are exports named ``cabi_realloc`` or ``cabi_import_realloc``, with or without a numeric suffix, that
access that memory. A single candidate is taken unless there are more components than memories. Otherwise it is the candidate in
the core module of the import's callers. The provenance, if it fits, determines a core module's functions. (`witness instrument`
renumbers functions, so it does not fit an instrumented artifact.) Otherwise these are functions that share a global or a table of
computed calls, which each core module defines for itself, and functions that call each other without being exported: core modules
reach each other only through exports, and meld keeps all exports unless components share a memory.

Suffixes (``$1``) do not pair imports with memories or reallocs: meld numbers imports by component, reallocs by memory.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import provenance
from diffcheck.capsule.callgraph import CallGraph
from diffcheck.capsule.layout import RESULTS_EXPORT
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from diffcheck.wasm.module import Module

_REALLOC: Final = re.compile(r"cabi_(?:import_)?realloc(?:\$[0-9]+)?\Z")
_EXPORT_REALLOC: Final = re.compile(r"cabi_(?:export_)?realloc(?:\$[0-9]+)?\Z")
_REALLOC_TYPE: Final = (("i32",) * 4, ("i32",))
_PREVIEW1: Final = ("wasi_snapshot_preview1", "wasi_unstable")


class Bound(msgspec.Struct, frozen=True):
    """The memory that a stub accesses and the realloc that it calls, or the ``reason`` why they are uncertain."""

    memory: int = 0
    realloc: int | None = None
    reason: str = ""


class Binder:
    """Binds the imports of one artifact."""

    def __init__(self, module: Module) -> None:
        """Start without reading code; it is read when an import needs it."""
        self._module = module

    def bind(self, function: int, module: str, *, realloc: bool) -> Bound:
        """Bind the imported function with the index ``function`` to its memory and, if ``realloc`` is set, to its realloc."""
        memory = self._memory(function, module)
        if isinstance(memory, str):
            return Bound(reason=memory)
        if self._module.all_memories[memory].limits.is64:
            return Bound(reason="its memory has 64-bit addresses")
        if not realloc:
            return Bound(memory)
        bound = self._realloc(function, memory)
        return Bound(reason=bound) if isinstance(bound, str) else Bound(memory, bound)

    def bind_export(self, function: int, *, realloc: bool) -> Bound:
        """Bind an exported function to the memory that it, or its nearest callees, access, and to its core module's realloc."""
        found = set(self._memories)
        if len(found) > 1:
            found = self._nearest_memories([function], lambda each: self._graph.callees[each])
        if len(found) != 1:
            return Bound(reason="it accesses several memories" if found else "it accesses no memory")
        memory = next(iter(found))
        if self._module.all_memories[memory].limits.is64:
            return Bound(reason="its memory has 64-bit addresses")
        if not realloc:
            return Bound(memory)
        reallocs = self._named(_EXPORT_REALLOC)
        candidates = [each for each in reallocs if (self._memories_of_realloc(each) or {self._suffix(each)}) == {memory}]
        near = [each for each in candidates if self._core_module(each) == self._core_module(function)] or candidates
        return Bound(memory, near[0]) if near else Bound(reason="no realloc for its memory is exported")

    def _memory(self, function: int, module: str) -> int | str:
        if not self._memories:
            return "the artifact has no memory"
        if len(self._memories) == 1:
            return self._memories[0]
        if module in _PREVIEW1 and self._n_components == 1 and self._exported_memory in self._memories:
            return self._exported_memory
        if function in self._graph.escaped:
            return self._uncertain_memory("a reference to it is taken")
        memories = self._memories_of_callers(function)
        if len(memories) == 1 and self._memories_of_component(function) <= memories:
            return next(iter(memories))
        return self._uncertain_memory("its callers use different memories" if memories else "no caller uses a memory")

    def _uncertain_memory(self, reason: str) -> str:
        return f"which of {len(self._memories)} memories its caller uses is uncertain: {reason}"

    @cached_property
    def _trace(self) -> int | None:
        return formats.trace_memory(self._module)

    @cached_property
    def _added(self) -> frozenset[int | None]:
        """The memories that are not the program's own: witness's trace, and the buffer for results of WIT rows."""
        buffers = (each.index for each in self._module.exports if (each.kind, each.name) == ("memory", RESULTS_EXPORT))
        return frozenset({self._trace, *buffers})

    @cached_property
    def _memories(self) -> list[int]:
        return [index for index in range(len(self._module.all_memories)) if index not in self._added]

    @cached_property
    def _exported_memory(self) -> int:
        return next((each.index for each in self._module.exports if (each.name, each.kind) == ("memory", "memory")), -1)

    @cached_property
    def _n_components(self) -> int:
        return provenance.n_components(self._module)

    @cached_property
    def _graph(self) -> CallGraph:
        return CallGraph(self._module)

    @cached_property
    def _origins(self) -> dict[int, tuple[str, int]]:
        return provenance.origins(self._module)

    def _own_memories(self, function: int) -> set[int]:
        return set(self._graph.functions[function].memories) - self._added

    def _memories_of_callers(self, function: int) -> set[int]:
        return self._nearest_memories(self._graph.callers[function], lambda each: self._graph.callers[each])

    def _nearest_memories(self, first: Iterable[int], step: Callable[[int], Iterable[int]]) -> set[int]:
        nearest = self._graph.nearest(first, step, lambda each: bool(self._own_memories(each)))
        return {memory for each in nearest for memory in self._own_memories(each)}

    def _memories_of_component(self, function: int) -> set[int]:
        """Return the memories that the callers' component accesses; none if the provenance does not fit."""
        components = {self._origins[each][0] for each in self._importers(function) if each in self._origins}
        members = [each for each, (component, _) in self._origins.items() if component in components]
        return {memory for each in members for memory in self._own_memories(each)}

    def _importers(self, function: int) -> set[int]:
        """Return the callers of the import. A shim, which only forwards to a table, is replaced by its callers."""
        graph = self._graph
        return graph.nearest(graph.callers[function], lambda each: graph.callers[each], lambda each: not self._is_shim(each))

    def _is_shim(self, function: int) -> bool:
        facts = self._graph.functions[function]
        return bool(facts.slots) and not (facts.calls or facts.tables or facts.memories or facts.globals)

    @cached_property
    def _reallocs(self) -> tuple[int, ...]:
        return self._named(_REALLOC)

    def _suffix(self, realloc: int) -> int:
        """Return the memory whose index meld appends to a realloc's name, 0 without one."""
        names = (each.name for each in self._module.exports if (each.kind, each.index) == ("func", realloc))
        return max(int(name.partition("$")[2] or 0) for name in names if _EXPORT_REALLOC.match(name))

    def _named(self, pattern: re.Pattern[str]) -> tuple[int, ...]:
        """Return the exported functions with such a name and the type of a realloc."""
        module = self._module
        found = {each.index for each in module.exports if each.kind == "func" and pattern.match(each.name)}
        types = {each: module.function_type(each) for each in found}
        return tuple(sorted(each for each, type_ in types.items() if (type_.params, type_.results) == _REALLOC_TYPE))

    def _realloc(self, function: int, memory: int) -> int | str:
        candidates = [each for each in self._reallocs if self._memories_of_realloc(each) == {memory}]
        if not candidates:
            return "no cabi_realloc for its caller's memory is exported"
        if len(candidates) == 1 and self._n_components <= len(self._memories):
            return candidates[0]
        if function in self._graph.escaped:
            return "which realloc its caller uses is uncertain: a reference to it is taken"
        importers = {self._core_module(each) for each in self._importers(function)}
        near = [each for each in candidates if self._core_module(each) in importers]
        if len(importers) == 1 and len(near) == 1:
            return near[0]
        return f"which of {len(candidates)} reallocs its caller uses is uncertain"

    def _memories_of_realloc(self, realloc: int) -> set[int]:
        """Return the memories that a realloc accesses; if none, those that its callees access."""
        if len(self._memories) == 1:
            return set(self._memories)
        return self._nearest_memories([realloc], lambda each: self._graph.callees[each])

    def _core_module(self, function: int) -> Hashable:
        """Return a key for the core module that a function comes from. An unrelated function has its own key."""
        return self._origins.get(function) or self._families.of(function)

    @cached_property
    def _families(self) -> _Families:
        own = {each.index for each in self._module.exports if each.kind == "global" and each.name.startswith(formats.PREFIX)}
        families = _Families()
        for index, facts in enumerate(self._graph.functions):
            families.join(index, [("global", each) for each in facts.globals - own])
            families.join(index, [("table", each) for each in facts.tables])
            families.join(index, facts.calls & self._inner)
        return families

    @cached_property
    def _inner(self) -> frozenset[int]:
        """Return the functions that only their own core module calls. Witness's functions, which all modules call, are excluded."""
        if self._n_components > len(self._memories):
            return frozenset()
        exported = {each.index for each in self._module.exports if each.kind == "func"}
        defined = range(self._module.n_imported("func"), len(self._module.all_functions))
        functions = self._graph.functions
        return frozenset(each for each in defined if each not in exported and functions[each].memories != {self._trace})


class _Families:
    """Groups of functions with shared items: union-find."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def of(self, each: Hashable) -> Hashable:
        while (parent := self._parent.get(each, each)) != each:
            self._parent[each] = self._parent.get(parent, parent)
            each = parent
        return each

    def join(self, function: int, items: Iterable[Hashable]) -> None:
        for each in items:
            self._parent[self.of(each)] = self.of(function)
