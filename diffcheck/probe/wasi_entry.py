"""What the probes of wasi functions are written with: texts that make handles, and the entries of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.probe import wasi_checks as see
from diffcheck.probe.wasi_checks import WORDS, CallCheck, CheckResult, ProbeRun
from diffcheck.probe.wasi_module import ProbeCall, known

if TYPE_CHECKING:
    from collections.abc import Callable

# How handles are made, each into ``$h``; another that is needed beside it into ``$g``.

STREAMS: Final = "wasi:io/streams"
POLL: Final = "wasi:io/poll"
FS: Final = "wasi:filesystem/types"
IN_AREA2: Final = "AREA2 i32.load offset=4 local.set $h"
DIRECTORY: Final = "AREA2 <wasi:filesystem/preopens get-directories> AREA2 i32.load i32.load local.set $g local.get $g local.set $h"


def text_of(word: str) -> str:
    """Address and length of a word, as instructions."""
    return f"@{word} i32.const {len(WORDS[word])}"


def open_file(word: str, flags: int, create: int = 0) -> str:
    """Open a path of the folder with descriptor flags and open flags."""
    args = f"local.get $g i32.const 0 {text_of(word)} i32.const {create} i32.const {flags} AREA2"
    return f"{DIRECTORY} {args} <{FS} [method]descriptor.open-at> {IN_AREA2}"


READ_FILE: Final = open_file("path", 1)
# A position past what the system's files can have: reading there fails, and the failure is an error to ask about.
ERROR: Final = f"""{READ_FILE} local.get $h i64.const -16 AREA2 <{FS} [method]descriptor.read-via-stream> {IN_AREA2}
  local.get $h i64.const 5 AREA2 <{STREAMS} [method]input-stream.blocking-read> AREA2 i32.load offset=8 local.set $h"""


def entry(  # noqa: PLR0913 - what a probe has
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
    """A row of the table; the parameters are those of ``Probe`` and ``Entry``."""
    probe = ProbeCall(known(interface, function), args, setup, between, after, calls, traps_again)
    return CallCheck(probe, check, exit_code)


H, A = "local.get $h", "AREA"


def drop(interface: str, resource: str, setup: str) -> CallCheck:
    """The row of a resource's drop: a second one of the same handle traps."""
    return entry(interface, f"[resource-drop]{resource}", (H,), see.anything, setup=setup, traps_again=True)


def const(value: int, kind: str = "i32") -> str:
    """A constant."""
    return f"{kind}.const {value}"


def word(name: str) -> tuple[str, str]:
    """Address and length of a word, as two arguments."""
    return f"@{name}", const(len(WORDS[name]))
