"""Structured logs: one JSON object a line on stderr."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from typing import Final

import msgspec

from diffcheck.text import visible

LOGGER: Final = logging.getLogger("diffcheck.service")


class _JsonFormatter(logging.Formatter):
    """A record as JSON with a time in UTC; tracebacks are a field."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        fields = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": os.getpid(),
            "message": visible(record.getMessage(), 2000),
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(fields).decode()


def prepare() -> None:
    """Send all records to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
