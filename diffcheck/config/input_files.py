"""Reading files of users with limits: regular files, and TOML in bounded time and memory."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import stat
import tomllib
from typing import TYPE_CHECKING, Any, Final

from diffcheck.errors import ArtifactError, DiffcheckError
from diffcheck.text import size, visible

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_MAX_KEY_PARTS: Final = 16
_INT64: Final = 1 << 63

# No group is repeated possessively, since Python before 3.11.5 then matches something else (CPython gh-106052).
_TOKENS: Final = re.compile(
    r'"{3}[^"\\]*(?:(?:\\.?|(?!""")")[^"\\]*)*(?:"{3}|\Z)'
    r"|'{3}[^']*(?:(?!''')'[^']*)*(?:'{3}|\Z)"
    r'|"[^"\\\n]*(?:\\.?[^"\\\n]*)*(?:"|$)'
    r"|'[^'\n]*+(?:'|$)"
    r"|(?P<none>\#[^\n]*+|[ \t]++)"
    r"|[A-Za-z0-9_-]++",
    re.DOTALL | re.MULTILINE,
)


def read_regular(path: str, cap_bytes: int, what: str, error_type: type[DiffcheckError] = ArtifactError) -> bytes:
    """The bytes of a regular, unchanging file; raises ``error_type`` with the reason. Links are followed."""
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to must not wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):  # before open(), which has another error for folders
            os.close(descriptor)
            raise error_type(f"{what} is not a regular file")
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor, so that the checked file is read
            if before.st_size > cap_bytes:
                raise error_type(f"{what} has {size(before.st_size)}, the limit is {size(cap_bytes)}")
            data = file.read(before.st_size + 1) or b""  # in one piece, so that a large file is not copied
            while len(data) <= before.st_size and (part := file.read(before.st_size + 1 - len(data))):
                data += part
            after = os.fstat(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise error_type(f"{what} cannot be read: {getattr(error, 'strerror', None) or 'not a usable path'}") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(data) != before.st_size:
        raise error_type(f"{what} changed while it was read", hint="run again when nothing writes to it")
    return data


def regular_digest(path: str) -> bytes:
    """The SHA-256 of a regular file; raises OSError or ValueError. Links are followed."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), "rb") as file:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} is not a regular file")
        return hashlib.file_digest(file, "sha256").digest()


def parse_toml(data: bytes, error_type: type[DiffcheckError]) -> dict[str, Any]:
    """The tables in ``data``, with integers of at most 64 bits (TOML 1.0, Integer); raises ``error_type`` with the reason."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise error_type(f"the text is not UTF-8 (byte {error.start})", hint="save the file as UTF-8") from error
    # tomllib (3.11) takes minutes and all memory for a key of 100,000 parts. Strings and words become `s`, blanks are removed.
    skeleton = _TOKENS.sub(lambda token: "" if token["none"] else "s", text)
    if "s." * _MAX_KEY_PARTS in skeleton:
        raise error_type(f"a key has more than {_MAX_KEY_PARTS} parts", hint="correct the line")
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of more digits than Python reads
        why = "it is nested too deeply" if isinstance(error, RecursionError) else visible(str(error))
        hint = "a merge conflict? keep both sides' tables" if "<<<<<<<" in text else "correct the line"
        raise error_type(f"it is not TOML: {why}", hint=hint) from error
    _check_integers(tables, error_type)
    return tables


def _check_integers(tables: dict[str, Any], error_type: type[DiffcheckError]) -> None:
    left: list[tuple[str, Any]] = list(tables.items())
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            left += ((f"{key}.{name}", each) for name, each in value.items())
        elif isinstance(value, list):
            left += ((f"{key}[{index}]", each) for index, each in enumerate(value))
        elif isinstance(value, int) and not -_INT64 <= value < _INT64:
            raise error_type(f"{visible(key)} must be an integer of at most 64 bits", hint="correct the line")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most similar to ``word``; empty if there is none."""
    return next(iter(difflib.get_close_matches(word[:64], list(known), 1)), "")


def check_keys(table: Iterable[str], known: Collection[str], error_type: type[DiffcheckError], where: str = "") -> None:
    """Raise ``error_type`` for a key of ``table`` that is not known; ``where`` is put before keys in messages."""
    for key in table:
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {where}{near}?" if near else f"the keys are {', '.join(known)}"
            raise error_type(f"unknown key {where}{visible(key, 60)}", hint=hint)
