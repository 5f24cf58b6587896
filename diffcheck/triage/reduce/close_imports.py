"""Imports replaced by defined items of the same type; functions return zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.wasm.draft import constant
from diffcheck.wasm.externs import KINDS
from diffcheck.wasm.types import RefType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffcheck.wasm.draft import Draft
    from diffcheck.wasm.externs import Kind

Import = tuple["Kind", int]


def closable(source: Draft) -> list[Import]:
    """The imports that can be replaced, by kind and index: all but those whose type has no zero."""
    return [(kind, index) for kind in KINDS for index in range(source.module.n_imported(kind)) if _has_zero(source, kind, index)]


def closed(source: Draft, some: Iterable[Import]) -> Draft:
    """The module with these imports replaced."""
    some = list(some)
    bodies = {index: zero_body(source, index) for kind, index in some if kind == "func"}
    return msgspec.structs.replace(source, closed=source.closed | frozenset(some), bodies={**source.bodies, **bodies})


def zero_body(source: Draft, index: int) -> bytes:
    """A body that returns zeros, or traps if a result type has no zero."""
    results = source.module.function_type(index).results
    return b"\x00" + b"".join(map(constant, results)) + b"\x0b"


def _has_zero(source: Draft, kind: Kind, index: int) -> bool:
    if kind == "table":
        return source.module.all_tables[index].ref.nullable
    if kind != "global":
        return True
    type_ = source.module.all_globals[index].value
    return not isinstance(type_, RefType) or type_.nullable
