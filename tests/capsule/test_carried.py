"""What a capsule carries out of its recorder memory, and how that grows."""

from __future__ import annotations

import struct

import pytest

from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import check_header
from diffcheck.capsule.recorder.digest import digest
from diffcheck.capsule.seal import World
from diffcheck.errors import StreamError
from diffcheck.wasm.values import Value
from tests.capsule.helpers import NUMBERS, TRACE, capsule, lanes, results, run

MANY = """(module (memory 40) (global $g (export "__witness_counter_0") (mut i64) (i64.const 0))
  (func (export "fill") (local $i i32) (loop $next
    (i32.store (i32.mul (local.get $i) (i32.const 4096)) (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 640))))))"""


@pytest.mark.parametrize("offset", [0, 8, 100 * 8, 700, 1 << 20, 1 << 40])
def test_a_view_of_the_stream_is_a_slice_of_it(offset: int) -> None:
    done = run(capsule(MANY), lo.Parameters(0, 1, view_offset=offset))
    expected = done.image.stream[offset : offset + lo.VIEW_BYTES]
    assert done.view == expected.ljust(lo.VIEW_BYTES, b"\0")


@pytest.mark.parametrize("offset, step", [(0, 8), (0, 16), (64, 24), (8, 1 << 20)])
def test_a_view_of_the_streams_digests_has_one_for_each_block(offset: int, step: int) -> None:
    done = run(capsule(MANY), lo.Parameters(0, 1, view_mode=1, view_offset=offset, view_step=step))
    stream = done.image.stream
    blocks = [stream[at : at + step] for at in range(offset, len(stream), step)][: lo.VIEW_WORDS]
    expected = b"".join(digest(block)[0].to_bytes(8, "little") for block in blocks)
    assert done.view == expected.ljust(lo.VIEW_BYTES, b"\0")


@pytest.mark.parametrize("page, offset", [(0, 0), (1, 4096), (39, 65536 - 64), (39, 65536)])
def test_a_view_of_a_page_is_a_slice_of_it(page: int, offset: int) -> None:
    done = run(capsule(MANY), lo.Parameters(0, 1, view_space=1, view_page=page, view_offset=offset))
    content = bytearray(65536)
    for at in range(16):
        struct.pack_into("<I", content, 4096 * at, page * 16 + at + 1)
    assert done.view == bytes(content[offset : offset + lo.VIEW_BYTES]).ljust(lo.VIEW_BYTES, b"\0")
    assert done.state.pages[0][page] == lanes(bytes(content))


def test_a_view_of_a_pages_digests_has_one_for_each_block() -> None:
    step = 272
    done = run(capsule(MANY), lo.Parameters(0, 1, view_mode=1, view_space=1, view_page=2, view_step=step))
    content = bytearray(65536)
    for at in range(16):
        struct.pack_into("<I", content, 4096 * at, 32 + at + 1)
    expected = b"".join(digest(bytes(content[at : at + step]))[0].to_bytes(8, "little") for at in range(0, 65536, step))
    assert done.view == expected.ljust(lo.VIEW_BYTES, b"\0")


def test_a_view_of_a_page_of_a_second_memory_with_64_bits() -> None:
    text = (
        '(module (memory 1) (memory $b i64 3) (func (export "r") (i64.store $b (i64.const 131080) (i64.const 0x0102030405060708))))'
    )
    done = run(capsule(text), lo.Parameters(0, 1, view_space=2, view_page=2))
    assert done.view[:16] == bytes(8) + bytes.fromhex("0807060504030201")


def test_a_view_does_not_change_the_stream() -> None:
    made = capsule(MANY)
    plain = run(made).image.stream
    for parameters in (lo.Parameters(0, 1, view_space=1, view_page=3), lo.Parameters(0, 1, view_mode=1, view_step=8)):
        assert run(made, parameters).image.stream == plain


def test_the_slot_globals_are_the_header_and_the_view() -> None:
    done = run(capsule(MANY), lo.Parameters(0, 1, view_space=1, view_page=1), slots=True)
    assert done.slots == done.memory[lo.HEADER_ADDRESS : lo.HEADER_ADDRESS + 8 * lo.SLOTS]
    assert check_header(done.slots[: lo.HEADER.size], done.capsule.layout, 0, 1) == done.header


# Growing.


def test_the_recorder_grows_for_many_page_digests() -> None:
    text = '(module (memory 6000) (func (export "r") (i32.store (i32.const 393215996) (i32.const 1))))'
    world = World(memory_pages=6000, digest_pages=6000)
    done = run(capsule(text, world=world))
    assert done.header.length > 16 * 6000
    assert done.header.flags == 0
    assert done.state.pages[0][:-1] == ((0, 0),) * 5999
    assert done.state.pages[0][-1] == lanes(bytes(65532) + b"\x01\0\0\0")


def test_a_recorder_that_cannot_grow_says_so_and_its_stream_is_no_stream() -> None:
    made = capsule(TRACE, ["grown"])
    whole = run(made)
    cut = run(made, memory_bytes=len(whole.memory) - 65536)
    assert cut.header.flags == lo.FLAG_CUT
    with pytest.raises(StreamError, match="could not grow"):
        cut.image  # noqa: B018 - it decodes
    with pytest.raises(StreamError, match="could not grow"):
        check_header(cut.memory[lo.HEADER_ADDRESS :], made.layout, 0, 1)


def test_a_world_of_some_megabytes_fits() -> None:
    world = World(stdin=bytes(3 << 20), args=("a" * 100_000,), env={"K": "v" * 100_000})
    assert results(run(capsule(NUMBERS, ["i32"], world)))["i32"] == (Value("i32", 0xFFFFFFFE),)
