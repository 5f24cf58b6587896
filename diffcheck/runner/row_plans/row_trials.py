"""Trials of rows under the oracle: any calls in a new instance of the artifact, and the functions that they enter.

The module is compiled once, with a dispatcher (``capsule.dispatcher``) and with entry marks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Program
from diffcheck.capsule import layout as lo
from diffcheck.capsule.dispatcher import RESULT, encode_call, with_dispatcher
from diffcheck.capsule.driver import Call
from diffcheck.capsule.slicing.entry_marks import mark_entries
from diffcheck.errors import RunFailedError
from diffcheck.observation import Outcome, Returned, sentence
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.passes.decoded_instance import decoded
from diffcheck.wasm import module as wasm
from diffcheck.wasm.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffcheck.backend.contract import Host, Oracle, RunLimits
    from diffcheck.capsule.forms import Capsule
    from diffcheck.runner.passes.decoded_instance import DecodedInstance
    from diffcheck.wasm.module import Module

    Build = Callable[[Module, tuple[Call, ...]], Capsule]

MOST_CALLS: Final = 200
DEADLINE_S: Final = 2.0


class RowTrial(msgspec.Struct, frozen=True):
    """The calls of a trial: ``results`` are the bits of those that returned, ``stop`` is the outcome of the first that did
    not. ``entered`` are the functions that were entered, by funcidx, and witness's counters that are not zero, as ``-1 - branch``.
    ``memory_bytes`` is the size of the first memory.
    """

    results: tuple[int, ...] = ()
    stop: Outcome | None = None
    entered: frozenset[int] = frozenset()
    fuel: int = 0
    memory_bytes: int = 0

    @property
    def functions(self) -> int:
        """The number of functions that were entered."""
        return sum(each >= 0 for each in self.entered)


class RowTrials:
    """Runs trials of the functions ``functions`` (by funcidx). ``cpu_s`` is the oracle's CPU time for them, without compiling."""

    cpu_s = 0.0

    def __init__(
        self, module: Module, functions: Sequence[int], build: Build, oracle: Oracle, limits: RunLimits, host: Host,
        deadline_s: float = DEADLINE_S,
    ) -> None:  # fmt: skip
        """``build`` builds the oracle's capsule of a form of the module. Raises ``ArtifactError`` if a body cannot be read."""
        self._positions = {function: at for at, function in enumerate(functions)}
        self._peek = len(functions)
        self._marked, self._imported = len(module.functions), module.n_imported("func")
        self.peeks = bool(module.all_memories) and not module.all_memories[0].limits.is64
        form = wasm.read(with_dispatcher(wasm.read(mark_entries(module)), functions))
        dispatcher = len(module.all_functions)
        capsule = build(form, tuple(Call(f"call {at}", dispatcher, RESULT) for at in range(MOST_CALLS)))
        self._side = CapsuleSide(oracle, capsule, limits, host)
        self._limits = msgspec.structs.replace(limits, deadline_s=deadline_s, count_fuel=True)
        self._host = host
        outcome = self._execute(b"", 0, msgspec.structs.replace(limits, count_fuel=True))[1]
        self.cpu_s = 0.0
        if not isinstance(outcome, Returned):
            raise RunFailedError(f"the oracle {sentence(outcome)} without any row")

    def fits(self, calls: Sequence[Call], peeks: int = 0) -> bool:
        """Whether a trial can have this many calls."""
        return len(calls) + peeks <= MOST_CALLS and sum(map(len, map(self._encoded, calls))) + 8 * peeks <= lo.VIEW_BYTES

    def run(self, calls: Sequence[Call], peeks: Sequence[int] = ()) -> RowTrial:
        """Run the calls in a new instance, then load an i64 from each address in ``peeks``: further results."""
        encoded = [*map(self._encoded, calls), *(encode_call(self._peek, (Value("i32", each),)) for each in peeks)]
        instance, outcome, fuel = self._execute(b"".join(encoded), len(encoded), self._limits)
        if instance is None:
            return RowTrial(stop=outcome, fuel=fuel)
        done = instance.rows if instance.stop is None else instance.rows[: instance.stop]
        stop = None if instance.stop is None else instance.rows[instance.stop].outcome or outcome
        return RowTrial(
            tuple(each.results[0].bits for each in done),
            stop,
            self._entered(instance),
            fuel,
            (*instance.state.memories, 0)[0] * lo.PAGE,
        )

    def instance(self, calls: Sequence[Call], deadline_s: float = DEADLINE_S) -> DecodedInstance | None:
        """The instance in which some calls were made, None if it did not end; a row that did not return is its last."""
        limits = msgspec.structs.replace(self._limits, deadline_s=deadline_s)
        return self._execute(b"".join(map(self._encoded, calls)), len(calls), limits)[0]

    def _encoded(self, call: Call) -> bytes:
        return encode_call(self._positions[call.function], call.args)

    def _execute(self, encoded: bytes, count: int, limits: RunLimits) -> tuple[DecodedInstance | None, Outcome, int]:
        side, parameters = self._side, lo.Parameters(0, count)
        program = Program(
            kind="capsule",
            wasm=side.capsule.wasm,
            entry=lo.ENTRY,
            template_sha256=side.capsule.sha256,
            parameters=parameters.encode().ljust(lo.VIEW_ADDRESS - lo.PARAMETERS_ADDRESS, b"\0") + encoded,
            parameters_offset=side.capsule.parameters_offset,
            parameters_address=lo.PARAMETERS_ADDRESS,
        )
        execution = side.backend.execute(program, limits, self._host)
        self.cpu_s += execution.cost.cpu_ns / 1e9
        ran = side.read(execution, parameters)
        instance = decoded(ran.image, ran.outcome, side.capsule.layout) if ran.image is not None else None
        return instance, ran.outcome, execution.fuel or 0

    def _entered(self, instance: DecodedInstance) -> frozenset[int]:
        marks = list(instance.state.globals.values())[-self._marked :] if self._marked else []
        counted = (-1 - branch for branch, count in instance.state.counters.items() if count)
        return frozenset((*(self._imported + at for at, mark in enumerate(marks) if mark.bits), *counted))
