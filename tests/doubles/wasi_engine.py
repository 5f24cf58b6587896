"""A stand-in for an engine that runs WASI commands: wasmtime-py with the words and exit statuses of wasmtime's command line."""

from __future__ import annotations

import sys
from pathlib import Path

import wasmtime


def main() -> int:
    *options, path = sys.argv[1:]
    if path == "--version":
        print("wasi-stand-in 1.2.3")
        return 0
    if "--chatter" in options:
        print("starting", flush=True)
    status = run(
        path,
        options[options.index("--invoke") + 1] if "--invoke" in options else "_start",
        multi_memory="--single-memory" not in options,
        exceptions="--no-exceptions" not in options,
        after_trap="--after-trap" in options,
    )
    if "--chatter" in options:
        print("done", flush=True)
    return status


def run(path: str, entry: str, *, multi_memory: bool, exceptions: bool = True, after_trap: bool = False) -> int:
    config = wasmtime.Config()
    config.parallel_compilation = False  # no threads: a stand-in may be a forked child
    config.wasm_gc = config.wasm_function_references = True
    config.wasm_exceptions = exceptions
    config.wasm_multi_memory = multi_memory
    config.wasm_threads = config.shared_memory = True
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    wasi = wasmtime.WasiConfig()
    wasi.inherit_stdout()
    store.set_wasi(wasi)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    try:
        wasm = Path(path).read_bytes()
        wasmtime.Module.validate(engine, wasm)  # Module takes text as well
        instance = linker.instantiate(store, wasmtime.Module(engine, wasm))
        try:
            instance.exports(store)[entry](store)
        except wasmtime.Trap:
            if after_trap:
                instance.exports(store)["diffcheck:after-trap"](store)
            raise
    except wasmtime.ExitTrap as ended:
        return ended.code
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        print(f"Error: failed to run main module `{path}`\n\nCaused by:\n    {error}", file=sys.stderr)
        return 134 if isinstance(error, wasmtime.Trap) else 1
    except KeyError:
        print(f"Error: no function `{entry}`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
