"""Code that encodes a result of a component's function, so that a core function can return it, and its decoder.

A bool, a number and a char are returned as they are, a NaN as the canonical one. Every other result is encoded in a buffer memory:
scalars with the bytes that they have in memory, flags and cases as u32, strings and lists after their length as u32. Then
the number of bytes, their FNV-1a digest, and the first of them as 64-bit words are returned.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from diffcheck.cases.wit_rows.lowering import scalar_bits
from diffcheck.wasm.wit import abi
from diffcheck.wasm.wit.types import CANONICAL_NAN, CASES, FLOATS, INTEGERS, RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diffcheck.wasm.wit.types import Value, WitType

WORDS: Final = 32
"""The words of a result whose length is not known."""
LOCALS: Final = (("o", "i32"), ("t", "i32"), ("t64", "i64"))
_SCALARS: Final = ("bool", "char", *INTEGERS, *FLOATS)
_STORES: Final = {1: "i32.store8", 2: "i32.store16", 4: "i32.store", 8: "i64.store"}
_LOADS: Final = {1: "i32.load8_u", 2: "i32.load16_u", 4: "i32.load", 8: "i64.load"}

ROOM: Final = """
  ;; grow the buffer to 64 KiB more than the bytes after the offset
  local.get $n i32.const 0x10000000 i32.gt_u if unreachable end
  local.get $o local.get $n i32.add i32.const 131071 i32.add i32.const 16 i32.shr_u memory.size $buf i32.sub local.tee $n
  i32.const 0 i32.gt_s
  if local.get $n memory.grow $buf i32.const -1 i32.eq if unreachable end end
"""
DIGEST: Final = """
  i64.const 0xcbf29ce484222325 local.set $d
  block $done loop $next
    local.get $at local.get $n i32.ge_u br_if $done
    local.get $d local.get $at i64.load8_u $buf i64.xor i64.const 0x100000001b3 i64.mul local.set $d
    local.get $at i32.const 1 i32.add local.set $at
    br $next
  end end
  local.get $d
"""


def is_scalar(type_: WitType) -> bool:
    """Whether the result is returned as it is."""
    return type_.kind in _SCALARS


def core_results(type_: WitType | None) -> tuple[str, ...]:
    """The core results of a caller of a function with this result."""
    if type_ is None:
        return ()
    return abi.flat(type_) if is_scalar(type_) else ("i32", "i64", *("i64",) * _words(type_))


def _words(type_: WitType) -> int:
    size = _encoded_size(type_)
    return WORDS if size is None else min(WORDS, -(-size // 8))


def _encoded_size(type_: WitType) -> int | None:
    """The bytes of the encoding; None if they depend on the value."""
    kind = type_.kind
    if kind in _SCALARS:
        return abi.size(type_)
    if kind in RESOURCES:
        return 0
    if kind in ("string", "list") or (kind in CASES and type_.members):
        return None
    if kind in CASES or kind == "flags":
        return 4
    sizes = [_encoded_size(each) for each in type_.members]
    return None if None in sizes else sum(each for each in sizes if each is not None)


class Lifting:
    """The text that encodes a result; ``locals`` are those that it uses besides ``LOCALS``."""

    def __init__(self) -> None:
        self.locals: list[str] = []

    def text(self, type_: WitType) -> str:
        """From the core results in the local ``r`` to the caller's results."""
        if is_scalar(type_):
            return self._scalar(type_, _as_integer(type_, "local.get $r")) + _as_core(type_)
        size = 8 * _words(type_)
        in_memory = f"{_checked_alignment(type_, 'local.get $r')} {self._of_memory(type_, 'r', 0)}"
        body = self._of_flat(type_) if len(abi.flat(type_)) == 1 else in_memory
        words = " ".join(f"i32.const 0 i64.load $buf offset={at}" for at in range(0, size, 8))
        return f"""
          i32.const 0 i32.const 0 i32.const {size} memory.fill $buf
          i32.const 0 local.set $o
          {body}
          local.get $o local.get $o call $digest {words}
        """

    def _new(self, name: str) -> str:
        self.locals.append(f"{name}{len(self.locals)}")
        return self.locals[-1]

    def _of_flat(self, type_: WitType) -> str:
        """Encode a value that is one core value."""
        if type_.kind in ("record", "tuple"):
            return " ".join(self._of_flat(each) for each in type_.members)
        if type_.kind in CASES:
            return self._case(type_, "local.get $r", "")
        return self._put(type_, _as_integer(type_, "local.get $r"))

    def _of_memory(self, type_: WitType, base: str, offset: int) -> str:
        """Encode the value at an offset from the address in the local ``base``."""
        at = f"$mem offset={offset} align=1"
        match type_.kind:
            case "string":
                return self._string(base, offset)
            case "list":
                return self._list(type_.members[0], base, offset)
            case "record" | "tuple":
                return " ".join(self._of_memory(each, base, offset + of) for of, each in abi.fields(type_))
            case kind if kind in CASES:
                return self._case(
                    type_, f"local.get ${base} {_LOADS[abi.case_bytes(type_)]} {at}", base, offset + abi.payload_offset(type_)
                )
        size = abi.flag_bytes(type_) if type_.kind == "flags" else abi.size(type_)
        return self._put(type_, f"local.get ${base} {_LOADS[size]} {at}")

    def _case(self, type_: WitType, load: str, base: str, payload: int = 0) -> str:
        local = self._new("case")
        parts = [
            f"{load} local.tee ${local} i32.const {len(type_.names)} i32.ge_u if unreachable end",
            _emit(4, f"local.get ${local}"),
        ]
        for at, of in enumerate(type_.types):
            if of is not None:
                parts.append(f"local.get ${local} i32.const {at} i32.eq if {self._of_memory(of, base, payload)} end")
        return " ".join(parts)

    def _string(self, base: str, offset: int) -> str:
        address, length = self._new("address"), self._new("length")
        return f"""
          local.get ${base} i32.load $mem offset={offset} align=1 local.set ${address}
          local.get ${base} i32.load $mem offset={offset + 4} align=1 local.set ${length}
          local.get $o local.get ${length} call $room
          {_emit(4, f"local.get ${length}")}
          local.get $o local.get ${address} local.get ${length} memory.copy $buf $mem
          local.get $o local.get ${length} i32.add local.set $o
        """

    def _list(self, element: WitType, base: str, offset: int) -> str:
        address, left = self._new("address"), self._new("left")
        return f"""
          {_checked_alignment(element, f"local.get ${base} i32.load $mem offset={offset} align=1 local.tee ${address}")}
          local.get ${base} i32.load $mem offset={offset + 4} align=1 local.tee ${left} local.set $t
          {_emit(4, "local.get $t")}
          block loop
            local.get ${left} i32.eqz br_if 1
            local.get $o i32.const 0 call $room
            {self._of_memory(element, address, 0)}
            local.get ${address} i32.const {abi.size(element)} i32.add local.set ${address}
            local.get ${left} i32.const 1 i32.sub local.set ${left}
            br 0
          end end
        """

    def _put(self, type_: WitType, load: str) -> str:
        """Encode the scalar or the flags that ``load`` pushes as an integer."""
        if type_.kind in RESOURCES:
            return ""
        size = 4 if type_.kind == "flags" else abi.size(type_)
        return _emit(size, self._scalar(type_, load))

    def _scalar(self, type_: WitType, load: str) -> str:  # noqa: PLR0911 - one kind a line
        """Push the scalar that ``load`` pushes, as an integer in the range of its type."""
        kind = type_.kind
        match kind:
            case "bool":
                return f"{load} i32.const 0 i32.ne"
            case "char":
                return f"""{load} local.tee $t i32.const 0x110000 i32.ge_u if unreachable end
                  local.get $t i32.const 0xfffff800 i32.and i32.const 0xd800 i32.eq if unreachable end local.get $t"""
            case "f32" | "f64":
                type_name, local = ("i32", "t") if kind == "f32" else ("i64", "t64")
                nan = CANONICAL_NAN[kind]
                infinity = nan & ~(1 << (22 if kind == "f32" else 51))
                return f"""{type_name}.const {nan} {load} local.tee ${local} local.get ${local}
                  {type_name}.const {(1 << FLOATS[kind] - 1) - 1} {type_name}.and
                  {type_name}.const {infinity} {type_name}.gt_u select"""
            case "flags":
                return f"{load} i32.const {(1 << len(type_.names)) - 1} i32.and"
            case "s8" | "s16":
                return f"{load} i32.extend{kind[1:]}_s"
            case "u8" | "u16":
                return f"{load} i32.const {(1 << int(kind[1:])) - 1} i32.and"
        return load


def _emit(size: int, push: str) -> str:
    local = "t64" if size == 8 else "t"  # noqa: PLR2004 - bytes of an i64
    return f"""{push} local.set ${local} local.get $o local.get ${local} {_STORES[size]} $buf align=1
      local.get $o i32.const {size} i32.add local.set $o"""


def _checked_alignment(type_: WitType, push: str) -> str:
    return f"{push} i32.const {abi.alignment(type_) - 1} i32.and if unreachable end"


def _as_integer(type_: WitType, push: str) -> str:
    reinterpret = {"f32": " i32.reinterpret_f32", "f64": " i64.reinterpret_f64"}
    return push + reinterpret.get(type_.kind, "")


def _as_core(type_: WitType) -> str:
    return {"f32": " f32.reinterpret_i32", "f64": " f64.reinterpret_i64"}.get(type_.kind, "")


# The same without code.


def returned(type_: WitType | None, value: Value) -> tuple[int, ...]:
    """The core results of a caller, in bits, if the function returns this value."""
    if type_ is None:
        return ()
    if is_scalar(type_):
        return (scalar_bits(type_, value, flat=True),)
    data = encoded(type_, value)
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 % (1 << 64)
    words = data.ljust(8 * WORDS, b"\0")
    return len(data), digest, *(int.from_bytes(words[8 * at : 8 * at + 8], "little") for at in range(_words(type_)))


def encoded(type_: WitType, value: Value) -> bytes:  # noqa: PLR0911 - one kind a line
    """The encoding of a value."""
    match type_.kind:
        case "string":
            data = value.encode()
            return _u32(len(data)) + bytes(data)
        case "list":
            return _u32(len(value)) + b"".join(encoded(type_.members[0], each) for each in value)
        case "record" | "tuple":
            return b"".join(map(encoded, type_.members, value))
        case "flags":
            return _u32(value)
        case kind if kind in CASES:
            at, payload = value
            of = type_.types[at] if type_.types else None
            return _u32(at) + (b"" if of is None else encoded(of, payload))
        case kind if kind in RESOURCES:
            return b""
    return scalar_bits(type_, value, flat=False).to_bytes(abi.size(type_), "little")


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def decoded(type_: WitType, results: Sequence[int]) -> Value:
    """The value in the bits of a caller's core results; raises ``ValueError`` if it is malformed or longer than ``WORDS``."""
    if is_scalar(type_):
        return scalar_of(type_, results[0])
    length, words = results[0], b"".join((each % (1 << 64)).to_bytes(8, "little") for each in results[2:])
    if length > len(words):
        raise ValueError(f"{length} bytes")
    return _Stream(words[:length]).value(type_)


def scalar_of(type_: WitType, bits: int) -> Value:
    """The scalar with these bits."""
    kind = type_.kind
    if kind in INTEGERS:
        width, signed = INTEGERS[kind]
        bits %= 1 << width
        return bits - (1 << width) if signed and bits >> (width - 1) else bits
    return bool(bits) if kind == "bool" else chr(bits) if kind == "char" else bits % (1 << FLOATS[kind])


class _Stream:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise ValueError("the encoding ends early")
        self.at += size
        return self.data[self.at - size : self.at]

    def value(self, type_: WitType) -> Value:  # noqa: PLR0911 - one kind a line
        match type_.kind:
            case "string":
                return self.take(self.number()).decode()
            case "list":
                return tuple(self._elements(type_.members[0], self.number()))
            case "record" | "tuple":
                return tuple(map(self.value, type_.members))
            case "flags":
                return self.number()
            case kind if kind in CASES:
                case = self.number()
                of = type_.types[case] if type_.types else None
                return case, None if of is None else self.value(of)
            case kind if kind in RESOURCES:
                return None
        return scalar_of(type_, int.from_bytes(self.take(abi.size(type_)), "little"))

    def number(self) -> int:
        return int(struct.unpack("<I", self.take(4))[0])

    def _elements(self, type_: WitType, count: int) -> Iterator[Value]:
        for _ in range(count):
            yield self.value(type_)
