"""The stored report: ``report.json``, its JSON Schema, and reading it back."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any, Final

import msgspec

from diffcheck import process
from diffcheck.errors import ReportError
from diffcheck.report.model import SCHEMA
from diffcheck.text import visible
from diffcheck.verdict import Report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_NAME: Final = "report.json"
SCHEMA_ID: Final = f"urn:diffcheck:{SCHEMA}"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_CAP_BYTES: Final = 1 << 30
_NO_CASES: Final = b'\n  "cases": []'
_FIRST: Final = b'\n  "cases": [\n    '
_NEXT: Final = b",\n    "
_LAST: Final = b"\n  ]"


class _Head(msgspec.Struct):
    """The schema's name, read first to recognise reports of other versions."""

    schema: str = ""


def encode(report: Report) -> bytes:
    """The report as indented JSON with a line break at its end."""
    return b"".join(pieces(report))


def pieces(report: Report) -> Iterator[bytes]:
    """The report as in ``encode``, in parts of one case, so that a large report is never in memory as a whole."""
    frame = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(report, cases=())), indent=2)
    head, found, tail = frame.partition(_NO_CASES)
    if not found:
        raise RuntimeError("the report has no place for its cases")
    yield head
    for at, case in enumerate(report.cases):
        yield _FIRST if not at else _NEXT
        # No string has a line break in it, so these are the indentation's.
        yield msgspec.json.format(msgspec.json.encode(case), indent=2).replace(b"\n", b"\n    ")
    yield (_LAST if report.cases else _NO_CASES) + tail + b"\n"


def prepare(folder: Path) -> None:
    """Create the folder for reports and check that it is writable; raises ``ReportError``."""
    process.make_folder(folder, "choose another folder with --reports or DIFFCHECK_REPORTS")
    process.check_folder(folder)


def write(report: Report, folder: Path) -> Path:
    """Write ``report.json`` to ``folder``, which is created if missing; raises ``ReportError``."""
    path = folder / FILE_NAME
    prepare(folder)
    process.write_atomically(path, pieces(report))
    return path


def read(path: Path) -> Report:
    """The report in a file; raises ``ReportError`` if it is missing or not a report of this version."""
    name = visible(str(path))
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ReportError(f"{name} is not a file", hint="use the report.json of a run, or its folder")
        if status.st_size > _CAP_BYTES:
            raise ReportError(f"{name} is larger than {_CAP_BYTES >> 30} GiB", hint="check the path")
        data = path.read_bytes()
    except FileNotFoundError as error:
        hint = "run `diffcheck run PATH` first, or name its folder with --reports DIR"
        raise ReportError(f"there is no report at {name}", hint=hint) from error
    except OSError as error:
        raise ReportError(f"{name} cannot be read: {visible(error.strerror or str(error))}", hint="check the path") from error
    return decode(data, name)


def decode(data: bytes, name: str) -> Report:
    """The report in ``data``; ``name`` is its name in messages."""
    hint = "run diffcheck again to write a report of this version"
    try:
        head = msgspec.json.decode(data, type=_Head)
    except msgspec.ValidationError as error:
        raise ReportError(f"{name} is not a diffcheck report: {visible(str(error))}", hint=hint) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReportError(f"{name} is not JSON: {visible(str(error))}", hint=hint) from error
    if head.schema != SCHEMA:
        found = f"its schema is {visible(head.schema, 60)!r}" if head.schema else "it has no schema"
        raise ReportError(f"{name} is not {SCHEMA}: {found}", hint=hint)
    try:
        return msgspec.json.decode(data, type=Report)
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise ReportError(f"{name} is not {SCHEMA}: {visible(str(error))}", hint=hint) from error


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a report."""
    found = {"$schema": _DIALECT, "$id": SCHEMA_ID, "title": "A diffcheck report", **msgspec.json.schema(Report)}
    for each in found["$defs"].values():
        if "description" in each:
            each["description"] = " ".join(each["description"].split())  # docstrings are indented
    return found
