"""The test case as a ``.wast`` script of the specification's test suite: it fails on the subject and passes on the oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.capsule.driver import START
from diffcheck.cases.rows import choose
from diffcheck.text import visible
from diffcheck.wasm import module as wasm
from diffcheck.wasm.types import RefType
from diffcheck.wasm.values import Value, fraction, is_nan, render
from diffcheck.witness.formats import COUNTER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diffcheck.capsule.driver import Call
    from diffcheck.triage.writeup.reproducer import Reproduction
    from diffcheck.wasm.types import ValType

FILE = "reproduce.wast"


def by_calls(made: Reproduction) -> bool:
    """Whether the script can call the reduced module's own exports: its results are numbers that the counters hold."""
    if not made.source or made.symptom is None or made.symptom.kind not in ("result", "outcome"):
        return False
    module = wasm.read(made.source)
    exported = {each.index for each in module.exports if each.kind == "func"}
    calls = [each for each in choose(module, made.rows).calls if each.name != START]
    types = [type_ for each in calls if _asserted(each, made) for type_ in each.type.results]
    callable_ = bool(calls) and all(each.function in exported for each in calls)
    return callable_ and not any(isinstance(each, RefType) for each in types)


def wast(made: Reproduction, title: str, text: str) -> str:
    """The script: ``text`` is the module (the source if ``by_calls``, else the standalone one), the assertions have the oracle's
    values.
    """
    assertions = _of_calls(made) if by_calls(made) else _of_counters(made)
    if made.oracle.startswith("refused"):
        return "\n".join((f";; {title}", f'(assert_invalid\n{text.rstrip()}\n  "{_reason(made)}")', ""))
    return "\n".join((f";; {title}", text.rstrip(), *assertions, ""))


def _asserted(call: Call, made: Reproduction) -> bool:
    return made.symptom is None or not made.symptom.row or call.name == made.symptom.row


def _of_calls(made: Reproduction) -> Iterator[str]:
    counters = iter([made.counters.get(each.number, 0) for each in made.shown])
    module = wasm.read(made.source)
    names = {(each.kind, each.index): each.name for each in reversed(module.exports)}
    for call in choose(module, made.rows).calls:
        if call.name == START:
            continue
        name = _string(names["global" if call.reads else "func", call.function])
        invoke = f"({'get' if call.reads else 'invoke'} {name}{''.join(' ' + _argument(*each) for each in _arguments(call))})"
        if not _asserted(call, made):
            yield invoke
        elif made.oracle == "returned":
            results = [_result(type_, counters, made.masks) for type_ in reversed(call.type.results)]
            yield f"(assert_return {' '.join((invoke, *reversed(results)))})"
        else:
            yield _failing(made, invoke)


def _of_counters(made: Reproduction) -> Iterator[str]:
    invoke = f"(invoke {_string(made.entry)})"
    if made.oracle != "returned":
        yield _failing(made, invoke)
        return
    yield invoke
    module = wasm.read(made.wasm)
    types = {each.name: module.all_globals[each.index].value for each in module.exports if each.kind == "global"}
    for number, bits in sorted(made.counters.items()):
        type_ = types.get(f"{COUNTER}{number}")
        if type_ in ("i32", "i64") and number in made.differing:
            yield f"(assert_return (get {_string(f'{COUNTER}{number}')}) {_constant(Value(type_, bits))})"


def _failing(made: Reproduction, invoke: str) -> str:
    if made.oracle.startswith("threw"):
        return f"(assert_exception {invoke})"
    if made.oracle == "trapped: call stack exhausted":
        return f'(assert_exhaustion {invoke} "call stack exhausted")'
    return f'(assert_trap {invoke} "{_reason(made)}")'


def _reason(made: Reproduction) -> str:
    return visible(made.oracle.partition(": ")[2], 200).replace("\\", "/").replace('"', "'")


def _arguments(call: Call) -> Iterator[tuple[Value, ValType]]:
    yield from zip(call.args, call.type.params, strict=True)


def _argument(value: Value, type_: ValType) -> str:
    if not isinstance(type_, RefType):
        return _constant(value)
    return (
        f"({'ref.extern' if type_.heap == 'extern' else 'ref.host'} {value.bits >> 32})"
        if value.bits
        else f"(ref.null {type_.heap})"
    )


def _result(type_: ValType, counters: Iterator[int], masks: Mapping[str, int]) -> str:
    """The result that the counters of the standalone module hold, the low half of a vector first."""
    bits = next(counters)
    if type_ == "v128":
        return _constant(Value("v128", bits | next(counters) << 64))
    assert isinstance(type_, str), "references have no constant"  # noqa: S101
    mask = masks.get(type_)
    if mask is not None:
        return f"({type_}.const nan:{'canonical' if mask & 1 else 'arithmetic'})"
    return _constant(Value(type_, bits))


def _constant(value: Value) -> str:
    if value.type == "v128":
        return f"(v128.const i64x2 {value.bits & (1 << 64) - 1:#x} {value.bits >> 64:#x})"
    if value.type in ("f32", "f64") and is_nan(value):
        sign = "-" if value.bits >> (31 if value.type == "f32" else 63) else ""
        return f"({value.type}.const {sign}nan:{fraction(value):#x})"
    return f"({value.type}.const {render(value)})"


def _string(name: str) -> str:
    """A name as a string of the text format."""
    plain = frozenset(range(0x20, 0x7F)) - {0x22, 0x5C}
    return '"' + "".join(chr(each) if each in plain else f"\\{each:02x}" for each in name.encode("utf-8", "replace")) + '"'
