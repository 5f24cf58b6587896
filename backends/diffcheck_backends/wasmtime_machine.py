"""Wasmtime in this process: engines by variant, compiled modules, one program at a time. Only the server imports this.

Epoch interruption ends a run at its deadline. A compilation cannot be interrupted, so the caller must be able to end this process.
A linker looks exports up by name, since ``Instance.exports`` takes quadratic time (20,000 exports: 1.8 s; by name 0.12 s,
wasmtime 50).
"""

from __future__ import annotations

import json
import re
import resource
import stat
import sys
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import wasmtime

from diffcheck import process
from diffcheck.capsule.layout import (
    AFTER_TRAP_EXPORT,
    FINISHED,
    HEADER,
    HEADER_ADDRESS,
    MAGIC,
    MAX_STREAM_BYTES,
    MEMORY_EXPORT,
    VARIABLES_ADDRESS,
    Header,
    read_header,
)
from diffcheck.errors import ReportError
from diffcheck.observation import (
    Cost,
    Execution,
    HarnessFailed,
    Outcome,
    OutOfMemory,
    Refused,
    Returned,
    TimedOut,
    TrapKind,
    Trapped,
    trapped_at_instantiation,
)
from diffcheck.text import visible
from diffcheck_backends import refusal_words
from diffcheck_backends.wasmtime_wire import (
    Assemble,
    AssemblyResult,
    Compile,
    ModuleMissing,
    RunRequest,
    RunResult,
    Validate,
    ValidationResult,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck_backends.wasmtime_wire import Answer, Request, Variant

MAX_STACK_BYTES: Final = 2 << 20
"""Wasmtime aborts the process for a stack above its ``async_stack_size``, which wasmtime-py 50 cannot set."""
MIN_STACK_BYTES: Final = 16 << 10
CACHE_LIMIT: Final = "1Gi"
"""The size of the cache of compiled modules, compressed, at which Wasmtime removes the least recently used ones."""

_FEATURES: Final = (
    "wasm_bulk_memory",
    "wasm_custom_page_sizes",
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
_OVER_LIMIT: Final = re.compile(r"exceeds memory limits|out of memory|failed to allocate|Cannot allocate memory", re.IGNORECASE)
_KEPT_MODULES: Final = 6
_MAXRSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
_FUEL: Final = (1 << 63) - 1
_PREFIX: Final = "__witness_counter_"
_NUMBER: Final = re.compile(r"\+?0*([0-9]{1,10})\Z")
_OFFSET: Final = "(at offset 0x"
_IMPORT: Final = re.compile(r"unknown import|incompatible import type|expected \d+ imports")
_UNCAUGHT: Final = "thrown Wasm exception"

TRAPS: Final[dict[wasmtime.TrapCode, TrapKind]] = {
    wasmtime.TrapCode.UNREACHABLE: "unreachable",
    wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO: "integer divide by zero",
    wasmtime.TrapCode.INTEGER_OVERFLOW: "integer overflow",
    wasmtime.TrapCode.BAD_CONVERSION_TO_INTEGER: "invalid conversion to integer",
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: "out of bounds memory access",
    wasmtime.TrapCode.TABLE_OUT_OF_BOUNDS: "out of bounds table access",
    wasmtime.TrapCode.INDIRECT_CALL_TO_NULL: "uninitialized element",
    wasmtime.TrapCode.BAD_SIGNATURE: "indirect call type mismatch",
    wasmtime.TrapCode.STACK_OVERFLOW: "call stack exhausted",
    wasmtime.TrapCode.NULL_REFERENCE: "null reference",
    wasmtime.TrapCode.CAST_FAILURE: "cast failure",
    wasmtime.TrapCode.ARRAY_OUT_OF_BOUNDS: "out of bounds array access",
    wasmtime.TrapCode.ALLOCATION_TOO_LARGE: "allocation too large",
    wasmtime.TrapCode.UNCAUGHT_EXCEPTION: "uncaught exception",
    wasmtime.TrapCode.HEAP_MISALIGNED: "unaligned atomic",
}


class _EndedError(Exception):
    """A run ended before its entry returned, with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Machine:
    """Answers requests one by one."""

    def __init__(self) -> None:
        self._engines: dict[tuple[Variant, str], wasmtime.Engine] = {}
        self._modules: OrderedDict[tuple[Variant, str], tuple[wasmtime.Engine, wasmtime.Module]] = OrderedDict()

    def answer(self, request: Request) -> Answer:
        """The answer to ``request``; errors of wasmtime are data."""
        match request:
            case Compile():
                return self._compile(request)
            case RunRequest():
                return self._run(request)
            case Validate():
                return self._validate(request)
            case Assemble():
                return _assemble(request)

    def _compile(self, request: Compile) -> Answer:
        engine = self._engine(request.variant, request.cache)
        try:
            if not request.wasm.startswith(b"\0"):
                wasmtime.Module.validate(engine, request.wasm)  # Module would parse it as text
            module = wasmtime.Module(engine, request.wasm)
        except wasmtime.WasmtimeError as error:
            words = _words(error)
            # Errors of validation have an offset. Others are errors of compilation: a valid module is too large.
            return ValidationResult(Refused("load", words, refusal_words.kind(words, "invalid" if _OFFSET in words else "limit")))
        self._modules[request.variant, request.sha256] = engine, module
        while len(self._modules) > _KEPT_MODULES:
            self._modules.popitem(last=False)
        return ValidationResult(None)

    def _run(self, run: RunRequest) -> Answer:
        key = (run.variant, run.sha256)
        if key not in self._modules:
            return ModuleMissing()
        self._modules.move_to_end(key)
        begun, cpu = time.perf_counter_ns(), time.process_time_ns()
        instance = _Instance(*self._modules[key], run)
        try:
            execution = instance.run()
        finally:
            instance.close()
        cost = Cost(
            time.perf_counter_ns() - begun,
            time.process_time_ns() - cpu,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT,
            1,
        )
        return RunResult(msgspec.structs.replace(execution, cost=cost), instance.trap_offset)

    def _validate(self, request: Validate) -> Answer:
        try:
            wasmtime.Module.validate(self._engine(request.variant), request.wasm)
        except wasmtime.WasmtimeError as error:
            return ValidationResult(Refused("load", words := _words(error), refusal_words.kind(words, "invalid")))
        return ValidationResult(None)

    def _engine(self, variant: Variant, cache: str = "") -> wasmtime.Engine:
        """The engine of a variant; with ``cache`` the one that reads and stores compiled modules there."""
        if (variant, cache) not in self._engines:
            config = configuration(variant)
            if cache and (settings := _cache_settings(Path(cache))):
                with suppress(wasmtime.WasmtimeError):
                    config.cache = settings
            self._engines[variant, cache] = wasmtime.Engine(config)
        return self._engines[variant, cache]


class _Instance:
    """One run: a store, an instance, its entry, and the state afterwards."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module, run: RunRequest) -> None:
        self._engine, self._module, self._request = engine, module, run
        self._store = wasmtime.Store(engine)
        self._store.set_limits(memory_size=run.memory_bytes)
        self._store.set_epoch_deadline(1)
        if run.variant.count_fuel:
            self._store.set_fuel(_FUEL)
        self._linker = wasmtime.Linker(engine)
        self.trap_offset: int | None = None

    def run(self) -> Execution:
        """Instantiate, call the entry, and read the image or the counters."""
        with interrupted_after(self._engine, self._request.deadline_s):
            try:
                self._instantiate()
                entry = self._entry()
                memory = self._recorder_memory() if self._request.kind == "capsule" else None
                outcome = self._call(entry)
                carried = self._image(memory, outcome) if memory is not None else b""
            except _EndedError as ended:
                return Execution(ended.outcome, fuel=self._fuel())
        counters = None
        if self._request.kind == "direct" and isinstance(outcome, Returned):
            try:
                counters = self._counters()
            except _EndedError as ended:
                outcome = ended.outcome
        return Execution(outcome, carried=carried, counters=counters, fuel=self._fuel())

    def close(self) -> None:
        """Free the store now: each memory reserves 4 GiB of address space, and traps keep frames alive in cycles."""
        self._linker.close()
        self._store.close()

    def _instantiate(self) -> None:
        try:
            # An empty linker names missing imports in its error.
            instance = self._linker.instantiate(self._store, self._module)
        except wasmtime.Trap as trap:
            outcome = self._trapped(trap)
            if isinstance(outcome, Trapped):
                # Engines of the harness protocol report such a trap as a refusal, so it is one here as well.
                outcome = trapped_at_instantiation(outcome.kind)
            raise _EndedError(outcome) from trap
        except wasmtime.WasmtimeError as error:
            words = _words(error)
            if _OVER_LIMIT.search(words):
                raise _EndedError(OutOfMemory(self._request.memory_bytes, words)) from error
            kind = "unlinkable" if _IMPORT.search(words) else refusal_words.kind(words, "limit")
            raise _EndedError(Refused("instantiate", words, kind)) from error
        self._linker.define_instance(self._store, "", instance)

    def _export(self, name: str) -> object:
        try:
            return self._linker.get(self._store, "", name)
        except wasmtime.WasmtimeError:
            return None

    def _entry(self) -> wasmtime.Func:
        entry = self._export(self._request.entry)
        if not isinstance(entry, wasmtime.Func):
            raise _EndedError(Refused("entry", f"there is no function {visible(self._request.entry)}"))
        if entry.type(self._store).params:
            raise _EndedError(Refused("entry", "the entry has parameters"))
        return entry

    def _call(self, function: wasmtime.Func) -> Outcome:
        try:
            function(self._store)
        except wasmtime.Trap as trap:
            return self._trapped(trap)
        except wasmtime.WasmtimeError as error:
            if error.args:
                # Only errors of wasmtime-py itself have arguments: it cannot represent a result (v128, GC references).
                # The call has returned, and results are not needed.
                return Returned()
            words = _words(error)
            if _OVER_LIMIT.search(words):
                return OutOfMemory(self._request.memory_bytes, words)
            return HarnessFailed("the engine failed in the run", words)
        return Returned()

    def _trapped(self, trap: wasmtime.Trap) -> Outcome:
        words, code = _words(trap), trap.trap_code
        if self.trap_offset is None:
            self.trap_offset = next((frame.module_offset for frame in trap.frames), None)
        if code is wasmtime.TrapCode.INTERRUPT:
            return TimedOut(self._request.deadline_s)
        if code is wasmtime.TrapCode.OUT_OF_FUEL:
            return TimedOut(self._request.deadline_s, "the engine's own fuel is exhausted")
        if code is None:
            return Trapped("uncaught exception" if _UNCAUGHT in words else "unknown", words)
        return Trapped(TRAPS.get(code, "unknown"), words)

    def _recorder_memory(self) -> wasmtime.Memory:
        memory = self._export(MEMORY_EXPORT)
        if not isinstance(memory, wasmtime.Memory) or memory.data_len(self._store) < VARIABLES_ADDRESS:
            raise _EndedError(HarnessFailed("the capsule has no recorder memory"))
        try:
            memory.write(self._store, self._request.parameters, self._request.parameters_address)
        except IndexError as error:
            raise _EndedError(HarnessFailed("the recorder memory is too small")) from error
        return memory

    def _image(self, memory: wasmtime.Memory, outcome: Outcome) -> bytes:
        """The recorder memory up to the end of the stream, or up to its variables without a stream."""
        header = self._header(memory)
        if isinstance(outcome, Trapped) and header.status != FINISHED:
            closing = self._export(AFTER_TRAP_EXPORT)
            if isinstance(closing, wasmtime.Func) and not closing.type(self._store).params:
                self._call(closing)
                header = self._header(memory)
        end = header.address + header.length
        if header.magic != MAGIC or header.address < VARIABLES_ADDRESS or end > min(memory.data_len(self._store), MAX_STREAM_BYTES):
            end = VARIABLES_ADDRESS
        return bytes(memory.read(self._store, 0, end))

    def _header(self, memory: wasmtime.Memory) -> Header:
        return read_header(bytes(memory.read(self._store, HEADER_ADDRESS, HEADER_ADDRESS + HEADER.size)))

    def _counters(self) -> dict[int, int]:
        """The snapshot as in kilnd: signed integers in the order of names; a global of another type fails the run."""
        names = sorted(name for export in self._module.exports if (name := export.name).startswith(_PREFIX))
        values: dict[str, int] = {}
        for name in names:
            export = self._export(name)
            if isinstance(export, wasmtime.Global):
                values[name] = self._integer(name, export)
        return {_identifier(name): value for name, value in values.items()}

    def _integer(self, name: str, counter: wasmtime.Global) -> int:
        # By its value: wasmtime 50 ends the process when asked for the type of a global with v128 or a GC reference.
        try:
            value = counter.value(self._store)
        except wasmtime.WasmtimeError:
            value = None
        if type(value) is not int:
            raise _EndedError(HarnessFailed("counter of another type", visible(name)))
        return value % (1 << 64)

    def _fuel(self) -> int | None:
        return _FUEL - self._store.get_fuel() if self._request.variant.count_fuel else None


@contextmanager
def interrupted_after(engine: wasmtime.Engine, seconds: float) -> Iterator[None]:
    """Interrupts what runs in the engine after this time."""
    timer = threading.Timer(max(seconds, 0.0), engine.increment_epoch)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # a later increment would end the next run


def configuration(variant: Variant) -> wasmtime.Config:
    """The configuration of a variant: WebAssembly 3.0 and the proposals that kilnd supports."""
    config = wasmtime.Config()
    for feature in _FEATURES:
        setattr(config, feature, True)
    config.epoch_interruption = True
    config.parallel_compilation = False
    if variant.target == "native":
        config.wasm_threads = True  # aborts on Pulley
        config.shared_memory = True
    else:
        config.target = variant.target
    if variant.stack_bytes is not None:
        config.max_wasm_stack = min(max(variant.stack_bytes, MIN_STACK_BYTES), MAX_STACK_BYTES)
    if variant.count_fuel:
        config.consume_fuel = True
    return config


def _cache_settings(folder: Path) -> str:
    """The path of settings for Wasmtime's cache in ``folder``; empty if that cannot be trusted, since it has machine code."""
    settings = Path("wasmtime-cache.toml").absolute()
    try:
        if folder.exists() and folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return ""  # others may have put files there
        process.private(folder)
        settings.write_text(f"[cache]\ndirectory = {json.dumps(str(folder))}\nfiles-total-size-soft-limit = {CACHE_LIMIT!r}\n")
    except (OSError, ReportError):
        return ""
    return str(settings)


def _assemble(request: Assemble) -> Answer:
    try:
        return AssemblyResult(bytes(wasmtime.wat2wasm(request.text)))
    except wasmtime.WasmtimeError as error:
        return AssemblyResult(error=str(error).strip())


def _identifier(name: str) -> int:
    match = _NUMBER.match(name.removeprefix(_PREFIX))
    if not match or (number := int(match[1])) >= 1 << 32:
        raise _EndedError(HarnessFailed("a counter's name is not a u32", visible(name)))
    return number


def _words(error: wasmtime.WasmtimeError | wasmtime.Trap) -> str:
    """Wasmtime's message in one line, without the backtrace, whose offsets are the capsule's."""
    text = str(error)
    first, _, causes = text.partition("Caused by:")
    lines = [re.sub(r"^\d+: ", "", line.strip()) for line in causes.splitlines() if line.strip()]
    opening = first.strip().splitlines()[:1]
    if not lines or not opening or "wasm backtrace" not in opening[0]:
        lines = opening + lines
    return visible("; ".join(lines), 400)
