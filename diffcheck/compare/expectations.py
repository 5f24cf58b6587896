"""The expected results of a row, written after an arrow: ``add=1,2 -> 3``.

``-> VALUE, VALUE`` are results: numbers as arguments are written, ``nan:canonical`` and ``nan:arithmetic`` for sets of NaNs (core
specification 3.0, 4.3.3), ``f32x4 1 nan:canonical 0 0`` for the lanes of a vector, ``null``, ``(ref.extern 1)``, or for any
reference of a kind ``(ref.func)``, ``(ref.i31)``, and so on; ``|`` separates alternatives. ``-> ()`` is a return without results,
``-> trap`` a trap, ``-> trap: REASON`` a trap of that kind, ``-> exhaustion`` an exhausted call stack, ``-> exception`` an uncaught
exception.
"""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from diffcheck.errors import CaseError
from diffcheck.observation import TRAP_KINDS, UNNAMED_KINDS, Returned, Threw, Trapped, trap_kind
from diffcheck.text import plural, visible
from diffcheck.wasm import values
from diffcheck.wasm.values import WIDTHS, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.capsule.layout import ObjectType
    from diffcheck.observation import RowRecord, TrapKind

NO_RESULTS: Final = "()"
TRAPPED: Final = "trap"
EXHAUSTION: Final = "exhaustion"
THREW: Final = "exception"
_REASON: Final = f"{TRAPPED}:"
_STACK: Final = "call stack exhausted"

_ANY_REFERENCE: Final = re.compile(r"\(ref\.(?:extern|func|any|eq|exn)\)\Z")
_LANES: Final = re.compile(r"(?P<lane>[if](?:8|16|32|64))x(?P<count>2|4|8|16) +(?P<lanes>.*)\Z")


def check(text: str, types: Sequence[str]) -> None:
    """Raise ``CaseError`` unless ``text`` can be expected of a row with results of these types.

    A reference's type is its hierarchy: ``any``, ``func``, ``extern`` or ``exn``.
    """
    if text in (EXHAUSTION, THREW, TRAPPED):
        return
    if text.startswith(_REASON):
        _kind(text)
        return
    parts = _parts(text)
    if len(parts) != len(types) or (types and not all(parts)):
        raise CaseError(
            f"{plural(len(parts), 'result')} expected, but there {'is' if len(types) == 1 else 'are'} {len(types)}",
            hint="separate results by commas, or use (), trap, trap: REASON, exhaustion or exception",
        )
    for part, type_ in zip(parts, types, strict=True):
        for each in map(str.strip, part.split("|")):
            _matches(each, Value(type_ if type_ in WIDTHS else "ref", 0))
            if type_ not in WIDTHS and not _may_be_in(type_, each):
                hint = f"use null or (ref.{type_})"
                raise CaseError(f"{visible(each, 60)} is no reference of the hierarchy of {type_}", hint=hint)


def met(text: str, row: RowRecord, objects: Sequence[ObjectType] = ()) -> bool:
    """Whether a row did what is expected. ``objects`` are the object types of the layout."""
    outcome = row.outcome
    if text == THREW:
        return isinstance(outcome, Threw) or (isinstance(outcome, Trapped) and outcome.kind == "uncaught exception")
    if text.startswith(_REASON):
        return isinstance(outcome, Trapped) and outcome.kind in (_kind(text), *UNNAMED_KINDS)
    if text in (EXHAUSTION, TRAPPED):
        return isinstance(outcome, Trapped) and (outcome.kind == _STACK) == (text == EXHAUSTION)
    parts = _parts(text)
    return (
        isinstance(outcome, Returned)
        and len(parts) == len(row.results)
        and all(
            any(_is_met(each, value) and _is_of_kind(each, value, row, objects) for each in map(str.strip, part.split("|")))
            for part, value in zip(parts, row.results, strict=True)
        )
    )


def _kind(text: str) -> TrapKind:
    """The kind of trap that ``trap: REASON`` expects."""
    reason = text.removeprefix(_REASON).strip()
    kind = trap_kind(reason)
    if kind is None:
        kinds = [each for each in TRAP_KINDS if each not in UNNAMED_KINDS]
        near = ", ".join(difflib.get_close_matches(reason, kinds, cutoff=0.4) or kinds[:3])
        raise CaseError(f"no kind of trap is called {visible(reason, 60) or repr('')}", hint=f"use, for example: {near}")
    return kind


def _parts(text: str) -> list[str]:
    return [] if text.strip() == NO_RESULTS else text.split(",")


def _may_be_in(hierarchy: str, text: str) -> bool:
    """Whether a reference may be in a hierarchy. Those of functions and of exceptions have only null and references of their kind;
    those of objects and of the host are converted into each other.
    """
    own = {each: f"(ref.{each})" for each in ("func", "exn")}
    return text == "null" or (text == own[hierarchy] if hierarchy in own else text not in own.values())


def _is_met(text: str, value: Value) -> bool:
    """Whether a value is the expected one; no value is one that its type cannot have."""
    try:
        return _matches(text, value)
    except CaseError:
        return False


def _is_of_kind(text: str, value: Value, row: RowRecord, objects: Sequence[ObjectType]) -> bool:
    """Whether an object is a struct or an array as expected, where that was recorded."""
    kind, number = values.reference(value)
    if text not in ("(ref.struct)", "(ref.array)") or kind != values.OBJECT or number >= len(row.objects.found):
        return True
    type_ = row.objects.found[number].type
    return type_ is None or objects[type_].array == (text == "(ref.array)")


@lru_cache(maxsize=4096)
def _matches(text: str, value: Value) -> bool:
    """Whether a value is the expected one; raises ``CaseError`` if the text cannot be expected of the value's type."""
    if value.type == "ref":
        return _is_reference(text, value)
    if value.type == "v128" and (lanes := _LANES.match(text)):
        return _are_lanes(lanes["lane"], int(lanes["count"]), lanes["lanes"].split(), value.bits)
    if value.type in ("f32", "f64") and text in ("nan:canonical", "nan:arithmetic"):
        if text == "nan:arithmetic":
            return values.is_quiet_nan(value)
        return values.is_nan(value) and values.fraction(value) == 1 << (values.fraction_bits(value.type) - 1)
    return values.parse(text, value.type) == value


def _are_lanes(type_: str, count: int, lanes: list[str], bits: int) -> bool:
    width = WIDTHS[type_]
    if len(lanes) != count or width * count != WIDTHS["v128"]:
        raise CaseError(f"{visible(' '.join(lanes), 60)} are not the lanes of a vector", hint="use, for example, f32x4 1 2 3 4")
    parts = [Value(type_, bits >> (width * at) & ((1 << width) - 1)) for at in range(count)]
    return all(_matches(lane, part) for lane, part in zip(lanes, parts, strict=True))


def _is_reference(text: str, value: Value) -> bool:
    kind, _ = values.reference(value)
    match text:
        case "null":
            return kind == 0
        case "(ref.i31)":
            return kind == values.I31
        case "(ref.struct)" | "(ref.array)":
            return kind not in (0, values.I31)
    if _ANY_REFERENCE.match(text):
        return kind != 0
    expected = values.parse(text, "ref")
    return value in (expected, Value("ref", values.OPAQUE))  # an engine without GC instructions only shows that it is not null
