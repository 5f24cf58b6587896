"""Code that reads back what an instruction wrote: locals, globals, memories, tables, objects and sizes.

It follows the instruction and the events of its results, and logs the current contents. So a wrong write differs at the write and
not at the next read. Dropped segments cannot be read; their event only marks the place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol

from diffcheck.triage.tracing.probes import HelperKey, by_contents
from diffcheck.wasm.leb import s, u
from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.types import ArrayType, RefType, StructType
from diffcheck.wasm.values import signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.triage.tracing.probes import Helpers
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType
    from diffcheck.wasm.typing import Body, TypedInstruction

Role = Literal["entry", "argument", "result", "allowed", "stored", "set", "size", "range", "dropped", "operand", "local"]
"""What a record contains."""
READ_BACK: Final = frozenset({"stored", "set", "size", "range", "dropped"})
"""The roles of records for which inserted code reads what an instruction wrote."""
Taken = list[tuple["ValType", int]]
"""Locals in use around an instruction, with their types."""
Around = tuple[bytes, bytes]
"""Code before and after an instruction."""
VECTOR_BYTES: Final = 16
_DROP: Final = b"\x1a"
_WIDE: Final = b"\xad"


class InstrumentedModule(Protocol):
    """A module under instrumentation."""

    @property
    def module(self) -> Module:
        """The module."""
        ...

    @property
    def helpers(self) -> Helpers:
        """The functions that log events."""
        ...


class BodyWriter(Protocol):
    """The writer of the body that contains the instruction."""

    @property
    def instrumentation(self) -> InstrumentedModule:
        """The instrumented module."""
        ...

    @property
    def typed(self) -> Body:
        """The original body with types."""
        ...

    def site(self, position: int, each: TypedInstruction, role: Role, number: int = 0, type_: ValType = "i64") -> bytes:
        """Code that pushes the number of a new site at an instruction."""
        ...

    def local(self, type_: ValType, taken: Taken) -> int:
        """A local of this type that is not in use around the instruction; it is added to ``taken``."""
        ...

    def saved(self, types: list[ValType], taken: Taken) -> tuple[bytes, list[int]]:
        """Code that copies operands from the stack to locals, and those locals."""
        ...


def read_back(writer: BodyWriter, position: int, each: TypedInstruction, taken: Taken) -> Around:
    """The code around an instruction that reads back its effect; empty if it changes no state."""
    if None in each.operands:
        return b"", b""
    name = each.instruction.name
    return _READERS.get(name, _nothing)(_Reader(writer, position, each, taken))


class _Reader:
    """One instruction and the writer of its body."""

    def __init__(self, writer: BodyWriter, position: int, each: TypedInstruction, taken: Taken) -> None:
        self.writer, self.position, self.each, self.taken = writer, position, each, taken
        self.module = writer.instrumentation.module
        self.immediates = each.instruction.immediates

    def save(self, types: list[ValType]) -> tuple[bytes, list[bytes]]:
        """Code that copies the operands to locals, and code for each that reads it."""
        code, locals_ = self.writer.saved(types, self.taken)
        return code, [_get(each) for each in locals_]

    def operands(self) -> list[ValType]:
        """The operands' types."""
        return [each for each in self.each.operands if each is not None]

    def note(self, key: HelperKey, arguments: bytes, role: Role, type_: ValType = "i64") -> bytes:
        """A call of a helper, whose last parameter is the site."""
        return arguments + self.writer.site(self.position, self.each, role, 0, type_) + self.call(key)

    def call(self, key: HelperKey) -> bytes:
        """A call of a helper."""
        return b"\x10" + u(self.writer.instrumentation.helpers.index(key))

    def value(self, get: bytes, type_: ValType) -> bytes:
        """A probe of the value that ``get`` reads."""
        return self.note(by_contents(type_), get, "set", type_) + _DROP

    def address(self, space: str, index: int) -> str:
        """The index type of a memory or table."""
        return "i64" if getattr(self.module, space)[index].limits.is64 else "i32"


def _get(local: int) -> bytes:
    return b"\x20" + u(local)


def _nothing(_: _Reader) -> Around:
    return b"", b""


def _local(at: _Reader) -> Around:
    index = at.immediates[0]
    return b"", at.value(_get(index), at.writer.typed.locals[index])


def _global(at: _Reader) -> Around:
    index = at.immediates[0]
    return b"", at.value(b"\x23" + u(index), at.module.all_globals[index].value)


def _store(at: _Reader) -> Around:
    """Stores and atomic read-modify-writes: the bytes at their address."""
    memarg, width = at.immediates[0], BY_NAME[at.each.instruction.name].width
    address = at.address("all_memories", memarg.memidx)
    before, locals_ = at.save([address, *at.operands()[1:]])
    bits = 64 if address == "i64" else 32
    offset = (b"\x42" if address == "i64" else b"\x41") + s(signed(memarg.offset, bits))
    type_ = "v128" if width == VECTOR_BYTES else "i64"
    return before, at.note(HelperKey("memory", index=memarg.memidx, width=width), locals_[0] + offset, "stored", type_)


def _kind_and_space(name: str) -> tuple[Literal["region", "table"], str]:
    return ("region", "all_memories") if name.startswith("memory.") else ("table", "all_tables")


def _range(at: _Reader) -> Around:
    """A range of a memory or table: address, ..., length."""
    name = at.each.instruction.name
    kind, space = _kind_and_space(name)
    index = at.immediates[1] if name.endswith(".init") else at.immediates[0]
    address, types = at.address(space, index), at.operands()
    length = "i32" if name.endswith(".init") else address
    if name.endswith(".copy") and at.address(space, at.immediates[1]) == "i32":
        length = "i32"
    types[0], types[-1] = address, length
    before, locals_ = at.save(types)
    wide = b"" if length == "i64" else _WIDE
    return before, at.note(HelperKey(kind, index=index), locals_[0] + locals_[-1] + wide, "range")


def _grow(at: _Reader) -> Around:
    """The size, then what was added. The old size, which is the result, is on the stack."""
    index = at.immediates[0]
    kind, space = _kind_and_space(at.each.instruction.name)
    address = at.address(space, index)
    before, locals_ = at.save(at.operands())
    old = at.writer.local(address, at.taken)
    size = at.note(HelperKey("size", shape=kind, index=index), b"", "size", address)
    return before, b"\x22" + u(old) + size + at.note(HelperKey("grown", shape=kind, index=index), _get(old) + locals_[-1], "range")


def _table_set(at: _Reader) -> Around:
    index = at.immediates[0]
    reference = at.module.all_tables[index].ref
    before, locals_ = at.save([at.address("all_tables", index), reference])
    return before, at.value(locals_[0] + b"\x25" + u(index), reference)


def _field(at: _Reader) -> Around:
    """``struct.set``, ``array.set``."""
    typeidx, composite = at.immediates[0], at.module.types[at.immediates[0]].composite
    assert isinstance(composite, StructType | ArrayType), "the body is valid"  # noqa: S101
    of_struct = isinstance(composite, StructType)
    storage = composite.fields[at.immediates[1]].storage if isinstance(composite, StructType) else composite.field.storage
    packed = storage in ("i8", "i16")
    value: ValType = "i32" if packed else storage
    here: ValType = RefType(nullable=True, heap=typeidx)
    before, locals_ = at.save([here, value] if of_struct else [here, "i32", value])
    get = bytes([0xFB, (2 if of_struct else 0x0B) + 2 * packed]) + b"".join(map(u, at.immediates))
    return before, at.value(b"".join(locals_[:-1]) + get, value)


def _elements(at: _Reader) -> Around:
    """Several elements of an array: the array, the first index, ..."""
    here: ValType = RefType(nullable=True, heap=at.immediates[0])
    before, locals_ = at.save([here, *at.operands()[1:]])
    return before, at.note(HelperKey("object", here), locals_[0] + locals_[1], "range")


def _new(at: _Reader) -> Around:
    """A new object, which stays on the stack."""
    return b"", at.note(HelperKey("contents", RefType(nullable=False, heap=at.immediates[0])), b"", "range")


def _drop(at: _Reader) -> Around:
    site = at.writer.site(at.position, at.each, "dropped")
    return b"", site + b"\x42\x00\x10" + u(at.writer.instrumentation.helpers.note)


def _names(*endings: str) -> list[str]:
    return [name for name in BY_NAME if any(ending in name for ending in endings)]


_READERS: Final[dict[str, Callable[[_Reader], Around]]] = {
    "local.set": _local,
    "local.tee": _local,
    "global.set": _global,
    **dict.fromkeys(_names(".store", ".atomic.rmw"), _store),
    **dict.fromkeys(_names("memory.fill", "memory.copy", "memory.init", "table.fill", "table.copy", "table.init"), _range),
    **dict.fromkeys(("memory.grow", "table.grow"), _grow),
    "table.set": _table_set,
    **dict.fromkeys(("struct.set", "array.set"), _field),
    **dict.fromkeys(_names("array.fill", "array.copy", "array.init_"), _elements),
    **dict.fromkeys(_names("struct.new", "array.new"), _new),
    **dict.fromkeys(("data.drop", "elem.drop"), _drop),
}
WRITES: Final = frozenset(_READERS)
"""The instructions that change state, allocations included."""
