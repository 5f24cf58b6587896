"""Values as text in WAVE, the WebAssembly Value Encoding, as ``wasmtime run --invoke`` takes it.

``[{x: 1, y: "a"}]``, ``some(1)``, ``ok``, ``{read, write}``, ``'c'``, ``(1, -inf)``. Fields of type option may be missing, and a
value may stand for ``some(value)`` or ``ok(value)``, as in the grammar (bytecodealliance/wasm-tools, crates/wasm-wave/README.md).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn

from diffcheck.errors import CaseError
from diffcheck.text import visible
from diffcheck.wasm import values
from diffcheck.wasm.wit.types import CANONICAL_NAN, CASES, FLOATS, INTEGERS, is_nan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffcheck.wasm.wit.types import Value, WitType

_SPACE: Final = re.compile(r"(?:\s|//[^\n]*(?:\n|\Z))*")
_NUMBER: Final = re.compile(r"-?(?:inf|nan|(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![\w.-])")
_LABEL: Final = re.compile(r"%?[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*")
_CHARACTER: Final = re.compile(r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|([\\'\"tnr]))|([^\\\n])", re.DOTALL)
_TOKEN: Final = re.compile(r"%?[\w.+-]+|.", re.DOTALL)
_KEYWORDS: Final = ("true", "false", "inf", "nan", "some", "none", "ok", "err")
_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r"}
_SURROGATES: Final = range(0xD800, 0xE000)
_MAX_DEPTH: Final = 100


def arguments(text: str, types: Sequence[WitType]) -> tuple[Value, ...]:
    """The values of ``types`` in the text between a row's parentheses, separated by commas; raises ``CaseError`` with the place of
    a mistake.
    """
    reader = _Reader(text)
    found = reader.sequence(types, "")
    reader.space()
    if reader.at < len(text):
        reader.fail("the end" if not reader.text[reader.at :].startswith(",") else "no further argument")
    return found


class _Reader:
    """The position in a text; ``before`` is the last punctuation before it."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth, self.before = text, 0, 0, "("

    def mistake(self, what: str) -> NoReturn:
        raise CaseError(f"at character {self.at + 1} {what}", hint="docs/blame.md has the notation")

    def fail(self, expected: str) -> NoReturn:
        token = _TOKEN.match(self.text, self.at)
        self.mistake(f"{expected} is expected, not {visible(repr(token[0]), 40) if token else 'the end'}")

    def space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def accept(self, token: str) -> bool:
        """Skip a token if it is next."""
        self.space()
        found = self.text.startswith(token, self.at)
        if found:
            self.at, self.before = self.at + len(token), token
        return found

    def expect(self, token: str) -> None:
        if not self.accept(token):
            self.fail(f"`{token}`")

    def label(self, names: Sequence[str] = ()) -> str:
        """One of ``names``; empty, at the old position, if there is none."""
        self.space()
        match = _LABEL.match(self.text, self.at)
        if match is None or (names and match[0].removeprefix("%") not in names):
            return ""
        self.at = match.end()
        return match[0].removeprefix("%")

    def sequence(self, types: Sequence[WitType], end: str) -> tuple[Value, ...]:
        """As many values as ``types``, and the token that ends them."""
        found = []
        for at, each in enumerate(types):
            if at and not self.accept(","):
                self.fail(f"`,` and a value of type {each.kind}")
            found.append(self.value(each))
        if end:
            self.accept(",")
            self.expect(end)
        return tuple(found)

    def items(self, end: str, item: Callable[[], Value]) -> list[Value]:
        """Items up to the token ``end``; a comma may follow the last one."""
        found: list[Value] = []
        while not self.accept(end):
            if found:
                self.expect(",")
                if self.accept(end):
                    break
            found.append(item())
        return found

    def value(self, type_: WitType) -> Value:
        """A value of the type."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            self.fail("a value that is nested less deeply")
        self.space()
        if (token := self.text[self.at : self.at + 1] or ")") in ",)]}":
            self.mistake(f"a value of type {type_.kind} is missing between `{self.before}` and `{token}`")
        try:
            return self._value(type_)
        finally:
            self.depth -= 1

    def _value(self, type_: WitType) -> Value:  # noqa: PLR0911 - one kind a line
        kind = type_.kind
        if kind in INTEGERS or kind in FLOATS:
            return self._number(kind)
        if kind in CASES:
            return self._case(type_)
        match kind:
            case "bool":
                return (self.label(("true", "false")) or self.fail("true or false")) == "true"
            case "char":
                return self._char()
            case "string":
                return self._string()
            case "list":
                self.expect("[")
                return tuple(self.items("]", lambda: self.value(type_.members[0])))
            case "tuple":
                self.expect("(")
                return self.sequence(type_.members, ")")
            case "record":
                return self._record(type_)
            case "flags":
                self.expect("{")
                return self._flags(type_)
        raise CaseError(f"a value of type {kind} cannot be written in a row")

    def _number(self, kind: str) -> int:
        match = _NUMBER.match(self.text, self.at)
        if match is None:
            self.fail(f"a number of type {kind}")
        word = match[0]
        if kind in FLOATS:
            self.at = match.end()
            return CANONICAL_NAN[kind] if word.endswith("nan") else values.parse(word, kind).bits
        bits, signed = INTEGERS[kind]
        low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
        if not word.removeprefix("-").isdecimal() or len(word) > bits or not low <= int(word) < high:
            self.fail(f"a number of type {kind}")
        self.at = match.end()
        return int(word)

    def _character(self) -> str:
        match = _CHARACTER.match(self.text, self.at)
        if match is None or (match[1] and ((code := int(match[1], 16)) in _SURROGATES or code > 0x10FFFF)):  # noqa: PLR2004 - Unicode's last
            self.fail("a character")
        self.at = match.end()
        return chr(int(match[1], 16)) if match[1] else _ESCAPES.get(match[2], match[2]) if match[2] else match[3]

    def _char(self) -> str:
        self.expect("'")
        if self.text.startswith("'", self.at):
            self.fail("a character")
        found = self._character()
        if not self.text.startswith("'", self.at):
            self.fail("`'`")
        self.at += 1
        return found

    def _string(self) -> str:
        self.expect('"')
        found = []
        while not self.text.startswith('"', self.at):
            found.append(self._character())
        self.at += 1
        return "".join(found)

    def _record(self, type_: WitType) -> tuple[Value, ...]:
        fields = dict(zip(type_.names, type_.members, strict=True))
        found: dict[str, Value] = {name: (0, None) for name, each in fields.items() if each.kind == "option"}
        given: set[str] = set()
        self.expect("{")

        def field() -> None:
            begin = self.at
            name = self.label(tuple(fields)) or self.fail("a field's name")
            if name in given:
                self.at = begin
                self.mistake(f"field {name} is there twice")
            given.add(name)
            self.expect(":")
            found[name] = self.value(fields[name])

        if not (self.accept(":") and self.accept("}")):
            self.items("}", field)
        if missing := [name for name in fields if name not in found]:
            self.mistake(f"the field {missing[0]} is missing")
        return tuple(found[name] for name in fields)

    def _flags(self, type_: WitType) -> int:
        names = self.items("}", lambda: self.label(type_.names) or self.fail("a flag"))
        return sum(1 << type_.names.index(each) for each in dict.fromkeys(names))

    def _case(self, type_: WitType) -> tuple[int, Value]:
        begin = self.at
        name = self.label(type_.names)
        if name:
            at = type_.names.index(name)
            payload = type_.types[at] if type_.types else None
            if payload is None:
                return at, None
            if self.accept("("):
                return at, self.sequence((payload,), ")")[0]
        at = {"option": 1, "result": 0}.get(type_.kind, -1)
        implied = type_.types[at] if at >= 0 else None
        if name and (implied is None or name not in implied.names):
            self.fail(f"`(` and the value of {name}")
        self.at = begin
        if implied is None or implied.kind in ("option", "result"):
            self.fail(f"one of {', '.join(type_.names)}")
        return at, self.value(implied)


def text(type_: WitType, value: Value) -> str:  # noqa: PLR0911 - one kind a line
    """The value as text that ``arguments`` reads."""
    kind = type_.kind
    if kind in FLOATS:
        return "nan" if is_nan(kind, value) else _float(values.render(values.Value(kind, value)))
    if kind in CASES:
        at, payload = value
        of = type_.types[at] if type_.types else None
        name = _name(type_, at)
        return name if of is None else f"{name}({text(of, payload)})"
    match kind:
        case "bool":
            return str(value).lower()
        case "char":
            return f"'{_escaped(value, chr(39))}'"
        case "string":
            return f'"{_escaped(value, chr(34))}"'
        case "list":
            return f"[{', '.join(text(type_.members[0], each) for each in value)}]"
        case "tuple":
            return f"({', '.join(map(text, type_.members, value))})"
        case "record":
            fields = (f"{name}: {text(of, each)}" for name, of, each in zip(type_.names, type_.members, value, strict=True))
            return f"{{{', '.join(fields) or ':'}}}"
        case "flags":
            return f"{{{', '.join(name for at, name in enumerate(type_.names) if value >> at & 1)}}}"
    return str(value) if kind in INTEGERS else f"({kind})"


def _name(type_: WitType, at: int) -> str:
    """The name of a case; one that is a keyword of WAVE is marked."""
    name, own = type_.names[at], type_.kind in ("variant", "enum")
    return f"%{name}" if own and name in _KEYWORDS else name


def _float(rendered: str) -> str:
    return rendered.removesuffix(".0")


def _escaped(string: str, quote: str) -> str:
    def one(character: str) -> str:
        short = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\", quote: f"\\{quote}"}.get(character)
        return short or (character if character.isprintable() else f"\\u{{{ord(character):x}}}")

    return "".join(map(one, string))
