"""Probes for each function of wasi 0.2: the table behind ``diffcheck imports --probe``.

A function is real if the call returned and its effect was observed: bytes on stdout, a file in the folder, a second result that
differs from the first. Texts are for the assembler, where ``<interface function>`` calls another function, ``@word`` is the address
of a text, and ``AREA`` is the return area. All arguments of a call have distinct values, so that a wrong order is detected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.probe import wasi_checks as see
from diffcheck.probe.wasi_checks import EXIT_CODE, FILE, STDIN, WORDS, CallCheck, CheckResult, ProbeRun, broken, stub
from diffcheck.probe.wasi_entry import (
    DIRECTORY,
    ERROR,
    FS,
    IN_AREA2,
    POLL,
    READ_FILE,
    STREAMS,
    A,
    H,
    const,
    drop,
    entry,
    open_file,
    text_of,
    word,
)
from diffcheck.probe.wasi_module import UNTOUCHED
from diffcheck.probe.wasi_sockets import sockets

if TYPE_CHECKING:
    from collections.abc import Callable

_MONO: Final = "wasi:clocks/monotonic-clock"
_STDOUT: Final = "<wasi:cli/stdout get-stdout> local.set $h"
_STDIN_READY: Final = f"""<wasi:cli/stdin get-stdin> local.set $h
  local.get $h <{STREAMS} [method]input-stream.subscribe> local.tee $k <{POLL} [method]pollable.block>
  local.get $k <{POLL} [resource-drop]pollable>"""
_PERMIT: Final = f"{_STDOUT} local.get $h AREA2 <{STREAMS} [method]output-stream.check-write>"
_WRITTEN: Final = f"{_PERMIT} local.get $h @out i32.const {len(WORDS['out'])} AREA2 <{STREAMS} [method]output-stream.write>"
_FLUSH: Final = f"local.get $h AREA2 <{STREAMS} [method]output-stream.blocking-flush>"
_WRITE_FILE: Final = open_file("path", 3)
_LISTING: Final = f"{DIRECTORY} local.get $g AREA2 <{FS} [method]descriptor.read-directory> {IN_AREA2}"


def _cli() -> list[CallCheck]:
    terminals = [
        entry(f"wasi:cli/terminal-{each}", f"get-terminal-{each}", (A,), see.is_none) for each in ("stdin", "stdout", "stderr")
    ]
    streams = [entry(f"wasi:cli/{each}", f"get-{each}", (), see.handles, calls=2) for each in ("stdin", "stdout", "stderr")]
    return [
        entry("wasi:cli/environment", "get-environment", (A,), see.environment),
        entry("wasi:cli/environment", "get-arguments", (A,), see.arguments),
        entry("wasi:cli/environment", "initial-cwd", (A,), see.cwd),
        entry("wasi:cli/exit", "exit", (const(1),), see.anything, exit_code=1),
        entry("wasi:cli/exit", "exit-with-code", (const(EXIT_CODE),), see.anything, exit_code=EXIT_CODE),
        *streams,
        *terminals,
        # There is no terminal and hence no valid handle, so only the reaction to an invalid one can be observed.
        *(drop(f"wasi:cli/terminal-{each}", f"terminal-{each}", "i32.const 1 local.set $h") for each in ("input", "output")),
    ]


_TOOK_FIVE: Final = see.must(lambda run: run.output.u64(8) == 5, broken("it does not report 5 bytes"))  # noqa: PLR2004


def _errors_and_polls() -> list[CallCheck]:
    soon = f"i64.const 0 <{_MONO} subscribe-duration> local.tee $h <{POLL} [method]pollable.block>"
    late = f"i64.const {60_000 * see.MS} <{_MONO} subscribe-duration> local.set $g"
    in_20_ms = f"i64.const {20 * see.MS} <{_MONO} subscribe-duration> local.set $h <{_MONO} now> local.set $t"
    elapsed = f"<{_MONO} now> local.get $t i64.sub local.set $x0"
    list_of_two = "i32.const 0x700 local.get $g i32.store i32.const 0x700 local.get $h i32.store offset=4"
    not_late = see.must(lambda run: run.output.extra[0] == 0, stub("a pollable for the next minute is reported as ready"))
    is_ready = see.must(lambda run: run.output.results[0] == 1, broken("a due pollable is not ready"))
    ready_late = f"local.get $g <{POLL} [method]pollable.ready> i64.extend_i32_u local.set $x0"
    return [
        entry("wasi:io/error", "[method]error.to-debug-string", (H, A), see.bytes_at(0, bool, "it returns"), setup=ERROR),
        drop("wasi:io/error", "error", ERROR),
        entry(POLL, "[method]pollable.ready", (H,), see.all_of(is_ready, not_late), setup=f"{soon} {late}", after=ready_late),
        entry(POLL, "[method]pollable.block", (H,), see.waited, setup=in_20_ms, after=elapsed),
        entry(POLL, "poll", (const(0x700), const(2), A), see.poll, setup=f"{soon} {late} {list_of_two}"),
        drop(POLL, "pollable", soon),
    ]


def _input_streams() -> list[CallCheck]:
    first = see.bytes_at(4, lambda got: got == STDIN[:5], "it reads")

    def input_(name: str, check: Callable[[ProbeRun], CheckResult], args: tuple[str, ...] = (H, const(5, "i64"), A)) -> CallCheck:
        return entry(STREAMS, f"[method]input-stream.{name}", args, check, setup=_STDIN_READY)

    return [
        input_("read", see.all_of(see.ok, first)),
        input_("blocking-read", see.all_of(see.ok, first)),
        input_("skip", see.all_of(see.ok, _TOOK_FIVE)),
        input_("blocking-skip", see.all_of(see.ok, _TOOK_FIVE)),
    ]


def _subscriptions() -> list[CallCheck]:
    polled = f"""i32.const 0x700 local.get $r2 i32.wrap_i64 i32.store i32.const 0x700 i32.const 1 AREA2 <{POLL} poll>
      AREA2 i32.load offset=4 i64.extend_i32_u local.set $x0"""
    useful = see.must(lambda run: run.output.extra[0] == 1, stub("poll does not report its handles as ready"))
    return [
        entry(
            STREAMS,
            f"[method]{each}-stream.subscribe",
            (H,),
            see.all_of(see.handles, useful),
            setup=setup,
            calls=2,
            after=polled,
        )
        for each, setup in (("input", _STDIN_READY), ("output", _STDOUT))
    ]


def _output_streams() -> list[CallCheck]:
    out = b"word-on-stdout"
    zeros = see.must(lambda run: bytes(7) in run.stdout, stub("it returns ok, but stdout has no zeros"))
    both = f"{_STDIN_READY} local.get $h local.set $g {_PERMIT}"
    word = (H, "@out", const(len(WORDS["out"])), A)

    def output(
        name: str, args: tuple[str, ...], check: Callable[[ProbeRun], CheckResult], setup: str = _PERMIT, after: str = ""
    ) -> CallCheck:
        return entry(STREAMS, f"[method]output-stream.{name}", args, check, setup=setup, after=after)

    return [
        output(
            "check-write",
            (H, A),
            see.all_of(see.ok, see.must(lambda run: run.output.u64(8) > 0, stub("it permits nothing"))),
            setup=_STDOUT,
        ),
        output("write", word, see.all_of(see.ok, see.printed(out)), after=_FLUSH),
        output("blocking-write-and-flush", word, see.all_of(see.ok, see.printed(out)), setup=_STDOUT),
        output("flush", (H, A), see.all_of(see.ok, see.printed(out)), setup=_WRITTEN, after=f"{_FLUSH}"),
        output("blocking-flush", (H, A), see.all_of(see.ok, see.printed(out)), setup=_WRITTEN),
        output("write-zeroes", (H, const(7, "i64"), A), see.all_of(see.ok, zeros), after=_FLUSH),
        output("blocking-write-zeroes-and-flush", (H, const(7, "i64"), A), see.all_of(see.ok, zeros), setup=_STDOUT),
        *(
            output(
                name,
                (H, "local.get $g", const(5, "i64"), A),
                see.all_of(see.ok, _TOOK_FIVE, see.printed(STDIN[:5])),
                setup=both,
                after=_FLUSH,
            )
            for name in ("splice", "blocking-splice")
        ),
        drop(STREAMS, "input-stream", "<wasi:cli/stdin get-stdin> local.set $h"),
        drop(STREAMS, "output-stream", _STDOUT),
    ]


def _clocks_and_random() -> list[CallCheck]:
    spin = "i32.const 2000 local.set $k loop $l local.get $k i32.const 1 i32.sub local.tee $k br_if $l end"
    wait = f"local.get $r1 i32.wrap_i64 <{POLL} [method]pollable.block> <{_MONO} now> local.get $t i64.sub local.set $x0"
    start = f"<{_MONO} now> local.set $t"
    positive = see.must(lambda run: run.output.results[0] > 0, broken("it returns 0"))
    wall = "wasi:clocks/wall-clock"
    written = see.must(lambda run: run.output.area != UNTOUCHED, see.NO_ANSWER)
    some = see.must(lambda run: run.output.u64(0) or run.output.u32(8), broken("it returns 0"))
    in_a_day = see.must(
        lambda run: abs(run.output.results[0] - (run.output.results[0] >> 31 << 32)) < see.DAY_S, broken("over a day")
    )
    now = (const(1_700_000_000, "i64"), const(5))
    drawn = [
        entry(f"wasi:random/{each}", f"get-{'insecure-' * (each != 'random')}random-{what}", args, check, calls=2)
        for each in ("random", "insecure")
        for what, args, check in (("bytes", (const(16, "i64"), A), see.bytes_differ), ("u64", (), see.twice_differ))
    ]
    return [
        entry(_MONO, "now", (), see.clock, calls=2, between=spin),
        entry(_MONO, "resolution", (), positive),
        entry(_MONO, "subscribe-instant", (f"local.get $t i64.const {20 * see.MS} i64.add",), see.waited, setup=start, after=wait),
        entry(_MONO, "subscribe-duration", (const(20 * see.MS, "i64"),), see.waited, setup=start, after=wait),
        entry(wall, "now", (A,), see.wall, calls=2, between=spin),
        entry(wall, "resolution", (A,), see.all_of(written, some)),
        entry("wasi:clocks/timezone", "display", (*now, A), see.all_of(written, see.bytes_at(4, bool, "its name is"))),
        entry("wasi:clocks/timezone", "utc-offset", now, in_a_day),
        *drawn,
        entry("wasi:random/insecure-seed", "insecure-seed", (A,), see.seed),
    ]


_OVERWRITTEN: Final = WORDS["wrote"] + FILE[len(WORDS["wrote"]) :]
_TIMES: Final = (const(2), const(1_000_000_000, "i64"), const(3), const(2), const(1_100_000_000, "i64"), const(4))


def _on(name: str, setup: str, args: tuple[str, ...], *checks: Callable[[ProbeRun], CheckResult], after: str = "") -> CallCheck:
    function = f"[method]descriptor.{name}"
    return entry(FS, function, (H, *args, A), see.all_of(see.ok, *checks), setup=setup, after=after)


def _tag(at: int, wanted: int) -> Callable[[ProbeRun], CheckResult]:
    return see.must(lambda run: run.output.area[at] == wanted, broken(f"it does not return {wanted}"))


def _files() -> list[CallCheck]:
    stream = "AREA i32.load offset=4 local.set $k AREA2 i32.const 0 i32.store"
    write_there = f"""{stream} local.get $k {text_of("wrote")} AREA2
      <{STREAMS} [method]output-stream.blocking-write-and-flush>"""
    read_there = f"""{stream} local.get $k i64.const 6 AREA2 <{STREAMS} [method]input-stream.blocking-read>
      AREA2 i32.load offset=4 i64.load local.set $x0"""
    begins = int.from_bytes(FILE[:6], "little")
    was_read = see.must(
        lambda run: run.output.extra[0] & (1 << 48) - 1 == begins, broken("its stream does not return the file's bytes")
    )
    read = see.bytes_at(4, lambda got: got == FILE[2:8], "it reads")
    return [
        _on("read-via-stream", READ_FILE, (const(0, "i64"),), was_read, after=read_there),
        _on("write-via-stream", _WRITE_FILE, (const(0, "i64"),), see.file_is("probe.txt", _OVERWRITTEN), after=write_there),
        _on("append-via-stream", _WRITE_FILE, (), see.file_is("probe.txt", FILE + WORDS["wrote"]), after=write_there),
        _on("advise", READ_FILE, (const(3, "i64"), const(5, "i64"), const(2))),
        _on("sync-data", _WRITE_FILE, ()),
        _on(
            "get-flags",
            READ_FILE,
            (),
            see.must(lambda run: run.output.area[1] & 1, broken("a file opened for reading is not readable")),
        ),
        _on("get-type", DIRECTORY, (), _tag(1, 3)),
        _on("set-size", _WRITE_FILE, (const(6, "i64"),), see.file_is("probe.txt", FILE[:6])),
        _on("set-times", _WRITE_FILE, _TIMES),
        _on("read", READ_FILE, (const(6, "i64"), const(2, "i64")), read),
        _on("write", _WRITE_FILE, (*word("wrote"), const(0, "i64")), see.file_is("probe.txt", _OVERWRITTEN)),
        _on("read-directory", DIRECTORY, (), see.handle),
        _on("sync", _WRITE_FILE, ()),
    ]


def _paths() -> list[CallCheck]:
    path, made, gone = ("@path", const(9)), ("@made", const(13)), ("@gone", const(8))
    folder = ("@folder", const(5))
    hashed = see.must(lambda run: run.output.u64(8) | run.output.u64(16), stub("it returns 0"))
    size = see.must(lambda run: run.output.u64(24) == len(FILE), broken("it returns a wrong file size"))
    now_true = see.must(lambda run: run.output.results[0] == 1, broken("a descriptor is not the same object as itself"))
    return [
        _on("create-directory-at", DIRECTORY, made, see.file_is("made-by-probe/", b"")),
        _on("stat", READ_FILE, (), _tag(8, 6), size),
        _on("stat-at", DIRECTORY, (const(0), *path), _tag(8, 6), size),
        _on("set-times-at", DIRECTORY, (const(0), *path, *_TIMES)),
        _on("link-at", DIRECTORY, (const(0), *path, "local.get $g", *made), see.file_is("made-by-probe", FILE)),
        _on("open-at", DIRECTORY, (const(0), *made, const(1), const(2)), see.file_is("made-by-probe", b"")),
        _on("readlink-at", DIRECTORY, ("@link", const(4)), see.bytes_at(4, lambda got: got == b"probe.txt", "it returns")),
        _on("remove-directory-at", DIRECTORY, folder, see.file_is("empty/", None)),
        _on(
            "rename-at",
            DIRECTORY,
            (*path, "local.get $g", *made),
            see.file_is("made-by-probe", FILE),
            see.file_is("probe.txt", None),
        ),
        _on("symlink-at", DIRECTORY, (*path, *made), see.file_is("made-by-probe", FILE)),
        _on("unlink-file-at", DIRECTORY, gone, see.file_is("gone.txt", None)),
        entry(FS, "[method]descriptor.is-same-object", (H, "local.get $g"), now_true, setup=DIRECTORY),
        _on("metadata-hash", READ_FILE, (), hashed),
        _on("metadata-hash-at", DIRECTORY, (const(0), *path), hashed),
        entry(
            FS,
            "[method]directory-entry-stream.read-directory-entry",
            (H, A),
            see.all_of(see.ok, see.directory_entry),
            setup=_LISTING,
        ),
        entry(FS, "filesystem-error-code", (H, A), see.code_of_error, setup=ERROR),
        drop(FS, "descriptor", READ_FILE),
        drop(FS, "directory-entry-stream", _LISTING),
        entry("wasi:filesystem/preopens", "get-directories", (A,), see.directories),
    ]


def entries() -> tuple[CallCheck, ...]:
    """Return a probe for every function of wasi 0.2's cli, io, clocks, random, filesystem and sockets, in that order."""
    return (
        *_cli(),
        *_errors_and_polls(),
        *_input_streams(),
        *_subscriptions(),
        *_output_streams(),
        *_clocks_and_random(),
        *_files(),
        *_paths(),
        *sockets(),
    )
