"""A stand-in for an engine that is wrong in every other run: ``python flaky_engine.py STATE BEFORE AFTER ENGINE``.

``STATE`` is a file that counts the runs; every second one gets the module with the first bytes ``BEFORE`` replaced by ``AFTER``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    state, before, after, *command = sys.argv[1:]
    if "WITNESS_MODULE" in os.environ:
        count = Path(state)
        runs = count.stat().st_size if count.exists() else 0
        with count.open("ab") as file:
            file.write(b".")
        if runs % 8 < 4:
            module = Path(os.environ["WITNESS_MODULE"])
            patched = module.with_name("patched.wasm")
            patched.write_bytes(module.read_bytes().replace(bytes.fromhex(before), bytes.fromhex(after), 1))
            os.environ["WITNESS_MODULE"] = str(patched)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
