"""The declarations for ``diffcheck.backend.registry``. ``--help`` reads them, so nothing else is imported."""

from __future__ import annotations

from typing import Final

from diffcheck.backend.registry import Declaration

KILND: Final = Declaration(program="Short for --subject kilnd:PATH.", subject_rank=2, engine="kiln")
WASMTIME: Final = Declaration(oracle_rank=1, engine="Wasmtime")
PULLEY: Final = Declaration(subject_rank=1, engine="Wasmtime")
COMMAND: Final = Declaration(
    engines={"node": "V8", "nodejs": "V8", "deno": "V8", "d8": "V8", "bun": "JavaScriptCore", "jsc": "JavaScriptCore"}
)
