"""LEB128 integers, and the bounds-checked reader of the binary format.

Core specification 5.2.2 (integers), 5.2.3 (floats), 5.2.4 (names) and 5.1.3 (vectors).
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, TypeVar

from diffcheck.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

T = TypeVar("T")

# A byte of an integer: seven bits, and whether another byte follows. The last byte has the sign.
_MORE = 0x80
_BITS = 0x7F
_SIGN = 0x40
_WIDTH = 7
# Most integers fit one or two bytes.
_ONE_BYTE = tuple(bytes((n,)) for n in range(_MORE))
_TWO_BYTES = 1 << 2 * _WIDTH


def u(n: int) -> bytes:
    """Return the shortest unsigned LEB128 of `n`; ValueError if `n` is negative."""
    if 0 <= n < _MORE:
        return _ONE_BYTE[n]
    if 0 < n < _TWO_BYTES:
        return bytes((n & _BITS | _MORE, n >> _WIDTH))
    if n < 0:
        msg = f"{n} is negative and has no unsigned encoding"
        raise ValueError(msg)
    out = bytearray()
    while n >= _MORE:
        out.append(n & _BITS | _MORE)
        n >>= _WIDTH
    out.append(n)
    return bytes(out)


def padded(n: int, size: int) -> bytes:
    """Give the unsigned LEB128 of `n` in `size` bytes, in more where it does not fit."""
    shortest = u(n)
    missing = size - len(shortest)
    if missing <= 0:
        return shortest
    return shortest[:-1] + bytes((shortest[-1] | _MORE, *[_MORE] * (missing - 1), 0))


def sized(data: bytes) -> bytes:
    """Return `data` preceded by its size, as in a name or a code entry."""
    return u(len(data)) + data


def vector(items: Collection[bytes]) -> bytes:
    """Return the encoded items preceded by their count."""
    return b"".join([u(len(items)), *items])


def s(n: int) -> bytes:
    """Return the shortest signed LEB128 of `n`."""
    out = bytearray()
    while not -_SIGN <= n < _SIGN:
        out.append(n & _BITS | _MORE)
        n >>= _WIDTH
    out.append(n & _BITS)
    return bytes(out)


class Reader:
    """A cursor over part of a file. Its errors carry file offsets.

    `base` is the file offset of `data[0]`. A count or length is checked against the remaining
    bytes before anything is allocated.
    """

    __slots__ = ("_base", "_data", "_end", "_pos")

    def __init__(self, data: builtins.bytes | memoryview, base: int = 0) -> None:
        """Read `data` from its beginning."""
        self._data = data
        self._base = base
        self._pos = 0
        self._end = len(data)

    @property
    def offset(self) -> int:
        """The file offset of the next byte."""
        return self._base + self._pos

    @property
    def remaining(self) -> int:
        """The number of bytes left."""
        return self._end - self._pos

    @property
    def eof(self) -> bool:
        """Whether no bytes are left."""
        return self._pos == self._end

    def error(self, reason: str, *, offset: int | None = None) -> ArtifactError:
        """Create an `ArtifactError` at `offset`, by default at the next byte."""
        return ArtifactError(reason, offset=self.offset if offset is None else offset)

    def finish(self, what: str) -> None:
        """Raise `ArtifactError` if bytes are left after `what`."""
        if self._pos != self._end:
            raise self.error(f"{self.remaining} trailing bytes after the {what}")

    def peek(self) -> int:
        """Return the next byte without consuming it."""
        if self._pos >= self._end:
            raise self.error("unexpected end of input")
        return self._data[self._pos]

    def ahead(self, n: int) -> builtins.bytes:
        """Return the next `n` bytes without consuming them; fewer at the end."""
        return builtins.bytes(self._data[self._pos : min(self._pos + n, self._end)])

    def u8(self) -> int:
        """Read a byte."""
        if self._pos >= self._end:
            raise self.error("unexpected end of input")
        self._pos += 1
        return self._data[self._pos - 1]

    def u32(self) -> int:
        """Read an unsigned 32-bit integer."""
        # Most integers of a module are below 128. This path halves the time to read a module.
        if self._pos < self._end and (byte := self._data[self._pos]) < _MORE:
            self._pos += 1
            return byte
        return self._unsigned(32)

    def u64(self) -> int:
        """Read an unsigned 64-bit integer."""
        return self._unsigned(64)

    def s32(self) -> int:
        """Read a signed 32-bit integer."""
        return self._signed(32)

    def s33(self) -> int:
        """Read a signed 33-bit integer, as in heap types and block types."""
        return self._signed(33)

    def s64(self) -> int:
        """Read a signed 64-bit integer."""
        return self._signed(64)

    def f32bits(self) -> int:
        """Read the bit pattern of a 32-bit float."""
        return int.from_bytes(self.bytes(4), "little")

    def f64bits(self) -> int:
        """Read the bit pattern of a 64-bit float."""
        return int.from_bytes(self.bytes(8), "little")

    def skip(self, n: int, what: str = "bytes") -> None:
        """Skip `n` bytes."""
        if n > self._end - self._pos:
            raise self.error(f"{n} bytes of {what} expected, but only {self.remaining} are left")
        self._pos += n

    def bytes(self, n: int) -> builtins.bytes:
        """Read `n` bytes."""
        start = self._pos
        self.skip(n)
        return builtins.bytes(self._data[start : self._pos])

    def since(self, offset: int) -> builtins.bytes:
        """Return the bytes from the file offset `offset` up to the current position."""
        return builtins.bytes(self._data[offset - self._base : self._pos])

    def sub(self, n: int, what: str = "bytes") -> Reader:
        """Return a reader of the next `n` bytes, and skip them."""
        start = self._pos
        self.skip(n, what)
        inner = Reader(self._data, self._base)
        inner._pos, inner._end = start, self._pos
        return inner

    def name(self) -> str:
        """Read a name: a length in bytes, then UTF-8."""
        at = self._pos
        length = self.u32()
        start = self._pos
        if length > self._end - start:
            reason = f"a name of {length} bytes, but only {self.remaining} are left"
            raise self.error(reason, offset=self._base + at)
        self._pos += length
        try:
            return str(self._data[start : self._pos], "utf-8")
        except UnicodeDecodeError as error:
            reason = f"malformed UTF-8 in a name: {error.reason}"
            raise self.error(reason, offset=self._base + start + error.start) from error

    def count(self, what: str) -> int:
        """Read a vector's count, which cannot exceed the remaining bytes: each element takes at least one."""
        at = self._pos
        count = self.u32()
        if count > self._end - self._pos:
            reason = f"a count of {count} {what}, but only {self.remaining} bytes are left"
            raise self.error(reason, offset=self._base + at)
        return count

    def vector(self, what: str, item: Callable[[Reader], T]) -> tuple[T, ...]:
        """Read a vector whose elements are read by `item`."""
        return tuple([item(self) for _ in range(self.count(what))])

    def u32s(self, what: str) -> tuple[int, ...]:
        """Read a vector of unsigned 32-bit integers, faster than `vector`."""
        out: list[int] = []
        data, end = self._data, self._end
        for _ in range(self.count(what)):
            pos = self._pos
            # Nearly all indices have one or two bytes.
            if pos < end and (low := data[pos]) < _MORE:
                out.append(low)
                self._pos = pos + 1
            elif pos + 1 < end and (high := data[pos + 1]) < _MORE:
                out.append(low & _BITS | high << _WIDTH)
                self._pos = pos + 2
            else:
                out.append(self._unsigned(32))
        return tuple(out)

    def _unsigned(self, bits: int) -> int:
        at = self.offset
        value = 0
        for shift in range(0, bits, _WIDTH):
            byte = self._next(at)
            value |= (byte & _BITS) << shift
            if byte >> (bits - shift):
                raise self.error(_overlong(byte, bits), offset=at)
            if byte < _MORE:
                break
        return value

    def _signed(self, bits: int) -> int:
        at = self.offset
        value = shift = 0
        byte = _MORE
        while byte >= _MORE:
            byte = self._next(at)
            value |= (byte & _BITS) << shift
            # In the last possible byte, the sign bit and all bits above it are equal, and no byte follows.
            unused = bits - shift - 1
            if unused < _WIDTH and byte >> unused not in (0, _BITS >> unused):
                raise self.error(_overlong(byte, bits), offset=at)
            shift += _WIDTH
        return value - (1 << shift) if byte & _SIGN else value

    def _next(self, at: int) -> int:
        if self._pos >= self._end:
            raise self.error("the input ends within an integer", offset=at)
        byte = self._data[self._pos]
        self._pos += 1
        return byte


def _overlong(byte: int, bits: int) -> str:
    if byte & _MORE:
        return f"an integer of {bits} bits is too long"
    return f"an integer exceeds {bits} bits"
