"""The wasi 0.2 stubs: every function of every interface once, then what the functional ones do, seen from the program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diffcheck.capsule import memory_map
from diffcheck.capsule.seal import World, close_functions
from diffcheck.capsule.stubs import TABLES, canonical, find, out_of_scope, why_none
from diffcheck.capsule.stubs import wasi_filesystem as filesystem
from diffcheck.capsule.stubs import wasi_http as http
from diffcheck.capsule.stubs import wasi_io as io
from diffcheck.capsule.stubs import wasi_sockets as sockets
from diffcheck.capsule.stubs.lowered import ERROR, STDERR, STDIN, STDOUT
from diffcheck.capsule.stubs.spec import types
from diffcheck.errors import UnsealableError
from diffcheck.observation import Exited, Returned
from diffcheck.wasm.module import read
from tests.capsule.helpers import Run, binary, capsule, results, run

if TYPE_CHECKING:
    pass

FUNCTIONS = [
    line.split() for line in Path(__file__).with_name("wasi02_functions.txt").read_text().splitlines() if not line.startswith("#")
]
AREA = 1024
REALLOC = """
  (global $next (mut i32) (i32.const 4096))
  (func $realloc (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
    (global.set $next (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                               (i32.sub (i32.const 0) (local.get $align))))
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get $new))))
"""
SHORT = {
    "args": ("wasi:cli/environment", "get-arguments"),
    "env": ("wasi:cli/environment", "get-environment"),
    "exit": ("wasi:cli/exit", "exit"),
    "leave": ("wasi:cli/exit", "exit-with-code"),
    "debug": ("wasi:io/error", "[method]error.to-debug-string"),
    "poll": ("wasi:io/poll", "poll"),
    "ready": ("wasi:io/poll", "[method]pollable.ready"),
    "read": ("wasi:io/streams", "[method]input-stream.read"),
    "skip": ("wasi:io/streams", "[method]input-stream.skip"),
    "check": ("wasi:io/streams", "[method]output-stream.check-write"),
    "write": ("wasi:io/streams", "[method]output-stream.write"),
    "blocking_write": ("wasi:io/streams", "[method]output-stream.blocking-write-and-flush"),
    "zeroes": ("wasi:io/streams", "[method]output-stream.write-zeroes"),
    "blocking_zeroes": ("wasi:io/streams", "[method]output-stream.blocking-write-zeroes-and-flush"),
    "splice": ("wasi:io/streams", "[method]output-stream.splice"),
    "drop": ("wasi:io/streams", "[resource-drop]output-stream"),
    "now": ("wasi:clocks/monotonic-clock", "now"),
    "wall": ("wasi:clocks/wall-clock", "now"),
    "zone": ("wasi:clocks/timezone", "display"),
    "bytes": ("wasi:random/random", "get-random-bytes"),
    "u64": ("wasi:random/random", "get-random-u64"),
}


def flat(params: str, results_: str) -> str:
    """A function type in the text format."""
    words = (("param", types(params)), ("result", types(results_)))
    return " ".join(f"({word} {' '.join(kinds)})" for word, kinds in words if kinds)


def signature(interface: str, function: str) -> str:
    spec = TABLES[f"{interface}@0.2"][function]
    words = (("param", spec.params), ("result", spec.results))
    return " ".join(f"({word} {' '.join(kinds)})" for word, kinds in words if kinds)


def program(*functions: str, data: str = "", memory: str = '(memory (export "memory") 40)', realloc: str = REALLOC) -> str:
    """A core module as a component's looks: it imports what its functions call by a name of ``SHORT``."""
    text = "\n".join(functions)
    used = {name: SHORT[name] for name in re.findall(r"\(call \$(\w+)", text) if name in SHORT}
    imports = "\n".join(
        f'(import "{interface}@0.2.3" "{function}" (func ${name} {signature(interface, function)}))'
        for name, (interface, function) in used.items()
    )
    segment = f'(data (i32.const 0) "{data}")' if data else ""
    return f"(module {imports} {memory} {realloc} {segment} {text})"


def word(address: int) -> str:
    return f"(i32.load (i32.const {address}))"


def byte(address: int) -> str:
    return f"(i32.load8_u (i32.const {address}))"


def bits(run_: Run, row: str) -> tuple[int, ...]:
    return tuple(each.bits for each in results(run_)[row])


# Every function


def test_the_tables_have_every_function_and_no_other() -> None:
    ours = {(interface, name) for interface, table in TABLES.items() if interface.startswith("wasi:") for name in table}
    assert ours == {(interface, name) for interface, name, *_ in FUNCTIONS}
    assert len(FUNCTIONS) == 204


def arguments(interface: str, function: str, params: str) -> list[int]:
    """Handles that there are where there have to be some; the return area last."""
    given = [0] * (len(params) - 1) + [AREA] * (len(params) > 0)
    if "input-stream." in function:
        given[0] = STDIN
    elif "output-stream." in function:
        given[0] = STDOUT
        if "splice" in function:
            given[1] = STDIN
    elif function == "[method]error.to-debug-string":
        given[0] = ERROR
    elif (interface, function) == ("wasi:io/poll@0.2", "poll"):
        given[1] = 1
    return given


CODES = {"filesystem": filesystem.BAD_DESCRIPTOR, "sockets": sockets.NOT_SUPPORTED}


def check_error(package: str, shape: str, area: bytes, flat_results: tuple[int, ...]) -> None:
    """What a function of a package that supports nothing answers, by what it would have given."""
    kind, _, at = shape.partition("@")
    if kind == "result" and at == "-":
        assert (flat_results or (area[0],)) == (1,)
    elif kind == "result":
        code = CODES.get(package) or (http.HTTP_REQUEST_DENIED if at == "8" else http.FORBIDDEN)
        assert (area[0], area[int(at)]) == (1, code)
    elif kind == "option":
        assert area[0] == 0


@pytest.mark.parametrize(
    ("interface", "function", "params", "results_", "shape"),
    [[each if each != "-" or at == 4 else "" for at, each in enumerate(line)] for line in FUNCTIONS],
    ids=[f"{line[0].removeprefix('wasi:').removesuffix('@0.2')}-{line[1]}" for line in FUNCTIONS],
)
def test_a_program_can_import_and_call_it(interface: str, function: str, params: str, results_: str, shape: str) -> None:
    given = " ".join(
        f"({kind}.const {value})" for kind, value in zip(types(params), arguments(interface, function, params), strict=True)
    )
    source = f"""(module
      (import "{interface}.7" "{function}" (func $it {flat(params, results_)}))
      (memory (export "memory") 40) {REALLOC}
      (data (i32.const {AREA}) "\\aa\\aa\\aa\\aa\\aa\\aa\\aa\\aa\\aa\\aa\\aa\\aa\\aa\\aa\\aa\\aa")
      (func (export "call") {flat("", results_)} (call $it {given}))
      (func (export "area") (result i64 i64) (i64.load (i32.const {AREA})) (i64.load (i32.const {AREA + 8}))))"""
    made = capsule(source, world=World(stdin=b"some input"))
    (stub,) = made.layout.stubs
    seen = run(made)
    assert seen.rows[0].stub_calls == (1,)
    spec = TABLES[interface][function]
    if spec.traps:
        assert (stub.kind, stub.reason) == ("trap", spec.traps)
        assert seen.trap == "UNREACHABLE"
        return
    assert (stub.kind, stub.reason, seen.trap) == ("functional", "", "")
    if spec.exits:
        assert seen.rows[0].outcome == Exited(AREA & 0xFF if "code" in function else 1)
        return
    assert [each.outcome for each in seen.rows] == [Returned(), Returned()]
    area = b"".join(each.to_bytes(8, "little") for each in bits(seen, "area"))
    package = interface.partition("/")[0].removeprefix("wasi:")
    if package in ("filesystem", "sockets", "http"):
        check_error(package, shape, area, bits(seen, "call"))
    elif shape.startswith(("result", "option")):
        assert area[0] == 0
    if not spec.needs_memory:
        assert area == b"\xaa" * 16


def test_the_patch_version_and_a_component_s_number_do_not_matter() -> None:
    for module in ("wasi:io/poll@0.2.0", "wasi:io/poll@0.2.12", "wasi:io/poll@0.2.1-rc-2024-01-01", "wasi:io/poll@0.2.3+x"):
        assert canonical(module, "poll$13") == ("wasi:io/poll@0.2", "poll")
        assert find(module, "poll$13", ("i32",) * 3, ()) is TABLES["wasi:io/poll@0.2"]["poll"]
    for module in ("wasi:io/poll", "wasi:io/poll@0.1.0", "wasi:io/poll@0.20.0", "xwasi:io/poll@0.2.0", "wasi:io/poll@0.2.0/x"):
        assert find(module, "poll", ("i32",) * 3, ()) is None


def test_a_function_of_another_signature_is_told() -> None:
    source = '(module (import "wasi:io/poll@0.2.0" "poll" (func (param i64 i32 i32))) (memory 1))'
    (closed,) = close_functions(read(binary(source)), "zero")
    assert closed.stub.kind == "zero"
    assert closed.stub.reason == "its signature differs from that of the known function"
    assert why_none("env", "poll") == ""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("wasi:cli/stdout@0.3.0", "write-via-stream"),
        ("wasi:clocks/monotonic-clock@0.3.0-rc-2025-09-16", "now"),
        ("wasi:http/handler@0.3", "handle"),
        ("my:own/thing@1.0.0", "[async-lower]fetch"),
        ("$root", "[waitable-set-new]"),
        ("$root", "[waitable-join]"),
        ("my:own/thing", "[stream-new-0]read"),
        ("my:own/thing", "[async-lower][stream-write-1]write"),
        ("my:own/thing", "[future-drop-readable-0]x"),
        ("[export]my:own/thing", "[task-return]x"),
        ("$root", "[subtask-drop]"),
        ("$root", "[context-get-0]"),
        ("$root", "[error-context-new-utf8]"),
    ],
)
def test_the_asynchronous_component_model_is_told_to_be_out_of_scope(module: str, name: str) -> None:
    assert "not supported" in out_of_scope(module, name)
    (closed,) = close_functions(read(binary(f'(module (import "{module}" "{name}" (func (result i32))))')), "zero")
    assert closed.stub.kind == "zero"
    assert closed.stub.reason == out_of_scope(module, name)


def test_a_module_that_needs_the_asynchronous_component_model_has_no_capsule() -> None:
    source = '(module (import "env" "f" (func)) (import "$root" "[waitable-set-new]" (func (result i32))))'
    with pytest.raises(UnsealableError, match="out of scope: it imports \\$root .waitable-set-new.") as refused:
        capsule(source)
    assert refused.value.hint == "build it for wasi 0.2"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("wasi:io/streams@0.2.0", "[method]input-stream.read"),
        ("env", "stream"),
        ("a:b/c@0.3.1", "f"),
        ("wasi:cli/exit@0.2.3", "exit"),
    ],
)
def test_other_imports_are_in_scope(module: str, name: str) -> None:
    assert out_of_scope(module, name) == ""


# Streams


def test_what_is_written_arrives_on_its_stream_in_order() -> None:
    seen = run(
        program(
            f"""(func (export "main")
              (call $check (i32.const {STDOUT}) (i32.const {AREA}))
              (call $write (i32.const {STDOUT}) (i32.const 0) (i32.const 6) (i32.const {AREA}))
              (call $blocking_write (i32.const {STDERR}) (i32.const 6) (i32.const 6) (i32.const {AREA}))
              (call $zeroes (i32.const {STDERR}) (i64.const 2) (i32.const {AREA}))
              (call $blocking_zeroes (i32.const {STDOUT}) (i64.const 3) (i32.const {AREA}))
              (call $write (i32.const {STDOUT}) (i32.const 0) (i32.const 0) (i32.const {AREA}))
              (call $write (i32.const {STDOUT}) (i32.const 0) (i32.const 5) (i32.const {AREA}))
              (call $drop (i32.const {STDOUT})))""",
            data="hello world!",
        )
    )
    (row,) = seen.rows
    assert row.stdout is not None
    assert row.stderr is not None
    assert (row.stdout.captured, row.stdout.total) == (b"hello \0\0\0hello", 14)
    assert (row.stderr.captured, row.stderr.total) == (b"world!\0\0", 8)
    assert row.stderr.digest != row.stdout.digest


def test_writing_permits_a_megabyte_and_no_more() -> None:
    write = f'(func (export "{{0}}") (call $write (i32.const {STDOUT}) (i32.const 0) (i32.const {{1}}) (i32.const {AREA})))'
    permit = f"""(func (export "permit") (result i64)
      (call $check (i32.const {STDERR}) (i32.const {AREA})) (i64.load (i32.const {AREA + 8})))"""
    seen = run(program(permit, write.format("fits", io.PERMIT), write.format("larger", io.PERMIT + 1)))
    assert bits(seen, "permit") == (io.PERMIT,)
    assert [each.outcome for each in seen.rows[:2]] == [Returned()] * 2
    assert seen.trap == "UNREACHABLE"
    assert seen.rows[1].stdout is not None
    assert seen.rows[1].stdout.total == io.PERMIT
    assert len(seen.rows[1].stdout.captured) == memory_map.OUTPUT_CAP


@pytest.mark.parametrize(
    "call",
    [
        "(call $zeroes (i32.const 2) (i64.const 0x100000)",
        "(call $zeroes (i32.const 2) (i64.const 0x100001)",
        "(call $zeroes (i32.const 2) (i64.const 0x100000001)",
        "(call $write (i32.const 1) (i32.const 0) (i32.const 1)",
        "(call $write (i32.const 4) (i32.const 0) (i32.const 1)",
        "(call $read (i32.const 2) (i64.const 1)",
        "(call $splice (i32.const 2) (i32.const 3) (i64.const 1)",
        "(call $poll (i32.const 0) (i32.const 0)",
        "(call $bytes (i64.const 0x100000001)",
    ],
)
def test_what_the_interface_does_not_allow_traps(call: str) -> None:
    allowed = "0x100000)" in call
    seen = run(program(f'(func (export "main") {call} (i32.const {AREA})))'))
    assert seen.trap == ("" if allowed else "UNREACHABLE")


def test_a_blocking_write_of_more_than_it_takes_fails_with_an_error_that_can_be_shown() -> None:
    seen = run(
        program(
            f"""(func (export "main") (result i32 i32)
              (call $blocking_write (i32.const {STDOUT}) (i32.const 0) (i32.const 4097) (i32.const {AREA}))
              (call $debug {word(AREA + 8)} (i32.const 16))
              (call $blocking_write (i32.const {STDERR}) {word(16)} {word(20)} (i32.const 2048))
              {byte(AREA)} {byte(AREA + 4)})"""
        )
    )
    (row,) = seen.rows
    assert bits(seen, "main") == (1, 0)  # err(last-operation-failed)
    assert row.stdout is not None
    assert row.stderr is not None
    assert row.stdout.total == 0
    assert row.stderr.captured == io.TOO_LARGE


ECHO = f"""(func (export "main") (result i32)
  (loop $more
    (call $read (i32.const {STDIN}) (i64.const {{size}}) (i32.const {AREA}))
    (if (i32.eqz {byte(AREA)})
      (then
        (call $write (i32.const {STDOUT}) {word(AREA + 4)} {word(AREA + 8)} (i32.const 2048))
        (call $write (i32.const {STDERR}) (i32.const 0) (i32.const 1) (i32.const 2048))
        (br $more))))
  {byte(AREA + 4)})"""


@pytest.mark.parametrize("size", [1, 4, 100, 1 << 40])
@pytest.mark.parametrize("stdin", [b"", b"x", b"a line\nand\0more\xff"])
def test_reading_gives_the_case_s_stdin_then_closed(size: int, stdin: bytes) -> None:
    seen = run(capsule(program(ECHO.format(size=size), data="."), world=World(stdin=stdin)))
    (row,) = seen.rows
    assert bits(seen, "main") == (1,)  # closed
    assert row.stdout is not None
    assert row.stderr is not None
    assert row.stdout.captured == stdin
    assert row.stderr.total == -(-len(stdin) // size)


def test_skip_and_splice_take_from_stdin() -> None:
    seen = run(
        capsule(
            program(
                f"""(func (export "main") (result i64 i64 i32 i32)
                  (call $skip (i32.const {STDIN}) (i64.const 3) (i32.const {AREA}))
                  (i64.load (i32.const {AREA + 8}))
                  (call $splice (i32.const {STDERR}) (i32.const {STDIN}) (i64.const 100) (i32.const {AREA}))
                  (i64.load (i32.const {AREA + 8}))
                  (call $splice (i32.const {STDERR}) (i32.const {STDIN}) (i64.const 100) (i32.const {AREA}))
                  {byte(AREA)} {byte(AREA + 8)})"""
            ),
            world=World(stdin=b"123the rest"),
        )
    )
    (row,) = seen.rows
    assert bits(seen, "main") == (3, 8, 1, 1)
    assert row.stderr is not None
    assert row.stderr.captured == b"the rest"


def test_all_that_is_polled_is_ready() -> None:
    seen = run(
        program(
            f"""(func (export "main") (result i32 i32 i32 i32 i32)
              (call $poll (i32.const 0) (i32.const 3) (i32.const {AREA}))
              {word(AREA + 4)} (i32.load {word(AREA)}) (i32.load offset=4 {word(AREA)}) (i32.load offset=8 {word(AREA)})
              (call $ready (i32.const 6)))"""
        )
    )
    assert bits(seen, "main") == (3, 0, 1, 2, 1)


# Arguments and environment

TELL = """(func $tell (param $at i32) (param $count i32)
  (loop $each
    (if (local.get $count)
      (then
        (call $blocking_write (i32.const 2) (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)) (i32.const 2048))
        (call $blocking_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 2048))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $each)))))"""


@pytest.mark.parametrize("args", [(), ("program",), ("program", "", "naïve", "a\nb"), tuple(map(str, range(300)))])
def test_arguments_come_back_through_the_program_s_realloc(args: tuple[str, ...]) -> None:
    main = f'(func (export "main") (call $args (i32.const {AREA})) (call $tell {word(AREA)} {word(AREA + 4)}))'
    (row,) = run(capsule(program(TELL, main, data="|"), world=World(args=args))).rows
    assert row.stdout is not None
    assert row.stdout.captured == "".join(f"{each}|" for each in args).encode()


@pytest.mark.parametrize("env", [{}, {"A": ""}, {"EQUATION": "a=b", "ÜMLAUT": "ß", "EMPTY": "", "HOME": "/home"}])
def test_the_environment_comes_as_keys_and_values(env: dict[str, str]) -> None:
    count = f"(i32.shl {word(AREA + 4)} (i32.const 1))"
    main = f'(func (export "main") (call $env (i32.const {AREA})) (call $tell {word(AREA)} {count}))'
    (row,) = run(capsule(program(TELL, main, data="|"), world=World(env=env))).rows
    assert row.stdout is not None
    assert row.stdout.captured == "".join(f"{key}|{value}|" for key, value in env.items()).encode()


# Leaving


@pytest.mark.parametrize(
    ("call", "code"),
    [("$exit (i32.const 0)", 0), ("$exit (i32.const 1)", 1), ("$leave (i32.const 0)", 0), ("$leave (i32.const 77)", 77)],
)
@pytest.mark.parametrize("unwind", [True, False])
def test_exit_ends_the_row_with_its_code(call: str, code: int, unwind: bool) -> None:
    source = program(f'(func (export "main") (call {call}) (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 64)))')
    seen = run(capsule(source, unwind=unwind))
    (row,) = seen.rows
    assert row.outcome == Exited(code)
    assert row.stdout is not None
    assert row.stdout.total == 0
    assert seen.trap == ("" if unwind else "UNREACHABLE")


# Clocks and random numbers


def test_the_clocks_advance_by_a_step_at_each_call() -> None:
    seen = run(
        program(
            f"""(func (export "main") (result i64 i64 i64 i32)
              (call $now) (call $now) (call $wall (i32.const {AREA}))
              (i64.load (i32.const {AREA})) {word(AREA + 8)})"""
        )
    )
    step = memory_map.CLOCK_STEP_NS
    assert bits(seen, "main") == (step, 2 * step, memory_map.CLOCK_START_NS // 10**9, 3 * step)


def test_the_time_zone_is_utc() -> None:
    seen = run(
        program(
            f"""(func (export "main") (result i32 i32)
              (call $zone (i64.const 0) (i32.const 0) (i32.const {AREA}))
              (call $blocking_write (i32.const {STDOUT}) {word(AREA + 4)} {word(AREA + 8)} (i32.const 2048))
              {word(AREA)} {byte(AREA + 12)})"""
        )
    )
    assert bits(seen, "main") == (0, 0)
    assert seen.rows[0].stdout is not None
    assert seen.rows[0].stdout.captured == b"UTC"


def test_random_numbers_are_seeded_and_the_same_again() -> None:
    source = program(
        f"""(func (export "main") (result i64 i64 i32)
          (call $bytes (i64.const 9) (i32.const {AREA}))
          (call $blocking_write (i32.const {STDOUT}) {word(AREA)} {word(AREA + 4)} (i32.const 2048))
          (call $bytes (i64.const 0) (i32.const {AREA}))
          (call $u64) (call $u64) {word(AREA + 4)})"""
    )
    first, again = run(capsule(source)), run(capsule(source))
    a, b, nothing = bits(first, "main")
    assert (a, b, nothing) == bits(again, "main")
    assert a != b
    assert nothing == 0
    assert first.rows[0].stdout is not None
    assert first.rows[0].stdout == (again.rows[0].stdout)
    assert len(set(first.rows[0].stdout.captured)) > 5
