"""Who calls whom in an artifact, and which memories, globals and tables each function touches: read from its code."""

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

_CALLS: Final = frozenset({"call", "return_call"})
_INDIRECT: Final = frozenset({"call_indirect", "return_call_indirect"})
_CHANGES_TABLE: Final = frozenset({"table.set", "table.fill", "table.copy", "table.init", "table.grow"})
_GLOBALS: Final = frozenset({"global.get", "global.set"})

Slot = tuple[int, int]
"""A table and an index in it."""


class FunctionUse(msgspec.Struct, frozen=True):
    """What a function's body touches.

    ``slots`` are the table elements that it calls by a constant index, ``tables`` the tables in which it calls by a computed one.
    """

    calls: frozenset[int] = frozenset()
    slots: frozenset[Slot] = frozenset()
    tables: frozenset[int] = frozenset()
    memories: frozenset[int] = frozenset()
    globals: frozenset[int] = frozenset()
    refs: frozenset[int] = frozenset()
    changes: frozenset[int] = frozenset()


class CallGraph:
    """The functions of an artifact by index; imports have an empty one.

    ``escaped`` are functions that may be called from places that are not seen: their reference is taken, or they stand in a
    table that is called in by a computed index or changed.
    """

    def __init__(self, module: Module) -> None:
        """Decode every body of ``module``; ArtifactError at what cannot be decoded."""
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
        """Give the functions nearest to ``begin`` that have something, along ``step``; none that is behind one of them."""
        found: set[int] = set()
        seen, todo = set(begin), list(begin)
        while todo:
            each = todo.pop()
            if has(each):
                found.add(each)
                continue
            new = set(step(each)) - seen
            seen |= new
            todo += new
        return found


def _bodies(module: Module) -> Iterable[FunctionUse]:
    for offset, body in module.body_bytes():
        yield _function(instructions(body, offset, start=read_locals(body, offset).end))


def _function(body: Iterable[Instruction]) -> FunctionUse:
    touched: defaultdict[str, set[Any]] = defaultdict(set)
    before: Instruction | None = None
    for each in body:
        name = each.name
        if name in _CALLS:
            touched["calls"].add(each.immediates[0])
        elif name == "ref.func":
            touched["refs"].add(each.immediates[0])
        elif name in _GLOBALS:
            touched["globals"].add(each.immediates[0])
        elif name in _INDIRECT:
            table = _of_kind(each, "tableidx")[0]
            if before is not None and before.name == "i32.const":
                touched["slots"].add((table, before.immediates[0]))
            else:
                touched["tables"].add(table)
        elif name in _CHANGES_TABLE:
            touched["changes"].update(_of_kind(each, "tableidx")[:1])
        elif each.immediates:
            touched["memories"].update(_of_kind(each, "memidx"))
            touched["memories"].update(value.memidx for value in each.immediates if isinstance(value, MemArg))
        before = each
    return FunctionUse(**{kind: frozenset(indices) for kind, indices in touched.items()})


def _of_kind(instruction: Instruction, kind: str) -> list[int]:
    kinds = BY_NAME[instruction.name].immediates
    return [value for value, of in zip(instruction.immediates, kinds, strict=True) if of == kind]


def _elements(module: Module) -> tuple[list[tuple[Slot, int]], set[int]]:
    """Give the functions that active segments with a constant offset put into tables, and those that other segments name."""
    placed: list[tuple[Slot, int]] = []
    elsewhere: set[int] = set()
    for each in module.elements:
        named = [*each.funcs, *(function for expr in each.exprs for function in _funcs_of(expr))]
        first = _constant(each.offset) if each.offset is not None else None
        if each.mode == "active" and first is not None and each.table is not None and len(each.funcs) == len(named):
            placed += [((each.table, first + at), function) for at, function in enumerate(each.funcs)]
        elif each.mode != "declarative":  # a declaration is only there for ref.func, which is seen in the code
            elsewhere |= set(named)
    return placed, elsewhere


def _constant(expr: bytes) -> int | None:
    instrs = read_constexpr(Reader(expr, 0)).instrs
    return int(instrs[0].immediates[0]) if len(instrs) == 1 and instrs[0].name == "i32.const" else None


def _funcs_of(expr: bytes) -> list[int]:
    return [int(each.immediates[0]) for each in read_constexpr(Reader(expr, 0)).instrs if each.name == "ref.func"]
