"""Calls of a component's or a module's exports: ``python -m diffcheck_backends.wasmtime_calls`` answers messages on stdin."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import wasmtime
from wasmtime import component

from diffcheck.backend.contract import CallResult, CallResults, ExportCall, StubMemory
from diffcheck.capsule.memory_map import CAPTURE, OUTPUT_CAP
from diffcheck.observation import Exited, Outcome, Refused, Returned, TimedOut, Trapped
from diffcheck.process import claim_channel, read_frame, write_frame
from diffcheck.text import visible
from diffcheck.wasm import component as components
from diffcheck.wasm import values
from diffcheck_backends import trap_words, wasmtime_values
from diffcheck_backends.wasmtime_machine import configuration, interrupted_after
from diffcheck_backends.wasmtime_wire import CallAnswer, CallRequest, Variant

if TYPE_CHECKING:
    from diffcheck.wasm.wit.types import WitFunction

_COUNTER: Final = "__witness_counter_"
_FLOATS: Final = ("f32", "f64")
_INTERRUPTED: Final = "wasm trap: interrupt"


class _Instance(ABC):
    """One instance of a program; ``streams`` is what was written to stdout and stderr."""

    def __init__(self, engine: wasmtime.Engine, request: CallRequest) -> None:
        self.engine, self.program, self.limits = engine, request.program, request.limits
        self.store = wasmtime.Store(engine)
        self.store.set_limits(memory_size=request.limits.memory_bytes)
        self.streams = [b"", b""]

    def call(self, call: ExportCall) -> CallResult:
        """The result of a call; the instance is not usable after one that does not return."""
        before = [len(each) for each in self.streams]
        results: tuple[Any, ...] = ()
        outcome: Outcome = Returned()
        try:
            results = self._limited(call)
        except Exception as error:  # noqa: BLE001 - wasmtime-py has a TypeError, for instance, for a type that it lacks
            outcome = self._outcome(error)
        self.streams = self.written()
        stdout, stderr = (each[start:] for each, start in zip(self.streams, before, strict=True))
        return CallResult(outcome, results, stdout, stderr)

    def _limited(self, call: ExportCall) -> tuple[Any, ...]:
        self.store.set_epoch_deadline(1)
        with interrupted_after(self.engine, self.limits.deadline_s):
            for name in self.program.before:
                self.results(ExportCall(name))
            return self.results(call)

    def _outcome(self, error: Exception) -> Outcome:
        words = str(error)
        if (code := getattr(error, "code", None)) is not None and isinstance(code, int):
            return Exited(code)
        if _INTERRUPTED in words:
            return TimedOut(self.limits.deadline_s)
        if (code := self.exit_code()) is not None:
            return Exited(code)
        found = trap_words.classify(words, 1, None, self.limits)
        return found if isinstance(found, Trapped) else Trapped("unknown", visible(words.strip(), 400))

    @abstractmethod
    def results(self, call: ExportCall) -> tuple[Any, ...]:
        """The results of a call of an export; raises what wasmtime-py raises."""

    def written(self) -> list[bytes]:
        """What was written to stdout and stderr so far."""
        return self.streams

    def exit_code(self) -> int | None:
        """The exit code if the program ended by an exit."""
        return None

    def counters(self) -> dict[int, int]:
        """Witness's counters by branch id."""
        return {}


class _Component(_Instance):
    def __init__(self, engine: wasmtime.Engine, request: CallRequest, loaded: Any, functions: dict[str, WitFunction]) -> None:  # noqa: ANN401
        super().__init__(engine, request)
        self._functions = functions
        config = wasmtime.WasiConfig()
        config.argv, config.env = list(self.program.args), list(self.program.env.items())
        Path("stdin").write_bytes(self.program.stdin)
        config.stdin_file = "stdin"
        config.stdout_custom = lambda data: self._write(0, data)
        config.stderr_custom = lambda data: self._write(1, data)
        self.store.set_wasi(config)
        linker = component.Linker(engine)
        linker.add_wasip2()
        linker.allow_shadowing = True
        linker.define_unknown_imports_as_traps(loaded)
        self._instance = linker.instantiate(self.store, loaded)

    def _write(self, stream: int, data: bytes) -> None:
        self.streams[stream] += data

    def results(self, call: ExportCall) -> tuple[Any, ...]:
        interface, _, name = call.export.rpartition("#")
        inside = self._instance.get_export_index(self.store, interface) if interface else None
        index = self._instance.get_export_index(self.store, name, inside)
        function = self._instance.get_func(self.store, index) if index is not None else None
        if function is None:
            raise KeyError(call.export)
        type_ = self._functions[call.export]
        value = function(self.store, *map(wasmtime_values.to_python, type_.params, call.args))
        found = () if type_.result is None else (wasmtime_values.from_python(type_.result, value),)
        function.post_return(self.store)
        return found


class _Module(_Instance):
    def __init__(self, engine: wasmtime.Engine, request: CallRequest, loaded: wasmtime.Module) -> None:
        super().__init__(engine, request)
        self.store.set_epoch_deadline(1 << 30)
        self._linker = wasmtime.Linker(engine)
        self._names = [each.name for each in loaded.exports if each.name.startswith(_COUNTER)]
        self._linker.define_instance(self.store, "", self._linker.instantiate(self.store, loaded))

    def results(self, call: ExportCall) -> tuple[Any, ...]:
        function = self._export(call.export)
        type_ = function.type(self.store)
        value = function(self.store, *(_number(str(kind), bits) for kind, bits in zip(type_.params, call.args, strict=True)))
        numbers = () if value is None else tuple(value) if isinstance(value, list) else (value,)
        return tuple(_bits(str(kind), each) for kind, each in zip(type_.results, numbers, strict=True))

    def _export(self, name: str) -> Any:  # noqa: ANN401 - a class of wasmtime-py
        return self._linker.get(self.store, "", name)

    def _bytes(self, address: int, size: int) -> bytes:
        return bytes(self._export(self._stubs.export).read(self.store, address, address + size))

    @property
    def _stubs(self) -> StubMemory:
        assert self.program.stub_memory is not None, "checked by the callers"  # noqa: S101
        return self.program.stub_memory

    def written(self) -> list[bytes]:
        return [self._captured(at) for at in (0, 1)] if self.program.stub_memory is not None else self.streams

    def _captured(self, stream: int) -> bytes:
        _, _, size, _ = CAPTURE.unpack(self._bytes(self._stubs.captures + stream * CAPTURE.size, CAPTURE.size))
        return self._bytes(self._stubs.buffers + stream * OUTPUT_CAP, size) if size else b""

    def exit_code(self) -> int | None:
        if self.program.stub_memory is None or not any(self._bytes(self._stubs.exit_flag, 4)):
            return None
        return int.from_bytes(self._bytes(self._stubs.exit_code, 4), "little")

    def counters(self) -> dict[int, int]:
        return {int(name.removeprefix(_COUNTER)): self._export(name).value(self.store) for name in self._names}


def _number(kind: str, bits: int) -> int | float:
    """The bits of an argument as wasmtime-py takes it."""
    return values.float_number(kind, bits) if kind in _FLOATS else values.signed(bits, values.WIDTHS[kind])


def _bits(kind: str, number: float) -> int:
    """The bits of a result of wasmtime-py."""
    return values.float_bits(kind, number) if kind in _FLOATS else int(number) % (1 << values.WIDTHS[kind])


def answer(request: CallRequest) -> CallAnswer:
    """The results of a request's calls."""
    program = request.program
    config = configuration(Variant())
    config.wasm_component_model = True
    engine = wasmtime.Engine(config)
    functions: dict[str, WitFunction] = {}
    results: list[CallResult] = []
    counters: Counter[int] = Counter()
    try:
        if components.is_component(program.wasm):
            loaded: Any = component.Component(engine, program.wasm)
            functions = dict(wasmtime_values.functions(engine, loaded))
        else:
            loaded = wasmtime.Module(engine, program.wasm)
        while len(results) < len(program.calls):
            instance = _Component(engine, request, loaded, functions) if functions else _Module(engine, request, loaded)
            results += _in_instance(instance, program.calls[len(results) :])
            counters.update(instance.counters())
    except (wasmtime.WasmtimeError, wasmtime.Trap, KeyError, TypeError) as error:
        return CallAnswer(error=visible(str(error).strip().partition("\n")[0], 400))
    return CallAnswer(CallResults(tuple(results), dict(counters), functions))


def _in_instance(instance: _Instance, calls: tuple[ExportCall, ...]) -> list[CallResult]:
    """The results up to the first call that does not return; at least one."""
    for name in instance.program.init:
        first = instance.call(ExportCall(name))
        if not isinstance(first.outcome, Returned):
            return [CallResult(Refused("instantiate", f"{name} did not return"))] * len(calls)
    results = []
    for each in calls:
        results.append(instance.call(each))
        if not isinstance(results[-1].outcome, Returned):
            break
    return results


def main() -> int:
    """Serve requests from stdin until it is closed."""
    reader, writer = claim_channel()
    decode = msgspec.msgpack.Decoder(CallRequest).decode
    encode = msgspec.msgpack.Encoder().encode
    while (message := read_frame(reader)) is not None:
        write_frame(writer, encode(answer(decode(message))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
