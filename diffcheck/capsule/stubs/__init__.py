"""Stubs for imported functions: a functional stub if a package's table has one, otherwise a zero stub or a trap stub."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.capsule.stubs import (
    preview1,
    wasi_cli,
    wasi_clocks,
    wasi_filesystem,
    wasi_http,
    wasi_io,
    wasi_random,
    wasi_sockets,
)
from diffcheck.capsule.stubs.inputs import INPUTS, Input
from diffcheck.capsule.stubs.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLES: Final[Mapping[str, Mapping[str, Spec]]] = {
    "wasi_snapshot_preview1": preview1.TABLE,
    "wasi_unstable": preview1.UNSTABLE,
    **{
        f"wasi:{package}/{interface}@0.2": table
        for package, interfaces in {
            "cli": wasi_cli.TABLE,
            "io": wasi_io.TABLE,
            "clocks": wasi_clocks.TABLE,
            "random": wasi_random.TABLE,
            "filesystem": wasi_filesystem.TABLE,
            "sockets": wasi_sockets.TABLE,
            "http": wasi_http.TABLE,
        }.items()
        for interface, table in interfaces.items()
    },
}
"""Module (of wasi 0.2: interface without the patch version) -> function -> stub."""

_PATCH: Final = re.compile(r"(wasi:[a-z0-9-]+/[a-z0-9-]+@0\.2)\.[0-9]+(?:[-+][0-9A-Za-z.+-]*)?\Z")
# In fused components, the imports of all but one component have a number: `poll$1`.
_NUMBERED: Final = re.compile(r"\$[0-9]+\Z")
_WASI_03: Final = re.compile(r"wasi:[a-z0-9-]+/[a-z0-9-]+@0\.3(?:\.|\Z)")
_ASYNC: Final = re.compile(r"\[(?:async|waitable|stream|future|task|subtask|context|backpressure|error-context|thread)[a-z0-9-]*\]")


def canonical(module: str, name: str) -> tuple[str, str]:
    """Return an import's module and name as in ``TABLES``: without patch version and component number."""
    match = _PATCH.match(module)
    return (match[1], _NUMBERED.sub("", name)) if match else (module, name)


def find(module: str, name: str, params: tuple[str, ...], results: tuple[str, ...]) -> Spec | None:
    """Return the functional stub for an import with this name and lowered signature, or None."""
    spec = _named(module, name)
    return spec if spec is not None and (spec.params, spec.results) == (params, results) else None


def _named(module: str, name: str) -> Spec | None:
    interface, function = canonical(module, name)
    return TABLES.get(interface, {}).get(function)


def inputs(module: str, name: str) -> tuple[Input, ...]:
    """Return the bytes that a program passes to an import with a functional stub."""
    interface, function = canonical(module, name)
    return INPUTS.get(interface, {}).get(function, ())


OUT_OF_SCOPE: Final = "asynchronous components (wasi 0.3) are out of scope"


def out_of_scope(module: str, name: str) -> str:
    """Return the reason if an import belongs to the asynchronous component model, which is not supported; otherwise empty."""
    if _WASI_03.match(module):
        return "wasi 0.3 is not supported, only wasi 0.2 and preview 1"
    if match := _ASYNC.search(name):
        return f"asynchronous imports such as {match[0]} (wasi 0.3, streams and futures) are not supported"
    return ""


def why_none(module: str, name: str) -> str:
    """Return the reason why an import has no functional stub; empty if the function is unknown."""
    if reason := out_of_scope(module, name):
        return reason
    return "its signature differs from that of the known function" if _named(module, name) is not None else ""


__all__ = ["OUT_OF_SCOPE", "TABLES", "Input", "Spec", "canonical", "find", "inputs", "out_of_scope", "why_none"]
