"""Messages about findings that are new, returned or fixed: a signed webhook that is tried again, with Markdown for a comment."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.text import visible

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from diffcheck.service.database import Database
    from diffcheck.service.settings import Webhook

_MOST_ATTEMPTS: Final = 10
_FIRST_S: Final = 10.0
_TIMEOUT_S: Final = 10.0
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]()<>#+!|~@&-])")


class WebhookMessage(msgspec.Struct, frozen=True):
    """The body of a webhook. ``event`` is new, returned or fixed."""

    event: str
    finding: int
    title: str
    subject: str
    first_build: str
    last_build: str
    fixed_build: str
    issue: str
    markdown: str


def add(connection: sqlite3.Connection, finding: sqlite3.Row, event: str, run: int, webhooks: Sequence[Webhook]) -> None:
    """Queue a message to every receiver, once for a finding and a run."""
    more = {"event": event, "finding": finding["id"], "markdown": markdown(finding, event)}
    body = msgspec.json.encode(msgspec.convert(dict(finding) | more, WebhookMessage)).decode()
    for each in webhooks:
        key = f"{finding['id']} {event} {run} {each.url}"
        connection.execute(
            "INSERT OR IGNORE INTO deliveries (key, url, body, due) VALUES (?, ?, ?, ?)", (key, each.url, body, time.time())
        )


def markdown(finding: sqlite3.Row, event: str) -> str:
    """A finding in a line of Markdown, in which its names are plain text."""
    builds = f"fixed in {finding['fixed_build']}" if event == "fixed" else f"in {finding['last_build']}"
    title, where, issue = (_MARKUP.sub(r"\\\1", visible(text, 300)) for text in (finding["title"], builds, finding["issue"]))
    return f"**{event}** finding {finding['id']}: {title} ({where}){f', {issue}' if issue else ''}"


def deliver(database: Database, webhooks: Sequence[Webhook]) -> None:
    """Send pending messages. A receiver that fails is tried again later, with growing intervals."""
    query = "SELECT id, url, body, attempts FROM deliveries WHERE state = 'waiting' AND due <= ? ORDER BY due LIMIT 20"
    by_url = {each.url: each for each in webhooks}
    for row in database.rows(query, time.time()):
        hook = by_url.get(row["url"])
        reason = _send(hook, row["body"]) if hook is not None else "the configuration no longer has the receiver"
        attempts = row["attempts"] + 1
        state = "sent" if not reason else "failed" if hook is None or attempts >= _MOST_ATTEMPTS else "waiting"
        enter = "UPDATE deliveries SET state = ?, reason = ?, attempts = ?, due = ? WHERE id = ?"
        database.change(enter, state, reason, attempts, time.time() + _FIRST_S * 2**attempts, row["id"])
        if reason:
            return  # what else is due can wait for the next step, and the service for its end cannot


def _send(hook: Webhook, body: str) -> str:
    """The reason why a message was not taken; empty if it was."""
    try:
        key = Path(hook.secret_file).read_bytes().strip()
        data = body.encode()
        request = urllib.request.Request(hook.url, data, method="POST")  # noqa: S310 - the settings allow http and https only
        request.add_header("Content-Type", "application/json")
        request.add_header("X-Diffcheck-Signature", f"sha256={hmac.new(key, data, hashlib.sha256).hexdigest()}")
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - as above
            answer.read(1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return visible(str(error), 300)
    return ""
