"""A flat-WAT assembler. Fixed text is assembled once; ``fragment`` links it with values for its symbols for each artifact.

The text consists of the specification's plain instructions (core 6.5), unfolded: tokens, ``;;`` comments, ``$label`` or a depth,
``$local`` or an index, without the function's closing ``end``. A ``$name`` in place of an index, an integer, an ``offset=`` or a
heap type is a symbol, whose value is an argument of ``fragment.link``. Differences from the specification's text:

- indices of memories, tables and segments have the order of the *binary* format: ``memory.init $data $mem``,
  ``table.init $elem $table``; ``call_indirect $table (type $t)`` is as usual;
- a block type is ``(result i32)`` or ``(type $t)``; several results, or parameters, need the latter;
- ``f64.const bits:0x7ff8000000000000`` is a bit pattern; ``raw $name`` inserts encoded instructions;
- before a lane, a memory is given by a symbol, not by a number (``v128.load8_lane $mem offset=1 3``).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import groupby
from typing import Final, NoReturn

from diffcheck.wasm import fragment as fr
from diffcheck.wasm.leb import u
from diffcheck.wasm.opcodes import BLOCKS, BY_NAME, Op
from diffcheck.wasm.types import HEAPS, NUMBERS, REF, REF_NULL

_TOKEN: Final = re.compile(r";;[^\n]*|[()]|[^\s();]+|;")
# A nullable reference is named after its heap type (6.4), except for the bottom types.
_BOTTOMS: Final = {"none": "nullref", "noextern": "nullexternref", "nofunc": "nullfuncref", "noexn": "nullexnref"}
_REFS: Final = {_BOTTOMS.get(heap, f"{heap}ref"): heap for heap in HEAPS}
_VALUES: Final = NUMBERS | {ref: HEAPS[heap] for ref, heap in _REFS.items()}
_CATCHES: Final = {"catch": 0, "catch_ref": 1, "catch_all": 2, "catch_all_ref": 3}
_LANES: Final = 32  # of both operands of a shuffle
_SHAPES: Final = {"i8x16": 1, "i16x8": 2, "i32x4": 4, "i64x2": 8}
_INDICES: Final = frozenset(
    {"funcidx", "globalidx", "tagidx", "dataidx", "elemidx", "u32"},
)


def assemble(
    text: str,
    *,
    params: tuple[str, ...] = (),
    locals: Mapping[str, str] | tuple[tuple[str, str], ...] = (),  # noqa: A002 - the specification's word
    padded: bool = False,
) -> fr.Fragment:
    """Assemble one function. `params` are names, `locals` names with types, in index order.

    The result is cached. ValueError, with the line, for a syntax error; the fragment is not validated otherwise. With
    `padded`, indices of types and fields take five bytes.
    """
    return _assemble(text, tuple(params), tuple(locals.items()) if isinstance(locals, Mapping) else tuple(locals), padded)


def _int(token: str) -> int:
    """Parse an integer token: decimal or hexadecimal, signed, with underscores (6.3.1)."""
    return int(token, 16 if "0x" in token else 10)


class _Assembler:
    """The state of one pass over the tokens: position and output."""

    def __init__(self, params: tuple[str, ...], local_types: tuple[tuple[str, str], ...], *, padded: bool = False) -> None:
        self.type_index, self.heap_index = (fr.padded, fr.padded) if padded else (fr.index, fr.s33)
        names = (*params, *(name for name, _ in local_types))
        self.locals = {name: index for index, name in enumerate(names)}
        if len(self.locals) != len(names):
            raise ValueError(f"a local is named twice in {', '.join(names)}")
        self.code = bytearray()
        self.parts: list[bytes] = []
        self.slots: list[tuple[int, fr.Encoder, str]] = []
        self.memargs: list[tuple[int, int, str | int, str | int]] = []
        self.open_blocks: list[tuple[str, str]] = []  # instruction, label or ""
        self._declare([kind for _, kind in local_types])

    def _declare(self, types: list[str]) -> None:
        groups = [(kind, len(list(run))) for kind, run in groupby(types)]
        self.code += u(len(groups))
        for kind, count in groups:
            self.code += u(count)
            self.read(kind)
            self.value_type()

    # Tokens.

    def read(self, text: str) -> None:
        """Start reading another text."""
        matches = [match for match in _TOKEN.finditer(text) if not match[0].startswith(";;")]
        self.text = text
        self.tokens = [match[0] for match in matches]
        self.offsets = [match.start() for match in matches]
        self.at = 0

    def fail(self, what: str) -> NoReturn:
        """Raise ValueError with the line of the last token."""
        offset = self.offsets[self.at - 1] if self.at else 0
        raise ValueError(f"line {self.text.count(chr(10), 0, offset) + 1}: {what}")

    def peek(self, ahead: int = 0) -> str:
        """Return a token ahead without consuming it; "" after the last."""
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        """Consume the next token, which must be ``expected`` if that is given."""
        token = self.peek()
        self.at = min(self.at + 1, len(self.tokens))
        if not token or (expected and token != expected):
            self.fail(f"expected {expected or 'more'}, found {token or 'the end of the text'}")
        return token

    def take_group(self, keyword: str) -> bool:
        """Consume ``(keyword`` if it comes next; returns whether it did."""
        matches = self.peek() == "(" and self.peek(1) == keyword
        self.at += 2 * matches
        return matches

    def is_index(self, ahead: int = 0) -> bool:
        """Whether the token ahead is a symbol or a number."""
        token = self.peek(ahead)
        return token.startswith("$") or token[:1].isdecimal()

    def take_index(self, default: str = "") -> str:
        """Consume a symbol or number. If there is none, return ``default`` unless that is empty."""
        return self.take() if self.is_index() or not default else default

    def number(self, token: str) -> int:
        """Parse an integer token."""
        try:
            return _int(token)
        except ValueError:
            self.fail(f"{token} is neither an integer nor a symbol")

    def symbol_or_number(self, token: str) -> str | int:
        """Return a symbol's name, or the integer that the token is."""
        return token[1:] if token.startswith("$") else self.number(token)

    # Output.

    def slot(self) -> int:
        """Add a part that is filled when linking, and return its index."""
        self.parts += (bytes(self.code), b"")
        self.code.clear()
        return len(self.parts) - 1

    def value(self, token: str, encode: fr.Encoder) -> None:
        """Write an integer, or a slot for a symbol."""
        if token.startswith("$"):
            self.slots.append((self.slot(), encode, token[1:]))
            return
        number = self.number(token)
        try:
            self.code += encode(number)
        except ValueError as error:
            self.fail(str(error))

    def label(self, token: str) -> None:
        """Write the depth of a label (3.4: the innermost block is 0)."""
        if not token.startswith("$"):
            self.code += fr.index(self.number(token))
            return
        for depth, (_, name) in enumerate(reversed(self.open_blocks)):
            if name == token:
                self.code += u(depth)
                return
        self.fail(f"no enclosing block is labelled {token}")

    def local(self, token: str) -> None:
        """Write a local's index."""
        if token.startswith("$") and token[1:] not in self.locals:
            self.fail(f"no parameter or local is named {token}")
        self.code += u(self.locals[token[1:]]) if token.startswith("$") else fr.index(self.number(token))

    # Types.

    def heap_type(self, token: str) -> None:
        """Write a heap type: the byte of an abstract one, or a type index."""
        if token in HEAPS:
            self.code.append(HEAPS[token])
        else:
            self.value(token, self.heap_index)

    def ref_type(self) -> tuple[bool, str]:
        """Consume a reference type: (whether it is nullable, the token of its heap type)."""
        if not self.take_group("ref"):
            token = self.take()
            if token not in _REFS:
                self.fail(f"{token} is not a reference type")
            return True, _REFS[token]
        nullable = self.peek() == "null"
        self.at += nullable
        heap = self.take()
        self.take(")")
        return nullable, heap

    def value_type(self) -> None:
        """Read and write a value type, in its short form if it has one."""
        if self.peek() in _VALUES:
            self.code.append(_VALUES[self.take()])
            return
        nullable, heap = self.ref_type()
        if not (nullable and heap in HEAPS):
            self.code.append(REF_NULL if nullable else REF)
        self.heap_type(heap)

    def block_type(self) -> None:
        """Read and write a block type (5.4)."""
        if self.take_group("type"):
            self.value(self.take(), fr.s33)
        elif self.take_group("result"):
            self.value_type()
        else:
            self.code.append(0x40)
            return
        if self.peek() != ")":
            self.fail("a block type with several values must be given as (type $t)")
        self.take(")")

    # Instructions.

    def expression(self) -> None:
        """Read and write all instructions of the text, then the ``end``."""
        while self.peek():
            name = self.take()
            if name == "raw":
                self.slots.append((self.slot(), fr.raw, self.take().removeprefix("$")))
                continue
            op = BY_NAME.get(name)
            if op is None or op.legacy:
                self.fail(f"{name} is {'a legacy' if op else 'not an'} instruction")
            if name in _SPECIAL:
                _SPECIAL[name](self, op)
            else:
                self.code += op.encoding
                for kind in op.immediates:
                    self.immediate(kind, op)
        if self.open_blocks:
            self.fail(f"{' '.join(self.open_blocks[-1]).strip()} has no end")
        self.code.append(0x0B)

    def immediate(self, kind: str, op: Op) -> None:
        """Read and write one immediate whose place is the same in text and binary format."""
        if kind in {"typeidx", "fieldidx"}:
            self.value(self.take_index(), self.type_index)
        elif kind in _INDICES:
            self.value(self.take_index(), fr.index)
        elif kind in {"memidx", "tableidx"}:
            self.value(self.take_index(default="0"), fr.index)
        elif kind == "localidx":
            self.local(self.take())
        elif kind == "labelidx":
            self.label(self.take())
        elif kind == "heaptype":
            self.heap_type(self.take())
        elif kind == "memarg":
            self.memarg(op)
        elif kind in {"i32", "i64"}:
            self.value(self.take(), fr.i32 if kind == "i32" else fr.i64)
        elif kind in {"f32", "f64"}:
            self.float(self.take(), double=kind == "f64")
        elif kind in {"lane", "shuffle"}:
            self.lanes(1 if kind == "lane" else 16)
        elif kind == "atomic_order":
            self.code.append(0)
        else:
            self.fail(f"{op.name} is not supported in this form")

    def lanes(self, count: int) -> None:
        """Read and write lane indices."""
        for _ in range(count):
            lane = self.number(self.take())
            if not 0 <= lane < _LANES:
                self.fail(f"{lane} is not a lane")
            self.code.append(lane)

    def memarg(self, op: Op) -> None:
        """Read and write ``$memory offset=n align=n``, all optional."""
        memory = self.take_index(default="0") if "lane" not in op.immediates or self.peek()[:1] == "$" else "0"
        offset, align = "0", str(op.width)
        if self.peek().startswith("offset="):
            offset = self.take().removeprefix("offset=")
        if self.peek().startswith("align="):
            align = self.take().removeprefix("align=")
        width = self.number(align)
        if width.bit_count() != 1:
            self.fail(f"align={align} is not a power of two")
        exponent = width.bit_length() - 1
        memory_index, start = self.symbol_or_number(memory), self.symbol_or_number(offset)
        if isinstance(memory_index, str) or isinstance(start, str):
            self.memargs.append((self.slot(), exponent, memory_index, start))
            return
        try:
            self.code += fr.memarg(exponent, memory_index, start)
        except ValueError as error:
            self.fail(str(error))

    def float(self, token: str, *, double: bool) -> None:
        """Write a float: a symbol or ``bits:`` pattern, or a decimal or hexadecimal number."""
        encode = fr.f64 if double else fr.f32
        if token.startswith(("$", "bits:")):
            self.value(token.removeprefix("bits:"), encode)
            return
        try:
            number = float.fromhex(token) if "0x" in token else float(token)
            self.code += struct.pack("<d" if double else "<f", number)
        except (ValueError, OverflowError):
            self.fail(f"{token} is not a float of this size")

    def block(self, op: Op) -> None:
        """``block``, ``loop``, ``if``, ``try_table``; the clauses of the last refer to labels outside of it (3.4)."""
        label = self.take() if self.peek().startswith("$") else ""
        self.code += op.encoding
        self.block_type()
        if op.name == "try_table":
            self.catches()
        self.open_blocks.append((op.name, label))

    def catches(self) -> None:
        """Read and write the clauses of a ``try_table``."""
        after, count = self.at, 0
        while self.tokens[after : after + 1] == ["("]:
            after = self.tokens.index(")", after) + 1 if ")" in self.tokens[after:] else len(self.tokens)
            count += 1
        self.code += u(count)
        for _ in range(count):
            self.take("(")
            kind = self.take()
            if kind not in _CATCHES:
                self.fail(f"{kind} is not a clause of try_table")
            self.code.append(_CATCHES[kind])
            if "all" not in kind:
                self.value(self.take(), fr.index)
            self.label(self.take())
            self.take(")")

    def middle_or_end(self, op: Op) -> None:
        """``else`` and ``end``, which may repeat the label."""
        name, label = self.open_blocks[-1] if self.open_blocks else ("no block", "")
        if name not in ({"if"} if op.name == "else" else {*BLOCKS, "else"}):
            self.fail(f"{op.name} closes {name}")
        if self.peek().startswith("$") and self.take() != label:
            self.fail(f"{op.name} has another label than {label or name}")
        self.open_blocks.pop()
        if op.name == "else":
            self.open_blocks.append(("else", label))
        self.code += op.encoding

    def br_table(self, op: Op) -> None:
        """``br_table`` with all its labels; the last one is the default."""
        count = 0
        while self.is_index(count):
            count += 1
        if not count:
            self.fail("br_table has no label")
        self.code += op.encoding + u(count - 1)
        for _ in range(count):
            self.label(self.take())

    def call_indirect(self, op: Op) -> None:
        """``call_indirect $table (type $t)``; in the binary format the type comes first."""
        table = self.take_index(default="0")
        self.code += op.encoding
        if not self.take_group("type"):
            self.fail(f"{op.name} has no (type $t)")
        self.value(self.take(), fr.index)
        self.take(")")
        self.value(table, fr.index)

    def copy(self, op: Op) -> None:
        """``memory.copy``, ``table.copy``: with two indices or none. A single index would be a mistake."""
        self.code += op.encoding
        explicit = self.is_index()
        for _ in range(2):
            self.value(self.take() if explicit else "0", fr.index)

    def select(self, op: Op) -> None:
        """``select``, with ``(result t)`` for references."""
        if not self.take_group("result"):
            self.code += op.encoding
            return
        self.code += BY_NAME["select_t"].encoding + u(1)
        self.value_type()
        self.take(")")

    def cast(self, op: Op) -> None:
        """``ref.test`` and ``ref.cast``, whose opcodes depend on nullability."""
        nullable, heap = self.ref_type()
        self.code += BY_NAME[op.name + "_null" * nullable].encoding
        self.heap_type(heap)

    def cast_branch(self, op: Op) -> None:
        """``br_on_cast $label from to``."""
        label = self.take()
        (source_null, source), (target_null, target) = self.ref_type(), self.ref_type()
        self.code += op.encoding
        self.code.append(source_null | target_null << 1)
        self.label(label)
        self.heap_type(source)
        self.heap_type(target)

    def vector(self, op: Op) -> None:
        """``v128.const`` with an integer shape."""
        shape = self.take()
        if shape not in _SHAPES:
            self.fail(f"v128.const {shape} is not supported; use {', '.join(_SHAPES)}")
        width = _SHAPES[shape]
        self.code += op.encoding
        for _ in range(16 // width):
            number = self.number(self.take())
            try:
                self.code += fr.unsigned(number, width * 8).to_bytes(width, "little")
            except ValueError as error:
                self.fail(str(error))


_SPECIAL: Final[Mapping[str, Callable[[_Assembler, Op], None]]] = {
    **dict.fromkeys(BLOCKS, _Assembler.block),
    **dict.fromkeys(("else", "end"), _Assembler.middle_or_end),
    **dict.fromkeys(("call_indirect", "return_call_indirect"), _Assembler.call_indirect),
    **dict.fromkeys(("memory.copy", "table.copy"), _Assembler.copy),
    **dict.fromkeys(("ref.test", "ref.cast"), _Assembler.cast),
    **dict.fromkeys(("br_on_cast", "br_on_cast_fail"), _Assembler.cast_branch),
    "br_table": _Assembler.br_table,
    "select": _Assembler.select,
    "v128.const": _Assembler.vector,
}


@lru_cache(maxsize=1024)
def _assemble(
    text: str,
    params: tuple[str, ...],
    local_types: tuple[tuple[str, str], ...],
    padded: bool,  # noqa: FBT001 - hashable
) -> fr.Fragment:
    """`assemble` on hashable arguments."""
    assembler = _Assembler(params, local_types, padded=padded)
    assembler.read(text)
    assembler.expression()
    return fr.Fragment(
        parts=(*assembler.parts, bytes(assembler.code)),
        slots=tuple(assembler.slots),
        memargs=tuple(assembler.memargs),
    )
