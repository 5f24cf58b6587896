"""A module with all integers in its code in their longest encoding (core specification 5.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from diffcheck.wasm import module as wasm
from diffcheck.wasm import section as ids
from diffcheck.wasm.code import READERS, instructions, opcode, read_locals
from diffcheck.wasm.leb import s, sized, u, vector
from diffcheck.wasm.opcodes import BY_NAME

if TYPE_CHECKING:
    from diffcheck.wasm.code import Instruction

_INDICES: Final = frozenset(
    {
        *(
            "typeidx",
            "funcidx",
            "tableidx",
            "memidx",
            "globalidx",
            "tagidx",
            "elemidx",
            "dataidx",
            "localidx",
            "labelidx",
            "fieldidx",
        ),
        "u32",
    }
)
_U32, _U64, _I32, _I64 = 5, 10, 5, 10
"""The longest encodings, in bytes."""
_HAS_MEMORY: Final = 0x40


def padded_module(data: bytes) -> bytes:
    """The module with padded immediates."""
    module = wasm.read(data)
    bodies = [_body(body) for _, body in module.body_bytes()]
    code = ids.section(ids.CODE, vector([sized(each) for each in bodies]))
    return ids.write(code if each.id == ids.CODE else each for each in module.sections)


def padded_instruction(raw: bytes) -> bytes:
    """An instruction with padded immediates."""
    return _instruction(raw, next(instructions(raw)))


def _body(body: bytes) -> bytes:
    start = read_locals(body).end
    return body[:start] + b"".join(_instruction(body, each) for each in instructions(body, start=start))


def _instruction(body: bytes, each: Instruction) -> bytes:
    at = opcode(body, each.offset)[1]
    parts = [body[each.offset : at]]
    for kind, value in zip(BY_NAME[each.name].immediates, each.immediates, strict=True):
        start, (_, at) = at, READERS[kind](body, at)
        parts.append(_immediate(kind, value, body[start:at]))
    return b"".join(parts)


def _immediate(kind: str, value: Any, plain: bytes) -> bytes:  # noqa: ANN401 - by its kind
    if kind in _INDICES:
        return _unsigned(value, _U32)
    if kind in ("i32", "i64"):
        return _signed(value, _I32 if kind == "i32" else _I64)
    if kind in ("blocktype", "heaptype") and isinstance(value, int):
        return _signed(value, _I32)
    if kind == "labels":
        return _unsigned(len(value) - 1, _U32) + b"".join(_unsigned(label, _U32) for label in value)
    if kind == "memarg":
        flags = value.align | _HAS_MEMORY * bool(value.memidx)
        memory = _unsigned(value.memidx, _U32) if value.memidx else b""
        return _unsigned(flags, _U32) + memory + _unsigned(value.offset, _U32 if value.offset < 1 << 32 else _U64)
    return plain


def _unsigned(value: int, width: int) -> bytes:
    plain = u(value)
    return plain if len(plain) == width else _longer(plain, width, 0x00)


def _signed(value: int, width: int) -> bytes:
    plain = s(value)
    return plain if len(plain) == width else _longer(plain, width, 0x7F if value < 0 else 0x00)


def _longer(plain: bytes, width: int, fill: int) -> bytes:
    """The number with more bytes: all but the last continue, and the added ones repeat the sign."""
    number = bytes(byte | 0x80 for byte in plain) + bytes([fill | 0x80]) * (width - len(plain) - 1)
    return number + bytes([fill])
