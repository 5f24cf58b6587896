"""Escaping and formatting of text. Names come from artifacts, manifests and engines, which may be hostile."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MAX_NAME = 200
_MAX_LINES = 40
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def decode(data: bytes) -> str:
    r"""Bytes of a child process or a file as text; invalid UTF-8 becomes ``\xNN``, never a lone surrogate."""
    return data.decode("utf-8", errors="backslashreplace")


def is_digits(text: str) -> bool:
    """Whether the text is a decimal number in ASCII digits. ``str.isdigit`` accepts the digits of all scripts."""
    return text.isascii() and text.isdigit()


def visible(text: str, limit: int = _MAX_NAME) -> str:
    """The text, cut to ``limit`` characters, with control, format, surrogate and unassigned characters escaped.

    So escape sequences, right-to-left marks, NUL and line breaks have no effect in a terminal or a document.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    # Printable text in Python's sense has no character of an unsafe category.
    return cut if cut.isprintable() else cut.translate(_ESCAPES)


class _Escapes(dict[int, str]):
    """A table for ``str.translate``, filled when a character first occurs."""

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
    """``visible`` for each of the first 40 lines; ``limit`` is for each line."""
    return "\n".join(visible(line, limit) for line in text.rstrip().split("\n")[:_MAX_LINES])


def printed_end(text: str, limit: int = 400) -> str:
    """The end of a program's output as one escaped line: lines are joined by semicolons, the beginning is cut."""
    line = "; ".join(filter(None, map(str.strip, text.splitlines())))
    return visible(line if len(line) <= limit else "…" + line[1 - limit :], limit)


def file_name(name: str) -> str:
    """A safe file name: escaped (``visible``), slashes and backslashes replaced by ``_``, no leading or trailing dots; ``case`` if
    nothing is left.
    """
    return visible(name).replace("/", "_").replace("\\", "_").strip(".") or "case"


def unescaped_name(shown: str, names: Iterable[str]) -> str:
    """The original of an escaped name: ``shown`` if it is one of ``names``, else the first whose escaped form is ``shown``, else
    ``shown``.
    """
    known = list(names)
    return shown if shown in known else next((name for name in known if visible(name) == shown), shown)


def encodable(text: str) -> str:
    """A name in valid UTF-8: lone surrogates, from file names that are not text, are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def listed(names: Sequence[str], most: int) -> str:
    """The first ``most`` names as visible text, with dots if there are more."""
    return ", ".join(map(visible, names[:most])) + (", ..." if len(names) > most else "")


def plural(count: int, noun: str, many: str = "") -> str:
    """``1 case``, ``1,269 cases``: a count with thousands marks and its noun."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def size(count: float) -> str:
    """A number of bytes with a suitable unit: ``512 B``, ``1.6 MB`` (powers of ten)."""
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1000:  # noqa: PLR2004 - the SI step
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """A time with a suitable unit: ``4 ms``, ``1.2 s``, ``3 min 05 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
