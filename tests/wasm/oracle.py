"""wasmtime with all of WebAssembly 3.0, as the judge of what is a valid module."""

from __future__ import annotations

from functools import cache

import wasmtime

FEATURES = (
    "wasm_bulk_memory",
    "wasm_exceptions",
    "wasm_function_references",
    "wasm_gc",
    "wasm_memory64",
    "wasm_multi_memory",
    "wasm_multi_value",
    "wasm_reference_types",
    "wasm_relaxed_simd",
    "wasm_simd",
    "wasm_tail_call",
    "wasm_wide_arithmetic",
)


@cache
def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    for feature in FEATURES:
        setattr(config, feature, True)
    config.cranelift_opt_level = "none"
    return wasmtime.Engine(config)


def refusal(data: bytes) -> str:
    """Why wasmtime does not compile the module; empty if it does."""
    try:
        wasmtime.Module(engine(), data)
    except wasmtime.WasmtimeError as error:
        return str(error)
    return ""
