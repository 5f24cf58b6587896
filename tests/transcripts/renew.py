"""Renews the transcripts of a real kilnd: ``python -m tests.transcripts.renew KILND VERSION`` from the root of the repository.

One JSON file a program: what it was given (text, or bytes in hex), how it ended, and the last of what it printed.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import wasmtime

from diffcheck.testing import programs

FOLDER = Path(__file__).parent
DEADLINE_S = 20
EXPORTS = '(module (func (export "_start"))' + "".join(f'(global (export "g{i}") i32 (i32.const 1))' for i in range(256)) + ")"

OTHERS: dict[str, str | bytes] = {
    "returned": programs.COUNTERS,
    "load-invalid": programs.INVALID,
    "load-too-many-exports": EXPORTS,
    "load-component": b"\0asm\x0d\0\1\0",
    "instantiate-trap-in-start": programs.TRAP_IN_START,
    "instantiate-trap-in-data": programs.TRAP_IN_DATA,
    "entry-missing": programs.NO_ENTRY,
    "entry-with-parameters": programs.ENTRY_WITH_PARAMETERS,
    "counter-float": programs.FLOAT_COUNTER,
    "counter-named": programs.NAMED_COUNTER,
    "import-called": '(module (import "a" "b" (func $f)) (func (export "_start") (call $f)))',
    "import-not-called": '(module (import "a" "b" (func)) (func (export "_start")))',
    "import-memory": '(module (import "a" "b" (memory 1)) (func (export "_start") (drop (i32.load (i32.const 0)))))',
    "import-table": '(module (import "a" "b" (table 1 funcref)) (func (export "_start") (drop (table.get (i32.const 0)))))',
    "array-too-large": programs.start("(drop (array.new_default $a (i32.const 0x7fffffff)))", "(type $a (array i64))"),
    "out-of-memory": programs.MANY_PAGES,
    "atomic-out-of-bounds": programs.start("(drop (i32.atomic.load (i32.const 65536)))", "(memory 1 1 shared)"),
    "throw-in-callee": '(module (tag $e) (func $f (throw $e)) (func (export "_start") (call $f)))',
}
MEMORY_BYTES = {"out-of-memory": 512 << 20}


def record(kilnd: str, program: str | bytes, memory_bytes: int) -> dict[str, Any]:
    """Run kilnd once in its harness mode."""
    wasm = bytes(wasmtime.wat2wasm(program)) if isinstance(program, str) else program
    with tempfile.TemporaryDirectory() as folder:
        module, answer = Path(folder) / "module.wasm", Path(folder) / "answer"
        module.write_bytes(wasm)
        ended = subprocess.run(
            [kilnd],
            env={"PATH": "/usr/bin:/bin", "WITNESS_MODULE": str(module), "WITNESS_OUTPUT": str(answer)},
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes)),
        )
        return {
            "module": program if isinstance(program, str) else {"hex": program.hex()},
            "exit_code": ended.returncode if ended.returncode >= 0 else None,
            "signal": -ended.returncode if ended.returncode < 0 else None,
            "stdout": ended.stdout.decode("utf-8", "backslashreplace")[-2000:],
            "stderr": ended.stderr.decode("utf-8", "backslashreplace")[-2000:],
            "answer": answer.read_text() if answer.exists() else None,
        }


def main(kilnd: str, version: str) -> None:
    folder = FOLDER / f"kilnd-{version}"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    cases = {f"trap-{name}": program for name, (_, program) in programs.TRAPS.items()} | OTHERS
    for name, program in cases.items():
        transcript = record(kilnd, program, MEMORY_BYTES.get(name, 4 << 30))
        (folder / f"{name}.json").write_text(json.dumps(transcript, indent=1) + "\n")
    print(f"{len(cases)} transcripts in {folder}")


if __name__ == "__main__":
    main(*sys.argv[1:])
