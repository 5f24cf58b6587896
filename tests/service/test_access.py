"""Tokens, scopes, logins, hosts and origins."""

from __future__ import annotations

import subprocess
import urllib.parse

import pytest

from diffcheck.service import access
from diffcheck.service.access import ForbiddenError, Principal, UnauthenticatedError, Visit
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.settings import ServiceSettings


@pytest.fixture
def database(tmp_path):
    data = DataFolder(tmp_path / "data", ServiceSettings())
    data.create()
    return data.database


def visit(method="GET", peer="127.0.0.1", cookie="", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Visit(method, peer, {"host": "127.0.0.1:8484", **named}, cookie)


def who(database, *arguments, settings=ServiceSettings(), **fields):  # noqa: B008 - frozen
    return access.principal(database, settings, visit(*arguments, **fields))


def test_without_tokens_this_machine_operates_and_no_other(database):
    assert who(database) == Principal("local", "operate")
    assert who(database, peer="192.0.2.1").scope == ""
    assert who(database, host="attacker.example").scope == ""  # a name that leads here
    access.add_token(database, "ci", "read", 1)
    assert who(database).scope == ""
    assert who(database, settings=ServiceSettings(public=True)).scope == "read"


def test_a_token_has_its_scope_until_it_expires_or_is_removed(database):
    token = access.add_token(database, "ci", "submit", 1)
    found = who(database, authorization=f"Bearer {token}")
    assert found == Principal("ci", "submit")
    assert (found.may("read"), found.may("operate")) == (True, False)
    with pytest.raises(ForbiddenError):
        access.require(found, "operate")
    old = access.add_token(database, "old", "operate", -1)
    for bad in (old, token + "x", "", "\udc80"):
        with pytest.raises(UnauthenticatedError):
            who(database, authorization=f"Bearer {bad}")
    access.remove_token(database, "ci")
    with pytest.raises(UnauthenticatedError):
        who(database, authorization=f"Bearer {token}")
    with database.reading() as connection:
        assert token not in str([tuple(row) for row in connection.execute("SELECT * FROM tokens")])


def test_a_login_changes_things_only_from_pages_of_the_service(database):
    cookie = access.log_in(database, access.add_token(database, "alice", "operate", 1))
    assert who(database, cookie=cookie).name == "alice"
    assert who(database, "POST", cookie=cookie, origin="http://127.0.0.1:8484").name == "alice"
    for origin in ({}, {"origin": "http://attacker.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:8485"}):
        with pytest.raises(ForbiddenError):
            who(database, "POST", cookie=cookie, **origin)
    access.log_out(database, cookie)
    assert who(database, cookie=cookie).name == ""


def test_a_page_of_another_site_cannot_use_the_open_service(database):
    with pytest.raises(ForbiddenError):
        who(database, "POST", origin="http://attacker.example")


def test_forwarded_headers_count_from_configured_proxies_only(database):
    settings = ServiceSettings(hosts=("checks.example",), proxies=("10.0.0.1",))
    forwarded = {"x_forwarded_host": "checks.example", "host": "other.example"}
    assert who(database, peer="10.0.0.1", settings=settings, **forwarded).scope == ""
    with pytest.raises(ForbiddenError):
        who(database, peer="10.0.0.2", settings=settings, **forwarded)


def test_requests_over_the_network_are_checked(live):
    service = live()
    operate, read = (
        subprocess.check_output([*service.command("token", name), "--scope", name], text=True).strip()
        for name in ("operate", "read")
    )
    assert service.get("/").status == 401
    assert b"Log in" in service.get("/").body
    assert service.get("/api/v1/jobs").headers["Content-Type"] == "application/problem+json"
    assert service.get("/api/v1/health").status == 200
    assert service.get("/api/v1/jobs", Authorization=f"Bearer {read}").status == 200
    assert service.post("/api/v1/artifacts", b"x", Authorization=f"Bearer {read}").status == 403
    large = service.post("/api/v1/artifacts", b"x" * (32 << 20), Authorization=f"Bearer {read}")  # refused while it is sent
    assert (large.status, large.json["title"]) == (403, "forbidden")
    form = urllib.parse.urlencode({"token": operate}).encode()
    answer = service.post("/login", form, Origin=service.url, Content_Type="application/x-www-form-urlencoded")
    assert answer.status == 303
    cookie = answer.headers["Set-Cookie"]
    assert all(word in cookie.lower() for word in ("httponly", "samesite=strict"))
    sent = {"Cookie": cookie.partition(";")[0]}
    assert service.get("/", **sent).status == 200
    assert service.post("/jobs/1/cancel", **sent).status == 403
    assert service.post("/jobs/1/cancel", Origin=service.url, **sent).status == 404
    policy = service.get("/", **sent).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert service.get("/api/v1/audit", **sent).json["items"][0]["action"] == "token added"
    tag = service.get("/findings", **sent).headers["ETag"]
    assert service.get("/findings", If_None_Match=tag, **sent).status == 304


def test_beyond_loopback_a_token_is_needed(tmp_path):
    command = [*_serve(tmp_path), "--listen", "0.0.0.0:0"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "a token is needed" in ended.stderr


def _serve(folder):
    from .live import Live  # noqa: PLC0415 - its command line only

    return Live(folder).command()
