"""What the capsule gives for an import: a functional stub where a package's table has one, else a zero stub or a trap stub."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.capsule.stubs import preview1
from diffcheck.capsule.stubs.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLES: Final[tuple[tuple[re.Pattern[str], Mapping[str, Spec]], ...]] = (
    (re.compile(r"wasi_snapshot_preview1\Z"), preview1.TABLE),
    (re.compile(r"wasi_unstable\Z"), preview1.UNSTABLE),
)


def find(module: str, name: str, params: tuple[str, ...], results: tuple[str, ...]) -> Spec | None:
    """The functional stub for an import of this name and lowered signature, or None."""
    for pattern, table in TABLES:
        if pattern.match(module):
            spec = table.get(name)
            return spec if spec is not None and (spec.params, spec.results) == (params, results) else None
    return None


__all__ = ["TABLES", "Spec", "find"]
