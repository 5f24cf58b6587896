"""A module's instructions by name, as ``wasm-tools print`` has them: another decoder to compare with."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise

from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.module import Module

_FUNCTION = re.compile(r"  \(func ")
_SECOND = {
    "select": (" (result", "select_t"),
    "ref.test": (" (ref null", "ref.test_null"),
    "ref.cast": (" (ref null", "ref.cast_null"),
}
_SHORT = re.compile(r"ref\.(test|cast) (\w+ref\b)")
"""A nullable reference to an abstract heap type, in short."""


def tool() -> str | None:
    return shutil.which("wasm-tools")


def names(wasm: bytes) -> list[list[str]]:
    """The names of each body's instructions in order, without the final ``end``, which is not printed."""
    ran = subprocess.run([str(tool()), "print", "-"], input=wasm, capture_output=True, check=True)
    bodies: list[list[str]] = []
    inside = False
    for line, after in pairwise([*ran.stdout.decode("utf-8", "replace").splitlines(), ""]):
        if _FUNCTION.match(line):
            bodies.append([])
            inside = after.startswith("    ") or after == "  )"
        elif inside and line == "  )":
            inside = False
        elif inside and not line.lstrip().startswith("("):
            bodies[-1].append(_name(line.strip()))
    return bodies


def _name(line: str) -> str:
    name, _, rest = line.partition(" ")
    if name in _SECOND:
        mark, second = _SECOND[name]
        return second if f" {rest}".startswith(mark) or _SHORT.match(line) else name
    return name


def decoded(module: Module, wasm: bytes) -> list[list[str]]:
    """The same, by our decoder."""
    found = []
    for offset, size in module.bodies:
        body = wasm[offset : offset + size]
        found.append([each.name for each in instructions(body, offset, start=read_locals(body).end)][:-1])
    return found
