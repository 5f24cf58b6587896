"""The application: routes, access, errors, headers, ETags, the OpenAPI document."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any, Final

from litestar import Litestar, Request, Response, Router
from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from diffcheck.config.version import __version__
from diffcheck.service import access
from diffcheck.service.access import Principal
from diffcheck.service.web import api, pages
from diffcheck.service.web.problems import MEDIA_TYPE, problem_of

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from diffcheck.service.data_folder import DataFolder

PREFIX: Final = "/api/v1"
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# With "no-referrer", forms are sent with the Origin "null".
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
_JSON_BYTES: Final = 1 << 20
_OK: Final = 200
_NOT_MODIFIED: Final = 304
_BAD_REQUEST: Final = 400
_REFUSED_BYTES: Final = 256 << 20
"""So much of a refused body is read: a client that is still sending sees the answer only when it has sent all."""


def create(data: DataFolder) -> ASGIApp:
    """The application of a data folder."""

    async def authenticate(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Find out who makes the request, and refuse it if the operation needs another scope."""
        who = access.principal(data.database, data.settings, pages.access_visit(connection))
        connection.scope["user"] = who
        scope = handler.opt.get("scope", "read")
        if scope is not None:
            access.require(who, scope)

    def failed(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        """An error as a problem, or as a page."""
        problem = problem_of(error, data.path)
        if request.url.path.startswith("/api/"):
            return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=getattr(error, "headers", None))
        return pages.problem_page(problem)

    def principal(request: Request[Any, Any, Any]) -> Principal:
        who = request.scope["user"]
        return who if isinstance(who, Principal) else Principal("", "")

    def connection() -> Iterator[Connection]:
        with data.database.reading() as opened:
            yield opened

    app = Litestar(
        [
            Router(PREFIX, route_handlers=api.HANDLERS, request_max_body_size=_JSON_BYTES),
            Router("/", route_handlers=pages.HANDLERS, include_in_schema=False),
        ],
        request_max_body_size=2 * data.store.upload_bytes,
        dependencies={
            "folder": Provide(lambda: data, sync_to_thread=False),
            "connection": Provide(connection),
            "who": Provide(principal, sync_to_thread=False),
        },
        guards=[authenticate],
        exception_handlers={Exception: failed},
        openapi_config=OpenAPIConfig(
            title="diffcheck service",
            version=__version__,
            path=PREFIX,
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
            use_handler_docstrings=True,
        ),
        logging_config=None,
    )
    for name in ("JobRequest", "FileName", "FindingChange"):  # the framework leaves out that they take no other fields
        (app.openapi_schema.components.schemas or {})[name].additional_properties = False
    return _with_headers(app)


def _with_headers(app: ASGIApp) -> ASGIApp:
    """The application with security headers on every answer, and with ETags on what is sent in one piece."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        known = Headers.from_scope(scope).get("if-none-match", "").replace("W/", "").split(", ")
        held: list[Any] = []
        unread = scope["method"] in ("POST", "PATCH")

        async def receiving() -> Any:  # noqa: ANN401 - a message of the framework
            nonlocal unread
            message: Any = await receive()
            unread = unread and message.get("more_body", False)
            return message

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                held.append(message)
                left = _REFUSED_BYTES
                while message["status"] >= _BAD_REQUEST and unread and left > 0:
                    left -= len((await receiving()).get("body", b""))
                return
            if message["type"] == "http.response.body" and held:
                start = held.pop()
                headers = MutableScopeHeaders.from_message(start)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                whole = start["status"] == _OK and scope["method"] == "GET" and not message["more_body"]
                if whole and "etag" not in headers:
                    headers["etag"] = f'"{hashlib.sha256(message["body"]).hexdigest()[:32]}"'
                    if headers["etag"] in known:
                        start["status"] = _NOT_MODIFIED
                        del headers["content-length"]
                        message["body"] = b""
                await send(start)
            await send(message)

        await app(scope, receiving, sending)

    return wrapped
