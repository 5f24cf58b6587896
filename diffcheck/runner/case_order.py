"""The order of cases and their division among shards, by the expected time of each case.

Expected times are those of an earlier run. Without them, the size of the artifact and the number of its rows count, which are
the same on every machine.
"""

from __future__ import annotations

import hashlib
import os
import statistics
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.cases import scripts
from diffcheck.cases.case_ids import rekeyed
from diffcheck.cases.discovery import load_case
from diffcheck.errors import CaseError
from diffcheck.text import encodable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from diffcheck.cases.discovery import Item

_CASE_NS: Final = 100_000_000
_BYTE_NS: Final = 20_000
_ROW_NS: Final = 1_000_000
"""Rough times of a case, of a byte of its artifact and of a row with kilnd 0.4.4 (6 ms per function); only their ratio counts."""


class Share(msgspec.Struct, frozen=True):
    """The items of a shard, and a digest of the whole division, the same for all its shards."""

    items: tuple[Item, ...]
    division: str


def longest_first(items: Sequence[Item], times_ns: Mapping[str, int]) -> list[Item]:
    """The items, longest first; items of equal length keep their order."""
    expected = _expected(items, times_ns, rows=False)
    return sorted(items, key=lambda item: -expected[item.id])


def share(items: Sequence[Item], times_ns: Mapping[str, int], index: int, count: int) -> Share:
    """The items of shard ``index`` (from 1) of ``count``, in their original order.

    The longest remaining item goes to the shard with the smallest load; ties are broken by name. The same items and times give
    the same division on every machine.
    """
    expected = _expected(items, times_ns, rows=True)
    loads = [0] * count
    of: dict[str, int] = {}
    for item in sorted(items, key=lambda item: (-expected[item.id], item.id)):
        least = loads.index(min(loads))
        loads[least] += expected[item.id]
        of[item.id] = least + 1
    digest = hashlib.sha256(msgspec.msgpack.encode((count, sorted((encodable(name), at) for name, at in of.items()))))
    return Share(tuple(item for item in items if of[item.id] == index), digest.hexdigest()[:16])


def _expected(items: Sequence[Item], times_ns: Mapping[str, int], *, rows: bool) -> dict[str, int]:
    times_ns = rekeyed(times_ns, [item.id for item in items])
    known = {item.id: times_ns[item.id] for item in items if item.id in times_ns}
    middle = round(statistics.median(known.values())) if known else None
    return {item.id: known.get(item.id, _estimate(item, rows=rows) if middle is None else middle) for item in items}


def _estimate(item: Item, *, rows: bool) -> int:
    try:
        size = os.stat(scripts.split(item.artifact)[0]).st_size  # noqa: PTH116 - a Path for each item costs more
    except (OSError, ValueError):
        size = 0
    return _CASE_NS + size * _BYTE_NS + (_rows(item) * _ROW_NS if rows else 0)


def _rows(item: Item) -> int:
    try:
        return len(load_case(item).rows)
    except CaseError:
        return 0
