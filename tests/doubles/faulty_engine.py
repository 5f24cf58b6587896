"""An engine with an instruction fault, as kilnd is: a process a run, windows as counters, and nothing at a trap.

    python tests/doubles/faulty_engine.py FAULT.json ARTIFACT.wasm

It is the stand-in kilnd on the module that the harness protocol names, with the fault put into it first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec

from diffcheck.wasm import module as wasm
from tests.doubles import kilnd
from tests.doubles.instruction_faults import Editor, Planted


def main() -> int:
    fault = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Planted)
    artifact = wasm.read(Path(sys.argv[2]).read_bytes())
    module = Path(os.environ["WITNESS_MODULE"])
    edited = module.with_name("edited.wasm")
    edited.write_bytes(Editor(module.read_bytes(), fault, artifact).wasm())
    os.environ["WITNESS_MODULE"] = str(edited)
    del sys.argv[1:]
    return kilnd.main()


if __name__ == "__main__":
    sys.exit(main())
