"""Witness's harness protocol: the environment of an engine, and reading its snapshot, which may be hostile.

An engine is started with ``WITNESS_MODULE`` and ``WITNESS_OUTPUT`` and writes ``{"schema": "witness-harness-v1", "counters":
{"<u32>": <integer>}}``; version 2 also has ``rows``. Integers are unsigned for witness and signed for kilnd, so both are
accepted, and negative ones are read as 64 bits. The stream of a capsule is carried by the counters from 4000000000.
"""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import msgspec

from diffcheck import process
from diffcheck.backend.command import ANSWER_BYTES
from diffcheck.capsule.layout import FIRST_SLOT, SLOTS
from diffcheck.observation import HALF_ANSWER, Execution, HarnessFailed, Returned
from diffcheck.text import plural, visible

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from diffcheck.backend.contract import Program

SCHEMAS: Final = ("witness-harness-v1", "witness-harness-v2")

_U32: Final = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")
_MAX_DIGITS: Final = 20
_WORDS: Final = struct.Struct(f"<{SLOTS}Q")
_SLOT_NUMBERS: Final = {str(number): number for number in range(FIRST_SLOT, FIRST_SLOT + SLOTS)}


_LEAST_EXPORT_BYTES: Final = len(b"\x13__witness_counter_0\x03\x00")
_COUNTERS: Final = 1000
"""Counters that are read from any program; else the limit is the largest possible number of its exports."""
_EXAMINED_BYTES: Final = 2 << 20
"""The largest damaged answer that is examined in detail: Python's own reader takes 2 s and 40 MB for each MiB."""


class _Outline(msgspec.Struct, frozen=True):
    """An answer with undecoded members."""

    schema: Literal["witness-harness-v1", "witness-harness-v2"]
    counters: msgspec.Raw
    rows: msgspec.Raw = msgspec.Raw(b"")


_decode_outline = msgspec.json.Decoder(_Outline).decode
_decode_counters = msgspec.json.Decoder(dict[str, int]).decode


class AnswerError(Exception):
    """An invalid answer: ``what`` is the class of the failure, ``detail`` describes it."""

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(what, detail)
        self.outcome = HarnessFailed(what, visible(detail))


def environment(module: Path, answer: Path) -> dict[str, str]:
    """The variables that make an engine of the harness protocol run ``module`` and answer in ``answer``."""
    return {"WITNESS_MODULE": str(module), "WITNESS_OUTPUT": str(answer)}


def has_answer(answer: Path) -> bool:
    """Whether anything exists at the path of the answer, file or not."""
    return answer.is_symlink() or answer.exists()


def read(program: Program, answer: Path) -> Execution:
    """The execution of a successful run: the slots of a capsule as ``carried``, else the snapshot as ``counters``."""
    try:
        counters = parse(_load(answer), max(_COUNTERS, len(program.wasm) // _LEAST_EXPORT_BYTES))
        if program.kind == "direct":
            return Execution(Returned(), counters=counters)
        return Execution(Returned(), carried=_slots(counters))
    except AnswerError as error:
        return Execution(error.outcome)


def _load(answer: Path) -> bytes:
    if not has_answer(answer):
        raise AnswerError("no answer", "the engine succeeded but wrote no snapshot")
    data = process.read_output_file(answer, ANSWER_BYTES)
    if isinstance(data, process.Unreadable):
        raise AnswerError("answer cannot be read", data.reason)
    return data


def parse(data: bytes, most: int = _COUNTERS) -> dict[int, int]:
    """The counters of a snapshot by id, as unsigned 64-bit numbers; raises ``AnswerError`` for an invalid snapshot.

    ``most`` limits their number, and so time and memory. ``rows`` are not read.
    """
    try:
        outline = _decode_outline(data)
    except (ValueError, RecursionError) as error:
        if len(data) > _EXAMINED_BYTES:
            raise AnswerError(*_damage(data, error)) from error
        return _checked(data)
    count = bytes(outline.counters).count(b":")
    if count > most:
        raise AnswerError("more counters than the program has", f"{count:,}, at most {most:,} were expected")
    plain = _plain(data, outline)
    if plain is not None:
        return plain
    if len(data) > _EXAMINED_BYTES:
        raise AnswerError("answer is not a snapshot", f"{plural(len(data), 'byte')}, with invalid members")
    return _checked(data)


def _plain(data: bytes, outline: _Outline) -> dict[int, int] | None:
    """The counters of a snapshot without duplicate names; None for a snapshot that needs the slow reader, such as an invalid one.

    An id has one spelling without colons, so equal numbers of colons and names prove that there are no duplicates.
    """
    own, rows = bytes(outline.counters), bytes(outline.rows)
    try:
        counters = _decode_counters(own)
    except (ValueError, RecursionError):
        return None
    members = 3 if rows else 2
    if own.count(b":") != len(counters) or data.count(b":") != own.count(b":") + rows.count(b":") + members:
        return None
    values = counters.values()
    if not -(1 << 63) <= min(values, default=0) <= max(values, default=0) < 1 << 64:
        return None
    try:
        numbers = _identifiers(counters)
    except AnswerError:
        return None
    return dict(zip(numbers, [value % (1 << 64) for value in values], strict=True))


def _damage(data: bytes, error: Exception) -> tuple[str, str]:
    """The failure of a large answer, by the message of its reader."""
    if isinstance(error, RecursionError):
        return "answer nested too deep", plural(len(data), "byte")
    if isinstance(error, msgspec.ValidationError):
        return "answer has a different schema", str(error)
    cut = data.lstrip().startswith(b"{") and not data.rstrip().endswith(b"}")
    return HALF_ANSWER if cut else "answer is not JSON", str(error)


def _checked(data: bytes) -> dict[int, int]:
    document = _document(data)
    if not isinstance(document, dict):
        raise AnswerError("answer has a different schema", f"not an object but {_kind(document)}")
    schema = document.get("schema")
    if schema not in SCHEMAS:
        raise AnswerError("answer has a different schema", "it has none" if schema is None else repr(schema))
    counters = document.get("counters")
    if not isinstance(counters, dict):
        raise AnswerError("answer without counters", f"counters is {_kind(counters)}, not an object")
    return {_identifier(name): _unsigned(name, value) for name, value in counters.items()}


def _document(data: bytes) -> object:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise AnswerError("answer is not UTF-8", f"byte {data[error.start]:#04x} at offset {error.start:,}") from error
    if not text.strip():
        raise AnswerError("empty answer", plural(len(data), "byte"))
    try:
        document: object = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_integer, parse_float=_no_integer, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        cut = text.lstrip().startswith("{") and (error.pos >= len(text.rstrip()) or not text.rstrip().endswith("}"))
        raise AnswerError(HALF_ANSWER if cut else "answer is not JSON", str(error)) from error
    except RecursionError as error:
        raise AnswerError("answer nested too deep", plural(len(data), "byte")) from error
    return document


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise AnswerError("duplicate name in the answer", repr(twice))
    return found


def _no_integer(word: str) -> NoReturn:
    raise AnswerError("a number is not an integer", word)


def _integer(word: str) -> int:
    if len(word) > _MAX_DIGITS and len(word.lstrip("-")) > _MAX_DIGITS:
        raise AnswerError("a number is out of range", f"{plural(len(word), 'digit')}: {word[:24]}...")
    return int(word)


def _identifiers(names: Iterable[str]) -> list[int]:
    """The counters' numbers; those of a capsule's slots are known."""
    try:
        return [*map(_SLOT_NUMBERS.__getitem__, names)]
    except KeyError:
        return [*map(_identifier, names)]


def _identifier(name: str) -> int:
    if not _U32.match(name) or (number := int(name)) >= 1 << 32:
        raise AnswerError("a counter's name is not a u32", repr(name))
    return number


def _unsigned(name: str, value: Any) -> int:  # noqa: ANN401 - any JSON value
    if type(value) is not int:
        raise AnswerError("a counter is not an integer", f"counter {name} is {_kind(value)}")
    if not -(1 << 63) <= value < 1 << 64:
        raise AnswerError("a number is out of range", f"counter {name} is {value}")
    return value % (1 << 64)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", int: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _slots(counters: dict[int, int]) -> bytes:
    wanted = _SLOT_NUMBERS.values()
    if counters.keys() == set(wanted):
        return _WORDS.pack(*map(counters.__getitem__, wanted))
    missing = [slot for slot in wanted if slot not in counters]
    if missing:
        raise AnswerError("slots are missing", f"{len(missing)} of {SLOTS}, the first is {missing[0]}")
    extra = counters.keys() - set(wanted)
    raise AnswerError("counters that the capsule does not have", f"{len(extra)}, the first is {min(extra)}")
