"""A module in which each function that is entered leaves a mark: an exported global for each, set to 1 at the function's entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.wasm import section as ids
from diffcheck.wasm.code import read_locals
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.leb import sized, u, vector
from diffcheck.wasm.section import append, section, write

if TYPE_CHECKING:
    from diffcheck.wasm.module import Module

MARK: Final = "diffcheck:entered "
"""An export of a mark is named by this and the funcidx."""
_ZERO: Final = b"\x7f\x01\x41\x00\x0b"
"""``(global (mut i32) (i32.const 0))``."""


def mark_entries(module: Module) -> bytes:
    """The bytes of ``module`` with marks; indices stay, and offsets in bodies grow. ArtifactError where a body cannot be read."""
    first, imported = len(module.all_globals), module.n_imported("func")
    bodies = []
    for at, (offset, body) in enumerate(module.body_bytes()):
        begin = read_locals(body, offset).end
        bodies.append(sized(body[:begin] + b"\x41\x01\x24" + u(first + at) + body[begin:]))
    sections = [section(ids.CODE, vector(bodies)) if each.id == ids.CODE else each for each in module.sections]
    exports = [encode_export(f"{MARK}{imported + at}", "global", first + at) for at in range(len(bodies))]
    return write(append(sections, {ids.GLOBAL: [_ZERO] * len(bodies), ids.EXPORT: exports}))


def entered(globals_: dict[str, int]) -> set[int]:
    """The functions whose marks are set, by funcidx; ``globals_`` are the exported globals' values by name."""
    return {int(name.removeprefix(MARK)) for name, value in globals_.items() if name.startswith(MARK) and value}
