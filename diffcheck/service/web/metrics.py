"""Metrics in Prometheus' text format, computed when they are asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from diffcheck.service import catalogue

if TYPE_CHECKING:
    import sqlite3

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST


def render(connection: sqlite3.Connection, file_bytes: int) -> bytes:
    """Jobs and findings by state, the age of the oldest waiting job, runs, messages that wait, bytes of files."""
    registry = CollectorRegistry()
    states = {name: catalogue.counts(connection, name) for name in ("jobs", "findings")}
    (oldest,) = connection.execute("SELECT min(created) FROM jobs WHERE state = 'queued'").fetchone()
    (runs,) = connection.execute("SELECT count(*) FROM runs").fetchone()
    (waiting,) = connection.execute("SELECT count(*) FROM deliveries WHERE state = 'waiting'").fetchone()
    for name, counts in states.items():
        gauge = Gauge(f"diffcheck_{name}", f"{name.capitalize()} by state", ["state"], registry=registry)
        for state, number in counts.items():
            gauge.labels(state).set(number)
    values = {
        "queue_age_seconds": (time.time() - oldest if oldest else 0.0, "Age of the oldest waiting job"),
        "runs": (runs, "Runs that were entered"),
        "messages_waiting": (waiting, "Messages that were not delivered yet"),
        "file_bytes": (file_bytes, "Size of all stored files"),
    }
    for name, (value, what) in values.items():
        Gauge(f"diffcheck_{name}", what, registry=registry).set(value)
    return generate_latest(registry)
