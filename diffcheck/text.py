"""Makes any string safe to show: names come from artifacts, manifests and engines, and all of those may be hostile."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_NAME = 200
_MAX_LINES = 40
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def decode(data: bytes) -> str:
    r"""Bytes from a child or a file as text; what is not UTF-8 becomes a visible ``\xNN``, never a lone surrogate."""
    return data.decode("utf-8", errors="backslashreplace")


def visible(text: str, limit: int = _MAX_NAME) -> str:
    """The text with every control, format, surrogate and unassigned character written as an escape, cut to ``limit`` characters.

    Escape sequences, right-to-left marks, NUL and line breaks cannot act in a terminal or in a document afterwards.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    # What is printable in Python's sense has none of the unsafe categories.
    return cut if cut.isprintable() else cut.translate(_ESCAPES)


class _Escapes(dict[int, str]):
    """For ``str.translate``: what stands for a character, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        self[code] = shown = _escape(code) if unicodedata.category(char) in _UNSAFE_CATEGORIES else char
        return shown


_ESCAPES = _Escapes()


def _escape(code: int) -> str:
    if code <= 0xFF:  # noqa: PLR2004 - the last code point that two hex digits hold
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - the last of the basic plane


def visible_lines(text: str, limit: int = _MAX_NAME) -> str:
    """As ``visible``, but lines stay lines; ``limit`` is for each, and at most 40 are shown."""
    return "\n".join(visible(line, limit) for line in text.rstrip().split("\n")[:_MAX_LINES])


def printed_end(text: str, limit: int = 400) -> str:
    """The end of what a program printed, in one line that is safe to show: its lines joined by semicolons, its beginning cut."""
    line = "; ".join(filter(None, map(str.strip, text.splitlines())))
    return visible(line if len(line) <= limit else "…" + line[1 - limit :], limit)


def named(shown: str, names: Iterable[str]) -> str:
    """The one of ``names`` that a user gave back as it is shown; what is given where there is none."""
    known = list(names)
    return shown if shown in known else next((name for name in known if visible(name) == shown), shown)


def encodable(text: str) -> str:
    """A name as UTF-8 can hold it: lone surrogates, as of file names that are no text, are written as their escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def plural(count: int, noun: str, many: str = "") -> str:
    """``1 case``, ``1,269 cases``: a count with thousands marks and its noun."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def size(count: float) -> str:
    """A number of bytes in the unit a reader would choose: ``512 B``, ``1.6 MB`` (powers of ten)."""
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1000:  # noqa: PLR2004 - the SI step
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """A time as a person says it: ``4 ms``, ``1.2 s``, ``3 min 05 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
