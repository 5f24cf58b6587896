"""Legacy exceptions: instructions that engines implemented before WebAssembly 3.0, which has others (``document/legacy`` of the
specification).
"""

from __future__ import annotations

from typing import Final

from diffcheck.errors import ArtifactError
from diffcheck.wasm import module
from diffcheck.wasm.code import has_any, read_locals
from diffcheck.wasm.opcodes import OPS

_LEGACY: Final = frozenset(each.name for each in OPS if each.legacy)


def has_legacy_exceptions(wasm: bytes) -> bool:
    """Whether a function of a module has such an instruction; False if the module is malformed before the first one."""
    try:
        bodies = module.read(wasm).body_bytes()
        return any(has_any(body, _LEGACY, start=read_locals(body, at).end, base_offset=at) for at, body in bodies)
    except ArtifactError:
        return False
