"""A module as text: by ``wasm-tools print`` or wabt's ``wasm2wat``, whichever is at hand and takes the module."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from diffcheck import process
from diffcheck.text import decode

if TYPE_CHECKING:
    from diffcheck.process import Reactor

_PRINTERS: Final = (("wasm-tools", ("print",)), ("wasm2wat", ("--enable-all",)))
_DEADLINE_S: Final = 60.0


def text_form(wasm: Path, reactor: Reactor) -> tuple[str, str]:
    """The text, and the tool that wrote it; both empty where no tool is there, or none takes the module."""
    for name, arguments in _PRINTERS:
        found = shutil.which(name)
        if found is None:
            continue
        environment = {**process.scrubbed_environment(), "PATH": os.environ.get("PATH", "")}
        child = reactor.start(
            [found, *arguments, str(wasm.resolve())], env=environment, deadline_s=_DEADLINE_S, output_bytes=8 << 20
        )
        ended = reactor.wait(child)
        if ended.exit_code == 0 and ended.stdout:
            return decode(ended.stdout), name
    return "", ""
