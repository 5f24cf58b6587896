"""The results of a component's rows in each artifact of the chain: the component, meld's, witness's, and the capsule.

All run under the oracle. A component has the case's arguments, environment and stdin; core modules have the stubs of a capsule.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import CallProgram, ExportCall, StubMemory
from diffcheck.capsule.driver import START
from diffcheck.capsule.layout import MEMORY_EXPORT
from diffcheck.capsule.sealed_artifact import close
from diffcheck.cases.rows import numbered
from diffcheck.cases.wit_rows.lifting import decoded, returned, scalar_of
from diffcheck.cases.wit_rows.lowering import Lowering
from diffcheck.cases.wit_rows.wit_rows import parse, plain
from diffcheck.errors import ArtifactError
from diffcheck.observation import UNNAMED_KINDS, Outcome, Returned, Trapped, sentence
from diffcheck.runner.observation_reader import ObservationReader
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.text import decode, visible
from diffcheck.wasm import values
from diffcheck.wasm.module import read
from diffcheck.wasm.values import Value
from diffcheck.wasm.wit import abi, wave
from diffcheck.witness.formats import ROW_RESET, TRACE_RESET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diffcheck.backend.contract import CallResult, Host, Oracle
    from diffcheck.capsule.driver import Call
    from diffcheck.capsule.seal import World
    from diffcheck.cases.wit_rows.wit_rows import WitRow
    from diffcheck.runner.plan import CapsulePlan
    from diffcheck.wasm.wit.types import WitFunction

_SHOWN: Final = 120
_OUTPUT_BYTES: Final = 65_536


class RowResult(msgspec.Struct, frozen=True):
    """The outcome of a row, the bits of its core results, and its output; ``text`` is the result as text."""

    outcome: Outcome
    results: tuple[int, ...]
    text: str
    stdout: bytes = b""
    stderr: bytes = b""

    def differs(self, other: RowResult) -> bool:
        """Whether the results differ. A trap without a known kind may be any."""
        one, two = self.outcome, other.outcome
        if isinstance(one, Trapped) and isinstance(two, Trapped):
            return one.kind != two.kind and not UNNAMED_KINDS & {one.kind, two.kind}
        if not isinstance(one, Returned) or not isinstance(two, Returned):
            return one != two
        return (self.results, self.stdout, self.stderr) != (other.results, other.stdout, other.stderr)

    def shown(self, other: RowResult) -> str:
        """The result as text, with what distinguishes it from the other one."""
        if not isinstance(self.outcome, Returned):
            return sentence(self.outcome)
        if self.text != other.text or not isinstance(other.outcome, Returned):
            return self.text or "returned"
        for name in ("stdout", "stderr"):
            if getattr(self, name) != getattr(other, name):
                return f"{name} {visible(repr(decode(getattr(self, name))), _SHOWN)}"
        return f"{self.text}, with other bytes after these"


class ArtifactRun(msgspec.Struct, frozen=True):
    """What an artifact of the chain did: the results by row; counters by branch id, None if it has none; ``error`` if it did not run."""

    name: str
    rows: dict[str, RowResult] = {}
    counters: dict[int, int] | None = None
    error: str = ""


class Chain:
    """Runs the artifacts. ``calls`` are those of the rows, a repeated row with a number; ``wit`` are the rows in WIT values by text."""

    def __init__(self, plan: CapsulePlan, component: bytes, world: World, oracle: Oracle, host: Host) -> None:
        self._plan, self._component, self._world, self._oracle, self._host = plan, component, world, oracle, host
        self._functions: dict[str, WitFunction] = oracle.call(CallProgram(component), plan.limits, host).functions
        keys = numbered(each for each in plan.calls if not each.init)
        calls = (each for each in plan.calls if not each.init)
        self.calls: dict[str, Call] = {key.name: each for key, each in zip(keys, calls, strict=True) if not each.reads}
        names = (each.name for each in self.calls.values())
        self.wit: dict[str, WitRow] = {each.text: each for each in parse(names, self._functions)}
        self._exports = {each.index: each.name for each in reversed(plan.module.exports) if each.kind == "func"}

    def component(self) -> ArtifactRun:
        """The component in wasmtime's component API, without the rows that it does not have."""
        calls = {key: call for key, each in self.calls.items() if (call := self._component_call(each)) is not None}
        world = self._world
        program = CallProgram(self._component, tuple(calls.values()), args=world.args, env=world.env, stdin=world.stdin)
        return self._run("component", program, calls)

    def _component_call(self, call: Call) -> ExportCall | None:
        """The call of a row; None for an export that takes or returns more than core values."""
        if (row := self.wit.get(plain(call.name))) is not None:
            return ExportCall(row.export, row.args)
        name = self._exports.get(call.function, "")
        function = self._functions.get(name)
        if function is None or any(abi.unsupported(each) or not _is_number(each.kind) for each in function.params):
            return None
        if function.result is not None and (abi.unsupported(function.result) or len(abi.flat(function.result)) != 1):
            return None
        pairs = zip(function.params, call.args, strict=True)
        return ExportCall(name, tuple(scalar_of(type_, value.bits) for type_, value in pairs))

    def module(self, name: str, wasm: bytes) -> ArtifactRun:
        """A core module with closed imports, without a driver."""
        try:
            module = read(wasm)
            closed = close(module, self._world)
        except ArtifactError as error:
            return ArtifactRun(name, error=error.line)
        exported = {each.name for each in module.exports}
        calls = {
            key: ExportCall(export, tuple(value.bits for value in each.args))
            for key, each in self.calls.items()
            if (export := self._exports.get(each.function, "")) in exported
        }
        inits = (self._exports.get(each.function, "") for each in self._plan.calls if each.init and each.name != START)
        stubs = (
            StubMemory(MEMORY_EXPORT, closed.exit_flag, closed.exit_code, closed.captures, closed.buffers) if closed.stubs else None
        )
        program = CallProgram(
            closed.wasm, tuple(calls.values()), init=tuple(inits), stub_memory=stubs,
            before=tuple(each for each in (ROW_RESET, TRACE_RESET) if each in exported),
        )  # fmt: skip
        return self._run(name, program, calls)

    def _run(self, name: str, program: CallProgram, rows: Iterable[str]) -> ArtifactRun:
        try:
            found = self._oracle.call(program, self._plan.limits, self._host)
        except ArtifactError as error:
            return ArtifactRun(name, error=error.line)
        results = {
            row: self._result(self.calls[row], each, of_component=bool(found.functions))
            for row, each in zip(rows, found.results, strict=True)
        }
        return ArtifactRun(name, results, found.counters)

    def _result(self, call: Call, found: CallResult, *, of_component: bool) -> RowResult:
        bits = tuple(found.results)
        if of_component and bits:
            bits = self._core_results(call, bits[0])
        streams = (each[:_OUTPUT_BYTES] for each in (found.stdout, found.stderr))
        return RowResult(found.outcome, bits, self._text(call, bits), *streams)

    def _core_results(self, call: Call, value: object) -> tuple[int, ...]:
        """The results that the row has in a core module, if the component returns ``value``."""
        if (row := self.wit.get(plain(call.name))) is not None:
            return returned(row.function.result, value)
        result = self._functions[self._exports[call.function]].result
        assert result is not None, "it returned a value"  # noqa: S101
        return tuple(int(bits) for _, bits in Lowering().flat(result, value))

    def _text(self, call: Call, bits: tuple[int, ...]) -> str:
        """Core results as text: a WIT value, if it is short enough."""
        row = self.wit.get(plain(call.name))
        if row is None or row.function.result is None or not bits:
            kinds = (str(each) for each in call.type.results)
            return ", ".join(
                values.render(Value(kind, each % (1 << values.WIDTHS[kind]))) for kind, each in zip(kinds, bits, strict=False)
            )
        try:
            return visible(wave.text(row.function.result, decoded(row.function.result, bits)), 4 * _SHOWN)
        except (ValueError, IndexError):
            return f"an encoded value of {bits[0]:,} bytes, digest {bits[1]:016x}"

    def capsule(self) -> ArtifactRun:
        """The capsule of the instrumented module."""

        def side() -> CapsuleSide:
            return CapsuleSide(self._oracle, self._plan.capsules.oracle, self._plan.limits, self._host)

        read_ = ObservationReader(side(), side(), full=False, max_passes=1000).read(keep_going=True)
        outcomes = {stop.row: stop.outcome for stop in read_.stops}
        rows = {}
        counts: Counter[str] = Counter()
        for each in (row for instance in read_.instances for row in instance.rows):
            counts[each.name] += 1
            key = each.name if counts[each.name] == 1 else f"{each.name} #{counts[each.name]}"
            if key not in self.calls:
                continue
            bits = tuple(value.bits for value in each.results)
            outcome = outcomes.get(each.name) or each.outcome or Returned()
            output = (stream.captured if stream is not None else b"" for stream in (each.stdout, each.stderr))
            rows[key] = RowResult(outcome, bits, self._text(self.calls[key], bits), *output)
        self.called = Counter(self._called(read_.instances))
        return ArtifactRun("capsule", rows, read_.counters)

    def _called(self, instances: Iterable[object]) -> Iterator[str]:
        """The interfaces of the stubs that were called."""
        for each in instances:
            for stub, count in zip(self._plan.layout.stubs, each.stub_calls, strict=False):  # type: ignore[attr-defined]
                if count:
                    yield stub.module


def _is_number(kind: str) -> bool:
    return kind in ("bool", "char", "f32", "f64") or kind[1:].isdigit()
