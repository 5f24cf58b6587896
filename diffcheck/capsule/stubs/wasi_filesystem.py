"""wasi:filesystem 0.2: no directory is open, so every use of a descriptor fails with *bad-descriptor*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.capsule.stubs.lowered import Table, drops, empty_list, error, methods, returns, tag

if TYPE_CHECKING:
    from diffcheck.capsule.stubs.spec import Spec

BAD_DESCRIPTOR: Final = 3


def _bad(params: str, at: int = 1) -> Spec:
    return error(params, BAD_DESCRIPTOR, at)


# The offset of an error code depends on the result of success: 4 for a handle, list or string, 8 for a u64.
_HANDLE, _LIST, _STRING, _U64 = 4, 4, 4, 8

_DESCRIPTOR: Final = {
    "read-via-stream": _bad("ili", _HANDLE),
    "write-via-stream": _bad("ili", _HANDLE),
    "append-via-stream": _bad("ii", _HANDLE),
    "advise": _bad("illii"),
    "sync-data": _bad("ii"),
    "get-flags": _bad("ii"),
    "get-type": _bad("ii"),
    "set-size": _bad("ili"),
    "set-times": _bad("iiliilii"),
    "read": _bad("illi", _LIST),
    "write": _bad("iiili", _U64),
    "read-directory": _bad("ii", _HANDLE),
    "sync": _bad("ii"),
    "create-directory-at": _bad("iiii"),
    "stat": _bad("ii", _U64),
    "stat-at": _bad("iiiii", _U64),
    "set-times-at": _bad("iiiiiliilii"),
    "link-at": _bad("iiiiiiii"),
    "open-at": _bad("iiiiiii", _HANDLE),
    "readlink-at": _bad("iiii", _STRING),
    "remove-directory-at": _bad("iiii"),
    "rename-at": _bad("iiiiiii"),
    "symlink-at": _bad("iiiiii"),
    "unlink-file-at": _bad("iiii"),
    "is-same-object": returns("ii", "i", 0),
    "metadata-hash": _bad("ii", _U64),
    "metadata-hash-at": _bad("iiiii", _U64),
}

TABLE: Final[Table] = {
    "types": {
        **methods("descriptor", _DESCRIPTOR),
        "[method]directory-entry-stream.read-directory-entry": _bad("ii", _STRING),
        "filesystem-error-code": tag("ii", 0),
        **drops("descriptor", "directory-entry-stream"),
    },
    "preopens": {"get-directories": empty_list("i", 4)},
}
