"""Reduction passes that remove whole items: exports, function bodies, imports, segments and their contents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.cases.rows import choose
from diffcheck.triage.reduce.close_imports import closable, closed, zero_body
from diffcheck.triage.reduce.segments import NULL_FUNC, blanked, emptied, full, nulled, trimmed, without, without_nulls

if TYPE_CHECKING:
    from diffcheck.triage.reduce.reduction import Reduction
    from diffcheck.wasm.draft import DataDraft, Draft

_UNREACHABLE: Final = b"\x00\x00\x0b"
_PATIENCE: Final = 24
"""For exports, segments and their items; there may be thousands of them."""
_PIECES: Final = 64


def remove_exports(work: Reduction) -> None:
    """Remove exports that no row calls, then any others, then the start function."""
    source = work.draft
    functions = {each.function for each in choose(source.module, work.rows).calls}
    called = {each.name for each in source.module.exports if each.kind == "func" and each.index in functions}
    if work.change(msgspec.structs.replace(source, exports=tuple(each for each in source.exports if each.name in called))):
        source = work.draft
    work.thin(
        source.exports,
        lambda some: msgspec.structs.replace(source, exports=tuple(each for each in source.exports if each not in some)),
        _PATIENCE,
    )
    if source.start is not None:
        work.change(msgspec.structs.replace(work.draft, start=None))


def empty_functions(work: Reduction) -> None:
    """Replace bodies that never run by ``unreachable``, then other bodies by zeros; merge functions that are then equal."""
    source = work.draft
    trace = work.trace()
    idle = {index for index in source.bodies if trace is None or index not in trace.executed}
    _replace_bodies(work, dict.fromkeys(idle, _UNREACHABLE))
    source = work.draft
    _replace_bodies(work, {index: zero_body(source, index) for index in source.bodies})
    merge_functions(work)


def _replace_bodies(work: Reduction, wanted: dict[int, bytes]) -> None:
    source = work.draft
    shorter = [index for index, body in wanted.items() if len(body) < len(source.bodies[index])]
    work.thin(shorter, lambda some: source.with_bodies({index: wanted[index] for index in some}))


def merge_functions(work: Reduction) -> None:
    """Merge functions of the same type and body."""
    source = work.draft
    first: dict[tuple[int, bytes], int] = {}
    alias = {}
    for index, body in source.bodies.items():
        same = first.setdefault((source.module.all_functions[index], body), index)
        if same != index:
            alias[index] = same
    if alias:
        work.change(msgspec.structs.replace(source, alias=alias))


def define_imports(work: Reduction) -> None:
    """Turn imports into defined items."""
    source = work.draft
    work.thin(closable(source), lambda some: closed(source, some))


def remove_segments(work: Reduction) -> None:
    """Remove element and data segments, empty data segments, and remove items of element segments."""
    _remove_element_segments(work)
    _remove_data_segments(work)
    _remove_elements(work)


def _remove_element_segments(work: Reduction) -> None:
    source = work.draft
    elements = [at for at, each in enumerate(source.elements) if each]
    work.thin(elements, lambda some: msgspec.structs.replace(source, elements=without(source.elements, some)))


def _remove_data_segments(work: Reduction) -> None:
    source = work.draft
    if work.change(msgspec.structs.replace(source, data=emptied(source.data, full(source.data)))):
        source = work.draft  # now only their number can matter
    data = [at for at, each in enumerate(source.data) if each]
    work.thin(data, lambda some: msgspec.structs.replace(source, data=without(source.data, some)), _PATIENCE)
    source = work.draft
    work.thin(full(source.data), lambda some: msgspec.structs.replace(source, data=emptied(source.data, some)), _PATIENCE)


def _remove_elements(work: Reduction) -> None:
    source = work.draft
    items = [
        (at, item) for at, each in enumerate(source.elements) if each and each.ref.heap == "func" and (each.table is not None)
        for item, code in enumerate(each.items) if code != NULL_FUNC
    ]  # fmt: skip
    work.thin(items, lambda some: msgspec.structs.replace(source, elements=nulled(source.elements, some)), _PATIENCE)
    for at in range(len(work.draft.elements)):
        shorter = without_nulls(work.draft, at)
        if shorter is not None:
            work.change(shorter)


def blank_data(work: Reduction) -> None:
    """Replace the contents of data segments by zeros, piece by piece, and remove leading zeros."""
    for at, segment in enumerate(work.draft.data):
        if segment is None or len(segment.content) <= 1:
            continue
        _blank(work, at, segment)
        shorter = trimmed(work.draft, at)
        if shorter is not None:
            work.change(shorter)


def _blank(work: Reduction, at: int, segment: DataDraft) -> None:
    source = work.draft
    size = -(-len(segment.content) // _PIECES)

    def blank(some: list[int]) -> Draft:
        data = (*source.data[:at], blanked(segment, some, size), *source.data[at + 1 :])
        return msgspec.structs.replace(source, data=data)

    work.thin(range(0, len(segment.content), size), blank, _PATIENCE)
