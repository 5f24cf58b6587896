"""wasi:http 0.2: outgoing requests can be created but are denied. Functions about incoming data trap, since there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.capsule.stubs.lowered import OTHER, Table, drops, empty_list, error, methods, returns, tag, trap

if TYPE_CHECKING:
    from diffcheck.capsule.stubs.spec import Spec

HTTP_REQUEST_DENIED: Final = 15
FORBIDDEN: Final = 1
_HANDLE, _ERROR_CODE = 4, 8  # offset of an error: 4 next to a handle, 8 for an error-code, which has cases with a u64
_FAILED: Final = 1  # the flat value of a `result` without payloads


def _denied(params: str) -> Spec:
    return error(params, HTTP_REQUEST_DENIED, _ERROR_CODE)


def _trap(params: str, result: str = "") -> Spec:
    return trap(params, result, "a capsule has no incoming request, response or body")


_CREATE: Final = returns("", "i", OTHER)
_CREATE_FROM: Final = returns("i", "i", OTHER)
_NONE: Final = tag("ii", 0)
_ERR: Final = tag("ii", 1)

_FIELDS: Final = {
    "get": empty_list("iiii", 4),
    "has": returns("iii", "i", 0),
    "set": error("iiiiii", FORBIDDEN, 1),
    "delete": error("iiii", FORBIDDEN, 1),
    "append": error("iiiiii", FORBIDDEN, 1),
    "entries": empty_list("ii", 4),
    "clone": _CREATE_FROM,
}
_INCOMING_REQUEST: Final = {
    "method": _trap("ii"),
    "path-with-query": _trap("ii"),
    "scheme": _trap("ii"),
    "authority": _trap("ii"),
    "headers": _trap("i", "i"),
    "consume": _ERR,
}
_OUTGOING_REQUEST: Final = {
    "body": _ERR,
    "method": _NONE,  # the first case: get
    "set-method": returns("iiii", "i", _FAILED),
    "path-with-query": _NONE,
    "set-path-with-query": returns("iiii", "i", _FAILED),
    "scheme": _NONE,
    "set-scheme": returns("iiiii", "i", _FAILED),
    "authority": _NONE,
    "set-authority": returns("iiii", "i", _FAILED),
    "headers": _CREATE_FROM,
}
_REQUEST_OPTIONS: Final = {
    "connect-timeout": _NONE,
    "set-connect-timeout": returns("iil", "i", _FAILED),
    "first-byte-timeout": _NONE,
    "set-first-byte-timeout": returns("iil", "i", _FAILED),
    "between-bytes-timeout": _NONE,
    "set-between-bytes-timeout": returns("iil", "i", _FAILED),
}
_OUTGOING_RESPONSE: Final = {
    "status-code": returns("i", "i", 200),
    "set-status-code": returns("ii", "i", _FAILED),
    "headers": _CREATE_FROM,
    "body": _ERR,
}

TABLE: Final[Table] = {
    "types": {
        "[constructor]fields": _CREATE,
        "[static]fields.from-list": error("iii", FORBIDDEN, _HANDLE),
        **methods("fields", _FIELDS),
        **methods("incoming-request", _INCOMING_REQUEST),
        "[constructor]outgoing-request": _CREATE_FROM,
        **methods("outgoing-request", _OUTGOING_REQUEST),
        "[constructor]request-options": _CREATE,
        **methods("request-options", _REQUEST_OPTIONS),
        "[method]response-outparam.send-informational": _denied("iiii"),
        "[static]response-outparam.set": _trap("iiiiliiii"),
        "[method]incoming-response.status": _trap("i", "i"),
        "[method]incoming-response.headers": _trap("i", "i"),
        "[method]incoming-response.consume": _ERR,
        "[method]incoming-body.stream": _ERR,
        "[static]incoming-body.finish": _trap("i", "i"),
        "[method]future-trailers.subscribe": _trap("i", "i"),
        "[method]future-trailers.get": _trap("ii"),
        "[constructor]outgoing-response": _CREATE_FROM,
        **methods("outgoing-response", _OUTGOING_RESPONSE),
        "[method]outgoing-body.write": _ERR,
        "[static]outgoing-body.finish": _denied("iiii"),
        "[method]future-incoming-response.subscribe": _trap("i", "i"),
        "[method]future-incoming-response.get": _trap("ii"),
        "http-error-code": _NONE,
        **drops(
            "fields",
            "incoming-request",
            "outgoing-request",
            "request-options",
            "response-outparam",
            "incoming-response",
            "incoming-body",
            "future-trailers",
            "outgoing-response",
            "outgoing-body",
            "future-incoming-response",
        ),
    },
    "outgoing-handler": {"handle": _denied("iiii")},
}
