"""kilnd's command line with ``--wasi``, for probing its host functions. Of kilnd 0.4.4, measured 2026-11.

The results of an export are printed on stdout, one on each line, among kilnd's own lines; stderr has the reason of a failure, and a
line for each call of a host function. A function may have 128 results; with more its module does not load.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.backend.contract import HostCall, HostResult
from diffcheck.text import decode, visible

if TYPE_CHECKING:
    from pathlib import Path

    from diffcheck import process
    from diffcheck.backend.contract import HostWorld

_RETURNED: Final = re.compile(
    rb"^\xe2\x9c\x93 Function '[^'\n]*' (?:returned (\d+) value\(s\):|completed \(no return values\))$", re.MULTILINE
)
_VALUE: Final = re.compile(r"  \[\d+\] (?:I32|I64)\((-?\d+)\)")
_FAILED: Final = re.compile(r"^✗ Execution failed: (.*)$", re.MULTILINE)
_CALL: Final = re.compile(r"^\[WASI-TRACE\] (\S+?)::(\S+) args=\[(.*)\]$", re.MULTILINE)
_NUMBER: Final = re.compile(r"I(?:32|64)\((-?\d+)\)")

UNKNOWN: Final = "Unknown WASI function"
"""kilnd's message for a function that it does not have."""


class KilndHost:
    """kilnd at ``path``, run with ``--wasi``."""

    label = "kilnd --wasi"

    def __init__(self, path: Path) -> None:
        self._path = path

    def host_command(self, module: Path, export: str, world: HostWorld) -> tuple[str, ...]:
        """See ``HostEngine``."""
        variables = (word for each in world.variables for word in ("--wasi-env", each))
        arguments = (word for each in world.args for word in ("--wasi-arg", each))
        options = ("--wasi", "--wasi-fs", world.folder, *variables, *arguments)
        return (str(self._path), *options, "--function", export, str(module))

    def host_result(self, ended: process.ProcessResult) -> HostResult:
        """See ``HostEngine``."""
        errors = decode(ended.stderr)
        calls = tuple(
            HostCall(f"{module} {name}", tuple(int(each) for each in _NUMBER.findall(args)))
            for module, name, args in _CALL.findall(errors)
        )
        if returned := _RETURNED.search(ended.stdout):
            after = decode(ended.stdout[returned.end() :])
            return HostResult(tuple(int(each) for each in _VALUE.findall(after)[: int(returned[1] or 0)]), calls=calls)
        failed = _FAILED.findall(errors)
        why = visible(failed[-1], 300) if failed else ""
        return HostResult(None, why, UNKNOWN in why, calls)


__all__ = ["UNKNOWN", "KilndHost"]
