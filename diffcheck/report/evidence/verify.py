"""Whether evidence is that of a report."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from diffcheck.report import json_file
from diffcheck.report.evidence import statement
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator


def problems(evidence: bytes, stored: bytes, name: str) -> list[str]:
    """What contradicts a stored report, a sentence for each place; empty if the evidence is the report's, byte for byte.

    ``name`` is the report's in messages; raises ``ReportError`` if that is not a report.
    """
    own = statement.render(json_file.decode(stored, name), hashlib.sha256(stored).hexdigest())
    if evidence == own:
        return []
    try:
        found = msgspec.json.decode(evidence)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [f"the evidence is not JSON: {visible(str(error))}"]
    return list(_differences("", msgspec.json.decode(own), found)) or ["the evidence has the right content, but its bytes differ"]


def _differences(place: str, own: Any, found: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    if isinstance(own, dict) and isinstance(found, dict):
        for key in sorted(own.keys() | found.keys()):
            yield from _differences(f"{place}.{key}" if place else key, own.get(key), found.get(key))
    elif isinstance(own, list) and isinstance(found, list) and len(own) == len(found):
        for at, (one, other) in enumerate(zip(own, found, strict=True)):
            yield from _differences(f"{place}[{at}]", one, other)
    elif own != found or type(own) is not type(found):
        yield f"{visible(place)}: the report has {visible(repr(own), 100)}, the evidence {visible(repr(found), 100)}"
