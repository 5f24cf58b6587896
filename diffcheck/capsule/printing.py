"""Add one imported function to a complete capsule, for engines whose transport is printing.

Imports come first in every index space (core specification 2.5.1). So this is the only transport for which function indices, and
hence code bytes, change: calls, ``ref.func``, element segments, constant expressions, exports. The name section is removed, since
its indices would be wrong.
"""

from __future__ import annotations

from typing import Final

from diffcheck.wasm import module
from diffcheck.wasm import section as ids
from diffcheck.wasm.leb import sized, u
from diffcheck.wasm.renumber import renumber_functions
from diffcheck.wasm.section import Section, section, write

PLACEHOLDER: Final = 0xFFFF_FFF0
"""Stands for the index of the import until it is added."""

_IMPORT: Final = sized(b"wasi_snapshot_preview1") + sized(b"fd_write") + b"\x00"


def _shift(index: int) -> int:
    return 0 if index == PLACEHOLDER else index + 1


def put_import(wasm: bytes, typeidx: int) -> tuple[bytes, int]:
    """Return the capsule with ``fd_write``, of type ``typeidx``, as function 0, and the new file offset of its parameters.

    ``wasm`` must be built by ``build``: without imports, with the recorder's data segment last.
    """
    read = module.read(wasm)
    changed = renumber_functions(read, _shift)
    sections: list[Section] = []
    for each in read.sections:
        if each.id == ids.CUSTOM and each.name == "name":
            continue
        sections.append(section(each.id, changed[each.id]) if each.id in changed else each)
        if each.id == ids.TYPE:
            sections.append(section(ids.IMPORT, u(1) + _IMPORT + u(typeidx)))
    shifted = write(sections)
    return shifted, module.read(shifted).data[-1].start
