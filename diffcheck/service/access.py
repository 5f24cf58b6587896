"""Who may do what: tokens, logins, the Host and Origin of requests, and the audit log.

A token or a login has a scope: *read*, *submit* (also upload and start jobs) or *operate* (also cancel, and change findings). While
there is no token, everyone who can connect over the loopback interface operates the service.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from diffcheck.errors import ConfigError, DiffcheckError
from diffcheck.service.database import Database, insert
from diffcheck.service.settings import ServiceSettings, is_loopback
from diffcheck.text import visible

Scope = Literal["read", "submit", "operate"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "submit", "operate")
COOKIE: Final = "diffcheck_login"
LOGIN_S: Final = 14 * 86_400.0
_BY_TOKEN: Final = "SELECT id, name, scope, expires FROM tokens WHERE digest = ? AND expires > ?"  # noqa: S105 - a query
_BY_LOGIN: Final = (
    "SELECT t.name, t.scope FROM logins l JOIN tokens t ON t.id = l.token WHERE l.digest = ? AND min(l.expires, t.expires) > ?"
)
_SAFE: Final = ("GET", "HEAD", "OPTIONS")


class UnauthenticatedError(DiffcheckError):
    """A token is needed, or the one given is not valid."""


class ForbiddenError(DiffcheckError):
    """The token's scope does not suffice, or the request comes from a page of another site."""


class Principal(msgspec.Struct, frozen=True):
    """Who makes a request. An empty scope may do nothing."""

    name: str
    scope: Scope | Literal[""]

    def may(self, scope: Scope) -> bool:
        """Whether the scope suffices."""
        return bool(self.scope) and SCOPES.index(self.scope or "read") >= SCOPES.index(scope)


class Visit(msgspec.Struct, frozen=True):
    """The parts of a request that decide about access. ``peer`` is the address of the other end of the connection."""

    method: str
    peer: str
    headers: Mapping[str, str]
    cookie: str

    def host(self, settings: ServiceSettings) -> str:
        """The host that the client asked for; a proxy's word counts if the proxy is configured."""
        forwarded = self.headers.get("x-forwarded-host", "") if self.peer in settings.proxies else ""
        return forwarded or self.headers.get("host", "")

    def is_secure(self, settings: ServiceSettings) -> bool:
        """Whether a configured proxy received the request over TLS."""
        return self.peer in settings.proxies and self.headers.get("x-forwarded-proto") == "https"


def principal(database: Database, settings: ServiceSettings, visit: Visit) -> Principal:
    """Who makes a request; raises ``UnauthenticatedError`` for a bad token, ``ForbiddenError`` for a foreign page or host."""
    _check_host(settings, visit)
    bearer = visit.headers.get("authorization", "")
    if bearer:
        scheme, _, text = bearer.partition(" ")
        found = _holder(database, _BY_TOKEN, text.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise UnauthenticatedError("the token is not valid", hint="make one with `diffcheck serve token`")
        return found
    _check_origin(settings, visit)
    found = _holder(database, _BY_LOGIN, visit.cookie) if visit.cookie else None
    if found is not None:
        return found
    if not has_tokens(database) and is_loopback(visit.peer) and is_loopback(_name(visit.host(settings))):
        return Principal("local", "operate")
    return Principal("", "read" if settings.public else "")


def require(who: Principal, scope: Scope) -> None:
    """Raise ``UnauthenticatedError`` or ``ForbiddenError`` if the scope does not suffice."""
    if who.may(scope):
        return
    if not who.name:
        raise UnauthenticatedError("a token is needed", hint="send it as Authorization: Bearer TOKEN, or log in")
    raise ForbiddenError(f"the token {visible(who.name, 60)} has scope {who.scope}; this request needs {scope}")


def add_token(database: Database, name: str, scope: Scope, days: float) -> str:
    """Make a token and return it; only its digest is stored. Raises ``ConfigError`` if the name is taken."""
    text = f"dc_{secrets.token_urlsafe(32)}"
    with database.writing() as connection:
        if connection.execute("SELECT 1 FROM tokens WHERE name = ?", (name,)).fetchone():
            raise ConfigError(f"there is a token {visible(name, 60)!r}", hint="remove it, or choose another name")
        now = time.time()
        insert(connection, "tokens", name=name, digest=_digest(text), scope=scope, created=now, expires=now + days * 86_400)
        audit(connection, "command line", "token added", f"{name} ({scope})")
    return text


def remove_token(database: Database, name: str) -> None:
    """Remove a token and its logins; raises ``ConfigError`` if there is none."""
    with database.writing() as connection:
        if not connection.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount:
            raise ConfigError(f"there is no token {visible(name, 60)!r}")
        audit(connection, "command line", "token removed", name)


def log_in(database: Database, token: str) -> str | None:
    """A login for a token, to be kept in a cookie; None if the token is not valid."""
    with database.writing() as connection:
        connection.execute("DELETE FROM logins WHERE expires < ?", (time.time(),))
        row = connection.execute(_BY_TOKEN, (_digest(token), time.time())).fetchone()
        if row is None:
            return None
        text = secrets.token_urlsafe(32)
        expires = min(row["expires"], time.time() + LOGIN_S)
        connection.execute("INSERT INTO logins VALUES (?, ?, ?)", (_digest(text), row["id"], expires))
    return text


def log_out(database: Database, login: str) -> None:
    """End a login."""
    database.change("DELETE FROM logins WHERE digest = ?", _digest(login))


def has_tokens(database: Database) -> bool:
    """Whether any token was made, expired ones included."""
    return database.row("SELECT 1 FROM tokens LIMIT 1") is not None


def audit(connection: sqlite3.Connection, who: str, action: str, target: str) -> None:
    """Note a change, in the transaction that makes it."""
    insert(connection, "audit", at=time.time(), who=who, action=action, target=target)


def _check_host(settings: ServiceSettings, visit: Visit) -> None:
    """A page of another site may have its own name resolved to this machine; the name is then not one of ours."""
    name = _name(visit.host(settings))
    if settings.hosts and name not in settings.hosts and not is_loopback(name):
        raise ForbiddenError(f"{visible(name, 100)} is not a name of this service", hint="add it to hosts in its configuration")


def _check_origin(settings: ServiceSettings, visit: Visit) -> None:
    """A change that a cookie or the place allows must come from a page of this service; only browsers send an Origin."""
    if visit.method in _SAFE:
        return
    origin = visit.headers.get("origin", "")
    if (origin and origin.partition("://")[2] != visit.host(settings)) or (visit.cookie and not origin):
        raise ForbiddenError("the request does not come from a page of this service")


def _name(host: str) -> str:
    """The name in a ``Host`` header, without the port; empty if it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _holder(database: Database, query: str, text: str) -> Principal | None:
    """Whose a token or a login is; None if it has expired."""
    row = database.row(query, _digest(text), time.time())
    return Principal(row["name"], row["scope"]) if row is not None else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
