"""Functions renumbered: every place outside the function and import sections that names one by its index.

These are calls and ``ref.func`` in code, element segments, exports, the start section and constant expressions (core specification
5.4.1 to 5.5.13). Names and other custom sections are the caller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.wasm import code
from diffcheck.wasm import section as ids
from diffcheck.wasm.constexpr import read_constexpr
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.leb import Reader, sized, u, vector
from diffcheck.wasm.opcodes import REF_FUNC
from diffcheck.wasm.types import encode_globaltype, encode_reftype, encode_tabletype

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.wasm.code import IndexMap
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.segments import Element

_DECLARATIVE_EXPRS, _DECLARATIVE_FUNCS, _PASSIVE_EXPRS, _PASSIVE_FUNCS = 7, 3, 5, 1
_ACTIVE_EXPRS, _ACTIVE_FUNCS = 6, 2


def renumber_functions(module: Module, index: IndexMap) -> dict[int, bytes]:
    """The payloads of the sections that name functions, by section id, with each funcidx mapped by ``index``; those that the module
    has. The code section has all bodies in their order.
    """
    return {each.id: _PAYLOADS[each.id](module, index) for each in module.sections if each.id in _PAYLOADS}


def renumber_body(body: bytes, offset: int, index: IndexMap) -> bytes:
    """A code entry, without its size, that is at ``offset`` in the file; an index that fits keeps its number of bytes."""
    return code.reindex(body, start=code.read_locals(body).end, base_offset=offset, funcs=index)


def _expr(raw: bytes, index: IndexMap) -> bytes:
    parts, done = [], 0
    for instr in read_constexpr(Reader(raw)).instrs:
        if instr.name == "ref.func":
            parts += [raw[done : instr.start], REF_FUNC, u(index(int(instr.immediates[0])))]
            done = instr.end
    return b"".join([*parts, raw[done:]])


def _tables(module: Module, index: IndexMap) -> bytes:
    return vector(
        [
            encode_tabletype(each.type)
            if each.init is None
            else b"\x40\x00" + encode_tabletype(each.type) + _expr(each.init, index)
            for each in module.tables
        ]
    )


def _globals(module: Module, index: IndexMap) -> bytes:
    return vector([encode_globaltype(each.type) + _expr(each.init, index) for each in module.globals])


def _exports(module: Module, index: IndexMap) -> bytes:
    renumbered = ((each, index(each.index) if each.kind == "func" else each.index) for each in module.exports)
    return vector([encode_export(each.name, each.kind, number) for each, number in renumbered])


def _start(module: Module, index: IndexMap) -> bytes:
    return u(index(module.start or 0))


def _elements(module: Module, index: IndexMap) -> bytes:
    return vector([_element(each, index) for each in module.elements])


def _element(each: Element, index: IndexMap) -> bytes:
    """A segment in the form that states everything."""
    listed = not each.exprs and not (each.ref.heap != "func" or each.ref.nullable)
    if each.mode == "active":
        head = u(_ACTIVE_FUNCS if listed else _ACTIVE_EXPRS) + u(each.table or 0) + _expr(each.offset or b"", index)
    elif each.mode == "passive":
        head = u(_PASSIVE_FUNCS if listed else _PASSIVE_EXPRS)
    else:
        head = u(_DECLARATIVE_FUNCS if listed else _DECLARATIVE_EXPRS)
    if listed:
        return head + b"\x00" + vector([u(index(funcidx)) for funcidx in each.funcs])
    return head + encode_reftype(each.ref) + vector([_expr(expr, index) for expr in each.exprs])


def _code(module: Module, index: IndexMap) -> bytes:
    return vector([sized(renumber_body(body, offset, index)) for offset, body in module.body_bytes()])


_PAYLOADS: Final[dict[int, Callable[[Module, IndexMap], bytes]]] = {
    ids.TABLE: _tables,
    ids.GLOBAL: _globals,
    ids.EXPORT: _exports,
    ids.START: _start,
    ids.ELEMENT: _elements,
    ids.CODE: _code,
}
