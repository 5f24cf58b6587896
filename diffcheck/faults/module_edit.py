"""Edits of a complete module: inserted code, wrapped functions, added and removed exports.

Additions come last, so all indices stay. The modules have no imports, so a function's index is also the index of its body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.wasm import code
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.encode import zero
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.fragment import link_expression
from diffcheck.wasm.leb import sized, u, vector
from diffcheck.wasm.opcodes import END
from diffcheck.wasm.section import Section, section, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.module import Export, Module
    from diffcheck.wasm.types import ValType


def instructions(text: str, **symbols: int) -> bytes:
    """Assemble ``text`` to instructions, without locals and final ``end``."""
    return link_expression(assemble(text), symbols)


def body(module: Module, wasm: bytes, function: int) -> bytes:
    """Return a function's body, without its size."""
    offset, size = module.bodies[function]
    return wasm[offset : offset + size]


def listing(data: bytes) -> list[Instruction]:
    """Return a body's instructions, with offsets from the body's start."""
    return list(code.instructions(data, start=code.read_locals(data).end))


def prepend(data: bytes, inserted: bytes) -> bytes:
    """Return a body with instructions inserted before its first."""
    start = code.read_locals(data).end
    return data[:start] + inserted + data[start:]


def rewrite(
    module: Module,
    wasm: bytes,
    bodies: Mapping[int, bytes] | None = None,
    *,
    added: tuple[int, bytes] | None = None,
    exports: Iterable[Export] | None = None,
) -> bytes:
    """Return ``wasm`` with replaced bodies (by function index), an added function (typeidx, body), and replaced exports.

    ``module`` was read from these bytes, or from bytes that differ only in constants.
    """
    changed: dict[int, bytes] = {}
    if bodies or added:
        entries = [(bodies or {}).get(at) or body(module, wasm, at) for at in range(len(module.bodies))]
        types = list(module.functions)
        if added:
            types.append(added[0])
            entries.append(added[1])
        changed[ids.FUNCTION] = vector([u(typeidx) for typeidx in types])
        changed[ids.CODE] = vector([sized(entry) for entry in entries])
    if exports is not None:
        changed[ids.EXPORT] = vector([encode_export(each.name, each.kind, each.index) for each in exports])
    sections = [section(each.id, changed[each.id]) if each.id in changed else _copy(each, wasm) for each in module.sections]
    return write(sections)


def _copy(each: Section, wasm: bytes) -> Section:
    """Return the section with its payload from ``wasm``, which may have other constants than ``module``."""
    return msgspec.structs.replace(each, payload=wasm[each.offset : each.offset + len(each.payload)])


def function(inner: bytes) -> bytes:
    """Return a body without locals."""
    return b"\x00" + inner + END


def call(index: int) -> bytes:
    """Return a call instruction."""
    return b"\x10" + u(index)


def call_replacement(params: Iterable[ValType], results: Iterable[ValType]) -> bytes | None:
    """Return code in place of a call: the arguments are dropped, the results are zeros. None if a result type has no zero."""
    zeros = [zero(each) for each in results]
    if None in zeros:
        return None
    return b"\x1a" * sum(1 for _ in params) + b"".join(each for each in zeros if each is not None)
