"""Building blocks for probes of wasi functions: texts that create handles, and table entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.probe import wasi_checks as see
from diffcheck.probe.wasi_checks import WORDS, CallCheck, CheckResult, ProbeRun
from diffcheck.probe.wasi_module import ProbeCall, known

if TYPE_CHECKING:
    from collections.abc import Callable

# Texts that create a handle in ``$h``, and a second one in ``$g`` if needed.

STREAMS: Final = "wasi:io/streams"
POLL: Final = "wasi:io/poll"
FS: Final = "wasi:filesystem/types"
IN_AREA2: Final = "AREA2 i32.load offset=4 local.set $h"
DIRECTORY: Final = "AREA2 <wasi:filesystem/preopens get-directories> AREA2 i32.load i32.load local.set $g local.get $g local.set $h"


def text_of(word: str) -> str:
    """Return instructions for the address and length of a word."""
    return f"@{word} i32.const {len(WORDS[word])}"


def open_file(word: str, flags: int, create: int = 0) -> str:
    """Return text that opens a path of the folder with descriptor flags and open flags."""
    args = f"local.get $g i32.const 0 {text_of(word)} i32.const {create} i32.const {flags} AREA2"
    return f"{DIRECTORY} {args} <{FS} [method]descriptor.open-at> {IN_AREA2}"


READ_FILE: Final = open_file("path", 1)
# A read at an offset beyond the maximum of file sizes fails, which creates an error resource.
ERROR: Final = f"""{READ_FILE} local.get $h i64.const -16 AREA2 <{FS} [method]descriptor.read-via-stream> {IN_AREA2}
  local.get $h i64.const 5 AREA2 <{STREAMS} [method]input-stream.blocking-read> AREA2 i32.load offset=8 local.set $h"""


def entry(  # noqa: PLR0913 - one keyword for each part of a probe
    interface: str,
    function: str,
    args: tuple[str, ...],
    check: Callable[[ProbeRun], CheckResult],
    *,
    setup: str = "",
    between: str = "",
    after: str = "",
    calls: int = 1,
    traps_again: bool = False,
    exit_code: int | None = None,
) -> CallCheck:
    """Return a row of the table; for parameters see ``ProbeCall`` and ``CallCheck``."""
    probe = ProbeCall(known(interface, function), args, setup, between, after, calls, traps_again)
    return CallCheck(probe, check, exit_code)


H, A = "local.get $h", "AREA"


def drop(interface: str, resource: str, setup: str) -> CallCheck:
    """Return the row of a resource's drop. A second drop of the same handle must trap."""
    return entry(interface, f"[resource-drop]{resource}", (H,), see.anything, setup=setup, traps_again=True)


def const(value: int, kind: str = "i32") -> str:
    """Return a constant instruction."""
    return f"{kind}.const {value}"


def word(name: str) -> tuple[str, str]:
    """Return the address and length of a word as two arguments."""
    return f"@{name}", const(len(WORDS[name]))
