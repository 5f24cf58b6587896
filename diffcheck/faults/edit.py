"""Changes to a finished module: code put into functions, functions put around others, exports taken away and added.

Indices stay as they are: what is added comes last. The modules have no imports, so a function's index is its body's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.wasm import code
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.encode import zero
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.fragment import expression
from diffcheck.wasm.leb import sized, u, vector
from diffcheck.wasm.opcodes import END
from diffcheck.wasm.section import Section, section, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.module import Export, Module
    from diffcheck.wasm.types import ValType


def instructions(text: str, **symbols: int) -> bytes:
    """The instructions of a text, without locals and final ``end``."""
    return expression(assemble(text), symbols)


def body(module: Module, wasm: bytes, function: int) -> bytes:
    """A function's body, without its size."""
    offset, size = module.bodies[function]
    return wasm[offset : offset + size]


def listing(data: bytes) -> list[Instruction]:
    """A body's instructions, with offsets in it."""
    return list(code.instructions(data, start=code.read_locals(data).end))


def begin(data: bytes, inserted: bytes) -> bytes:
    """A body with instructions put before its first."""
    start = code.read_locals(data).end
    return data[:start] + inserted + data[start:]


def rewritten(
    module: Module,
    wasm: bytes,
    bodies: Mapping[int, bytes] | None = None,
    *,
    added: tuple[int, bytes] | None = None,
    exports: Iterable[Export] | None = None,
) -> bytes:
    """``wasm`` with other bodies by function index, one function more as (typeidx, body), and other exports.

    ``module`` is what was read from these bytes, or from others that differ in constants only.
    """
    changed: dict[int, bytes] = {}
    if bodies or added:
        entries = [(bodies or {}).get(at) or body(module, wasm, at) for at in range(len(module.bodies))]
        types = list(module.functions)
        if added:
            types.append(added[0])
            entries.append(added[1])
        changed[ids.FUNCTION] = vector([u(each) for each in types])
        changed[ids.CODE] = vector([sized(each) for each in entries])
    if exports is not None:
        changed[ids.EXPORT] = vector([encode_export(each.name, each.kind, each.index) for each in exports])
    sections = [section(each.id, changed[each.id]) if each.id in changed else _same(each, wasm) for each in module.sections]
    return write(sections)


def _same(each: Section, wasm: bytes) -> Section:
    """A section as ``wasm`` has it: of the same place and length, with other parameters than ``module`` was read with."""
    return msgspec.structs.replace(each, payload=wasm[each.offset : each.offset + len(each.payload)])


def function(inner: bytes) -> bytes:
    """A body without locals."""
    return b"\x00" + inner + END


def called(index: int) -> bytes:
    """A call."""
    return b"\x10" + u(index)


def skipped(params: Iterable[ValType], results: Iterable[ValType]) -> bytes | None:
    """What stands for a call that is not made: its arguments dropped, zeros given; None where a result has no zero."""
    zeros = [zero(each) for each in results]
    if None in zeros:
        return None
    return b"\x1a" * sum(1 for _ in params) + b"".join(each for each in zeros if each is not None)
