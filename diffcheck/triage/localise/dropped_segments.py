"""Detects a segment that was not dropped: an instruction that reads it traps under the oracle only.

Only such an instruction shows whether a segment has contents, so the drop itself cannot be logged as a difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.observation import Trapped
from diffcheck.triage.localise.event_runs import BEFORE, FirstDifference

if TYPE_CHECKING:
    from diffcheck.triage.localise.explanation import Explainer
    from diffcheck.triage.localise.location import Localisation

_READERS: Final = {
    "memory.init": ("data", 0),
    "array.new_data": ("data", 1),
    "array.init_data": ("data", 1),
    "table.init": ("elem", 0),
    "array.new_elem": ("elem", 1),
    "array.init_elem": ("elem", 1),
}
"""Instructions that read a segment: its kind and the immediate with its index. The last two operands are offset and length."""
_WORDS: Final = {"data": "data segment", "elem": "element segment"}


def dropped_segment(explainer: Explainer, first: FirstDifference) -> Localisation | str:
    """The instruction that should have dropped the segment, or a sentence if instantiation should have; empty for other differences."""
    if first.oracle is not None or not isinstance(first.oracle_outcome, Trapped):
        return ""
    function, position = explainer.stack.acting_place(first)
    body = explainer.instrumentation.bodies_of.get(function)
    reader = body.code[position].instruction if body is not None and position >= 0 else None
    if reader is None or reader.name not in _READERS:
        return ""
    kind, which = _READERS[reader.name]
    segment = int(reader.immediates[which])
    operands = [bits for bits, _ in explainer.surroundings(function, position, first.event)[0].values()]
    if not any(bits % (1 << 32) for bits in operands[-2:]):
        return ""  # no bytes or elements of an empty segment are in bounds
    records = explainer.stack.history(first.event)
    for at in range(len(records) - 1, -1, -1):
        site = explainer.instrumentation.site(records[at].site)
        if site is None or site.name != f"{kind}.drop" or site.role != "dropped":
            continue
        if explainer.instrumentation.bodies_of[site.function].code[site.position].instruction.immediates[0] != segment:
            continue
        record = records[at]
        there = FirstDifference(
            record.event, record, record, records[max(0, at - BEFORE) : at], first.oracle_outcome, first.subject_outcome
        )
        texts = f"left {_WORDS[kind]} {segment} empty", "left its contents"
        return explainer.at(there, (site.function, site.position), texts, "state", f"`{reader.name}` then reads the segment")
    segments = explainer.module.data if kind == "data" else explainer.module.elements
    if segments[segment].mode == "passive":
        return ""
    return f"instantiation should have dropped {_WORDS[kind]} {segment} (core specification 3.0, 4.7.2): `{reader.name}` reads it"
