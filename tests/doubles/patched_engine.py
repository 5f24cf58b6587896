"""A stand-in for an engine with a fault: it runs another one on a module in which some bytes are others.

    python tests/doubles/patched_engine.py 7e0142000b 7e0142050b /path/to/kilnd

The module is ``WITNESS_MODULE``'s; the first place with the first bytes gets the second. Here a global that is a mutable i64 begins
with 5 and not with 0: in an instrumented artifact that is a counter, altered before the recorder reads it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    before, after, *command = sys.argv[1:]
    if "WITNESS_MODULE" in os.environ:
        module = Path(os.environ["WITNESS_MODULE"])
        wasm = module.read_bytes()
        patched = module.with_name("patched.wasm")
        patched.write_bytes(wasm.replace(bytes.fromhex(before), bytes.fromhex(after), 1))
        os.environ["WITNESS_MODULE"] = str(patched)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
