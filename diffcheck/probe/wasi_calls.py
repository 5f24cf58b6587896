"""How each function of wasi 0.2 is called, and what it must have done then: the table behind ``diffcheck imports --probe``.

A function is real if the call came back and what it must do was seen from outside of it: bytes on stdout, a file in the folder, a
second answer that differs from the first. Texts are the assembler's; ``<interface function>`` calls another function, ``@word`` is
the address of a text, ``AREA`` the return area. All arguments of a call have distinct values, so that their order shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.probe import wasi_checks as see
from diffcheck.probe.wasi_checks import EXIT_CODE, FILE, STDIN, WORDS, Entry, Found, Ran, broken, stub
from diffcheck.probe.wasi_module import UNTOUCHED, Probe, known

if TYPE_CHECKING:
    from collections.abc import Callable

# How handles are made, each into ``$h``; another that is needed beside it into ``$g``.

_STREAMS, _POLL, _MONO = "wasi:io/streams", "wasi:io/poll", "wasi:clocks/monotonic-clock"
_FS, _TCP, _UDP = "wasi:filesystem/types", "wasi:sockets/tcp", "wasi:sockets/udp"
_STDOUT: Final = "<wasi:cli/stdout get-stdout> local.set $h"
_STDIN_READY: Final = f"""<wasi:cli/stdin get-stdin> local.set $h
  local.get $h <{_STREAMS} [method]input-stream.subscribe> local.tee $k <{_POLL} [method]pollable.block>
  local.get $k <{_POLL} [resource-drop]pollable>"""
_PERMIT: Final = f"{_STDOUT} local.get $h AREA2 <{_STREAMS} [method]output-stream.check-write>"
_WRITTEN: Final = f"{_PERMIT} local.get $h @out i32.const {len(WORDS['out'])} AREA2 <{_STREAMS} [method]output-stream.write>"
_FLUSH: Final = f"local.get $h AREA2 <{_STREAMS} [method]output-stream.blocking-flush>"
_IN_AREA2: Final = "AREA2 i32.load offset=4 local.set $h"
_DIRECTORY: Final = (
    "AREA2 <wasi:filesystem/preopens get-directories> AREA2 i32.load i32.load local.set $g local.get $g local.set $h"
)


def _word(word: str) -> str:
    return f"@{word} i32.const {len(WORDS[word])}"


def _open(word: str, flags: int, create: int = 0) -> str:
    args = f"local.get $g i32.const 0 {_word(word)} i32.const {create} i32.const {flags} AREA2"
    return f"{_DIRECTORY} {args} <{_FS} [method]descriptor.open-at> {_IN_AREA2}"


_READ_FILE, _WRITE_FILE = _open("path", 1), _open("path", 3)
_LISTING: Final = f"{_DIRECTORY} local.get $g AREA2 <{_FS} [method]descriptor.read-directory> {_IN_AREA2}"
# A position past what the system's files can have: reading there fails, and the failure is an error to ask about.
_ERROR: Final = f"""{_READ_FILE} local.get $h i64.const -16 AREA2 <{_FS} [method]descriptor.read-via-stream> {_IN_AREA2}
  local.get $h i64.const 5 AREA2 <{_STREAMS} [method]input-stream.blocking-read> AREA2 i32.load offset=8 local.set $h"""
_NETWORK: Final = "<wasi:sockets/instance-network instance-network> local.set $g"
_TCP_SOCKET: Final = f"i32.const 0 AREA2 <wasi:sockets/tcp-create-socket create-tcp-socket> {_IN_AREA2}"
_UDP_SOCKET: Final = f"i32.const 0 AREA2 <wasi:sockets/udp-create-socket create-udp-socket> {_IN_AREA2}"
_ANY_PORT: Final = " ".join(f"i32.const {each}" for each in (0, 0, 127, 0, 0, 1, *([0] * 6)))


def _bound(protocol: str, interface: str, socket: str) -> str:
    return f"""{_NETWORK} {socket}
      local.get $h local.get $g {_ANY_PORT} AREA2 <{interface} [method]{protocol}-socket.start-bind>"""


def _finished(protocol: str, interface: str, socket: str) -> str:
    return f"""{_bound(protocol, interface, socket)}
      local.get $h AREA2 <{interface} [method]{protocol}-socket.finish-bind>"""


_TCP_STARTED, _TCP_BOUND = _bound("tcp", _TCP, _TCP_SOCKET), _finished("tcp", _TCP, _TCP_SOCKET)
_UDP_STARTED, _UDP_BOUND = _bound("udp", _UDP, _UDP_SOCKET), _finished("udp", _UDP, _UDP_SOCKET)
_TCP_STARTED_LISTEN: Final = f"{_TCP_BOUND} local.get $h AREA2 <{_TCP} [method]tcp-socket.start-listen>"
_LISTENING: Final = f"{_TCP_STARTED_LISTEN} local.get $h AREA2 <{_TCP} [method]tcp-socket.finish-listen>"
_PORT: Final = f"local.get $h AREA2 <{_TCP} [method]tcp-socket.local-address> AREA2 i32.load16_u offset=8 local.set $port"
_TO_PORT: Final = "i32.const 0 local.get $port i32.const 127 i32.const 0 i32.const 0 i32.const 1" + " i32.const 0" * 6
_CLIENT: Final = f"{_LISTENING} {_PORT} local.get $h local.set $k {_TCP_SOCKET}"
_CONNECTING: Final = f"{_CLIENT} local.get $h local.get $g {_TO_PORT} AREA2 <{_TCP} [method]tcp-socket.start-connect>"
_WAIT: Final = f"local.get $h <{_TCP} [method]tcp-socket.subscribe> <{_POLL} [method]pollable.block>"
_CONNECTED: Final = f"{_CONNECTING} {_WAIT} local.get $h AREA2 <{_TCP} [method]tcp-socket.finish-connect>"
_ACCEPTING: Final = f"{_CONNECTED} local.get $k local.set $h {_WAIT}"
_UDP_STREAMS: Final = f"""{_UDP_BOUND} local.get $h i32.const 0 {"i32.const 0 " * 12} AREA2
  <{_UDP} [method]udp-socket.stream> AREA2 i32.load offset=4 local.set $g AREA2 i32.load offset=8 local.set $h"""
_RESOLVE: Final = (
    f"""{_NETWORK} local.get $g {_word("address")} AREA2 <wasi:sockets/ip-name-lookup resolve-addresses> {_IN_AREA2}"""
)


def _entry(  # noqa: PLR0913 - what a probe has
    interface: str,
    function: str,
    args: tuple[str, ...],
    check: Callable[[Ran], Found],
    *,
    setup: str = "",
    between: str = "",
    after: str = "",
    calls: int = 1,
    traps_again: bool = False,
    exit_code: int | None = None,
) -> Entry:
    probe = Probe(known(interface, function), args, setup, between, after, calls, traps_again)
    return Entry(probe, check, exit_code)


H, A = "local.get $h", "AREA"


def _drop(interface: str, resource: str, setup: str) -> Entry:
    return _entry(interface, f"[resource-drop]{resource}", (H,), see.anything, setup=setup, traps_again=True)


def _c(value: int, kind: str = "i32") -> str:
    return f"{kind}.const {value}"


def _cli() -> list[Entry]:
    terminals = [
        _entry(f"wasi:cli/terminal-{each}", f"get-terminal-{each}", (A,), see.says_none) for each in ("stdin", "stdout", "stderr")
    ]
    streams = [_entry(f"wasi:cli/{each}", f"get-{each}", (), see.handles, calls=2) for each in ("stdin", "stdout", "stderr")]
    return [
        _entry("wasi:cli/environment", "get-environment", (A,), see.environment),
        _entry("wasi:cli/environment", "get-arguments", (A,), see.arguments),
        _entry("wasi:cli/environment", "initial-cwd", (A,), see.cwd),
        _entry("wasi:cli/exit", "exit", (_c(1),), see.anything, exit_code=1),
        _entry("wasi:cli/exit", "exit-with-code", (_c(EXIT_CODE),), see.anything, exit_code=EXIT_CODE),
        *streams,
        *terminals,
        # There is no terminal and so no handle to drop: what a handle that nobody gave is told is all that can be seen.
        *(_drop(f"wasi:cli/terminal-{each}", f"terminal-{each}", "i32.const 1 local.set $h") for each in ("input", "output")),
    ]


def _io() -> list[Entry]:
    soon = f"i64.const 0 <{_MONO} subscribe-duration> local.tee $h <{_POLL} [method]pollable.block>"
    late = f"i64.const {60_000 * see.MS} <{_MONO} subscribe-duration> local.set $g"
    in_20_ms = f"i64.const {20 * see.MS} <{_MONO} subscribe-duration> local.set $h <{_MONO} now> local.set $t"
    elapsed = f"<{_MONO} now> local.get $t i64.sub local.set $x0"
    list_of_two = "i32.const 0x700 local.get $g i32.store i32.const 0x700 local.get $h i32.store offset=4"
    out = b"word-on-stdout"
    five = see.must(lambda ran: ran.seen.u64(8) == 5, broken("it does not say that it took 5 bytes"))  # noqa: PLR2004
    zeros = see.must(lambda ran: bytes(7) in ran.stdout, stub("it says ok, and no zeros arrived on stdout"))
    first = see.bytes_at(4, lambda got: got == STDIN[:5], "it reads")
    both = f"{_STDIN_READY} local.get $h local.set $g {_PERMIT}"
    word = (H, "@out", _c(len(WORDS["out"])), A)

    def input_(name: str, check: Callable[[Ran], Found], args: tuple[str, ...] = (H, _c(5, "i64"), A)) -> Entry:
        return _entry(_STREAMS, f"[method]input-stream.{name}", args, check, setup=_STDIN_READY)

    def output(name: str, args: tuple[str, ...], check: Callable[[Ran], Found], setup: str = _PERMIT, after: str = "") -> Entry:
        return _entry(_STREAMS, f"[method]output-stream.{name}", args, check, setup=setup, after=after)

    not_late = see.must(lambda ran: ran.seen.extra[0] == 0, stub("a minute from now is said to be ready"))
    is_ready = see.must(lambda ran: ran.seen.results[0] == 1, broken("what is due is not ready"))
    ready_late = f"local.get $g <{_POLL} [method]pollable.ready> i64.extend_i32_u local.set $x0"
    polled = f"""i32.const 0x700 local.get $r2 i32.wrap_i64 i32.store i32.const 0x700 i32.const 1 AREA2 <{_POLL} poll>
      AREA2 i32.load offset=4 i64.extend_i32_u local.set $x0"""
    useful = see.must(lambda ran: ran.seen.extra[0] == 1, stub("it gives handles of which poll does not say that they are ready"))
    subscribed = [
        _entry(
            _STREAMS,
            f"[method]{each}-stream.subscribe",
            (H,),
            see.all_of(see.handles, useful),
            setup=setup,
            calls=2,
            after=polled,
        )
        for each, setup in (("input", _STDIN_READY), ("output", _STDOUT))
    ]
    return [
        _entry("wasi:io/error", "[method]error.to-debug-string", (H, A), see.bytes_at(0, bool, "it says"), setup=_ERROR),
        _drop("wasi:io/error", "error", _ERROR),
        _entry(_POLL, "[method]pollable.ready", (H,), see.all_of(is_ready, not_late), setup=f"{soon} {late}", after=ready_late),
        _entry(_POLL, "[method]pollable.block", (H,), see.waited, setup=in_20_ms, after=elapsed),
        _entry(_POLL, "poll", (_c(0x700), _c(2), A), see.poll, setup=f"{soon} {late} {list_of_two}"),
        _drop(_POLL, "pollable", soon),
        input_("read", see.all_of(see.ok, first)),
        input_("blocking-read", see.all_of(see.ok, first)),
        input_("skip", see.all_of(see.ok, five)),
        input_("blocking-skip", see.all_of(see.ok, five)),
        *subscribed,
        output(
            "check-write",
            (H, A),
            see.all_of(see.ok, see.must(lambda ran: ran.seen.u64(8) > 0, stub("it permits nothing"))),
            setup=_STDOUT,
        ),
        output("write", word, see.all_of(see.ok, see.printed(out)), after=_FLUSH),
        output("blocking-write-and-flush", word, see.all_of(see.ok, see.printed(out)), setup=_STDOUT),
        output("flush", (H, A), see.all_of(see.ok, see.printed(out)), setup=_WRITTEN, after=f"{_FLUSH}"),
        output("blocking-flush", (H, A), see.all_of(see.ok, see.printed(out)), setup=_WRITTEN),
        output("write-zeroes", (H, _c(7, "i64"), A), see.all_of(see.ok, zeros), after=_FLUSH),
        output("blocking-write-zeroes-and-flush", (H, _c(7, "i64"), A), see.all_of(see.ok, zeros), setup=_STDOUT),
        *(
            output(
                name,
                (H, "local.get $g", _c(5, "i64"), A),
                see.all_of(see.ok, five, see.printed(STDIN[:5])),
                setup=both,
                after=_FLUSH,
            )
            for name in ("splice", "blocking-splice")
        ),
        _drop(_STREAMS, "input-stream", "<wasi:cli/stdin get-stdin> local.set $h"),
        _drop(_STREAMS, "output-stream", _STDOUT),
    ]


def _clocks_and_random() -> list[Entry]:
    spin = "i32.const 2000 local.set $k loop $l local.get $k i32.const 1 i32.sub local.tee $k br_if $l end"
    wait = f"local.get $r1 i32.wrap_i64 <{_POLL} [method]pollable.block> <{_MONO} now> local.get $t i64.sub local.set $x0"
    start = f"<{_MONO} now> local.set $t"
    positive = see.must(lambda ran: ran.seen.results[0] > 0, broken("it says 0"))
    wall = "wasi:clocks/wall-clock"
    written = see.must(lambda ran: ran.seen.area != UNTOUCHED, see.NO_ANSWER)
    some = see.must(lambda ran: ran.seen.u64(0) or ran.seen.u32(8), broken("it says 0"))
    in_a_day = see.must(lambda ran: abs(ran.seen.results[0] - (ran.seen.results[0] >> 31 << 32)) < see.DAY_S, broken("over a day"))
    now = (_c(1_700_000_000, "i64"), _c(5))
    drawn = [
        _entry(f"wasi:random/{each}", f"get-{'insecure-' * (each != 'random')}random-{what}", args, check, calls=2)
        for each in ("random", "insecure")
        for what, args, check in (("bytes", (_c(16, "i64"), A), see.bytes_differ), ("u64", (), see.twice_differ))
    ]
    return [
        _entry(_MONO, "now", (), see.clock, calls=2, between=spin),
        _entry(_MONO, "resolution", (), positive),
        _entry(_MONO, "subscribe-instant", (f"local.get $t i64.const {20 * see.MS} i64.add",), see.waited, setup=start, after=wait),
        _entry(_MONO, "subscribe-duration", (_c(20 * see.MS, "i64"),), see.waited, setup=start, after=wait),
        _entry(wall, "now", (A,), see.wall, calls=2, between=spin),
        _entry(wall, "resolution", (A,), see.all_of(written, some)),
        _entry("wasi:clocks/timezone", "display", (*now, A), see.all_of(written, see.bytes_at(4, bool, "its name is"))),
        _entry("wasi:clocks/timezone", "utc-offset", now, in_a_day),
        *drawn,
        _entry("wasi:random/insecure-seed", "insecure-seed", (A,), see.seed),
    ]


def _filesystem() -> list[Entry]:
    def on(name: str, setup: str, args: tuple[str, ...], *checks: Callable[[Ran], Found], after: str = "") -> Entry:
        function = f"[method]descriptor.{name}"
        return _entry(_FS, function, (H, *args, A), see.all_of(see.ok, *checks), setup=setup, after=after)

    def tag(at: int, wanted: int) -> Callable[[Ran], Found]:
        return see.must(lambda ran: ran.seen.area[at] == wanted, broken(f"it does not say {wanted}"))

    path, made, gone = ("@path", _c(9)), ("@made", _c(13)), ("@gone", _c(8))
    folder = ("@folder", _c(5))
    stream = "AREA i32.load offset=4 local.set $k AREA2 i32.const 0 i32.store"
    write_there = f"""{stream} local.get $k {_word("wrote")} AREA2
      <{_STREAMS} [method]output-stream.blocking-write-and-flush>"""
    read_there = f"""{stream} local.get $k i64.const 6 AREA2 <{_STREAMS} [method]input-stream.blocking-read>
      AREA2 i32.load offset=4 i64.load local.set $x0"""
    begins = int.from_bytes(FILE[:6], "little")
    was_read = see.must(
        lambda ran: ran.seen.extra[0] & (1 << 48) - 1 == begins, broken("its stream does not give the file's bytes")
    )
    wrote = WORDS["wrote"]
    overwritten = wrote + FILE[len(wrote) :]
    hashed = see.must(lambda ran: ran.seen.u64(8) | ran.seen.u64(16), stub("it says 0"))
    size = see.must(lambda ran: ran.seen.u64(24) == len(FILE), broken("it gives another size than the file has"))
    times = (_c(2), _c(1_000_000_000, "i64"), _c(3), _c(2), _c(1_100_000_000, "i64"), _c(4))
    now_true = see.must(lambda ran: ran.seen.results[0] == 1, broken("a descriptor is not the same object as itself"))
    read = see.bytes_at(4, lambda got: got == FILE[2:8], "it reads")
    return [
        on("read-via-stream", _READ_FILE, (_c(0, "i64"),), was_read, after=read_there),
        on("write-via-stream", _WRITE_FILE, (_c(0, "i64"),), see.file_is("probe.txt", overwritten), after=write_there),
        on("append-via-stream", _WRITE_FILE, (), see.file_is("probe.txt", FILE + wrote), after=write_there),
        on("advise", _READ_FILE, (_c(3, "i64"), _c(5, "i64"), _c(2))),
        on("sync-data", _WRITE_FILE, ()),
        on(
            "get-flags",
            _READ_FILE,
            (),
            see.must(lambda ran: ran.seen.area[1] & 1, broken("a file opened to read may not be read")),
        ),
        on("get-type", _DIRECTORY, (), tag(1, 3)),
        on("set-size", _WRITE_FILE, (_c(6, "i64"),), see.file_is("probe.txt", FILE[:6])),
        on("set-times", _WRITE_FILE, times),
        on("read", _READ_FILE, (_c(6, "i64"), _c(2, "i64")), read),
        on("write", _WRITE_FILE, (*_pair("wrote"), _c(0, "i64")), see.file_is("probe.txt", overwritten)),
        on("read-directory", _DIRECTORY, (), see.handle),
        on("sync", _WRITE_FILE, ()),
        on("create-directory-at", _DIRECTORY, made, see.file_is("made-by-probe/", b"")),
        on("stat", _READ_FILE, (), tag(8, 6), size),
        on("stat-at", _DIRECTORY, (_c(0), *path), tag(8, 6), size),
        on("set-times-at", _DIRECTORY, (_c(0), *path, *times)),
        on("link-at", _DIRECTORY, (_c(0), *path, "local.get $g", *made), see.file_is("made-by-probe", FILE)),
        on("open-at", _DIRECTORY, (_c(0), *made, _c(1), _c(2)), see.file_is("made-by-probe", b"")),
        on("readlink-at", _DIRECTORY, ("@link", _c(4)), see.bytes_at(4, lambda got: got == b"probe.txt", "it gives")),
        on("remove-directory-at", _DIRECTORY, folder, see.file_is("empty/", None)),
        on(
            "rename-at",
            _DIRECTORY,
            (*path, "local.get $g", *made),
            see.file_is("made-by-probe", FILE),
            see.file_is("probe.txt", None),
        ),
        on("symlink-at", _DIRECTORY, (*path, *made), see.file_is("made-by-probe", FILE)),
        on("unlink-file-at", _DIRECTORY, gone, see.file_is("gone.txt", None)),
        _entry(_FS, "[method]descriptor.is-same-object", (H, "local.get $g"), now_true, setup=_DIRECTORY),
        on("metadata-hash", _READ_FILE, (), hashed),
        on("metadata-hash-at", _DIRECTORY, (_c(0), *path), hashed),
        _entry(
            _FS,
            "[method]directory-entry-stream.read-directory-entry",
            (H, A),
            see.all_of(see.ok, see.directory_entry),
            setup=_LISTING,
        ),
        _entry(_FS, "filesystem-error-code", (H, A), see.code_of_error, setup=_ERROR),
        _drop(_FS, "descriptor", _READ_FILE),
        _drop(_FS, "directory-entry-stream", _LISTING),
        _entry("wasi:filesystem/preopens", "get-directories", (A,), see.directories),
    ]


def _pair(word: str) -> tuple[str, str]:
    return f"@{word}", _c(len(WORDS[word]))


def _sockets() -> list[Entry]:
    def method(
        interface: str, resource: str, name: str, setup: str, args: tuple[str, ...] = (), *checks: Callable[[Ran], Found]
    ) -> Entry:
        return _entry(interface, f"[method]{resource}.{name}", (H, *args, A), see.all_of(see.ok, *checks), setup=setup)

    def subscribed(interface: str, resource: str, setup: str) -> Entry:
        return _entry(interface, f"[method]{resource}.subscribe", (H,), see.handles, setup=setup, calls=2)

    def back(interface: str, resource: str, getter: str, setup: str, value: str, wanted: Callable[[Ran], bool], load: str) -> Entry:
        """A setter, judged by what its getter says then."""
        after = f"local.get $h AREA2 <{interface} [method]{resource}.{getter}> AREA2 {load} local.set $x0"
        check = see.all_of(see.ok, see.must(wanted, stub("it says ok, and the value that is read then is another")))
        return _entry(interface, f"[method]{resource}.set-{getter}", (H, value, A), check, setup=setup, after=after)

    def buffers(interface: str, resource: str, setup: str) -> list[Entry]:
        at_least = lambda ran: ran.seen.extra[0] >= 30_000  # noqa: E731, PLR2004 - systems round it, Linux doubles it
        load = "i64.load offset=8"
        names = ("receive-buffer-size", "send-buffer-size")
        setters = [back(interface, resource, each, setup, _c(30_000, "i64"), at_least, load) for each in names]
        positive = see.must(lambda ran: ran.seen.u64(8) > 0, broken("it says 0"))
        return setters + [method(interface, resource, each, setup, (), positive) for each in names]

    local = see.must(
        lambda ran: ran.seen.area[8:10] != b"\0\0" and ran.seen.area[10:14] == b"\x7f\0\0\x01", broken("it is another address")
    )
    any_port = tuple(_ANY_PORT.replace("i32.const ", "i32.const_").split(" "))
    any_port = tuple(each.replace("_", " ") for each in any_port)
    to_port = ("i32.const 0", "local.get $port", "i32.const 127", *["i32.const 0"] * 2, "i32.const 1", *["i32.const 0"] * 6)
    is_zero = see.must(lambda ran: ran.seen.results[0] == 0, broken("it is another family"))
    hops = lambda ran: ran.seen.extra[0] & 0xFF == 77  # noqa: E731, PLR2004 - what was set
    tcp, udp = "tcp-socket", "udp-socket"
    second = 1_000_000_000

    def flag(name: str) -> Entry:
        return back(_TCP, tcp, name, _TCP_SOCKET, _c(1), lambda ran: ran.seen.extra[0] & 0xFF == 1, "i64.load8_u offset=1")

    def span(name: str) -> Entry:
        value = _c(33 * second, "i64")
        return back(_TCP, tcp, name, _TCP_SOCKET, value, lambda ran: ran.seen.extra[0] == 33 * second, "i64.load offset=8")

    listens = see.must(lambda ran: ran.seen.results[0] == 1, stub("a socket that listens does not say so"))
    lookup = "wasi:sockets/ip-name-lookup"
    found = see.must(
        lambda ran: ran.seen.area[2] == 1 and ran.seen.area[6:10] == b"\x7f\0\0\x01", broken("it gives another address")
    )
    incoming, outgoing = "incoming-datagram-stream", "outgoing-datagram-stream"
    to_stream = f"{_UDP_STREAMS}"
    from_stream = f"{_UDP_STREAMS} local.get $g local.set $h"
    none = tuple(["i32.const 0"] * 13)
    empty = see.must(lambda ran: ran.seen.u32(8) == 0, broken("it received what nobody sent"))
    permits = f"{to_stream} local.get $h AREA2 <{_UDP} [method]{outgoing}.check-send>"
    tcp_hop = back(_TCP, tcp, "hop-limit", _TCP_SOCKET, _c(77), hops, "i64.load8_u offset=1")
    udp_hop = back(_UDP, udp, "unicast-hop-limit", _UDP_SOCKET, _c(77), hops, "i64.load8_u offset=1")
    count = back(_TCP, tcp, "keep-alive-count", _TCP_SOCKET, _c(7), lambda ran: ran.seen.extra[0] == 7, "i64.load32_u offset=4")  # noqa: PLR2004
    getters = ("keep-alive-enabled", "keep-alive-idle-time", "keep-alive-interval", "keep-alive-count", "hop-limit")
    return [
        _entry("wasi:sockets/instance-network", "instance-network", (), see.handles, calls=2),
        _drop("wasi:sockets/network", "network", f"{_NETWORK} local.get $g local.set $h"),
        _entry("wasi:sockets/network", "network-error-code", (H, A), see.says_none, setup=_ERROR),
        _entry("wasi:sockets/tcp-create-socket", "create-tcp-socket", (_c(0), A), see.all_of(see.ok, see.handle)),
        _entry("wasi:sockets/udp-create-socket", "create-udp-socket", (_c(0), A), see.all_of(see.ok, see.handle)),
        method(_TCP, tcp, "start-bind", f"{_NETWORK} {_TCP_SOCKET}", ("local.get $g", *any_port)),
        method(_TCP, tcp, "finish-bind", _TCP_STARTED),
        method(_TCP, tcp, "start-connect", _CLIENT, ("local.get $g", *to_port)),
        method(_TCP, tcp, "finish-connect", f"{_CONNECTING} {_WAIT}", (), see.handle),
        method(_TCP, tcp, "start-listen", _TCP_BOUND),
        method(_TCP, tcp, "finish-listen", _TCP_STARTED_LISTEN),
        method(_TCP, tcp, "accept", _ACCEPTING, (), see.handle),
        method(_TCP, tcp, "local-address", _TCP_BOUND, (), local),
        method(_TCP, tcp, "remote-address", _CONNECTED, (), local),
        _entry(_TCP, f"[method]{tcp}.is-listening", (H,), listens, setup=_LISTENING),
        _entry(_TCP, f"[method]{tcp}.address-family", (H,), is_zero, setup=_TCP_SOCKET),
        method(_TCP, tcp, "set-listen-backlog-size", _TCP_SOCKET, (_c(9, "i64"),)),
        flag("keep-alive-enabled"),
        span("keep-alive-idle-time"),
        span("keep-alive-interval"),
        count,
        tcp_hop,
        *(method(_TCP, tcp, each, _TCP_SOCKET) for each in getters),
        *buffers(_TCP, tcp, _TCP_SOCKET),
        subscribed(_TCP, tcp, _TCP_SOCKET),
        method(_TCP, tcp, "shutdown", _CONNECTED, (_c(2),)),
        _drop(_TCP, tcp, _TCP_SOCKET),
        method(_UDP, udp, "start-bind", f"{_NETWORK} {_UDP_SOCKET}", ("local.get $g", *any_port)),
        method(_UDP, udp, "finish-bind", _UDP_STARTED),
        method(_UDP, udp, "stream", _UDP_BOUND, none, see.handle),
        method(_UDP, udp, "local-address", _UDP_BOUND, (), local),
        method(_UDP, udp, "remote-address", _UDP_BOUND),
        _entry(_UDP, f"[method]{udp}.address-family", (H,), is_zero, setup=_UDP_SOCKET),
        method(_UDP, udp, "unicast-hop-limit", _UDP_SOCKET),
        udp_hop,
        *buffers(_UDP, udp, _UDP_SOCKET),
        subscribed(_UDP, udp, _UDP_SOCKET),
        method(_UDP, incoming, "receive", from_stream, (_c(4, "i64"),), empty),
        subscribed(_UDP, incoming, from_stream),
        method(_UDP, outgoing, "check-send", to_stream, (), see.must(lambda ran: ran.seen.u64(8) > 0, stub("it permits nothing"))),
        method(_UDP, outgoing, "send", permits, (_c(0x700), _c(0))),
        subscribed(_UDP, outgoing, to_stream),
        _drop(_UDP, udp, _UDP_SOCKET),
        _drop(_UDP, incoming, from_stream),
        _drop(_UDP, outgoing, to_stream),
        _entry(
            lookup,
            "resolve-addresses",
            ("local.get $g", *_pair("address"), A),
            see.all_of(see.ok, see.handle),
            setup=_NETWORK,
        ),
        method(lookup, "resolve-address-stream", "resolve-next-address", _resolved(), (), found),
        subscribed(lookup, "resolve-address-stream", _RESOLVE),
        _drop(lookup, "resolve-address-stream", _RESOLVE),
    ]


def _resolved() -> str:
    lookup = "wasi:sockets/ip-name-lookup"
    return f"{_RESOLVE} local.get $h <{lookup} [method]resolve-address-stream.subscribe> <{_POLL} [method]pollable.block>"


def entries() -> tuple[Entry, ...]:
    """A probe for every function of wasi 0.2's cli, io, clocks, random, filesystem and sockets, in that order."""
    return (*_cli(), *_io(), *_clocks_and_random(), *_filesystem(), *_sockets())
