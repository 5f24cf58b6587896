"""A stand-in for kilnd 0.4.4: its harness mode over wasmtime, with its rules, limits, words and exit statuses.

Run by path (``python tests/doubles/kilnd.py``), since an engine's environment has no import path. Other than kilnd it
validates. Arguments, since the environment is scrubbed: ``--fault NAME`` makes it an engine that fails in one way, ``--fuel N``
sets its fuel, ``--chatter`` prints debug lines first.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

MAX_EXPORTS = 256
FUEL = 10_000_000_000
ENTRIES = ("_start", "run", "0", "1", "main")
PREFIX = "__witness_counter_"

WORDS = {
    "UNREACHABLE": "unreachable",
    "INTEGER_DIVISION_BY_ZERO": "integer divide by zero",
    "INTEGER_OVERFLOW": "integer overflow",
    "BAD_CONVERSION_TO_INTEGER": "invalid conversion to integer",
    "MEMORY_OUT_OF_BOUNDS": "out of bounds memory access",
    "TABLE_OUT_OF_BOUNDS": "out of bounds table access",
    "INDIRECT_CALL_TO_NULL": "uninitialized element",
    "BAD_SIGNATURE": "indirect call type mismatch",
    "STACK_OVERFLOW": "call stack exhausted",
    "NULL_REFERENCE": "null reference",
    "CAST_FAILURE": "cast failure",
    "ARRAY_OUT_OF_BOUNDS": "out of bounds array access",
    "HEAP_MISALIGNED": "unaligned atomic access",
    "OUT_OF_FUEL": "fuel exhausted: execution exceeded the configured instruction budget",
}


class Failed(Exception):  # noqa: N818 - what it carries is an answer
    """What kilnd says last: a code and a message."""

    def __init__(self, code: int, message: str, category: str = "Runtime") -> None:
        super().__init__(message)
        self.line = f'Error: Error {{ category: {category}, code: {code}, message: "{message}" }}'


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--fault", default="")
    options.add_argument("--fuel", type=int, default=FUEL)
    options.add_argument("--chatter", action="store_true")
    options.add_argument("--version", action="store_true")
    chosen = options.parse_args()
    if chosen.version or not {"WITNESS_MODULE", "WITNESS_OUTPUT"} <= os.environ.keys():
        print("WebAssembly Runtime Daemon (kilnd)\nError: No module specified", file=sys.stderr)
        return 1
    if chosen.chatter:
        print('[DEBUG-EXN-HANDLER] Error: Error { category: Runtime, code: 8601, message: "exception" }?', file=sys.stderr)
    try:
        counters = run(os.environ["WITNESS_MODULE"], chosen.fuel)
        answer(counters, chosen.fault)
    except Failed as failed:
        print(failed.line, file=sys.stderr)
        return 1
    return 0


def run(path: str, fuel: int) -> dict[str, int]:
    import wasmtime  # noqa: PLC0415 - not for --version

    wasm = Path(path).read_bytes()
    if wasm[:8] != b"\0asm\1\0\0\0":
        raise Failed(7000, "WITNESS_MODULE is not a core module; witness-harness-v1 expects a meld-fused core")
    engine = wasmtime.Engine(config(wasmtime))
    store = wasmtime.Store(engine)
    store.set_fuel(fuel)
    try:
        module = wasmtime.Module(engine, wasm)
    except wasmtime.WasmtimeError:
        raise Failed(1005, "failed to load WITNESS_MODULE") from None
    exports = {export.name: export.type for export in module.exports}
    if len(exports) > MAX_EXPORTS:
        raise Failed(1005, "failed to load WITNESS_MODULE")
    linker = wasmtime.Linker(engine)
    try:
        instance = linked(wasmtime, linker, store, module).instantiate(store, module)
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        if re.search("allocate|out of memory|mmap", str(error)):
            _out_of_memory("", "")
        raise Failed(1005, "failed to instantiate WITNESS_MODULE") from None
    items = wasmtime.Linker(engine)
    items.define_instance(store, "", instance)
    entry = next((name for name in ENTRIES if isinstance(exports.get(name), wasmtime.FuncType)), None)
    if entry is None:
        raise Failed(2010, "no witness harness entry export found (_start/run/0/1/main)")
    call(wasmtime, store, items.get(store, "", entry))
    return snapshot(wasmtime, store, items, sorted(exports))


def config(wasmtime):
    chosen = wasmtime.Config()
    chosen.consume_fuel = True
    chosen.parallel_compilation = False  # no threads: a stand-in may be a forked child
    chosen.max_wasm_stack = 640 << 10  # calls about as deep as kilnd's
    # As kilnd, no more address space than is used: it runs under a limit of that.
    chosen.memory_reservation = chosen.memory_guard_size = 1 << 16
    chosen.memory_reservation_for_growth = 1 << 20
    chosen.wasm_threads = chosen.shared_memory = True
    chosen.wasm_gc = chosen.wasm_function_references = chosen.wasm_exceptions = True
    chosen.wasm_multi_memory = chosen.wasm_memory64 = chosen.wasm_tail_call = True
    chosen.wasm_wide_arithmetic = chosen.wasm_relaxed_simd = True
    return chosen


def linked(wasmtime, linker, store, module):
    def called(*_arguments: object) -> None:
        raise Failed(7000, "WASI function called but no host_handler configured. Use engine.set_host_handler()")

    for item in module.imports:
        if isinstance(item.type, wasmtime.FuncType):
            linker.define(store, item.module, item.name, wasmtime.Func(store, item.type, called))
    linker.define_unknown_imports_as_default_values(store, module)
    return linker


def call(wasmtime, store, entry) -> None:
    if entry.type(store).params:
        raise Failed(
            6001,
            "function invoked with wrong number of arguments: the argument count must match the function's declared parameter count"
            " (missing parameters are not zero-filled)",
        )
    try:
        entry(store)
    except wasmtime.Trap as trap:
        code = trap.trap_code.name if trap.trap_code else ""
        if code == "ALLOCATION_TOO_LARGE":
            raise Failed(7000, "Failed to push to array") from None
        raise Failed(8601, WORDS.get(code, "exception" if "exception" in str(trap) else code)) from None
    except wasmtime.WasmtimeError as error:
        if not error.args:  # with arguments it is wasmtime-py's own, about a result that it cannot hold
            raise Failed(8601, "out of memory") from None


def snapshot(wasmtime, store, items, names: list[str]) -> dict[str, int]:
    counters: dict[str, int] = {}
    found = [(name, items.get(store, "", name)) for name in names if name.startswith(PREFIX)]
    for name, item in found:
        if isinstance(item, wasmtime.Global):
            try:
                value = item.value(store)
            except wasmtime.WasmtimeError:
                value = None
            if type(value) is not int:
                raise Failed(7000, "exported counter global is not an integer (i32/i64)")
            counters[name] = value
    by_id: dict[int, int] = {}
    for name, value in counters.items():
        match = re.fullmatch(r"\+?0*([0-9]{1,10})", name.removeprefix(PREFIX))
        if not match or int(match[1]) >= 1 << 32:
            raise Failed(7000, "witness counter id is not a numeric u32")
        by_id[int(match[1])] = value
    return {str(number): by_id[number] for number in sorted(by_id)}


def answer(counters: dict[str, int], fault: str) -> None:
    """Write the snapshot, or do what ``fault`` says instead."""
    target = os.environ["WITNESS_OUTPUT"]
    body = ",".join(f'"{name}":{value}' for name, value in counters.items())
    text = f'{{"schema":"witness-harness-v1","counters":{{{body}}}}}'
    if fault == "lie":
        first, *others = [f'"{name}":{value}' for name, value in counters.items()]
        name, value = first.split(":")
        text = '{"schema":"witness-harness-v1","counters":{' + ",".join([f"{name}:{int(value) ^ 1}", *others]) + "}}"
    elif fault in FAULTS:
        replaced = FAULTS[fault](text, target)
        if replaced is None:
            return
        text = replaced
    Path(target).write_text(text, encoding="utf-8")


def _hang(_text: str, _target: str) -> None:
    time.sleep(3600)


def _flood(_text: str, _target: str) -> None:
    while True:
        os.write(2, b"flood\n" * 10000)


def _fork(text: str, _target: str) -> str:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    return text


def _panic(_text: str, _target: str) -> None:
    sys.stderr.write("thread '<unnamed>' panicked at kiln-runtime/src/stackless/engine.rs:1:2:\nindex out of bounds\n")
    sys.stderr.flush()
    os._exit(101)


def _out_of_memory(_text: str, _target: str) -> None:
    sys.stderr.write("memory allocation of 8388608 bytes failed\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGABRT)


def _crash(_text: str, _target: str) -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # wasmtime's handler takes it for one of its own
    os.kill(os.getpid(), signal.SIGSEGV)


def _link(_text: str, target: str) -> None:
    Path(target).symlink_to("/dev/null")


FAULTS = {
    "hang": _hang,
    "flood": _flood,
    "fork": _fork,
    "panic": _panic,
    "oom": _out_of_memory,
    "crash": _crash,
    "link": _link,
    "no-answer": lambda _text, _target: None,
    "half": lambda text, _target: text[: len(text) // 2],
    "empty": lambda _text, _target: "",
}


if __name__ == "__main__":
    sys.exit(main())
