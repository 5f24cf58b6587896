"""Shell lines that run a module by Wasmtime's Python package and nothing of ours; its command line prints no globals."""

from __future__ import annotations

import shlex
from typing import Final

_PROGRAM: Final = """\
import sys, wasmtime
config = wasmtime.Config()
for each in ("bulk_memory", "exceptions", "function_references", "gc", "memory64", "multi_memory", "multi_value",
             "reference_types", "relaxed_simd", "simd", "tail_call", "wide_arithmetic"):
    setattr(config, "wasm_" + each, True)
{target}engine = wasmtime.Engine(config)
store = wasmtime.Store(engine)
try:
    instance = wasmtime.Instance(store, wasmtime.Module.from_file(engine, sys.argv[1]), [])
    exports = instance.exports(store)
    exports[sys.argv[2]](store)
except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
    print(getattr(error, "message", error))
else:
    print("returned")
    print({name: exports[name].value(store) for name in exports if name.startswith("__witness_counter_")})
"""


def lines(module: str, entry: str, *, target: str) -> tuple[str, ...]:
    """The lines; the interpreter may be chosen by ``PYTHON``."""
    chosen = 'config.target = "pulley64"\n' if target == "pulley64" else ""
    program = _PROGRAM.replace("{target}", chosen).rstrip("\n")
    return (
        "if ! \"${PYTHON:-python3}\" -c 'import wasmtime' 2>/dev/null; then",
        '  echo "for this part: pip install wasmtime, or name a Python that has it in PYTHON"',
        "else",
        f"\"${{PYTHON:-python3}}\" - {shlex.quote(module)} {shlex.quote(entry)} <<'END'",
        *program.splitlines(),
        "END",
        "fi",
    )
