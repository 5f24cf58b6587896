"""A stand-in for an engine with wrong instructions: it runs another one on a module in which they are replaced by others.

    python tests/doubles/swapped_engine.py i32.popcnt=i32.ctz,f64.ceil=f64.floor /path/to/kilnd

The module is ``WITNESS_MODULE``'s. Both instructions of a pair have encodings of one length.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from diffcheck.wasm.code import all_instructions
from diffcheck.wasm.module import read
from diffcheck.wasm.opcodes import BY_NAME


def swapped(wasm: bytes, pairs: dict[str, str]) -> bytes:
    """The module with the instructions replaced."""
    changed = bytearray(wasm)
    for each in all_instructions(wasm, read(wasm).bodies):
        if each.name in pairs:
            encoding = BY_NAME[pairs[each.name]].encoding
            changed[each.offset : each.offset + len(encoding)] = encoding
    return bytes(changed)


def main() -> None:
    pairs, *command = sys.argv[1:]
    if "WITNESS_MODULE" in os.environ:
        module = Path(os.environ["WITNESS_MODULE"])
        changed = module.with_name("swapped.wasm")
        changed.write_bytes(swapped(module.read_bytes(), dict(each.split("=") for each in pairs.split(","))))
        os.environ["WITNESS_MODULE"] = str(changed)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
