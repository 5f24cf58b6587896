"""A module in text form, printed by ``wasm-tools print`` or wabt's ``wasm2wat``."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from diffcheck import process
from diffcheck.text import decode

if TYPE_CHECKING:
    from diffcheck.process import Reactor

_PRINTERS: Final = (("wasm-tools", ("print", "--print-offsets")), ("wasm2wat", ("--enable-all",)))
_OFFSET: Final = re.compile(r"\(;@([0-9a-f]*) *;\) ?")
_DEADLINE_S: Final = 60.0


def text_form(wasm: Path, reactor: Reactor, mark: tuple[int, str] = (-1, "")) -> tuple[str, str]:
    """The text and the name of the tool that printed it; both empty if no tool is installed or none accepts the module.

    ``mark`` is an offset in the file and a comment for the instruction there.
    """
    for name, arguments in _PRINTERS:
        program = shutil.which(name)
        if program is None:
            continue
        environment = {**process.scrubbed_environment(), "PATH": os.environ.get("PATH", "")}
        child = reactor.start(
            [program, *arguments, str(wasm.resolve())], env=environment, deadline_s=_DEADLINE_S, output_bytes=8 << 20
        )
        ended = reactor.wait(child)
        if ended.exit_code == 0 and ended.stdout:
            return "\n".join(_without_offset(line, *mark) for line in decode(ended.stdout).splitlines()) + "\n", name
    return "", ""


def _without_offset(line: str, offset: int, comment: str) -> str:
    """A line of text without the offset before it; with the comment if it is that of ``offset``."""
    match = _OFFSET.match(line)
    if match is None:
        return line
    rest = line[match.end() :]
    return f"{rest}  ;; @{offset:x}: {comment}" if match[1] and int(match[1], 16) == offset else rest
