"""Errors as ``application/problem+json`` (RFC 9457): the status of each exception, and what the API documents."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec

from diffcheck import process
from diffcheck.errors import DiffcheckError
from diffcheck.service import access, catalogue, content_store
from diffcheck.service.jobs import job_queue
from diffcheck.service.jobs.job_request import RequestError
from diffcheck.service.logs import LOGGER
from diffcheck.text import visible

MEDIA_TYPE: Final = "application/problem+json"
_STATUSES: Final[dict[type[Exception], int]] = {
    access.UnauthenticatedError: 401,
    access.ForbiddenError: 403,
    catalogue.NotFoundError: 404,
    FileNotFoundError: 404,
    RequestError: 409,
    content_store.TooLargeError: 413,
    job_queue.QueueFullError: 429,
    content_store.StorageFullError: 507,
    DiffcheckError: 400,
}
_TITLES: Final = {
    400: "bad request", 401: "not authenticated", 403: "forbidden", 404: "not found", 405: "method not allowed", 409: "conflict",
    413: "too large", 429: "too many requests", 500: "internal error", 503: "unavailable", 507: "no space",
}  # fmt: skip


class Problem(msgspec.Struct, frozen=True):
    """An error. ``detail`` is a sentence, ``hint`` is what to do."""

    title: str
    status: int
    detail: str
    hint: str = ""
    type: str = "about:blank"


def problem_of(error: Exception, folder: Path) -> Problem:
    """The problem that an exception is. What is not foreseen is logged, and shown without details."""
    if isinstance(error, HTTPException):
        status, detail, hint = error.status_code, _http_detail(error), ""
    elif isinstance(error, (sqlite3.Error, OSError)) and process.is_full(error, folder):
        status, detail, hint = 507, "the disk is full: nothing can be stored", "free some space on the service's disk"
    elif isinstance(error, sqlite3.OperationalError):
        status, detail, hint = 503, "the database is busy", "try again"
    else:
        status = next((number for kind, number in _STATUSES.items() if isinstance(error, kind)), 500)
        detail, hint = str(error), getattr(error, "hint", "")
        if isinstance(error, FileNotFoundError):
            detail = "there is no such file"
    if status == 500:  # noqa: PLR2004 - the status
        LOGGER.error("a request failed", exc_info=error)
        detail, hint = "this is a defect of diffcheck", "the service's log has the details"
    return Problem(_TITLES.get(status, "error"), status, visible(detail, 1000), visible(hint, 500))


def _http_detail(error: HTTPException) -> str:
    """The framework's message with the fields that it names."""
    fields: Any = error.extra if isinstance(error.extra, list) else []
    parts = [f"{each.get('key', '')}: {each.get('message', '')}" for each in fields if isinstance(each, dict)]
    return "; ".join([error.detail.partition(" for ")[0] if parts else error.detail, *parts])


def documented(*statuses: int) -> dict[int, ResponseSpec]:
    """The problems of an operation, for the OpenAPI document; every operation may need a token."""
    return {
        number: ResponseSpec(Problem, generate_examples=False, description=_TITLES[number], media_type=MEDIA_TYPE)
        for number in (*statuses, 401, 403, 503, 507)
    }
