"""An engine that is wrong in one instruction wherever it stands, the tool's own code included.

    python tests/doubles/wrong_everywhere.py i64.shr_u /path/to/engine [ARGUMENTS...]

As a program it runs another engine on an edited module: that of WITNESS_MODULE, or of the last argument.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from diffcheck.wasm import section as ids
from diffcheck.wasm.code import Instruction, instructions, read_locals
from diffcheck.wasm.leb import u
from diffcheck.wasm.module import read
from diffcheck.wasm.opcodes import BY_NAME

NEGATED = b"\x45"
DROP = b"\x1a"
MORE = {"i32": b"\x41\x01\x6a", "i64": b"\x42\x01\x7c"}
LESS = {"i32": b"\x41\x01\x6b", "i64": b"\x42\x01\x7d"}
CONDITIONS = ("select", "br_if", "if")
TRUTHS = ("ref.is_null", "ref.test", "ref.eq")
INSTEAD = {"table.get": b"\x1a\xd0\x70", "ref.cast": b"\x1a\x41\x01\xfb\x1c"}
"""A null function, and the i31 of 1."""
SIGNED = {"i64.shr_u": b"\x87"}


def wrong(name: str) -> Callable[[bytes], bytes]:
    """The edit that makes an engine wrong in this instruction."""

    def edit(data: bytes) -> bytes:
        sections, bodies = ids.split(data), []
        for offset, size in read(data).bodies:
            body = data[offset : offset + size]
            start = read_locals(body).end
            code = [_changed(each, body[each.offset : each.end], name) for each in instructions(body, start=start)]
            bodies.append(body[:start] + b"".join(code))
        content = u(len(bodies)) + b"".join(u(len(each)) + each for each in bodies)
        return ids.write([ids.section(ids.CODE, content) if each.id == ids.CODE else each for each in sections])

    return edit


def _changed(each: Instruction, raw: bytes, name: str) -> bytes:  # noqa: PLR0911 - one line for each kind
    """The instruction: one more than it gives, the other truth, or nothing written."""
    if each.name != name:
        return raw
    op = BY_NAME[name]
    if name in SIGNED or name == "local.tee":
        return SIGNED.get(name, DROP + b"\x20" + raw[1:])
    if name in CONDITIONS:
        return NEGATED + raw
    if name in INSTEAD:
        return INSTEAD[name] if name != "ref.cast" or raw[2:] == b"\x6c" else raw
    if name.endswith(".get_u"):
        return raw + MORE["i32"]
    if name in TRUTHS or name[4:6] in ("eq", "ne", "lt", "le", "gt", "ge"):
        return raw + NEGATED
    if op.results is None or not op.results:
        types = len(op.params or (0,))
        return DROP * types
    type_ = "i32" if op.results[0] == "addr" else op.results[0]
    return raw + (LESS if name.endswith(".add") else MORE)[type_]


def main() -> None:
    name, *command = sys.argv[1:]
    path = os.environ.get("WITNESS_MODULE") or command[-1]
    if Path(path).is_file():
        edited = Path(path).with_name("edited.wasm")
        edited.write_bytes(wrong(name)(Path(path).read_bytes()))
        if "WITNESS_MODULE" in os.environ:
            os.environ["WITNESS_MODULE"] = str(edited)
        else:
            command[-1] = str(edited)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
