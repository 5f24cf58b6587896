"""Link assembled code (see ``asm``): give values to its symbols and encode them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from diffcheck.wasm.leb import s, sized, u

Symbol = int | bytes
Encoder = Callable[[Symbol], bytes]


class Fragment(msgspec.Struct, frozen=True):
    """An assembled function: pieces of bytes, empty at the places of symbols."""

    parts: tuple[bytes, ...]
    slots: tuple[tuple[int, Encoder, str], ...]  # part, encoder, symbol
    memargs: tuple[tuple[int, int, str | int, str | int], ...]  # part, log2 of the alignment, memory, offset

    @property
    def symbols(self) -> frozenset[str]:
        """The names for which `link` needs values."""
        named = {name for _, _, name in self.slots}
        return frozenset(named | {each for slot in self.memargs for each in slot[2:] if isinstance(each, str)})


def link(fragment: Fragment, symbols: Mapping[str, Symbol]) -> bytes:
    """Return a whole code entry (core 5.5.13): size, then `link_body`."""
    return sized(link_body(fragment, symbols))


def link_expression(fragment: Fragment, symbols: Mapping[str, Symbol]) -> bytes:
    """Return only the instructions, without the final ``end``, of a fragment without locals."""
    return link_body(fragment, symbols)[1:-1]


def link_body(fragment: Fragment, symbols: Mapping[str, Symbol]) -> bytes:
    """Return a code entry without its size: locals, then the expression with its ``end``.

    `symbols` are integers (indices, constants, offsets, bit patterns of floats) or, for ``raw``, bytes. Unused names are
    allowed. ValueError if a value is missing or does not fit.
    """
    parts = list(fragment.parts)
    value: Callable[[str | int, str | int], Any] = symbols.get  # type: ignore[assignment]  # a number is its own value
    name, memory, offset = "", None, None
    try:
        for at, encode, name in fragment.slots:
            parts[at] = encode(symbols[name])
        for at, align, memory, offset in fragment.memargs:
            parts[at] = memarg(align, value(memory, memory), value(offset, offset))
    except (KeyError, ValueError, TypeError) as error:
        if missing := sorted(fragment.symbols - symbols.keys()):
            raise ValueError(f"no value for the symbol ${missing[0]}") from error
        symbol = name if memory is None else f"{memory} offset={offset}"
        raise ValueError(f"the value of the symbol ${symbol} does not fit: {error}") from error
    return b"".join(parts)


def unsigned(value: Symbol, bits: int) -> int:
    """Return the value modulo 2**bits; ValueError unless it is a signed or unsigned integer of that size."""
    if not isinstance(value, int) or not -(1 << bits - 1) <= value < 1 << bits:
        raise ValueError(f"{value!r} is not an integer of {bits} bits")
    return value & (1 << bits) - 1


def _signed_leb(value: Symbol, bits: int) -> bytes:
    """Encode a signed or unsigned value as signed LEB128."""
    pattern = unsigned(value, bits)
    return s(pattern - (1 << bits) if pattern >> bits - 1 else pattern)


@lru_cache(maxsize=4096)
def index(value: Symbol) -> bytes:
    """Encode an index of any space, or another u32."""
    if not isinstance(value, int) or not 0 <= value < 1 << 32:
        raise ValueError(f"{value!r} is not an index")
    return u(value)


@lru_cache(maxsize=4096)
def padded(value: Symbol) -> bytes:
    """Encode an index in five bytes, with the same value as an unsigned and as a signed number."""
    plain = index(value).ljust(5, b"\x80")
    head = bytes(byte | 0x80 for byte in plain[:-1])
    return head + bytes([plain[-1] & 0x7F])


@lru_cache(maxsize=4096)
def s33(value: Symbol) -> bytes:
    """Encode a type index as in block types and heap types (5.3, 5.4)."""
    index(value)
    return s(int(value))


@lru_cache(maxsize=4096)
def i32(value: Symbol) -> bytes:
    """Encode a constant of that type."""
    return _signed_leb(value, 32)


@lru_cache(maxsize=4096)
def i64(value: Symbol) -> bytes:
    """Encode a constant of that type."""
    return _signed_leb(value, 64)


def f32(value: Symbol) -> bytes:
    """Encode a constant of that type, given by its bits."""
    return unsigned(value, 32).to_bytes(4, "little")


def f64(value: Symbol) -> bytes:
    """Encode a constant of that type, given by its bits."""
    return unsigned(value, 64).to_bytes(8, "little")


def raw(value: Symbol) -> bytes:
    """Return instructions that are already encoded."""
    if not isinstance(value, bytes):
        raise TypeError(f"{value!r} is not bytes, as raw requires")
    return value


@lru_cache(maxsize=4096)
def memarg(align: int, memory: Symbol, offset: Symbol) -> bytes:
    """Encode a memarg (5.4). Memory 0 has the short form, which engines without multi-memory accept."""
    if not isinstance(offset, int) or not 0 <= offset < 1 << 64:
        raise ValueError(f"{offset!r} is not an offset")
    plain = memory == 0
    return (u(align) if plain else u(align | 0x40) + index(memory)) + u(offset)
