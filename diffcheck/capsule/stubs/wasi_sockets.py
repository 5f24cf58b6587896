"""wasi:sockets 0.2: a network on which every operation fails with *not-supported*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.capsule.stubs.lowered import NETWORK, POLLABLE, Table, drops, error, methods, returns, tag

if TYPE_CHECKING:
    from diffcheck.capsule.stubs.spec import Spec

NOT_SUPPORTED: Final = 2

# As in wasi_filesystem. The alignment of a socket address is 4, of an address without a port 2.
_HANDLES, _LIST, _SOCKET_ADDRESS, _U32, _U64, _ADDRESS = 4, 4, 4, 4, 8, 2
_ADDRESS_PARAMS: Final = "i" * 12  # the discriminant, then the flat form of an IPv6 address


def _no(params: str, at: int = 1) -> Spec:
    return error(params, NOT_SUPPORTED, at)


_SUBSCRIBE: Final = {"subscribe": returns("i", "i", POLLABLE)}
_BUFFERS: Final = {
    "receive-buffer-size": _no("ii", _U64),
    "set-receive-buffer-size": _no("ili"),
    "send-buffer-size": _no("ii", _U64),
    "set-send-buffer-size": _no("ili"),
}
_ADDRESSES: Final = {
    "start-bind": _no(f"ii{_ADDRESS_PARAMS}i"),
    "finish-bind": _no("ii"),
    "local-address": _no("ii", _SOCKET_ADDRESS),
    "remote-address": _no("ii", _SOCKET_ADDRESS),
    "address-family": returns("i", "i", 0),
}
_UDP: Final = {
    **_ADDRESSES,
    "stream": _no(f"ii{_ADDRESS_PARAMS}i", _HANDLES),
    "unicast-hop-limit": _no("ii"),
    "set-unicast-hop-limit": _no("iii"),
    **_BUFFERS,
    **_SUBSCRIBE,
}
_TCP: Final = {
    **_ADDRESSES,
    "start-connect": _no(f"ii{_ADDRESS_PARAMS}i"),
    "finish-connect": _no("ii", _HANDLES),
    "start-listen": _no("ii"),
    "finish-listen": _no("ii"),
    "accept": _no("ii", _HANDLES),
    "is-listening": returns("i", "i", 0),
    "set-listen-backlog-size": _no("ili"),
    "keep-alive-enabled": _no("ii"),
    "set-keep-alive-enabled": _no("iii"),
    "keep-alive-idle-time": _no("ii", _U64),
    "set-keep-alive-idle-time": _no("ili"),
    "keep-alive-interval": _no("ii", _U64),
    "set-keep-alive-interval": _no("ili"),
    "keep-alive-count": _no("ii", _U32),
    "set-keep-alive-count": _no("iii"),
    "hop-limit": _no("ii"),
    "set-hop-limit": _no("iii"),
    **_BUFFERS,
    **_SUBSCRIBE,
    "shutdown": _no("iii"),
}

TABLE: Final[Table] = {
    "network": {"network-error-code": tag("ii", 0), **drops("network")},
    "instance-network": {"instance-network": returns("", "i", NETWORK)},
    "udp": {
        **methods("udp-socket", _UDP),
        **methods("incoming-datagram-stream", {"receive": _no("ili", _LIST), **_SUBSCRIBE}),
        **methods("outgoing-datagram-stream", {"check-send": _no("ii", _U64), "send": _no("iiii", _U64), **_SUBSCRIBE}),
        **drops("udp-socket", "incoming-datagram-stream", "outgoing-datagram-stream"),
    },
    "udp-create-socket": {"create-udp-socket": _no("ii", _HANDLES)},
    "tcp": {**methods("tcp-socket", _TCP), **drops("tcp-socket")},
    "tcp-create-socket": {"create-tcp-socket": _no("ii", _HANDLES)},
    "ip-name-lookup": {
        **methods("resolve-address-stream", {"resolve-next-address": _no("ii", _ADDRESS), **_SUBSCRIBE}),
        "resolve-addresses": _no("iiii", _HANDLES),
        **drops("resolve-address-stream"),
    },
}
