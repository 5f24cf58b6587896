from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffcheck.errors import ArtifactError
from diffcheck.wasm import leb
from diffcheck.wasm.leb import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

METHODS: dict[str, Callable[[Reader], int]] = {
    "u32": Reader.u32,
    "u64": Reader.u64,
    "s32": Reader.s32,
    "s33": Reader.s33,
    "s64": Reader.s64,
}
BASE = 1000


def failure(data: bytes, read: Callable[[Reader], object]) -> ArtifactError:
    reader = Reader(data, BASE)
    with pytest.raises(ArtifactError) as caught:
        read(reader)
    return caught.value


@given(st.integers(0, (1 << 64) - 1))
def test_an_unsigned_integer_is_read_as_it_was_written(n: int) -> None:
    reader = Reader(leb.u(n))
    assert reader.u64() == n
    assert reader.eof


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_signed_integer_is_read_as_it_was_written(n: int) -> None:
    reader = Reader(leb.s(n))
    assert reader.s64() == n
    assert reader.eof


@pytest.mark.parametrize("method", ["u32", "s32", "s33", "s64", "u64"])
def test_the_ends_of_every_range_are_read(method: str) -> None:
    bits = int(method[1:])
    signed = method[0] == "s"
    ends = (-(1 << bits - 1), -1, (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    for n in ends:
        assert METHODS[method](Reader(leb.s(n) if signed else leb.u(n))) == n


@pytest.mark.parametrize("method", ["u32", "s32", "s33", "s64", "u64"])
def test_one_past_the_ends_of_every_range_is_an_error_with_its_offset(method: str) -> None:
    bits = int(method[1:])
    past = (leb.s(-(1 << bits - 1) - 1), leb.s(1 << bits - 1)) if method[0] == "s" else (leb.u(1 << bits),)
    for data in past:
        assert failure(data, METHODS[method]).offset == BASE


@pytest.mark.parametrize(
    "method,data",
    [
        ("u32", b"\x80\x80\x80\x80\x80\x00"),
        ("s32", b"\xff\xff\xff\xff\xff\x7f"),
        ("s33", b"\xff\xff\xff\xff\xff\x7f"),
        ("u64", b"\x80" * 10 + b"\x00"),
        ("s64", b"\x80" * 10 + b"\x00"),
    ],
)
def test_an_integer_of_too_many_bytes_is_an_error(method: str, data: bytes) -> None:
    assert "too long" in failure(data, METHODS[method]).reason


@pytest.mark.parametrize(
    "method,data",
    [
        ("u32", b"\xff\xff\xff\xff\x1f"),
        ("s32", b"\xff\xff\xff\xff\x17"),
        ("s32", b"\x80\x80\x80\x80\x68"),
        ("s33", b"\xff\xff\xff\xff\x2f"),
        ("u64", b"\xff" * 9 + b"\x02"),
        ("s64", b"\xff" * 9 + b"\x01"),
    ],
)
def test_bits_that_an_integer_does_not_have_are_an_error(method: str, data: bytes) -> None:
    assert "exceeds" in failure(data, METHODS[method]).reason


def test_padding_within_the_length_is_read() -> None:
    assert Reader(b"\x81\x80\x80\x80\x00").u32() == 1
    assert Reader(b"\xff\xff\xff\xff\x7f").s32() == -1


@pytest.mark.parametrize("method", sorted(METHODS))
def test_an_integer_that_is_cut_off_is_an_error_at_its_beginning(method: str) -> None:
    error = failure(b"\x00\x80\x80", lambda reader: (reader.u8(), METHODS[method](reader)))
    assert error.offset == BASE + 1


def test_floats_are_bit_patterns() -> None:
    reader = Reader(bytes.fromhex("0000a07f010000000000f47f"))
    assert reader.f32bits() == 0x7FA00000
    assert reader.f64bits() == 0x7FF4000000000001


def test_a_count_past_the_end_is_an_error_with_its_offset() -> None:
    error = failure(b"\x05\x00\x00", lambda reader: reader.count("things"))
    assert error.offset == BASE
    assert "5 things" in error.reason


def test_a_huge_count_is_an_error_before_anything_is_read() -> None:
    read: list[int] = []
    failure(leb.u((1 << 32) - 1) + b"\0" * 9, lambda reader: reader.vector("things", lambda _: read.append(1)))
    assert not read


@given(st.lists(st.integers(0, (1 << 32) - 1)))
def test_the_fast_vector_of_integers_is_as_the_slow_one(values: list[int]) -> None:
    data = leb.u(len(values)) + b"".join(map(leb.u, values))
    assert Reader(data).u32s("numbers") == Reader(data).vector("numbers", Reader.u32) == tuple(values)


@given(st.binary(max_size=40))
def test_the_fast_vector_fails_where_the_slow_one_fails(data: bytes) -> None:
    def outcome(read: Callable[[Reader], tuple[int, ...]]) -> tuple[int, ...] | int | None:
        try:
            return read(Reader(data, BASE))
        except ArtifactError as error:
            return error.offset

    fast = outcome(lambda reader: reader.u32s("numbers"))
    assert fast == outcome(lambda reader: reader.vector("numbers", Reader.u32))


def test_a_length_past_the_end_is_an_error_with_its_offset() -> None:
    assert failure(b"\x00\x00", lambda reader: (reader.u8(), reader.bytes(2))).offset == BASE + 1
    assert failure(b"\x00\x00", lambda reader: reader.sub(3)).offset == BASE
    assert failure(b"\x03ab", Reader.name).offset == BASE
    assert failure(b"", Reader.u8).offset == BASE


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"])
def test_malformed_utf8_is_an_error_at_its_first_bad_byte(text: bytes) -> None:
    error = failure(bytes([len(text) + 1]) + b"a" + text, Reader.name)
    assert error.offset == BASE + 2
    assert "UTF-8" in error.reason


def test_a_name_may_hold_any_character() -> None:
    name = "\0é\u202e🦀"
    encoded = name.encode()
    assert Reader(bytes([len(encoded)]) + encoded).name() == name


def test_a_reader_of_a_part_knows_the_files_offsets_and_its_own_end() -> None:
    reader = Reader(memoryview(b"abcdef"), BASE)
    reader.skip(1)
    inner = reader.sub(2)
    assert (inner.offset, inner.bytes(2), inner.eof) == (BASE + 1, b"bc", True)
    assert (reader.offset, reader.remaining) == (BASE + 3, 3)
    with pytest.raises(ArtifactError, match="3 trailing bytes"):
        reader.finish("part")


def test_a_negative_number_has_no_unsigned_encoding() -> None:
    with pytest.raises(ValueError, match="-1"):
        leb.u(-1)
