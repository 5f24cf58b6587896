"""The parameters of known functions that point to bytes that the program passes: paths, written bytes, lists of handles.

Sources: the preview 1 witx description and, for wasi 0.2, the flattening of the canonical ABI: a string or list is an address and a
number of elements. If a function fills buffers (``fd_read``), the list of buffers is an input, but not their contents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Input(msgspec.Struct, frozen=True):
    """Passed bytes: the parameters for the address and the number of elements, and an element's size in bytes.

    ``lists`` is the distance in bytes of (address, length) pairs in the elements, each of which is another buffer; 0 for none.
    """

    address: int
    count: int
    size: int = 1
    lists: int = 0


Inputs = tuple[Input, ...]


def _strings(*addresses: int) -> Inputs:
    return tuple(Input(address, address + 1) for address in addresses)


_PAIR: Final = 8  # bytes of an address and a length
_SUBSCRIPTION: Final = 48
_DATAGRAM: Final = 44  # a list of bytes and an optional ip-socket-address
_WRITTEN: Final = (Input(1, 2, _PAIR, _PAIR),)
_FILLED: Final = (Input(1, 2, _PAIR),)

_PREVIEW1: Final[Mapping[str, Inputs]] = {
    "fd_write": _WRITTEN,
    "fd_pwrite": _WRITTEN,
    "sock_send": _WRITTEN,
    "fd_read": _FILLED,
    "fd_pread": _FILLED,
    "sock_recv": _FILLED,
    "path_create_directory": _strings(1),
    "path_filestat_get": _strings(2),
    "path_filestat_set_times": _strings(2),
    "path_link": _strings(2, 5),
    "path_open": _strings(2),
    "path_readlink": _strings(1),
    "path_remove_directory": _strings(1),
    "path_rename": _strings(1, 4),
    "path_symlink": _strings(0, 3),
    "path_unlink_file": _strings(1),
    "poll_oneoff": (Input(0, 2, _SUBSCRIPTION),),
}


def _methods(resource: str, of: Mapping[str, Inputs]) -> dict[str, Inputs]:
    return {f"[method]{resource}.{name}": inputs for name, inputs in of.items()}


INPUTS: Final[Mapping[str, Mapping[str, Inputs]]] = {
    "wasi_snapshot_preview1": _PREVIEW1,
    "wasi_unstable": _PREVIEW1,
    "wasi:io/poll@0.2": {"poll": (Input(0, 1, 4),)},
    "wasi:io/streams@0.2": _methods("output-stream", {"write": _strings(1), "blocking-write-and-flush": _strings(1)}),
    "wasi:filesystem/types@0.2": _methods(
        "descriptor",
        {
            "write": _strings(1),
            "create-directory-at": _strings(1),
            "stat-at": _strings(2),
            "set-times-at": _strings(2),
            "link-at": _strings(2, 5),
            "open-at": _strings(2),
            "readlink-at": _strings(1),
            "remove-directory-at": _strings(1),
            "rename-at": _strings(1, 4),
            "symlink-at": _strings(1, 3),
            "unlink-file-at": _strings(1),
            "metadata-hash-at": _strings(2),
        },
    ),
    "wasi:sockets/udp@0.2": _methods("outgoing-datagram-stream", {"send": (Input(1, 2, _DATAGRAM, _DATAGRAM),)}),
    "wasi:sockets/ip-name-lookup@0.2": {"resolve-addresses": _strings(1)},
    "wasi:http/types@0.2": {
        "[static]fields.from-list": (Input(0, 1, 2 * _PAIR, _PAIR),),
        **_methods(
            "fields",
            {
                "get": _strings(1),
                "has": _strings(1),
                "delete": _strings(1),
                "set": (Input(1, 2), Input(3, 4, _PAIR, _PAIR)),
                "append": _strings(1, 3),
            },
        ),
        **_methods(
            "outgoing-request",
            {
                "set-method": _strings(2),
                "set-path-with-query": _strings(2),
                "set-scheme": _strings(3),
                "set-authority": _strings(2),
            },
        ),
    },
}
"""Module -> function -> inputs, with the names of ``TABLES``."""
