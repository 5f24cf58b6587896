"""A module with a dispatcher: one function that calls any of some functions, with arguments that the run's parameters give.

A capsule whose rows all call the dispatcher runs any sequence of calls and is compiled once. Each row reads a *call* after that
of the row before it: the function's position as u32, then its arguments, each as wide as its type. The calls begin at the view of
the recorder memory, which the recorder writes only when the rows are over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.capsule import layout as lo
from diffcheck.wasm import section as ids
from diffcheck.wasm.leb import s, sized, u
from diffcheck.wasm.opcodes import END
from diffcheck.wasm.section import append, write
from diffcheck.wasm.types import FuncType, encode_functype

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diffcheck.wasm.module import Module
    from diffcheck.wasm.values import Value

RESULT: Final = FuncType((), ("i64",))
"""The dispatcher's type: it returns the bits of the function's first result, 0 if that is not a number."""
WIDTHS: Final = {"i32": 4, "i64": 8, "f32": 4, "f64": 8}
_LOADS: Final = {"i32": b"\x28\x40", "i64": b"\x29\x40", "f32": b"\x2a\x40", "f64": b"\x2b\x40"}
_BITS: Final = {"i32": b"\xad", "i64": b"", "f32": b"\xbc\xad", "f64": b"\xbd"}
_CURSOR: Final = b"\x7f\x01\x41" + s(lo.VIEW_ADDRESS) + b"\x0b"
"""``(global (mut i32) (i32.const VIEW_ADDRESS))``: the address of the next call."""
_DROP, _RETURN, _UNREACHABLE, _I64_CONST_0 = b"\x1a", b"\x0f", b"\x00", b"\x42\x00"


def with_dispatcher(module: Module, functions: Sequence[int]) -> bytes:
    """Return ``module`` with the dispatcher of ``functions`` (funcidx, whose parameters are numbers) as its last function.

    The number after the last function's loads an i64 from an address of memory 0, if that memory has 32-bit addresses. The module
    is valid in a capsule only, which adds the recorder memory.
    """
    cursor, memories = len(module.all_globals), module.all_memories
    peeks = bool(memories) and not memories[0].limits.is64
    cases = [_case(each, module.function_type(each), cursor, len(memories)) for each in functions]
    peek = _advance(cursor, 8) + _load("i32", 4, len(memories)) + b"\x29\x00\x00" + _RETURN
    cases += [peek] if peeks else []
    blocks = b"\x02\x40" * (len(cases) + 1)
    choice = _load("i32", 0, len(memories)) + b"\x0e" + u(len(cases)) + b"".join(u(at) for at in range(len(cases) + 1))
    body = b"\x01\x01\x7f\x23" + u(cursor) + b"\x21\x00" + blocks + choice + b"".join(END + each for each in cases) + END
    added = {
        ids.TYPE: [encode_functype(RESULT)],
        ids.FUNCTION: [u(len(module.types))],
        ids.GLOBAL: [_CURSOR],
        ids.CODE: [sized(body + _UNREACHABLE + END)],
    }
    return write(append(module.sections, added))


def encode_call(position: int, args: Iterable[Value]) -> bytes:
    """Return the bytes of a call of the function with that position in ``functions``."""
    return position.to_bytes(4, "little") + b"".join(each.bits.to_bytes(WIDTHS[each.type], "little") for each in args)


def _case(function: int, type_: FuncType, cursor: int, rec: int) -> bytes:
    """Return code that calls a function and returns the bits of its first result."""
    code, offset = b"", 4
    for param in map(str, type_.params):
        code, offset = code + _load(param, offset, rec), offset + WIDTHS[param]
    code = _advance(cursor, offset) + code + b"\x10" + u(function)
    if not type_.results:
        return code + _I64_CONST_0 + _RETURN
    kind = type_.results[0]
    bits = _BITS.get(kind) if isinstance(kind, str) else None
    return code + _DROP * (len(type_.results) - 1) + (_DROP + _I64_CONST_0 if bits is None else bits) + _RETURN


def _advance(cursor: int, size: int) -> bytes:
    """Return code that moves the cursor past a call."""
    return b"\x20\x00\x41" + s(size) + b"\x6a\x24" + u(cursor)


def _load(kind: str, offset: int, rec: int) -> bytes:
    """Return code that loads a number of a call from the recorder memory, without any alignment."""
    return b"\x20\x00" + _LOADS[kind] + u(rec) + u(offset)
