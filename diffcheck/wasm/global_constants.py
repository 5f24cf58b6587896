"""Replace reads of some globals by constants in section contents.

A content has no count, so that the caller can add items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.wasm import section as ids
from diffcheck.wasm.constexpr import GlobalGet, splice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diffcheck.wasm.module import Module


def rewrite_globals(module: Module, constants: Mapping[int, bytes]) -> bytes:
    """Return the global section's content with the initialisers' reads replaced."""
    gets = [get for each in module.globals for get in each.global_gets]
    return _rewrite(module, ids.GLOBAL, gets, constants)


def rewrite_elements(module: Module, constants: Mapping[int, bytes]) -> bytes:
    """Return the element section's content with the offsets' and items' reads replaced."""
    gets = [get for element in module.elements for get in element.global_gets]
    return _rewrite(module, ids.ELEMENT, gets, constants)


def rewrite_data(module: Module, constants: Mapping[int, bytes]) -> bytes:
    """Return the data section's content with the offsets' reads replaced."""
    gets = [get for data in module.data for get in data.global_gets]
    return _rewrite(module, ids.DATA, gets, constants)


def _rewrite(module: Module, id_: int, gets: Iterable[GlobalGet], constants: Mapping[int, bytes]) -> bytes:
    """Return the rewritten content, b"" if there is no such section. `gets` have file offsets."""
    section = module.section(id_)
    if section is None:
        return b""
    start = section.offset + section.vector()[1]
    local = [GlobalGet(get.start - start, get.end - start, get.globalidx) for get in gets]
    return splice(section.content(), local, constants)
