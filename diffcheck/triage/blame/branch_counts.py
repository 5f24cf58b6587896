"""Count the branches of a module without witness, to compare witness's counters.

At each branch of the manifest the condition, or the index of a ``br_table``, is on top of the stack. A probe before the instruction
adds to a global for each branch, so that no block changes.
"""

from __future__ import annotations

import hashlib
from itertools import groupby
from typing import TYPE_CHECKING, Final

from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.code import read_locals
from diffcheck.wasm.encode import encode_locals
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.fragment import link_expression
from diffcheck.wasm.leb import sized, vector
from diffcheck.wasm.module import read, section, write
from diffcheck.wasm.section import append
from diffcheck.witness.formats import COUNTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diffcheck.wasm.module import Module
    from diffcheck.witness.formats import Branch, Manifest

_COUNTER_GLOBAL: Final = b"\x7e\x01\x42\x00\x0b"  # i64, mutable, initially 0
_CONDITIONS: Final = {"br_if": "i32.const 0 i32.ne", "if_then": "i32.const 0 i32.ne", "if_else": "i32.eqz"}


def counted(wasm: bytes, manifest: Manifest) -> bytes | None:
    """The module with counters for the branches of its manifest, named as witness's; None if the manifest is of another module."""
    branches = [each for each in manifest.branches if each.byte_offset is not None]
    if manifest.original_module_sha256 != hashlib.sha256(wasm).hexdigest() or len(branches) < len(manifest.branches):
        return None
    module = read(wasm)
    first = len(module.all_globals)
    numbers = {each.id: first + at for at, each in enumerate(branches)}
    bodies = _bodies(module, wasm, branches, numbers)
    sections = [section(ids.CODE, vector(list(map(sized, bodies)))) if each.id == ids.CODE else each for each in module.sections]
    exports = [encode_export(f"{COUNTER}{id_}", "global", index) for id_, index in numbers.items()]
    return write(append(sections, {ids.GLOBAL: [_COUNTER_GLOBAL] * len(branches), ids.EXPORT: exports}))


def _bodies(module: Module, wasm: bytes, branches: Sequence[Branch], numbers: dict[int, int]) -> Iterator[bytes]:
    """The code entries, without their sizes, with a probe before each branch."""
    ordered = sorted(branches, key=lambda each: (each.byte_offset or 0, each.id))
    probes = [(offset, list(group)) for offset, group in groupby(ordered, lambda each: each.byte_offset or 0)]
    for at, (start, size) in enumerate(module.bodies, module.n_imported("func")):
        inside = [(offset, group) for offset, group in probes if start <= offset < start + size]
        if not inside:
            yield wasm[start : start + size]
            continue
        locals_ = read_locals(wasm[start : start + size], start)
        type_ = module.function_type(at)
        temporary = len(type_.params) + sum(count for count, _ in locals_.groups)
        parts, done = [encode_locals([*locals_.groups, (1, "i32")])], start + locals_.end
        for offset, group in inside:
            parts += [wasm[done:offset], _probe(group, temporary, numbers)]
            done = offset
        yield b"".join([*parts, wasm[done : start + size]])


def _probe(group: Iterable[Branch], temporary: int, numbers: dict[int, int]) -> bytes:
    text, targets = [f"local.tee {temporary}"], 0
    for each in group:
        condition = _CONDITIONS.get(each.kind)
        if each.kind == "br_table_target":
            condition, targets = f"i32.const {targets} i32.eq", targets + 1
        elif condition is None:
            condition = f"i32.const {targets} i32.ge_u"
        counter = numbers[each.id]
        text.append(f"global.get {counter} local.get {temporary} {condition} i64.extend_i32_u i64.add global.set {counter}")
    return link_expression(assemble(" ".join(text)), {})
