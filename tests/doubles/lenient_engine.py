"""A stand-in for an engine that validates nothing: kilnd's, given a valid module in the place of an invalid one.

    python tests/doubles/lenient_engine.py VALID_MODULE /path/to/kilnd

What wasmtime refuses is loaded all the same: the engine runs ``VALID_MODULE`` instead.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    valid, *command = sys.argv[1:]
    if "WITNESS_MODULE" in os.environ:
        import wasmtime  # noqa: PLC0415 - not for --version

        config = wasmtime.Config()
        config.parallel_compilation = False  # no threads: a stand-in may be a forked child
        try:
            wasmtime.Module.validate(wasmtime.Engine(config), Path(os.environ["WITNESS_MODULE"]).read_bytes())
        except wasmtime.WasmtimeError:
            os.environ["WITNESS_MODULE"] = valid
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
