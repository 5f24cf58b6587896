"""The origin of a fused module's functions, from meld's custom section ``component-provenance``, format 3.

Layout, little-endian (meld 0.52, ``meld-core/src/provenance.rs``): ``SCPV``, u8 version, u8 and u8 premises, 32 bytes of SHA-256,
u32 count, then for each function u32 funcidx, u32 length and component id, u32 index in its core module, u8 whether a code range
follows, u32 start and u32 end in the code section's payload. The functions of a core module are consecutive, by ascending index.

`witness instrument` copies the section unchanged but renumbers functions, so the entries do not fit its output.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.wasm import section as ids

if TYPE_CHECKING:
    from diffcheck.wasm.module import Module

PROVENANCE: Final = "component-provenance"
ATTESTATION: Final = "wsc.transformation.attestation"
_HEAD: Final = struct.Struct("<4sBBB32sI")
_MAGIC, _VERSION = b"SCPV", 3
_PAIR, _RANGE = struct.Struct("<II"), struct.Struct("<II")
_CODE_RANGE: Final = struct.Struct("<IB")


class ProvenanceEntry(msgspec.Struct, frozen=True, gc=False):
    """A function: index in the fused module, component, index in its core module (``origin``), code range."""

    function: int
    component: str
    origin: int
    code: tuple[int, int] | None


def entries(module: Module) -> tuple[ProvenanceEntry, ...]:
    """Return the entries of the section; () if it is missing or malformed."""
    content = _custom(module, PROVENANCE)
    try:
        magic, version, _, _, _, count = _HEAD.unpack_from(content)
        if (magic, version) != (_MAGIC, _VERSION):
            return ()
        at, decoded = _HEAD.size, []
        for _ in range(min(count, len(content))):
            entry, at = _entry(content, at)
            decoded.append(entry)
    except (struct.error, UnicodeDecodeError):
        return ()
    return tuple(decoded)


def _entry(content: bytes, at: int) -> tuple[ProvenanceEntry, int]:
    function, length = _PAIR.unpack_from(content, at)
    at += _PAIR.size
    component = content[at : at + length].decode()
    at += length
    origin, has_range = _CODE_RANGE.unpack_from(content, at)
    at += _CODE_RANGE.size
    code = _RANGE.unpack_from(content, at) if has_range else None
    return ProvenanceEntry(function, component, origin, code), at + _RANGE.size * bool(has_range)


def origins(module: Module) -> dict[int, tuple[str, int]]:
    """Return the component and the number of the core module of each function, by funcidx.

    {} unless every entry's code range is that of the function's body, as in meld's own output.
    """
    code = module.section(ids.CODE)
    imported = module.n_imported("func")
    result: dict[int, tuple[str, int]] = {}
    previous: ProvenanceEntry | None = None
    number = 0
    for each in entries(module):
        if code is None or not imported <= each.function < len(module.all_functions) or each.code is None:
            return {}
        offset, size = module.bodies[each.function - imported]
        if each.code != (offset - code.offset, offset - code.offset + size):
            return {}
        if previous is not None and (each.component != previous.component or each.origin <= previous.origin):
            number += 1
        result[each.function] = (each.component, number)
        previous = each
    return result


def n_components(module: Module) -> int:
    """Return the number of components fused into a module, according to meld's sections; 1 if it was not fused."""
    named = len({each.component for each in entries(module)})
    try:
        attestation = json.loads(_custom(module, ATTESTATION) or b"{}")
        inputs = sum(int(each["module_count"]) > 0 for each in attestation.get("inputs", ()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        inputs = 0
    return max(1, named, inputs)


def _custom(module: Module, name: str) -> bytes:
    return next((bytes(each.content()) for each in module.sections if each.id == ids.CUSTOM and each.name == name), b"")
