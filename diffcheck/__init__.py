"""Differential cross-check of WebAssembly engines over witness-instrumented artifacts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffcheck.snapshots import snapshot as snapshot

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """``diffcheck.snapshot``, imported when it is first asked for, so that ``--version`` needs nothing."""
    if name == "snapshot":
        from diffcheck.snapshots import snapshot  # noqa: PLC0415 - as above

        return snapshot
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
