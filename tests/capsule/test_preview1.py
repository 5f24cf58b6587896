"""Each functional WASI preview 1 stub through a small program; structures and error numbers as in its witx description."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffcheck.capsule import memory_map as mm
from diffcheck.capsule.recorder.digest import output_digest
from diffcheck.capsule.seal import World
from diffcheck.capsule.stubs.preview1 import EBADF, EINVAL, ENOSYS, ESPIPE, TABLE, UNSTABLE
from diffcheck.errors import CaseError
from diffcheck.observation import Exited
from tests.capsule.helpers import Run, capsule, results, run

P1 = "wasi_snapshot_preview1"
OK = 0


def imports(*names: str, module: str = P1) -> str:
    """The imports of functions by name, each as ``$name``."""
    lines = []
    for name in names:
        spec = (TABLE if module == P1 else UNSTABLE)[name]
        lines.append(
            f'(import "{module}" "{name}" (func ${name} (param {" ".join(spec.params)}) (result {" ".join(spec.results)})))'
        )
    return "\n".join(lines)


def program(*names: str, body: str, data: str = "", world: World | None = None, module: str = P1) -> Run:
    """Run a program whose one row has ``body`` and gives an i32; its first memory page ends as it left it."""
    text = f'(module {imports(*names, module=module)} (memory (export "m") 1) {data} (func (export "r") (result i32) {body}))'
    return run(capsule(text, world=world))


def errno(name: str, *args: int | str, world: World | None = None) -> int:
    """What a function answers for numbers."""
    spec = TABLE[name]
    given = " ".join(f"({kind}.const {arg})" for kind, arg in zip(spec.params, args, strict=True))
    return results(program(name, body=f"(call ${name} {given})", world=world))["r"][0].bits


def loaded(names: tuple[str, ...], body: str, address: int, length: int, world: World | None = None, data: str = "") -> bytes:
    """The bytes that the program has at ``address`` afterwards, brought out as results."""
    words = " ".join(f"(i64.load (i32.const {address + 8 * at}))" for at in range((length + 7) // 8))
    kinds = "i64 " * ((length + 7) // 8)
    text = f'(module {imports(*names)} (memory 4) {data} (func (export "r") (result {kinds}) {body} {words}))'
    values = results(run(capsule(text, world=world)))["r"]
    return b"".join(value.bits.to_bytes(8, "little") for value in values)[:length]


# Arguments and environment.


def strings(prefix: str, world: World) -> tuple[int, int, list[bytes]]:
    names = (f"{prefix}_sizes_get", f"{prefix}_get")
    body = f"""(drop (call ${prefix}_sizes_get (i32.const 0) (i32.const 4)))
      (drop (call ${prefix}_get (i32.const 16) (i32.const 512)))"""
    memory = loaded(names, body, 0, 1024, world)
    count, size = struct.unpack_from("<II", memory)
    pointers = struct.unpack_from(f"<{count}I", memory, 16)
    return count, size, [memory[at : memory.index(b"\0", at)] for at in pointers]


def test_arguments_arrive() -> None:
    assert strings("args", World(args=("prog", "", "--x=é", "last"))) == (4, 21 - 3, [b"prog", b"", "--x=é".encode(), b"last"])


def test_the_environment_arrives() -> None:
    assert strings("environ", World(env={"A": "1", "LONG": "x" * 50})) == (2, 4 + 56, [b"A=1", b"LONG=" + b"x" * 50])


@pytest.mark.parametrize("prefix", ["args", "environ"])
def test_no_arguments_and_no_environment(prefix: str) -> None:
    assert strings(prefix, World()) == (0, 0, [])


def test_an_argument_with_nul_is_refused() -> None:
    with pytest.raises(CaseError, match="NUL"):
        capsule("(module)", world=World(args=("a\0b",)))


# Standard input.


def reads(stdin: bytes, *sizes: int, calls: int = 1) -> tuple[list[int], bytes]:
    """What ``calls`` reads into buffers of these sizes give: the numbers of bytes, and the bytes of the last buffers."""
    iovecs = b""
    address = 4096
    for size in sizes:
        iovecs += struct.pack("<II", address, size)
        address += size
    data = f'(data (i32.const 256) "{"".join(f"{chr(92)}{byte:02x}" for byte in iovecs)}")'
    body = "".join(
        f"(drop (call $fd_read (i32.const 0) (i32.const 256) (i32.const {len(sizes)}) (i32.const {8 * at})))" for at in range(calls)
    )
    counts = loaded(("fd_read",), body, 0, 8 * calls, World(stdin=stdin), data)
    content = loaded(("fd_read",), body, 4096, max(sum(sizes), 1), World(stdin=stdin), data)
    return [count for (count,) in struct.iter_unpack("<Q", counts)], content


def test_stdin_arrives_in_the_first_buffer_that_is_not_empty() -> None:
    assert reads(b"hello world", 3, 0, 5) == ([3], b"hel" + bytes(5))
    assert reads(b"hello world", 0, 0, 5) == ([5], b"hello")
    assert reads(b"hello world", 3, 5, calls=4)[0] == [3, 3, 3, 2]


def test_stdin_ends() -> None:
    assert reads(b"hello", 4, calls=3)[0] == [4, 1, 0]
    assert reads(b"", 4) == ([0], bytes(4))
    assert reads(b"ab", 4) == ([2], b"ab\0\0")


def test_reading_into_no_buffers_gives_nothing() -> None:
    assert reads(b"abc", calls=1)[0] == [0]


def test_reading_past_the_memory_traps() -> None:
    data = '(data (i32.const 256) "\\ff\\ff\\00\\00\\08\\00\\00\\00")'
    done = program("fd_read", body="(call $fd_read (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 0))", data=data,
                   world=World(stdin=b"12345678"))  # fmt: skip
    assert done.trap == "MEMORY_OUT_OF_BOUNDS"


# Output.


def writes(parts: list[bytes], fd: int = 1) -> Run:
    """Write each part with a call of its own, out of a data segment."""
    blob = b"".join(parts)
    segment = "".join(f"\\{byte:02x}" for byte in blob)
    body, at = "", 1024
    for part in parts:
        body += f"""(i32.store (i32.const 0) (i32.const {at})) (i32.store (i32.const 4) (i32.const {len(part)}))
          (drop (call $fd_write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8)))"""
        at += len(part)
    text = f"""(module {imports("fd_write")} (memory 4) (data (i32.const 1024) "{segment}")
      (func (export "r") (result i32) {body} (i32.load (i32.const 8))))"""
    return run(text)


@pytest.mark.parametrize("fd", [1, 2])
def test_output_is_captured_with_its_total_and_its_digest(fd: int) -> None:
    row = writes([b"hello ", b"", b"w\xff\x00rld"], fd).rows[0]
    written, other = (row.stdout, row.stderr) if fd == 1 else (row.stderr, row.stdout)
    assert written is not None
    assert other is not None
    assert (written.total, written.captured, written.digest) == (12, b"hello w\xff\x00rld", output_digest(b"hello w\xff\x00rld"))
    assert (other.total, other.captured, other.digest) == (0, b"", output_digest(b""))
    assert row.results[0].bits == 6


@pytest.mark.parametrize("first, expected", [(0, b"abc"), (1, b"d"), (2, b"d"), (3, b"")])
def test_the_first_buffer_that_is_not_empty_is_written(first: int, expected: bytes) -> None:
    iovecs = struct.pack("<8I", 64, 3, 68, 0, 67, 1, 64, 0)
    data = f'(data (i32.const 0) "{"".join(f"{chr(92)}{byte:02x}" for byte in iovecs)}") (data (i32.const 64) "abcde")'
    call = f"(call $fd_write (i32.const 1) (i32.const {8 * first}) (i32.const {4 - first}) (i32.const 128))"
    row = program("fd_write", body=f"(drop {call}) (i32.load (i32.const 128))", data=data).rows[0]
    assert row.stdout is not None
    assert row.stdout.captured == expected
    assert row.results[0].bits == len(expected)


def test_what_is_captured_has_a_cap_and_the_digest_is_of_all() -> None:
    parts = [bytes([at]) * 30_000 for at in range(3)]
    stdout = writes(parts).rows[0].stdout
    assert stdout is not None
    assert stdout.total == 90_000
    assert stdout.captured == b"".join(parts)[: mm.OUTPUT_CAP]
    assert stdout.digest == output_digest(b"".join(parts))


def test_output_is_that_of_the_row() -> None:
    text = f"""(module {imports("fd_write")} (memory 1) (data (i32.const 64) "abc")
      (func $put (param i32) (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (i32.const 1))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
      (func (export "a") (call $put (i32.const 64))) (func (export "none")) (func (export "b") (call $put (i32.const 66))))"""
    assert [row.stdout.captured for row in run(text).rows if row.stdout] == [b"a", b"", b"c"]


def test_output_before_a_trap_is_kept() -> None:
    text = f"""(module {imports("fd_write")} (memory 1) (data (i32.const 0) "\\40\\00\\00\\00\\03\\00\\00\\00") (data (i32.const 64) "abc")
      (func (export "r") (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) unreachable))"""
    row = run(text).rows[0]
    assert row.stdout is not None
    assert row.stdout.captured == b"abc"


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_any_bytes_arrive(parts: list[bytes]) -> None:
    stdout = writes(parts).rows[0].stdout
    assert stdout is not None
    assert stdout.captured == b"".join(parts)
    assert stdout.digest == output_digest(b"".join(parts))


# Clocks and random numbers.


def times(clock: int, calls: int) -> list[int]:
    body = "".join(f"(drop (call $clock_time_get (i32.const {clock}) (i64.const 0) (i32.const {8 * at})))" for at in range(calls))
    return [each for (each,) in struct.iter_unpack("<Q", loaded(("clock_time_get",), body, 0, 8 * calls))]


def test_clocks_step_by_a_fixed_amount() -> None:
    assert times(1, 3) == [mm.CLOCK_STEP_NS, 2 * mm.CLOCK_STEP_NS, 3 * mm.CLOCK_STEP_NS]
    assert times(0, 2) == [mm.CLOCK_START_NS + mm.CLOCK_STEP_NS, mm.CLOCK_START_NS + 2 * mm.CLOCK_STEP_NS]


@pytest.mark.parametrize("clock", [0, 1, 2, 3])
def test_a_clock_says_its_resolution(clock: int) -> None:
    body = f"(drop (call $clock_res_get (i32.const {clock}) (i32.const 0)))"
    assert struct.unpack("<Q", loaded(("clock_res_get",), body, 0, 8)) == (mm.CLOCK_STEP_NS,)


def test_there_are_four_clocks() -> None:
    assert errno("clock_time_get", 3, 0, 0) == OK
    assert errno("clock_time_get", 4, 0, 0) == EINVAL
    assert errno("clock_res_get", -1, 0) == EINVAL


def xorshift(state: int) -> tuple[int, int]:
    """One step of xorshift64*: the next state and the number."""
    mask = (1 << 64) - 1
    state ^= state >> 12
    state = (state ^ state << 25) & mask
    state ^= state >> 27
    return state, state * 0x2545F4914F6CDD1D & mask


def test_random_bytes_are_those_of_the_seed() -> None:
    body = "(drop (call $random_get (i32.const 0) (i32.const 10))) (drop (call $random_get (i32.const 10) (i32.const 10)))"
    expected, state = bytearray(), mm.RANDOM_SEED
    for _ in range(20):
        state, number = xorshift(state)
        expected.append(number >> 56)
    assert loaded(("random_get",), body, 0, 24) == bytes(expected) + bytes(4)


def test_no_random_bytes_are_no_change() -> None:
    assert loaded(("random_get",), "(drop (call $random_get (i32.const 0) (i32.const 0)))", 0, 8) == bytes(8)


# Descriptors.


@pytest.mark.parametrize(
    "name, rest",
    [
        ("fd_write", (0, 0, 0)),
        ("fd_read", (0, 0, 0)),
        ("fd_fdstat_get", (0,)),
        ("fd_filestat_get", (0,)),
        ("fd_close", ()),
        ("fd_seek", (0, 0, 0)),
        ("fd_tell", (0,)),
        ("fd_sync", ()),
        ("fd_pread", (0, 0, 0, 0)),
        ("fd_readdir", (0, 0, 0, 0)),
        ("fd_prestat_get", (0,)),
        ("fd_prestat_dir_name", (0, 0)),
        ("path_open", (0, 0, 0, 0, 0, 0, 0, 0)),
        ("path_filestat_get", (0, 0, 0, 0)),
    ],
)
@pytest.mark.parametrize("fd", [3, 4, 1000, -1])
def test_a_descriptor_that_is_not_open_is_ebadf(name: str, rest: tuple[int, ...], fd: int) -> None:
    assert errno(name, fd, *rest) == EBADF


def test_writing_to_stdin_and_reading_from_stdout_is_ebadf() -> None:
    assert errno("fd_write", 0, 0, 0, 0) == EBADF
    assert errno("fd_read", 1, 0, 0, 0) == EBADF
    assert errno("fd_read", 2, 0, 0, 0) == EBADF


@pytest.mark.parametrize(
    "name, args, expected",
    [
        ("fd_seek", (1, 0, 0, 0), ESPIPE),
        ("fd_tell", (0, 0), ESPIPE),
        ("fd_pread", (0, 0, 0, 0, 0), ESPIPE),
        ("fd_close", (2,), OK),
        ("fd_sync", (1,), OK),
        ("fd_fdstat_set_flags", (1, 0), OK),
        ("fd_renumber", (1, 2), ENOSYS),
        ("sched_yield", (), OK),
        ("proc_raise", (1,), ENOSYS),
        ("sock_accept", (3, 0, 0), ENOSYS),
        ("poll_oneoff", (0, 0, 0, 0), EINVAL),
    ],
)
def test_what_has_a_plain_answer(name: str, args: tuple[int, ...], expected: int) -> None:
    assert errno(name, *args) == expected


@pytest.mark.parametrize("fd, rights", [(0, 2), (1, 64), (2, 64)])
def test_the_standard_streams_are_no_terminals_and_say_their_rights(fd: int, rights: int) -> None:
    names = ("fd_fdstat_get", "fd_filestat_get")
    body = f"""(memory.fill (i32.const 0) (i32.const 255) (i32.const 128))
      (drop (call $fd_fdstat_get (i32.const {fd}) (i32.const 0)))
      (drop (call $fd_filestat_get (i32.const {fd}) (i32.const 32)))"""
    memory = loaded(names, body, 0, 104)
    assert struct.unpack_from("<BxHxxxxQQ", memory) == (0, 0, rights, rights)
    assert memory[24:32] == b"\xff" * 8
    assert struct.unpack_from("<QQB7xQQQQQ", memory, 32) == (0, 0, 0, 0, 0, 0, 0, 0)
    assert memory[96:] == b"\xff" * 8


def test_poll_oneoff_has_every_subscription_ready() -> None:
    subscriptions = struct.pack("<QB7xIxxxxQQH6x", 0x1122334455667788, 0, 1, 5000, 0, 0)
    subscriptions += struct.pack("<QB7xI28x", 7, 1, 0) + struct.pack("<QB7xI28x", 9, 2, 1)
    data = f'(data (i32.const 0) "{"".join(f"{chr(92)}{byte:02x}" for byte in subscriptions)}")'
    body = "(drop (call $poll_oneoff (i32.const 0) (i32.const 256) (i32.const 3) (i32.const 512)))"
    memory = loaded(("poll_oneoff",), body, 256, 264, World(stdin=b"abcde"), data)
    events = [struct.unpack_from("<QHBxxxxxQH6x", memory, 32 * at) for at in range(3)]
    assert events == [(0x1122334455667788, 0, 0, 0, 0), (7, 0, 1, 5, 0), (9, 0, 2, 0, 0)]
    assert struct.unpack_from("<I", memory, 256) == (3,)


def test_waiting_makes_time_pass() -> None:
    body = """(drop (call $poll_oneoff (i32.const 64) (i32.const 256) (i32.const 1) (i32.const 512)))
      (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0)))"""
    assert struct.unpack("<Q", loaded(("poll_oneoff", "clock_time_get"), body, 0, 8)) == (2 * mm.CLOCK_STEP_NS,)


@pytest.mark.parametrize("code", [0, 1, 255, -1])
def test_proc_exit_gives_its_code(code: int) -> None:
    text = f'(module (import "{P1}" "proc_exit" (func $x (param i32))) (func (export "r") (call $x (i32.const {code}))))'
    assert run(text).rows[0].outcome == Exited(code % (1 << 32))


# The table.


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_stub_assembles_and_answers_or_traps_out_of_bounds(name: str) -> None:
    spec = TABLE[name]
    ones = " ".join(f"({kind}.const 1)" for kind in spec.params)
    result = f"(result {' '.join(spec.results)})" if spec.results else ""
    text = f"""(module (import "{P1}" "{name}" (func $f (param {" ".join(spec.params)}) {result})) (memory 1)
      (func (export "r") {result} (call $f {ones})))"""
    made = capsule(text)
    assert [each.kind for each in made.layout.stubs] == ["functional"]
    assert run(made).rows[0].stub_calls == (1,)


def test_a_stub_of_another_signature_is_the_zero_stub() -> None:
    text = f'(module (import "{P1}" "fd_write" (func $f (param i32) (result i64))) (memory 1) (func (export "r") (result i64) (call $f (i32.const 1))))'
    made = capsule(text)
    assert [each.kind for each in made.layout.stubs] == ["zero"]
    assert results(run(made))["r"][0].bits == 0


@pytest.mark.parametrize("memory", ["", "(memory i64 1)"])
def test_a_stub_that_needs_a_32_bit_memory_traps_without_one(memory: str) -> None:
    made = capsule(f'(module {imports("fd_write", "sched_yield")} {memory} (func (export "r")))')
    assert [each.kind for each in made.layout.stubs] == ["trap", "functional"]


def test_preview_0_has_the_functions_that_are_the_same_there() -> None:
    done = program("random_get", body="(call $random_get (i32.const 0) (i32.const 1))", module="wasi_unstable")
    assert [each.kind for each in done.capsule.layout.stubs] == ["functional"]
    assert not {"path_filestat_get", "fd_filestat_get", "poll_oneoff"} & UNSTABLE.keys()


def test_every_function_of_preview_1_is_there() -> None:
    witx = """args_get args_sizes_get environ_get environ_sizes_get clock_res_get clock_time_get fd_advise fd_allocate fd_close
      fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights fd_filestat_get fd_filestat_set_size
      fd_filestat_set_times fd_pread fd_prestat_get fd_prestat_dir_name fd_pwrite fd_read fd_readdir fd_renumber fd_seek fd_sync
      fd_tell fd_write path_create_directory path_filestat_get path_filestat_set_times path_link path_open path_readlink
      path_remove_directory path_rename path_symlink path_unlink_file poll_oneoff proc_exit proc_raise sched_yield random_get
      sock_accept sock_recv sock_send sock_shutdown"""
    assert set(re.findall(r"\w+", witx)) == TABLE.keys()
