"""Probes for each function of wasi:sockets (for the rules see ``wasi_calls``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.probe import wasi_checks as see
from diffcheck.probe.wasi_checks import CallCheck, CheckResult, ProbeRun, broken, stub
from diffcheck.probe.wasi_entry import ERROR, IN_AREA2, POLL, A, H, const, drop, entry, text_of, word

if TYPE_CHECKING:
    from collections.abc import Callable

_TCP, _UDP = "wasi:sockets/tcp", "wasi:sockets/udp"
_LOOKUP: Final = "wasi:sockets/ip-name-lookup"
_TCP_NAME, _UDP_NAME = "tcp-socket", "udp-socket"
_INCOMING, _OUTGOING = "incoming-datagram-stream", "outgoing-datagram-stream"
_SECOND: Final = 1_000_000_000
_NETWORK: Final = "<wasi:sockets/instance-network instance-network> local.set $g"
_TCP_SOCKET: Final = f"i32.const 0 AREA2 <wasi:sockets/tcp-create-socket create-tcp-socket> {IN_AREA2}"
_UDP_SOCKET: Final = f"i32.const 0 AREA2 <wasi:sockets/udp-create-socket create-udp-socket> {IN_AREA2}"
_ANY_PORT: Final = tuple(f"i32.const {each}" for each in (0, 0, 127, 0, 0, 1, *([0] * 6)))


def _bound(protocol: str, interface: str, socket: str) -> str:
    return f"""{_NETWORK} {socket}
      local.get $h local.get $g {" ".join(_ANY_PORT)} AREA2 <{interface} [method]{protocol}-socket.start-bind>"""


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
_WAIT: Final = f"local.get $h <{_TCP} [method]tcp-socket.subscribe> <{POLL} [method]pollable.block>"
_CONNECTED: Final = f"{_CONNECTING} {_WAIT} local.get $h AREA2 <{_TCP} [method]tcp-socket.finish-connect>"
_ACCEPTING: Final = f"{_CONNECTED} local.get $k local.set $h {_WAIT}"
_UDP_STREAMS: Final = f"""{_UDP_BOUND} local.get $h i32.const 0 {"i32.const 0 " * 12} AREA2
  <{_UDP} [method]udp-socket.stream> AREA2 i32.load offset=4 local.set $g AREA2 i32.load offset=8 local.set $h"""
_RESOLVE: Final = (
    f"""{_NETWORK} local.get $g {text_of("address")} AREA2 <wasi:sockets/ip-name-lookup resolve-addresses> {IN_AREA2}"""
)
_IS_LOCAL: Final = see.must(
    lambda run: run.output.area[8:10] != b"\0\0" and run.output.area[10:14] == b"\x7f\0\0\x01", broken("it is another address")
)
_IS_IPV4: Final = see.must(lambda run: run.output.results[0] == 0, broken("it is another family"))


def _method(
    interface: str, resource: str, name: str, setup: str, args: tuple[str, ...] = (), *checks: Callable[[ProbeRun], CheckResult]
) -> CallCheck:
    return entry(interface, f"[method]{resource}.{name}", (H, *args, A), see.all_of(see.ok, *checks), setup=setup)


def _subscribed(interface: str, resource: str, setup: str) -> CallCheck:
    return entry(interface, f"[method]{resource}.subscribe", (H,), see.handles, setup=setup, calls=2)


def _back(
    interface: str, resource: str, getter: str, setup: str, value: str, wanted: Callable[[ProbeRun], bool], load: str
) -> CallCheck:
    """Return a probe of a setter, checked by its getter."""
    after = f"local.get $h AREA2 <{interface} [method]{resource}.{getter}> AREA2 {load} local.set $x0"
    check = see.all_of(see.ok, see.must(wanted, stub("it returns ok, but the value is unchanged")))
    return entry(interface, f"[method]{resource}.set-{getter}", (H, value, A), check, setup=setup, after=after)


def _buffers(interface: str, resource: str, setup: str) -> list[CallCheck]:
    at_least = lambda run: run.output.extra[0] >= 30_000  # noqa: E731, PLR2004 - systems round the size, Linux doubles it
    load = "i64.load offset=8"
    names = ("receive-buffer-size", "send-buffer-size")
    setters = [_back(interface, resource, each, setup, const(30_000, "i64"), at_least, load) for each in names]
    positive = see.must(lambda run: run.output.u64(8) > 0, broken("it returns 0"))
    return setters + [_method(interface, resource, each, setup, (), positive) for each in names]


def _flag(name: str) -> CallCheck:
    return _back(_TCP, _TCP_NAME, name, _TCP_SOCKET, const(1), lambda run: run.output.extra[0] & 0xFF == 1, "i64.load8_u offset=1")


def _span(name: str) -> CallCheck:
    value = const(33 * _SECOND, "i64")
    return _back(_TCP, _TCP_NAME, name, _TCP_SOCKET, value, lambda run: run.output.extra[0] == 33 * _SECOND, "i64.load offset=8")


def _created() -> list[CallCheck]:
    return [
        entry("wasi:sockets/instance-network", "instance-network", (), see.handles, calls=2),
        drop("wasi:sockets/network", "network", f"{_NETWORK} local.get $g local.set $h"),
        entry("wasi:sockets/network", "network-error-code", (H, A), see.is_none, setup=ERROR),
        entry("wasi:sockets/tcp-create-socket", "create-tcp-socket", (const(0), A), see.all_of(see.ok, see.handle)),
        entry("wasi:sockets/udp-create-socket", "create-udp-socket", (const(0), A), see.all_of(see.ok, see.handle)),
    ]


def _tcp_connections() -> list[CallCheck]:
    to_port = ("i32.const 0", "local.get $port", "i32.const 127", *["i32.const 0"] * 2, "i32.const 1", *["i32.const 0"] * 6)
    listens = see.must(lambda run: run.output.results[0] == 1, stub("a listening socket does not report that it listens"))
    return [
        _method(_TCP, _TCP_NAME, "start-bind", f"{_NETWORK} {_TCP_SOCKET}", ("local.get $g", *_ANY_PORT)),
        _method(_TCP, _TCP_NAME, "finish-bind", _TCP_STARTED),
        _method(_TCP, _TCP_NAME, "start-connect", _CLIENT, ("local.get $g", *to_port)),
        _method(_TCP, _TCP_NAME, "finish-connect", f"{_CONNECTING} {_WAIT}", (), see.handle),
        _method(_TCP, _TCP_NAME, "start-listen", _TCP_BOUND),
        _method(_TCP, _TCP_NAME, "finish-listen", _TCP_STARTED_LISTEN),
        _method(_TCP, _TCP_NAME, "accept", _ACCEPTING, (), see.handle),
        _method(_TCP, _TCP_NAME, "local-address", _TCP_BOUND, (), _IS_LOCAL),
        _method(_TCP, _TCP_NAME, "remote-address", _CONNECTED, (), _IS_LOCAL),
        entry(_TCP, f"[method]{_TCP_NAME}.is-listening", (H,), listens, setup=_LISTENING),
        entry(_TCP, f"[method]{_TCP_NAME}.address-family", (H,), _IS_IPV4, setup=_TCP_SOCKET),
    ]


def _tcp_options() -> list[CallCheck]:
    hops = lambda run: run.output.extra[0] & 0xFF == 77  # noqa: E731, PLR2004 - what was set
    tcp_hop = _back(_TCP, _TCP_NAME, "hop-limit", _TCP_SOCKET, const(77), hops, "i64.load8_u offset=1")
    seven = lambda run: run.output.extra[0] == 7  # noqa: E731, PLR2004 - as above
    count = _back(_TCP, _TCP_NAME, "keep-alive-count", _TCP_SOCKET, const(7), seven, "i64.load32_u offset=4")
    getters = ("keep-alive-enabled", "keep-alive-idle-time", "keep-alive-interval", "keep-alive-count", "hop-limit")
    return [
        _method(_TCP, _TCP_NAME, "set-listen-backlog-size", _TCP_SOCKET, (const(9, "i64"),)),
        _flag("keep-alive-enabled"),
        _span("keep-alive-idle-time"),
        _span("keep-alive-interval"),
        count,
        tcp_hop,
        *(_method(_TCP, _TCP_NAME, each, _TCP_SOCKET) for each in getters),
        *_buffers(_TCP, _TCP_NAME, _TCP_SOCKET),
        _subscribed(_TCP, _TCP_NAME, _TCP_SOCKET),
        _method(_TCP, _TCP_NAME, "shutdown", _CONNECTED, (const(2),)),
        drop(_TCP, _TCP_NAME, _TCP_SOCKET),
    ]


def _udp() -> list[CallCheck]:
    none = tuple(["i32.const 0"] * 13)
    hops = lambda run: run.output.extra[0] & 0xFF == 77  # noqa: E731, PLR2004 - what was set
    udp_hop = _back(_UDP, _UDP_NAME, "unicast-hop-limit", _UDP_SOCKET, const(77), hops, "i64.load8_u offset=1")
    return [
        _method(_UDP, _UDP_NAME, "start-bind", f"{_NETWORK} {_UDP_SOCKET}", ("local.get $g", *_ANY_PORT)),
        _method(_UDP, _UDP_NAME, "finish-bind", _UDP_STARTED),
        _method(_UDP, _UDP_NAME, "stream", _UDP_BOUND, none, see.handle),
        _method(_UDP, _UDP_NAME, "local-address", _UDP_BOUND, (), _IS_LOCAL),
        _method(_UDP, _UDP_NAME, "remote-address", _UDP_BOUND),
        entry(_UDP, f"[method]{_UDP_NAME}.address-family", (H,), _IS_IPV4, setup=_UDP_SOCKET),
        _method(_UDP, _UDP_NAME, "unicast-hop-limit", _UDP_SOCKET),
        udp_hop,
        *_buffers(_UDP, _UDP_NAME, _UDP_SOCKET),
        _subscribed(_UDP, _UDP_NAME, _UDP_SOCKET),
    ]


def _datagrams() -> list[CallCheck]:
    from_stream = f"{_UDP_STREAMS} local.get $g local.set $h"
    empty = see.must(lambda run: run.output.u32(8) == 0, broken("it received data that was not sent"))
    permits = f"{_UDP_STREAMS} local.get $h AREA2 <{_UDP} [method]{_OUTGOING}.check-send>"
    return [
        _method(_UDP, _INCOMING, "receive", from_stream, (const(4, "i64"),), empty),
        _subscribed(_UDP, _INCOMING, from_stream),
        _method(
            _UDP, _OUTGOING, "check-send", _UDP_STREAMS, (), see.must(lambda run: run.output.u64(8) > 0, stub("it permits nothing"))
        ),
        _method(_UDP, _OUTGOING, "send", permits, (const(0x700), const(0))),
        _subscribed(_UDP, _OUTGOING, _UDP_STREAMS),
        drop(_UDP, _UDP_NAME, _UDP_SOCKET),
        drop(_UDP, _INCOMING, from_stream),
        drop(_UDP, _OUTGOING, _UDP_STREAMS),
    ]


def _lookups() -> list[CallCheck]:
    is_local = see.must(
        lambda run: run.output.area[2] == 1 and run.output.area[6:10] == b"\x7f\0\0\x01", broken("it returns another address")
    )
    return [
        entry(
            _LOOKUP,
            "resolve-addresses",
            ("local.get $g", *word("address"), A),
            see.all_of(see.ok, see.handle),
            setup=_NETWORK,
        ),
        _method(_LOOKUP, "resolve-address-stream", "resolve-next-address", _resolved(), (), is_local),
        _subscribed(_LOOKUP, "resolve-address-stream", _RESOLVE),
        drop(_LOOKUP, "resolve-address-stream", _RESOLVE),
    ]


def _resolved() -> str:
    return f"{_RESOLVE} local.get $h <{_LOOKUP} [method]resolve-address-stream.subscribe> <{POLL} [method]pollable.block>"


def sockets() -> list[CallCheck]:
    """Return a probe for every function of wasi:sockets."""
    return [*_created(), *_tcp_connections(), *_tcp_options(), *_udp(), *_datagrams(), *_lookups()]
