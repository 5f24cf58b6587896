"""TOML strings and arrays without invisible characters. It imports tomlkit, so only commands that write TOML import it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import tomlkit

from diffcheck.text import encodable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tomlkit.items import Array, Item

_MARKS: Final = re.compile("[\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Control characters and direction marks, which TOML allows in strings."""


def string(text: str) -> Item:
    """A basic string; marks are escaped, and a lone surrogate, which TOML cannot have, becomes the text of its escape."""
    item = tomlkit.string(encodable(text))
    if not _MARKS.search(text):
        return item
    return tomlkit.value(_MARKS.sub(lambda mark: f"\\u{ord(mark[0]):04X}", item.as_string()))


def strings(texts: Iterable[str], *, multiline: bool = False) -> Array:
    """An array of strings, one on each line if ``multiline``."""
    array = tomlkit.array().multiline(multiline)
    array.extend([string(each) for each in texts])
    return array
