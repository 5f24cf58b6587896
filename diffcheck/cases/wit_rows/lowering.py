"""Code that passes constant WIT values to a core function (component model, CanonicalABI.md, "Storing" and "Flat Lowering")."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from diffcheck.errors import CaseError
from diffcheck.wasm.wit import abi
from diffcheck.wasm.wit.types import CASES, FLOATS, INTEGERS, RESOURCES, WitType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diffcheck.wasm.wit.types import Value

MAX_BLOCK_BYTES: Final = 1 << 16
"""The longest list or string of an argument, since each of its bytes is an immediate of an instruction."""

Flat = tuple[str, int | str]
"""A core value: its type, and its bits or the local that has it."""


class Lowering:
    """The code before a call: ``lines`` allocate and fill blocks, ``locals`` have their addresses."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.locals: list[str] = []

    def parameters(self, types: Sequence[WitType], values: Sequence[Value]) -> str:
        """Text that pushes the core parameters, which is to follow ``lines``."""
        if abi.passed_flat(types) is None:
            record = WitType("tuple", types=tuple(types))
            return f"local.get ${self._block(record, (tuple(values),))}"
        return " ".join(map(_push, self._flat_each(types, values)))

    def _flat_each(self, types: Iterable[WitType], values: Iterable[Value]) -> list[Flat]:
        return [flat for type_, value in zip(types, values, strict=True) for flat in self.flat(type_, value)]

    def flat(self, type_: WitType, value: Value) -> list[Flat]:
        """The core values of a value."""
        match type_.kind:
            case "string" | "list":
                local, count = self._sequence(type_, value)
                return [("i32", local), ("i32", count)]
            case "record" | "tuple":
                return self._flat_each(type_.members, value)
            case kind if kind in CASES:
                at, payload = value
                of = type_.types[at] if type_.types else None
                inner = self.flat(of, payload) if of is not None else []
                joined = abi.flat(type_)[1:]
                filled = [_joined(each, to) for each, to in zip(inner, joined, strict=False)]
                return [("i32", at), *filled, *((to, 0) for to in joined[len(inner) :])]
        return [(abi.flat(type_)[0], scalar_bits(type_, value, flat=True))]

    def _sequence(self, type_: WitType, value: Value) -> tuple[str, int]:
        """The local with the address of a string's or a list's elements, and their number."""
        if type_.kind == "list":
            return self._block(type_.members[0], value), len(value)
        encoded = value.encode()
        return self._block(WitType("u8"), encoded), len(encoded)

    def _block(self, element: WitType, elements: Sequence[Value]) -> str:
        """The local with the address of a new block that contains the elements."""
        size = abi.size(element)
        if size * len(elements) > MAX_BLOCK_BYTES:
            raise CaseError(
                f"an argument of {size * len(elements):,} bytes is too long", hint=f"{MAX_BLOCK_BYTES:,} bytes are possible"
            )
        local = f"block{len(self.locals)}"
        self.locals.append(local)
        allocate = f"i32.const 0 i32.const 0 i32.const {abi.alignment(element)} i32.const {size * len(elements)} call $realloc"
        self.lines.append(f"{allocate} local.set ${local}")
        image, addresses = bytearray(), dict[int, str]()
        for each in elements:
            self._store(element, each, image, len(image), addresses)
            image += bytes(-len(image) % size)
        self._fill(local, bytes(image), addresses)
        return local

    def _store(self, type_: WitType, value: Value, image: bytearray, at: int, addresses: dict[int, str]) -> None:
        """Add the value's bytes, and the locals with the addresses in it, at an offset of the image."""
        image += bytes(max(0, at + abi.size(type_) - len(image)))
        match type_.kind:
            case "string" | "list":
                addresses[at], count = self._sequence(type_, value)
                struct.pack_into("<II", image, at, 0, count)
            case "record" | "tuple":
                for (offset, of), each in zip(abi.fields(type_), value, strict=True):
                    self._store(of, each, image, at + offset, addresses)
            case kind if kind in CASES:
                case, payload = value
                image[at : at + abi.case_bytes(type_)] = case.to_bytes(abi.case_bytes(type_), "little")
                if type_.types and (of := type_.types[case]) is not None:
                    self._store(of, payload, image, at + abi.payload_offset(type_), addresses)
            case _:
                image[at : at + abi.size(type_)] = scalar_bits(type_, value, flat=False).to_bytes(abi.size(type_), "little")

    def _fill(self, local: str, image: bytes, addresses: dict[int, str]) -> None:
        at = 0
        for width, store in ((8, "i64.store"), (4, "i32.store"), (1, "i32.store8")):
            type_ = store.partition(".")[0]
            while at + width <= len(image):
                bits = int.from_bytes(image[at : at + width], "little")
                self.lines.append(f"local.get ${local} {type_}.const {bits} {store} $mem offset={at} align=1")
                at += width
        self.lines += [f"local.get ${local} local.get ${each} i32.store $mem offset={at} align=1" for at, each in addresses.items()]


def scalar_bits(type_: WitType, value: Value, *, flat: bool) -> int:
    """The bits of a scalar value in memory, or as a core value, in which small integers are extended."""
    kind = type_.kind
    if kind in INTEGERS:
        width = max(32, INTEGERS[kind][0]) if flat else INTEGERS[kind][0]
        return int(value) % (1 << width)
    if kind in RESOURCES:
        raise CaseError("a resource cannot be an argument of a row")
    return ord(value) if kind == "char" else int(value)


def _joined(value: Flat, to: str) -> Flat:
    """A core value of a case's payload as the type that holds all payloads."""
    type_, bits = value
    if type_ == to or isinstance(bits, int):
        return to, bits
    return "i64 of i32", bits


def _push(value: Flat) -> str:
    type_, bits = value
    if isinstance(bits, str):
        return f"local.get ${bits}" + (" i64.extend_i32_u" if type_ != "i32" else "")
    return f"{type_}.const bits:{bits:#x}" if type_ in FLOATS else f"{type_}.const {bits}"
