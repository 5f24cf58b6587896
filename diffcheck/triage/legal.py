"""Whether the first difference of a search is one that the specification allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from diffcheck.backend import Limits
    from diffcheck.triage.search import First, Search

_QUIET_32: Final = 0x7FC0_0000
_QUIET_64: Final = 0x7FF8 << 48


def allowed(search: Search, first: First, limits: Limits) -> tuple[str, Limits | None] | None:
    """Whether the oracle's own allowed variants differ at that event too: a NaN's bits, or relaxed SIMD. Where the subject has what a
    variant has, the search goes on against that variant: it will have it at other events as well.
    """
    one, other = first.oracle, first.subject
    if one is None or other is None or one.site != other.site:
        return None
    for name, what in (
        ("canonical_nans", "a NaN's bits, which are open"),
        ("deterministic_relaxed_simd", "relaxed SIMD, which is open"),
    ):
        variant = msgspec.structs.replace(limits, **{name: True})
        seen = search.oracle_record(first.event, variant)
        if (
            seen is not None
            and seen.site == one.site
            and seen.value != one.value
            and (name != "canonical_nans" or _may_be_nan(other.value))
        ):
            return what, variant if seen.value == other.value else None
    return None


def _may_be_nan(bits: int) -> bool:
    return bits & _QUIET_32 == _QUIET_32 or bits & _QUIET_64 == _QUIET_64
