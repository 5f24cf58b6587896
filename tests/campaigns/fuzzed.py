"""What mutated inputs are put through: reading and sealing, and decoding and comparing what an engine that lies or is damaged carries."""

from __future__ import annotations

import contextlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import msgspec

from diffcheck.backend.contract import Backend, Capabilities, Host, Oracle, Program, RunLimits
from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import rows as decode_rows
from diffcheck.capsule.recorder.digest import digest
from diffcheck.cases.discovery import Case, Item, discover, load_case
from diffcheck.compare.findings import Findings
from diffcheck.compare.outcomes import same
from diffcheck.errors import ArtifactError, CaseError, ManifestError
from diffcheck.observation import Execution, Identity, Returned, Trapped
from diffcheck.runner import plan as plans
from diffcheck.runner import planning
from diffcheck.runner.passes.capsule_pass import CapsulePass
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.passes.streams.window_search import RunBudget
from diffcheck.runner.request import Request
from diffcheck.witness import formats
from diffcheck_backends import harness_protocol
from diffcheck_backends.wasmtime_machine import Machine
from diffcheck_backends.wasmtime_wire import (
    Assemble,
    AssemblyResult,
    Compile,
    RunRequest,
    RunResult,
    Validate,
    ValidationResult,
    Variant,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.capsule.decode import Image
    from diffcheck.capsule.forms import Capsule
    from diffcheck.observation import Outcome

from tests.campaigns.mutations import changed_words, mutated, mutated_module, mutated_text

CORPUS: Final = Path(__file__).parents[2] / "corpus"
_SMALL: Final = 12_000
_EXPLAINED: Final = ("could not grow", "failed, but not when the same rows were run again")
"""Why a changed stream may be inconclusive: it says that it is cut; what was damaged once on its way came out right in the next run."""
_TRAPS: Final = ("integer divide by zero", "out of bounds memory access")
"""How a subject traps for once; not by ``unreachable``, which stands behind an exit and is the end of one."""
_PLANS: Final = {
    plans.RefusedPlan: "refused by the oracle",
    plans.SkippedPlan: "skipped",
    plans.RunnablePlan: "no capsule",
    plans.CapsulePlan: "sealed",
}
_LARGE_EVERY: Final = 64

# The oracle within this process, and a subject that never runs: what reading and sealing need.


class NearOracle(Oracle):
    """Wasmtime without a server between: the same code that the server runs."""

    capabilities = Capabilities(transport="memory", state_at_trap=True)

    def __init__(self) -> None:
        self.machine = Machine()

    def identity(self) -> Identity:
        return Identity("wasmtime")

    def start(self, program: Program, limits: RunLimits, host: Host) -> Answered:  # noqa: ARG002 - the contract's
        variant = Variant()
        compiled = self.machine.answer(Compile(variant, program.template_sha256, program.wasm))
        assert isinstance(compiled, ValidationResult)
        if compiled.refusal is not None:
            return Answered(Execution(compiled.refusal))
        ran = self.machine.answer(
            RunRequest(
                variant, program.kind, program.template_sha256, program.entry, program.parameters, program.parameters_address,
                limits.deadline_s, limits.memory_bytes,
            )
        )  # fmt: skip
        assert isinstance(ran, RunResult)
        return Answered(ran.execution)

    def validate(self, wasm: bytes, limits: RunLimits, host: Host) -> Outcome | None:  # noqa: ARG002 - the contract's
        judged = self.machine.answer(Validate(Variant(), wasm))
        assert isinstance(judged, ValidationResult)
        return judged.refusal

    def assemble(self, text: bytes, limits: RunLimits, host: Host) -> bytes:  # noqa: ARG002 - the contract's
        assembled = self.machine.answer(Assemble(text))
        assert isinstance(assembled, AssemblyResult)
        if assembled.error:
            raise ArtifactError(assembled.error[:100])
        return assembled.wasm


class Answered:
    """An execution that is over."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution

    def wait(self) -> Execution:
        return self.execution


class Idle(Backend):
    """A subject that is planned for and not run."""

    def __init__(self, capabilities: Capabilities) -> None:
        self.capabilities = capabilities

    def identity(self) -> Identity:
        return Identity("idle")

    def start(self, program: Program, limits: RunLimits, host: Host) -> Answered:  # noqa: ARG002 - the contract's
        raise AssertionError("it is planned for, and not run")


class World:
    """The real inputs, and what they are put through."""

    def __init__(self, folder: Path) -> None:
        self.oracle = NearOracle()
        self.file = folder / "input.wasm"
        self.toml = folder / "input.toml"
        self.host = cast("Host", None)  # nothing here starts a process
        self.subjects = (Idle(Capabilities(transport="words")), Idle(Capabilities(transport="print", exceptions=False)))
        self.items = list(discover([CORPUS]).items)
        self.modules = [Path(item.artifact).read_bytes() for item in self.items if item.artifact.endswith(".wasm")]
        self.small = [data for data in self.modules if len(data) <= _SMALL]
        self.cases = [load_case(item) for item in self.items]
        self.manifests = [path.read_text() for path in sorted(CORPUS.glob("*/*.json")) if path.stat().st_size <= _SMALL]
        self.settings = [path.read_text() for path in sorted(CORPUS.glob("*/*.toml"))]
        self.answers = [_answer(chance) for chance in map(random.Random, range(8))]
        self.said: Counter[str] = Counter()

    def module(self, chance: random.Random) -> None:
        """A module through the whole plan: read, judged, its rows chosen, sealed; what is sealed must be valid."""
        pool = self.modules if chance.randrange(_LARGE_EVERY) == 0 else self.small
        data = mutated_module(chance.choice(pool), chance, chance.choice(self.small))
        self.file.write_bytes(data)
        case = msgspec.structs.replace(chance.choice(self.cases), rows=()) if chance.randrange(2) else Case("x", "")
        case = msgspec.structs.replace(case, artifact=str(self.file), manifest="")
        request = Request(())  # with auto rows the artifact is also run under the oracle, within a limit of its own
        plan = planning.make(case, request, self.oracle, self.oracle, chance.choice(self.subjects), self.host)
        self.said[_PLANS[type(plan)]] += 1
        for each in msgspec.structs.astuple(plan.capsules) if isinstance(plan, plans.CapsulePlan) else ():
            if (refusal := self.oracle.validate(each.wasm, RunLimits(), self.host)) is not None:
                raise AssertionError(f"the capsule of a valid artifact is refused: {refusal}")

    def manifest(self, chance: random.Random) -> None:
        """A manifest."""
        data = mutated_text(chance.choice(self.manifests), chance)
        with contextlib.suppress(ManifestError):
            for place in formats.places(formats.read_manifest(data)).values():
                str(place)
            self.said["manifest taken"] += 1

    def settings_file(self, chance: random.Random) -> None:
        """A case file."""
        self.toml.write_bytes(mutated_text(chance.choice(self.settings), chance))
        with contextlib.suppress(CaseError):
            load_case(Item("x", str(self.file), str(self.toml), str(self.toml.parent)))
            self.said["case file taken"] += 1

    def answer(self, chance: random.Random) -> None:
        """An engine's snapshot."""
        try:
            counters = harness_protocol.parse(mutated_text(chance.choice(self.answers), chance))
        except harness_protocol.AnswerError:
            return
        self.said["answer taken"] += 1
        if not all(0 <= key < 1 << 32 and 0 <= value < 1 << 64 for key, value in counters.items()):
            raise AssertionError("a counter out of range was taken")

    def reading(self, chance: random.Random) -> None:
        """One of the kinds of inputs."""
        kind = chance.randrange(10)
        (self.module if kind < 7 else (self.manifest, self.settings_file, self.answer)[kind - 7])(chance)


def _answer(chance: random.Random) -> str:
    counters = {str(chance.choice((at, lo.FIRST_SLOT + at))): chance.randrange(-(1 << 63), 1 << 64) for at in range(20)}
    return json.dumps({"schema": "witness-harness-v1", "counters": counters})


# Streams.


class Recorded(msgspec.Struct, frozen=True):
    """A capsule, the recorder memory that a run of all its rows left, and how it ended: where it trapped, it did so in the last one."""

    capsule: Capsule
    memory: bytes
    rows: int
    outcome: Outcome


class Streams:
    """Recorded runs of the corpus, and a subject that carries a changed one out."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.said = world.said
        self.recorded = list(self._record())

    def _record(self) -> Iterator[Recorded]:
        oracle = self.world.oracle
        for case in self.world.cases:
            plan = planning.make(case, Request(()), oracle, oracle, self.world.subjects[0], self.world.host)
            if not isinstance(plan, plans.CapsulePlan) or len(plan.artifact) > _SMALL or len(plan.rows) > 64:
                continue
            rows, capsule = len(plan.rows) - plan.layout.n_init, plan.capsules.standard
            ran = CapsuleSide(self.world.oracle, capsule, RunLimits(deadline_s=1.0), self.world.host).run(lo.Parameters(0, rows))
            if ran.image is None or not _whole(ran.outcome, ran.image, plan.layout):
                continue
            memory = bytearray(ran.header.address if ran.header else 0) + ran.image.stream
            memory[lo.HEADER_ADDRESS : lo.VIEW_ADDRESS] = _header(ran.image.header)
            yield Recorded(capsule, bytes(memory), rows, ran.outcome)

    def decode(self, chance: random.Random) -> None:
        """A stream changed on its way must be found out, by whichever transport it comes; none may be taken for the oracle's."""
        recorded = chance.choice(self.recorded)
        header = lo.read_header(recorded.memory[lo.HEADER_ADDRESS :])
        memory = bytearray(recorded.memory)
        words = chance.randrange(2) == 0
        lies = chance.randrange(2) == 0
        if lies:  # an engine that digests its own wrong stream right
            stream = changed_words(recorded.memory[header.address :], chance)
            lanes = digest(stream)
            memory[header.address :] = stream
            header = msgspec.structs.replace(header, length=len(stream), lane_a=lanes[0], lane_b=lanes[1])
            memory[lo.HEADER_ADDRESS : lo.VIEW_ADDRESS] = _header(header)
        carrying = None if lies else random.Random(chance.random())
        trap = Trapped(chance.choice(_TRAPS)) if chance.randrange(8) == 0 else recorded.outcome
        subject = Carrier(recorded, bytes(memory), carrying, trap, words=words)
        oracle = Carrier(recorded, recorded.memory, None, recorded.outcome, words=False)
        sides = [CapsuleSide(each, recorded.capsule, RunLimits(), self.world.host) for each in (oracle, subject)]
        report = CapsulePass(sides[0], sides[1], Findings(), RunBudget(24), 10).report()
        self.said[f"{'lie' if lies else 'damage'} by {'words' if words else 'memory'}: {report.verdict}"] += 1
        explained = report.verdict == "inconclusive" and any(each in report.reason for each in _EXPLAINED)
        if subject.changed and report.verdict != "diverge" and not explained:
            raise AssertionError(f"a changed stream is {report.verdict}: {report.reason}")
        if not subject.changed and report.verdict != "agree":
            raise AssertionError(f"an unchanged stream is {report.verdict}: {report.reason}")


def _whole(outcome: Outcome, image: Image, layout: lo.Layout) -> bool:
    """Whether a run came to its end, or to a trap in its last row."""
    if not isinstance(outcome, Trapped):
        return isinstance(outcome, Returned)
    return outcome.kind != "call stack exhausted" and all(
        isinstance(each.outcome, Returned) for each in decode_rows(image, layout)[:-1]
    )


class Carrier(Oracle):
    """Carries a recorder memory out; ``damage`` changes what is carried, once a run, on its way."""

    def __init__(self, recorded: Recorded, memory: bytes, damage: random.Random | None, outcome: Outcome, *, words: bool) -> None:
        self.capabilities = Capabilities(transport="words" if words else "memory", state_at_trap=True)
        self.recorded, self.memory, self.damage, self.outcome = recorded, memory, damage, outcome
        self.changed = memory != recorded.memory or not same(recorded.outcome, outcome)

    def identity(self) -> Identity:
        return Identity("carrier")

    def validate(self, wasm: bytes, limits: RunLimits, host: Host) -> Outcome | None:  # noqa: ARG002 - the contract's
        return None  # what was recorded is valid

    def assemble(self, text: bytes, limits: RunLimits, host: Host) -> bytes:  # noqa: ARG002 - the contract's
        return text  # what was recorded is a binary

    def start(self, program: Program, limits: RunLimits, host: Host) -> Answered:  # noqa: ARG002 - the contract's
        _, _, _, mode, space, _, offset, step = lo.PARAMETERS.unpack(program.parameters)
        header = self.memory[lo.HEADER_ADDRESS : lo.VIEW_ADDRESS]
        if self.capabilities.transport == "words":
            stream = self.memory[lo.read_header(header).address :]
            carried = header + (bytes(lo.VIEW_BYTES) if space else _view(stream, mode, offset, step))
        else:
            carried = self.memory
        if self.damage is not None:
            damaged = mutated(carried, self.damage) if self.damage.randrange(3) == 0 else changed_words(carried, self.damage)
            if self.capabilities.transport == "words":
                damaged = damaged[: len(carried)].ljust(len(carried), b"\0")  # missing slots are the protocol's matter
            # What is neither header nor stream is not carried for its own sake.
            self.changed = self.changed or _carried(damaged, self.capabilities) != _carried(carried, self.capabilities)
            carried, self.damage = damaged, None
        return Answered(Execution(self.outcome, carried=carried))


def _carried(data: bytes, capabilities: Capabilities) -> tuple[bytes, bytes]:
    if capabilities.transport == "words":
        return data, b""
    head = data[lo.HEADER_ADDRESS : lo.VIEW_ADDRESS]
    header = lo.read_header(head.ljust(lo.HEADER.size, b"\0"))
    return head, data[header.address : header.address + header.length]


def _view(stream: bytes, mode: int, offset: int, step: int) -> bytes:
    if not mode:
        return stream[offset : offset + lo.VIEW_BYTES].ljust(lo.VIEW_BYTES, b"\0")
    blocks = (stream[offset + at * step : offset + (at + 1) * step] for at in range(lo.VIEW_WORDS))
    return b"".join(digest(block[: len(block) & ~7])[0].to_bytes(8, "little") if block else bytes(8) for block in blocks)


def _header(header: lo.Header) -> bytes:
    return lo.HEADER.pack(*(getattr(header, name) for name in lo.Header.__struct_fields__))
