"""Which memory and which realloc belong to an import: those of the component that imports it.

A stub that writes, or reads, does so in the memory of its caller, and allocates with its caller's realloc; the canonical ABI
names both where a component lowers the function, and a fused core module no longer says. They follow from these, in this order;
what is not certain is not bound, since a stub that writes to a wrong memory would be worse than one that traps.

*Memory.* An artifact with one memory (witness's trace does not count) has only that to write to. With several:

1. WASI preview 1 uses the memory that is exported as ``memory``, if the artifact is no fuse of components.
2. The callers of the import, or where these touch no memory their callers, and so on, touch one memory only, all the same.
   Callers are those by ``call``, and by ``call_indirect`` with a constant index in a table that nothing changes: so the shims
   that ``wasm-tools component new`` puts before an import are looked through. An import whose reference goes elsewhere is not
   certain.
3. Where meld's ``component-provenance`` fits the code, the functions of the callers' component touch that memory only, too.

*Realloc.* Exports named ``cabi_realloc`` or ``cabi_import_realloc``, with or without a number behind, that touch that memory.
If there is one, and no more components than memories, it is that. Otherwise it is the one in the core module of the import's
callers. A core module's functions are known from the provenance where it fits (`witness instrument` numbers functions anew, so
it does not fit an instrumented artifact). Else they are those that share a global or a table of computed calls, which each core
module has of its own, and those that call one another without an export: meld keeps all exports, except where components
share a memory, and only through exports do core modules reach each other.

Suffixes (``$1``) do not pair imports with memories or reallocs: meld numbers imports by component, reallocs by memory.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import provenance
from diffcheck.capsule.callgraph import CallGraph
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from diffcheck.wasm.module import Module

_REALLOC: Final = re.compile(r"cabi_(?:import_)?realloc(?:\$[0-9]+)?\Z")
_REALLOC_TYPE: Final = (("i32",) * 4, ("i32",))
_PREVIEW1: Final = ("wasi_snapshot_preview1", "wasi_unstable")


class Bound(msgspec.Struct, frozen=True):
    """The memory that a stub works on, and the realloc it calls; ``reason`` says why there is no certain one."""

    memory: int = 0
    realloc: int | None = None
    reason: str = ""


class Binder:
    """Binds the imports of one artifact."""

    def __init__(self, module: Module) -> None:
        """Nothing of the code is read before an import needs it."""
        self._module = module

    def bind(self, function: int, module: str, *, realloc: bool) -> Bound:
        """Give the memory, and where ``realloc`` is set the realloc, for the import that has the index ``function``."""
        memory = self._memory(function, module)
        if isinstance(memory, str):
            return Bound(reason=memory)
        if self._module.all_memories[memory].limits.is64:
            return Bound(reason="its memory has 64-bit addresses")
        if not realloc:
            return Bound(memory)
        found = self._realloc(function, memory)
        return Bound(reason=found) if isinstance(found, str) else Bound(memory, found)

    def _memory(self, function: int, module: str) -> int | str:
        if not self._memories:
            return "the artifact has no memory"
        if len(self._memories) == 1:
            return self._memories[0]
        if module in _PREVIEW1 and self._n_components == 1 and self._exported_memory in self._memories:
            return self._exported_memory
        if function in self._graph.escaped:
            return f"which of {len(self._memories)} memories is its caller's is not certain: a reference to it is taken"
        touched = self._touched_by_callers(function)
        if len(touched) == 1 and self._of_component(function) <= touched:
            return next(iter(touched))
        detail = "no caller touches one" if not touched else "its callers do not agree"
        return f"which of {len(self._memories)} memories is its caller's is not certain: {detail}"

    @cached_property
    def _trace(self) -> int | None:
        return formats.trace_memory(self._module)

    @cached_property
    def _memories(self) -> list[int]:
        return [index for index in range(len(self._module.all_memories)) if index != self._trace]

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
        return set(self._graph.functions[function].memories) - {self._trace}

    def _touched_by_callers(self, function: int) -> set[int]:
        graph = self._graph
        nearest = graph.nearest(
            graph.callers[function], lambda each: graph.callers[each], lambda each: bool(self._own_memories(each))
        )
        return {memory for each in nearest for memory in self._own_memories(each)}

    def _of_component(self, function: int) -> set[int]:
        """Give the memories that the functions of the callers' component touch; none where the provenance does not fit."""
        components = {self._origins[each][0] for each in self._importers(function) if each in self._origins}
        members = [each for each, (component, _) in self._origins.items() if component in components]
        return {memory for each in members for memory in self._own_memories(each)}

    def _importers(self, function: int) -> set[int]:
        """Give the functions that call the import; for a shim, which only passes on to a table, those that call it."""
        graph = self._graph
        return graph.nearest(graph.callers[function], lambda each: graph.callers[each], lambda each: not self._is_shim(each))

    def _is_shim(self, function: int) -> bool:
        facts = self._graph.functions[function]
        return bool(facts.slots) and not (facts.calls or facts.tables or facts.memories or facts.globals)

    @cached_property
    def _reallocs(self) -> tuple[int, ...]:
        module = self._module
        found = {each.index for each in module.exports if each.kind == "func" and _REALLOC.match(each.name)}
        types = {each: module.function_type(each) for each in found}
        return tuple(sorted(each for each, type_ in types.items() if (type_.params, type_.results) == _REALLOC_TYPE))

    def _realloc(self, function: int, memory: int) -> int | str:
        candidates = [each for each in self._reallocs if self._touched_from(each) == {memory}]
        if not candidates:
            return "no cabi_realloc on its caller's memory is exported"
        if len(candidates) == 1 and self._n_components <= len(self._memories):
            return candidates[0]
        if function in self._graph.escaped:
            return "which realloc is its caller's is not certain: a reference to it is taken"
        importers = {self._core_module(each) for each in self._importers(function)}
        near = [each for each in candidates if self._core_module(each) in importers]
        if len(importers) == 1 and len(near) == 1:
            return near[0]
        return f"which of {len(candidates)} reallocs is its caller's is not certain"

    def _touched_from(self, realloc: int) -> set[int]:
        """Give the memories that a realloc touches, or what it calls where it touches none."""
        if len(self._memories) == 1:
            return set(self._memories)
        graph = self._graph
        nearest = graph.nearest([realloc], lambda each: graph.callees[each], lambda each: bool(self._own_memories(each)))
        return {memory for each in nearest for memory in self._own_memories(each)}

    def _core_module(self, function: int) -> Hashable:
        """Name the core module that a function comes from; functions of which nothing is known have each their own."""
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
        """Give the functions that only their own core module calls; witness's own, which all call, are none."""
        if self._n_components > len(self._memories):
            return frozenset()
        exported = {each.index for each in self._module.exports if each.kind == "func"}
        defined = range(self._module.n_imported("func"), len(self._module.all_functions))
        functions = self._graph.functions
        return frozenset(each for each in defined if each not in exported and functions[each].memories != {self._trace})


class _Families:
    """Groups of functions that share a thing: union-find."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def of(self, each: Hashable) -> Hashable:
        while (parent := self._parent.get(each, each)) != each:
            self._parent[each] = self._parent.get(parent, parent)
            each = parent
        return each

    def join(self, function: int, things: Iterable[Hashable]) -> None:
        for each in things:
            self._parent[self.of(each)] = self.of(function)
