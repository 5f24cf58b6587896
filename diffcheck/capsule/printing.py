"""Add one imported function to a complete capsule, for engines whose transport is printing.

Imports come first in every index space (core specification 2.5.1). So this is the only transport for which function indices, and
hence code bytes, change: calls, ``ref.func``, element segments, constant expressions, exports. The name section is removed, since
its indices would be wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.wasm import code, module
from diffcheck.wasm import section as ids
from diffcheck.wasm.constexpr import read_constexpr
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.leb import Reader, sized, u, vector
from diffcheck.wasm.opcodes import REF_FUNC
from diffcheck.wasm.section import Section, section, write
from diffcheck.wasm.types import encode_globaltype, encode_reftype, encode_tabletype

if TYPE_CHECKING:
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.segments import Element

PLACEHOLDER: Final = 0xFFFF_FFF0
"""Stands for the index of the import until it is added."""

_IMPORT: Final = sized(b"wasi_snapshot_preview1") + sized(b"fd_write") + b"\x00"
_DECLARATIVE_EXPRS, _DECLARATIVE_FUNCS, _PASSIVE_EXPRS, _PASSIVE_FUNCS = 7, 3, 5, 1
_ACTIVE_EXPRS, _ACTIVE_FUNCS = 6, 2


def _shift(index: int) -> int:
    return 0 if index == PLACEHOLDER else index + 1


def put_import(wasm: bytes, typeidx: int) -> tuple[bytes, int]:
    """Return the capsule with ``fd_write``, of type ``typeidx``, as function 0, and the new file offset of its parameters.

    ``wasm`` must be built by ``build``: without imports and start section, with the recorder's data segment last.
    """
    read = module.read(wasm)
    changed = {
        ids.TABLE: _tables,
        ids.GLOBAL: _globals,
        ids.EXPORT: _exports,
        ids.ELEMENT: _elements,
        ids.CODE: _code,
    }
    sections: list[Section] = []
    for each in read.sections:
        if each.id == ids.CUSTOM and each.name == "name":
            continue
        sections.append(section(each.id, changed[each.id](read)) if each.id in changed else each)
        if each.id == ids.TYPE:
            sections.append(section(ids.IMPORT, u(1) + _IMPORT + u(typeidx)))
    shifted = write(sections)
    return shifted, module.read(shifted).data[-1].start


def _expr(raw: bytes) -> bytes:
    parts, done = [], 0
    for instr in read_constexpr(Reader(raw)).instrs:
        if instr.name == "ref.func":
            parts += [raw[done : instr.start], REF_FUNC, u(_shift(int(instr.immediates[0])))]
            done = instr.end
    return b"".join([*parts, raw[done:]])


def _tables(read: Module) -> bytes:
    return vector(
        [
            encode_tabletype(each.type) if each.init is None else b"\x40\x00" + encode_tabletype(each.type) + _expr(each.init)
            for each in read.tables
        ]
    )


def _globals(read: Module) -> bytes:
    return vector([encode_globaltype(each.type) + _expr(each.init) for each in read.globals])


def _exports(read: Module) -> bytes:
    shifted = ((each, _shift(each.index) if each.kind == "func" else each.index) for each in read.exports)
    return vector([encode_export(each.name, each.kind, index) for each, index in shifted])


def _elements(read: Module) -> bytes:
    return vector([_element(each) for each in read.elements])


def _element(each: Element) -> bytes:
    """Encode a segment in the explicit form."""
    by_index = not each.exprs and each.ref.heap == "func" and not each.ref.nullable
    if each.mode == "active":
        head = u(_ACTIVE_FUNCS if by_index else _ACTIVE_EXPRS) + u(each.table or 0) + _expr(each.offset or b"")
    elif each.mode == "passive":
        head = u(_PASSIVE_FUNCS if by_index else _PASSIVE_EXPRS)
    else:
        head = u(_DECLARATIVE_FUNCS if by_index else _DECLARATIVE_EXPRS)
    if by_index:
        return head + b"\x00" + vector([u(_shift(index)) for index in each.funcs])
    return head + encode_reftype(each.ref) + vector([_expr(expr) for expr in each.exprs])


def _code(read: Module) -> bytes:
    bodies = (
        code.reindex(body, start=code.read_locals(body).end, base_offset=offset, funcs=_shift) for offset, body in read.body_bytes()
    )
    return vector([sized(body) for body in bodies])
