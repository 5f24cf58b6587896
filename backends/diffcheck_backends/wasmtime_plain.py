"""Shell lines that run a module by Wasmtime's Python package alone, since its command line does not print globals."""

from __future__ import annotations

import shlex
from typing import Final

_PROGRAM: Final = """\
import json, sys, wasmtime
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
    sys.exit(getattr(error, "message", str(error)))
prefix = "__witness_counter_"
print(json.dumps({name.removeprefix(prefix): exports[name].value(store) for name in exports if name.startswith(prefix)}))
"""


def lines(module: str, entry: str, *, target: str) -> tuple[str, ...]:
    """The lines; ``PYTHON`` may name the interpreter."""
    chosen = 'config.target = "pulley64"\n' if target == "pulley64" else ""
    program = _PROGRAM.replace("{target}", chosen).rstrip("\n")
    return (
        "# needs `pip install wasmtime`; PYTHON may name an interpreter that has it",
        f"\"${{PYTHON:-python3}}\" - {shlex.quote(module)} {shlex.quote(entry)} <<'END'",
        *program.splitlines(),
        "END",
    )


def invocation(module: str, export: str) -> str:
    """Wasmtime's own command line, which prints the results of the export."""
    return f"wasmtime run -W all-proposals=y --invoke {shlex.quote(export)} {shlex.quote(module)}"
