"""Operand and result types of every instruction in a function body (core specification 3.0, 3.4 and 7.6).

The body must be valid: the oracle validates it first. This module follows the validation algorithm of the appendix only to
determine types. In unreachable code an operand may have no type: None.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from diffcheck.errors import ArtifactError
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.types import ArrayType, FuncType, RefType, StructType, is_typed_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.opcodes import Op
    from diffcheck.wasm.types import FieldType, ValType

_FUNCTION: Final = -1  # the frame around the whole body
_REFS: Final = {
    "eqref": RefType(nullable=True, heap="eq"),
    "i31ref": RefType(nullable=True, heap="i31"),
    "arrayref": RefType(nullable=True, heap="array"),
    "(ref i31)": RefType(nullable=False, heap="i31"),
}
_NULL_FROM, _NULL_TO = 1, 2  # castflags
_TYPED: Final = frozenset(
    {
        "call_ref", "return_call_ref", "ref.as_non_null", "br_on_null", "br_on_non_null", "br_on_cast", "br_on_cast_fail",
        "ref.cast", "ref.cast_null", "ref.test", "ref.test_null",
    }
)  # fmt: skip
"""Instructions that an engine without typed references lacks."""
_BLOCKS: Final = frozenset({"block", "loop", "if", "try_table"})
_SPACES: Final = {"memidx": "all_memories", "tableidx": "all_tables"}


class TypedInstruction(msgspec.Struct, frozen=True):
    """An instruction with the types of its ``operands`` and ``results``, in stack order.

    ``producers`` are the positions of the instructions that pushed the operands, -1 for a block's parameter or a label's value.
    ``reachable`` is whether the instruction can be executed, ``ends_reachable`` whether its successor can.
    """

    instruction: Instruction
    operands: tuple[ValType | None, ...]
    results: tuple[ValType | None, ...]
    producers: tuple[int, ...]
    reachable: bool
    ends_reachable: bool


class Body(msgspec.Struct, frozen=True, dict=True):
    """A typed body: its locals (parameters first) and instructions.

    ``ends`` and ``middles`` map the position of a block's first instruction to that of its ``end`` and ``else``.
    ``declared_end`` is the byte position of the expression.
    """

    function: FuncType
    locals: tuple[ValType, ...]
    declared_end: int
    code: tuple[TypedInstruction, ...]
    ends: dict[int, int]
    middles: dict[int, int]


class _Frame:
    """A control frame of the validation algorithm."""

    def __init__(self, name: str, at: int, starts: tuple[ValType, ...], ends: tuple[ValType, ...], height: int, dead: bool) -> None:  # noqa: FBT001 - one caller
        self.name, self.at, self.starts, self.ends, self.height = name, at, starts, ends, height
        self.dead_outside = dead
        self.unreachable = dead

    @property
    def label(self) -> tuple[ValType, ...]:
        return self.starts if self.name == "loop" else self.ends


def type_body(module: Module, funcidx: int, body: bytes, base_offset: int) -> Body:
    """Type a defined function's body (a code entry without its size, at that file offset).

    ArtifactError, with opcode and file offset, for an instruction without a known typing.
    """
    return _Typer(module, module.function_type(funcidx), body, base_offset).run()


def _is_typed(instruction: Instruction) -> bool:
    """Whether an instruction is one of typed references, or has such a type as immediate."""
    name, immediates = instruction.name, instruction.immediates
    if name == "ref.null":
        return isinstance(immediates[0], int)
    if name == "select_t":
        return any(map(is_typed_reference, immediates[0]))
    return name in _TYPED or (name in _BLOCKS and is_typed_reference(immediates[0]))


class _Typer:
    """One pass over the instructions."""

    def __init__(self, module: Module, function: FuncType, body: bytes, base_offset: int) -> None:
        self.module, self.function, self.body, self.base = module, function, body, base_offset
        declared = read_locals(body, base_offset)
        self.start = declared.end
        self.locals = function.params + tuple(value for count, value in declared.groups for _ in range(count))
        self.stack: list[tuple[ValType | None, int]] = []
        self.frames = [_Frame("function", _FUNCTION, (), function.results, 0, dead=False)]
        self.at = 0
        self.popped: list[tuple[ValType | None, int]] = []
        self.ends: dict[int, int] = {}
        self.middles: dict[int, int] = {}

    def run(self) -> Body:
        """Type all instructions."""
        code = tuple(self._all())
        return Body(self.function, self.locals, self.start, code, self.ends, self.middles)

    def of_function(self, funcidx: int) -> RefType:
        """The type of a reference to a function: funcref where nothing needs more, so that an engine without typed references can
        run what is made of these types.
        """
        if self._has_typed_references:
            return RefType(nullable=False, heap=self.module.all_functions[funcidx])
        return RefType(nullable=True, heap="func")

    @cached_property
    def _has_typed_references(self) -> bool:
        code = instructions(self.body, self.base, start=self.start)
        return self.module.has_typed_references or any(map(is_typed_reference, self.locals)) or any(map(_is_typed, code))

    def _all(self) -> Iterator[TypedInstruction]:
        for self.at, instruction in enumerate(instructions(self.body, self.base, start=self.start)):
            reachable = not self.frames[-1].unreachable
            self.popped = []
            try:
                results = self._step(instruction)
            except (IndexError, AttributeError, AssertionError) as error:
                raise self._unknown(instruction, "does not fit its context") from error
            yield TypedInstruction(
                instruction,
                tuple(value for value, _ in reversed(self.popped)),
                results,
                tuple(at for _, at in reversed(self.popped)),
                reachable,
                bool(self.frames) and not self.frames[-1].unreachable,
            )

    def _unknown(self, instruction: Instruction, reason: str) -> ArtifactError:
        at = instruction.offset - self.base
        opcode = " ".join(f"{byte:#04x}" for byte in self.body[at : at + (2 if self.body[at] >= 0xFB else 1)])  # noqa: PLR2004 - the first prefix byte
        return ArtifactError(f"the instruction {instruction.name} (opcode {opcode}) {reason}", offset=instruction.offset)

    # The stack.

    def pop(self) -> ValType | None:
        """Pop one operand; None if there is none in unreachable code."""
        frame = self.frames[-1]
        if len(self.stack) == frame.height:
            if not frame.unreachable:
                raise IndexError
            entry: tuple[ValType | None, int] = (None, -1)
        else:
            entry = self.stack.pop()
        self.popped.append(entry)
        return entry[0]

    def pops(self, count: int) -> tuple[()]:
        """Pop several operands; returns no results."""
        for _ in range(count):
            self.pop()
        return ()

    def swap(self, count: int, *types: ValType | None) -> tuple[ValType | None, ...]:
        """Pop several operands and push results."""
        self.pops(count)
        return self.push(*types)

    def push(self, *types: ValType | None) -> tuple[ValType | None, ...]:
        """Push results of this instruction, and return their types."""
        self.stack += [(each, self.at) for each in types]
        return types

    def relabel(self, types: tuple[ValType, ...]) -> None:
        """Give the top values the label's types, as after an untaken branch (3.4, ``br_if``)."""
        values = []
        for _ in types:
            self.pop()
            values.append(self.popped.pop())
        self.stack += [(type_, at) for type_, (_, at) in zip(types, reversed(values), strict=True)]

    def dead(self) -> tuple[()]:
        """Mark the following code as unreachable."""
        frame = self.frames[-1]
        del self.stack[frame.height :]
        frame.unreachable = True
        return ()

    def label(self, depth: int) -> tuple[ValType, ...]:
        """Return the types of a label."""
        return self.frames[-1 - depth].label

    def enter(self, name: str, starts: tuple[ValType, ...], ends: tuple[ValType, ...]) -> tuple[()]:
        """Begin a block whose parameters are on the stack."""
        producers = []
        for _ in starts:
            self.pop()
            producers.append(self.popped[-1][1])
        self.frames.append(_Frame(name, self.at, starts, ends, len(self.stack), dead=self.frames[-1].unreachable))
        self.stack += list(zip(starts, reversed(producers), strict=True))
        return ()

    # Types.

    def func(self, typeidx: int) -> FuncType:
        """Return a function type by its index."""
        composite = self.module.types[typeidx].composite
        assert isinstance(composite, FuncType), "valid"  # noqa: S101
        return composite

    def block(self, blocktype: ValType | int | None) -> tuple[tuple[ValType, ...], tuple[ValType, ...]]:
        """Return a block's parameters and results."""
        if isinstance(blocktype, int):
            function = self.func(blocktype)
            return function.params, function.results
        return (), () if blocktype is None else (blocktype,)

    def field(self, typeidx: int, fieldidx: int | None = None) -> FieldType:
        """Return a structure's field, or an array's element."""
        composite = self.module.types[typeidx].composite
        if isinstance(composite, ArrayType):
            return composite.field
        assert isinstance(composite, StructType), "valid"  # noqa: S101
        return composite.fields[fieldidx or 0]

    def address(self, space: str, index: int) -> str:
        """Return the index type of a memory or table."""
        return "i64" if getattr(self.module, space)[index].limits.is64 else "i32"

    # Instructions.

    def _step(self, instruction: Instruction) -> tuple[ValType | None, ...]:
        op = BY_NAME[instruction.name]
        if op.legacy:
            raise self._unknown(instruction, "belongs to legacy exception handling, which is not supported")
        special = _SPECIAL.get(op.name)
        if special is not None:
            return special(self, instruction.immediates)
        if op.params is None or op.results is None:
            raise self._unknown(instruction, "has no known typing")
        self.pops(len(op.params))
        return self.push(*(self._type(each, op, instruction) for each in op.results))

    def _type(self, word: str, op: Op, instruction: Instruction) -> ValType:
        if word == "addr":
            return self._address_of(op, instruction)
        return _REFS.get(word, word)

    def _address_of(self, op: Op, instruction: Instruction) -> str:
        for kind, value in zip(op.immediates, instruction.immediates, strict=True):
            if kind == "memarg":
                return self.address("all_memories", value.memidx)
            if kind in _SPACES:
                return self.address(_SPACES[kind], value)
        raise self._unknown(instruction, "has no memory or table index")

    def _end(self, _: tuple[Any, ...]) -> tuple[ValType | None, ...]:
        frame = self.frames[-1]
        del self.stack[frame.height :]
        self.frames.pop()
        self.ends[frame.at] = self.at
        if not self.frames:
            return ()
        return self.push(*frame.ends)

    def _else(self, _: tuple[Any, ...]) -> tuple[()]:
        frame = self.frames[-1]
        del self.stack[frame.height :]
        self.middles[frame.at] = self.at
        frame.unreachable = frame.dead_outside
        frame.name = "else"
        self.stack += [(each, -1) for each in frame.starts]
        return ()

    def _if(self, immediates: tuple[Any, ...]) -> tuple[()]:
        self.pop()
        return self.enter("if", *self.block(immediates[0]))

    def _br_if(self, immediates: tuple[Any, ...]) -> tuple[()]:
        self.pop()
        self.relabel(self.label(immediates[0]))
        return ()

    def _br_on_null(self, immediates: tuple[Any, ...]) -> tuple[ValType | None, ...]:
        value = self.pop()
        self.relabel(self.label(immediates[0]))
        return self.push(_non_null(value))

    def _br_on_non_null(self, immediates: tuple[Any, ...]) -> tuple[()]:
        self.pop()
        self.relabel(self.label(immediates[0])[:-1])
        return ()

    def _br_on_cast(self, immediates: tuple[Any, ...]) -> tuple[ValType | None, ...]:
        flags, label, source, _ = immediates
        self.pop()
        self.relabel(self.label(label)[:-1])
        return self.push(RefType(nullable=bool(flags & _NULL_FROM) and not flags & _NULL_TO, heap=source))

    def _br_on_cast_fail(self, immediates: tuple[Any, ...]) -> tuple[ValType | None, ...]:
        flags, label, _, target = immediates
        self.pop()
        self.relabel(self.label(label)[:-1])
        return self.push(RefType(nullable=bool(flags & _NULL_TO), heap=target))

    def _branch(self, immediates: tuple[Any, ...]) -> tuple[()]:
        self.pops(len(self.label(immediates[0])))
        return self.dead()

    def _br_table(self, immediates: tuple[Any, ...]) -> tuple[()]:
        self.pop()
        self.pops(len(self.label(immediates[0][-1])))
        return self.dead()

    def _return(self, _: tuple[Any, ...]) -> tuple[()]:
        self.pops(len(self.function.results))
        return self.dead()

    def _throw(self, immediates: tuple[Any, ...]) -> tuple[()]:
        self.pops(len(self.func(self.module.all_tags[immediates[0]].typeidx).params))
        return self.dead()

    def _pop_dead(self, _: tuple[Any, ...]) -> tuple[()]:
        self.pop()
        return self.dead()

    def _calls(self, function: FuncType, *, extra: int = 0, tail: bool = False) -> tuple[ValType | None, ...]:
        self.pops(extra)
        self.pops(len(function.params))
        return self.dead() if tail else self.push(*function.results)

    def _select(self, _: tuple[Any, ...]) -> tuple[ValType | None, ...]:
        self.pop()
        first, second = self.pop(), self.pop()
        return self.push(first or second)

    def _get(self, count: int, field: FieldType) -> tuple[ValType | None, ...]:
        return self.swap(count, "i32" if field.storage in ("i8", "i16") else field.storage)

    def _new(self, typeidx: int, count: int) -> tuple[ValType | None, ...]:
        return self.swap(count, RefType(nullable=False, heap=typeidx))

    def _struct_new(self, immediates: tuple[Any, ...]) -> tuple[ValType | None, ...]:
        composite = self.module.types[immediates[0]].composite
        assert isinstance(composite, StructType), "valid"  # noqa: S101
        return self._new(immediates[0], len(composite.fields))

    def _convert(self, heap: str) -> tuple[ValType | None, ...]:
        value = self.pop()
        return self.push(RefType(nullable=not isinstance(value, RefType) or value.nullable, heap=heap))


def _non_null(value: ValType | None) -> ValType | None:
    return RefType(nullable=False, heap=value.heap) if isinstance(value, RefType) else None


_SPECIAL: Final[dict[str, Callable[[_Typer, tuple[Any, ...]], tuple[ValType | None, ...]]]] = {
    "unreachable": lambda t, _: t.dead(),
    "block": lambda t, i: t.enter("block", *t.block(i[0])),
    "loop": lambda t, i: t.enter("loop", *t.block(i[0])),
    "if": _Typer._if,
    "else": _Typer._else,
    "end": _Typer._end,
    "try_table": lambda t, i: t.enter("try_table", *t.block(i[0])),
    "throw": _Typer._throw,
    "throw_ref": _Typer._pop_dead,
    "br": _Typer._branch,
    "br_if": _Typer._br_if,
    "br_table": _Typer._br_table,
    "return": _Typer._return,
    "call": lambda t, i: t._calls(t.module.function_type(i[0])),
    "call_indirect": lambda t, i: t._calls(t.func(i[0]), extra=1),
    "call_ref": lambda t, i: t._calls(t.func(i[0]), extra=1),
    "return_call": lambda t, i: t._calls(t.module.function_type(i[0]), tail=True),
    "return_call_indirect": lambda t, i: t._calls(t.func(i[0]), extra=1, tail=True),
    "return_call_ref": lambda t, i: t._calls(t.func(i[0]), extra=1, tail=True),
    "drop": lambda t, _: t.pops(1),
    "select": _Typer._select,
    "select_t": lambda t, i: t.swap(3, i[0][0]),
    "local.get": lambda t, i: t.push(t.locals[i[0]]),
    "local.set": lambda t, _: t.pops(1),
    "local.tee": lambda t, i: t.swap(1, t.locals[i[0]]),
    "global.get": lambda t, i: t.push(t.module.all_globals[i[0]].value),
    "global.set": lambda t, _: t.pops(1),
    "table.get": lambda t, i: t.swap(1, t.module.all_tables[i[0]].ref),
    "table.set": lambda t, _: t.pops(2),
    "table.grow": lambda t, i: t.swap(2, t.address("all_tables", i[0])),
    "table.fill": lambda t, _: t.pops(3),
    "ref.null": lambda t, i: t.push(RefType(nullable=True, heap=i[0])),
    "ref.is_null": lambda t, _: t.swap(1, "i32"),
    "ref.func": lambda t, i: t.push(t.of_function(i[0])),
    "ref.as_non_null": lambda t, _: t.push(_non_null(t.pop())),
    "br_on_null": _Typer._br_on_null,
    "br_on_non_null": _Typer._br_on_non_null,
    "br_on_cast": _Typer._br_on_cast,
    "br_on_cast_fail": _Typer._br_on_cast_fail,
    "struct.new": _Typer._struct_new,
    "struct.new_default": lambda t, i: t._new(i[0], 0),
    **dict.fromkeys(("struct.get", "struct.get_s", "struct.get_u"), lambda t, i: t._get(1, t.field(*i))),
    "struct.set": lambda t, _: t.pops(2),
    "array.new": lambda t, i: t._new(i[0], 2),
    "array.new_default": lambda t, i: t._new(i[0], 1),
    "array.new_fixed": lambda t, i: t._new(i[0], i[1]),
    "array.new_data": lambda t, i: t._new(i[0], 2),
    "array.new_elem": lambda t, i: t._new(i[0], 2),
    **dict.fromkeys(("array.get", "array.get_s", "array.get_u"), lambda t, i: t._get(2, t.field(*i))),
    "array.set": lambda t, _: t.pops(3),
    "array.fill": lambda t, _: t.pops(4),
    "array.copy": lambda t, _: t.pops(5),
    "array.init_data": lambda t, _: t.pops(4),
    "array.init_elem": lambda t, _: t.pops(4),
    "ref.test": lambda t, _: t.swap(1, "i32"),
    "ref.test_null": lambda t, _: t.swap(1, "i32"),
    "ref.cast": lambda t, i: t.swap(1, RefType(nullable=False, heap=i[0])),
    "ref.cast_null": lambda t, i: t.swap(1, RefType(nullable=True, heap=i[0])),
    "any.convert_extern": lambda t, _: t._convert("any"),
    "extern.convert_any": lambda t, _: t._convert("extern"),
}
