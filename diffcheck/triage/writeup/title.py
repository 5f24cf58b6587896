"""The title of a bug: the wrong instruction, its operands and what it does, as an engine's maintainer would write it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.errors import CaseError
from diffcheck.text import visible
from diffcheck.triage.localise.location import INSTANTIATED, NOT_STARTED
from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.values import is_nan, is_quiet_nan, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.triage.localise.location import Difference, Localisation
    from diffcheck.triage.reduce.symptom import Symptom

_HEX: Final = re.compile(r" \(0x[0-9a-f]+\)")
_LEFT_EMPTY: Final = re.compile(r"left ((?:data|element) segment \d+) empty\Z")
_NOT_DROPPED: Final = re.compile(r"instantiation should have dropped (data|element) segment \d+")
_SIZE: Final = re.compile(r"has the size (\S+)")
_STORED: Final = re.compile(r"has (\S+)(?: there)?(?: afterwards)?\Z")
_NEXT: Final = re.compile(r"(went on to|entered) `([^`]+)`")
_FAILURES: Final = {
    "trapped: ": "traps: ", "threw ": "throws ", "refused": "is refused", "crashed": "crashes the engine", "timed out": "does not return",
    "out of memory": "runs out of memory",
}  # fmt: skip
EFFECTS: Final[dict[Difference, str]] = {
    "state": "writes wrong contents", "size": "leaves a wrong size", "control": "continues at the wrong place",
    "argument": "passes a wrong argument", "outcome": "ends differently",
}  # fmt: skip
"""What a wrong instruction does, without the values; a wrong result is described by its values."""
_SHORT: Final = 60
_MOST_OPERANDS: Final = 3


def instruction_title(found: Localisation) -> str:
    """``f32.floor of a signalling NaN returns it unquieted``; empty if neither an instruction nor a fault of instantiation was found."""
    if found.depth != "instruction":
        if found.why.startswith(INSTANTIATED):
            return "instantiation leaves a wrong state"
        if found.why.startswith(NOT_STARTED):
            return NOT_STARTED.partition(" (")[0]
        segment = _NOT_DROPPED.match(found.why)
        return f"instantiation does not drop {'a' if segment[1] == 'data' else 'an'} {segment[1]} segment" if segment else ""
    name = found.instruction.partition(" ")[0]
    operands = [_plain(each) for each in found.operands]
    words = [_operand(text, type_) for text, type_ in zip(operands, _types(name, len(operands)), strict=True)]
    short = 0 < len(words) <= _MOST_OPERANDS and all(len(each) <= _SHORT for each in words)
    return visible(f"{name}{' of ' + _listed(words) if short else ''} {_effect(found, operands, words)}", 300)


def symptom_title(symptom: Symptom) -> str:
    """The wrong value, for a bug that was not localised: ``f=3: result 0 is 4, not 3``."""
    row = f"{symptom.row}: " if symptom.row else ""
    if symptom.subject.startswith("refused") and not symptom.oracle.startswith("refused"):
        return visible(f"a valid module is {symptom.subject}", 300)
    if symptom.oracle.startswith("refused"):
        return visible(f"an invalid module is accepted ({symptom.oracle})", 300)
    return visible(f"{row}{symptom.item} is {symptom.subject[:_SHORT]}, not {symptom.oracle[:_SHORT]}", 300)


def _plain(text: str) -> str:
    return _HEX.sub("", text.removeprefix("gave "))


def _types(name: str, count: int) -> Sequence[str]:
    op = BY_NAME.get(name)
    return op.params if op is not None and op.params is not None and len(op.params) == count else [""] * count


def _operand(text: str, type_: str) -> str:
    """A NaN by its kind; any other operand by its value."""
    if type_ not in ("f32", "f64") or "nan" not in text:
        return text
    try:
        value = parse(text, type_)
    except CaseError:
        return text
    if not is_nan(value):
        return text
    return "a quiet NaN" if is_quiet_nan(value) else "a signalling NaN"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _effect(found: Localisation, operands: Sequence[str], words: Sequence[str]) -> str:
    """What the subject's instruction does, as a verb phrase."""
    oracle, subject = _plain(found.oracle), _plain(found.subject)
    for begin, verb in _FAILURES.items():
        if subject.startswith(begin):
            return verb + subject.removeprefix(begin) if verb.endswith(" ") else verb
    if oracle.startswith("trapped: "):
        return f"does not trap: {oracle.removeprefix('trapped: ')}"
    if found.difference == "allowed":
        return "returns a result that the specification does not allow"
    if found.difference == "result":
        if "a signalling NaN" in words and subject in operands and "nan" in oracle:
            return "returns it unquieted"
        return _changed("returns {}", "returns a wrong result", oracle, subject)
    return _state_effect(found, oracle, subject)


def _state_effect(found: Localisation, oracle: str, subject: str) -> str:
    empty = _LEFT_EMPTY.match(oracle)
    if empty:
        return f"does not empty {empty[1]}"
    for pattern, words, otherwise in (
        (_SIZE, "leaves size {}", "leaves a wrong size"),
        (_STORED, "writes {}", "writes wrong contents"),
    ):
        values = pattern.match(oracle), pattern.match(subject)
        if values[0] and values[1]:
            return _changed(words, otherwise, values[0][1], values[1][1])
    places = _NEXT.match(oracle), _NEXT.match(subject)
    if places[0] and places[1] and places[0].groups() != places[1].groups():
        verbs = {"went on to": "continues at", "entered": "enters"}
        return f"{verbs[places[1][1]]} {places[1][2]}, not {places[0][2]}"
    return EFFECTS.get(found.difference, EFFECTS["outcome"])


def _changed(words: str, otherwise: str, oracle: str, subject: str) -> str:
    if max(len(oracle), len(subject)) > _SHORT or "digest" in oracle + subject:
        return otherwise
    return f"{words.format(subject)}, not {oracle}"
