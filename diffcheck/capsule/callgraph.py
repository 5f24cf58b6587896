"""The call graph of an artifact, and the memories, globals and tables that each function accesses."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from diffcheck.wasm.code import MemArg, instructions, read_locals
from diffcheck.wasm.constexpr import read_constexpr
from diffcheck.wasm.leb import Reader
from diffcheck.wasm.opcodes import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.module import Module

DIRECT_CALLS: Final = frozenset({"call", "return_call"})
_INDIRECT: Final = frozenset({"call_indirect", "return_call_indirect"})
_CHANGES_TABLE: Final = frozenset({"table.set", "table.fill", "table.copy", "table.init", "table.grow"})
_GLOBALS: Final = frozenset({"global.get", "global.set"})

Slot = tuple[int, int]
"""(tableidx, index in the table)."""


class FunctionUse(msgspec.Struct, frozen=True):
    """The items that a function's body uses.

    ``slots`` are the table elements called by a constant index, ``tables`` the tables called by a computed index, ``changes`` the
    tables that the function modifies.
    """

    calls: frozenset[int] = frozenset()
    slots: frozenset[Slot] = frozenset()
    tables: frozenset[int] = frozenset()
    memories: frozenset[int] = frozenset()
    globals: frozenset[int] = frozenset()
    refs: frozenset[int] = frozenset()
    changes: frozenset[int] = frozenset()


class CallGraph:
    """The functions of an artifact by index; the use of imports is empty.

    ``escaped`` are functions with unknown callers: their reference is taken, or they are in a table that is modified or called by a
    computed index.
    """

    def __init__(self, module: Module) -> None:
        """Decode every body of ``module``; ArtifactError if one is malformed."""
        imported = module.n_imported("func")
        self.functions: tuple[FunctionUse, ...] = (
            *(FunctionUse() for _ in range(imported)),
            *_bodies(module),
        )
        placed, elsewhere = _elements(module)
        unclear = {table for each in self.functions for table in (*each.tables, *each.changes)}
        in_slot = {slot: function for slot, function in placed if slot[0] not in unclear}
        self.escaped = frozenset(
            elsewhere
            | {function for slot, function in placed if slot[0] in unclear}
            | {ref for each in self.functions for ref in each.refs}
        )
        self.callees: tuple[frozenset[int], ...] = tuple(
            each.calls | {in_slot[slot] for slot in each.slots if slot in in_slot} for each in self.functions
        )
        callers: defaultdict[int, set[int]] = defaultdict(set)
        for index, callees in enumerate(self.callees):
            for each in callees:
                callers[each].add(index)
        self.callers = callers

    def nearest(self, begin: Iterable[int], step: Callable[[int], Iterable[int]], has: Callable[[int], bool]) -> set[int]:
        """Walk along ``step`` from ``begin`` and return the first functions with ``has`` on each path.

        All are funcidx; each function is visited once.
        """
        nearest: set[int] = set()
        visited, todo = set(begin), list(begin)
        while todo:
            each = todo.pop()
            if has(each):
                nearest.add(each)
                continue
            new = set(step(each)) - visited
            visited |= new
            todo += new
        return nearest


def _bodies(module: Module) -> Iterable[FunctionUse]:
    for offset, body in module.body_bytes():
        yield _function(instructions(body, offset, start=read_locals(body, offset).end))


def _function(body: Iterable[Instruction]) -> FunctionUse:
    used: defaultdict[str, set[Any]] = defaultdict(set)
    previous: Instruction | None = None
    for each in body:
        name = each.name
        if name in DIRECT_CALLS:
            used["calls"].add(each.immediates[0])
        elif name == "ref.func":
            used["refs"].add(each.immediates[0])
        elif name in _GLOBALS:
            used["globals"].add(each.immediates[0])
        elif name in _INDIRECT:
            table = _of_kind(each, "tableidx")[0]
            if previous is not None and previous.name == "i32.const":
                used["slots"].add((table, previous.immediates[0]))
            else:
                used["tables"].add(table)
        elif name in _CHANGES_TABLE:
            used["changes"].update(_of_kind(each, "tableidx")[:1])
        elif each.immediates:
            used["memories"].update(_of_kind(each, "memidx"))
            used["memories"].update(value.memidx for value in each.immediates if isinstance(value, MemArg))
        previous = each
    return FunctionUse(**{kind: frozenset(indices) for kind, indices in used.items()})


def _of_kind(instruction: Instruction, kind: str) -> list[int]:
    kinds = BY_NAME[instruction.name].immediates
    return [value for value, of in zip(instruction.immediates, kinds, strict=True) if of == kind]


def _elements(module: Module) -> tuple[list[tuple[Slot, int]], set[int]]:
    """Return (slot, function) of active segments with a constant offset, and the functions of all other segments."""
    placed: list[tuple[Slot, int]] = []
    elsewhere: set[int] = set()
    for each in module.elements:
        named = [*each.funcs, *(function for expr in each.exprs for function in _funcs_of(expr))]
        first = _constant(each.offset) if each.offset is not None else None
        if each.mode == "active" and first is not None and each.table is not None and len(each.funcs) == len(named):
            placed += [((each.table, first + at), function) for at, function in enumerate(each.funcs)]
        elif each.mode != "declarative":  # declared functions are referenced by ref.func in code, which is counted there
            elsewhere |= set(named)
    return placed, elsewhere


def _constant(expr: bytes) -> int | None:
    instrs = read_constexpr(Reader(expr, 0)).instrs
    return int(instrs[0].immediates[0]) if len(instrs) == 1 and instrs[0].name == "i32.const" else None


def _funcs_of(expr: bytes) -> list[int]:
    return [int(each.immediates[0]) for each in read_constexpr(Reader(expr, 0)).instrs if each.name == "ref.func"]
