"""Mutated inputs through reading and sealing, and mutated streams and answers through decoding and comparing.

    python -m benchmarks.fuzz [--inputs 1000000] [--streams 100000] [--seed 0] [--first 0] [--jobs N] [--only KIND:NUMBER]

Each input is a function of the seed and its number, so that one that failed is had again by ``--only``, and a long run can be had in
parts by ``--first``. With ``--jobs`` so many processes share the numbers. What is looked for: an
exception that is no ``DiffcheckError``, more than a second of CPU time for one input, more than 500 MB of memory, a sealed module
that the oracle refuses though it took the artifact, and a verdict *agree* on a stream that was changed. Exit code 1 where any was
found. Inputs are real: the corpus, its manifests and case files, snapshots and streams of its own runs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import msgspec

from backends import harness_protocol
from backends.wasmtime_machine import Machine
from backends.wasmtime_wire import Assemble, Assembled, Compile, Judged, Ran, Run, Validate, Variant
from diffcheck import witness
from diffcheck.backend import Backend, Capabilities, Host, Identity, Limits, Oracle, Program
from diffcheck.capsule import layout as lo
from diffcheck.capsule.digest import digest
from diffcheck.corpus import Case, Item, discover, load_case
from diffcheck.errors import ArtifactError, CaseError, DiffcheckError, ManifestError, StreamError
from diffcheck.observation import Execution, Returned
from diffcheck.runner import plan as plans
from diffcheck.runner.capsule_pass import CapsulePass
from diffcheck.runner.request import Request
from diffcheck.runner.side import Side
from diffcheck.wasm.section import split, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.capsule.build import Capsule
    from diffcheck.observation import Outcome

CORPUS: Final = Path(__file__).parent.parent / "corpus"
CPU_S: Final = 1.0
WALL_S: Final = 15.0
MEMORY_BYTES: Final = 500_000_000
_SMALL: Final = 12_000
_LARGE_EVERY: Final = 64


class HangError(BaseException):
    """An input took too long; no ``Exception``, so that nothing takes it for one of its own."""


class Wrong(msgspec.Struct, frozen=True):
    """What was found: the input's kind and number, what was wrong with it, and the end of the traceback."""

    kind: str
    number: int
    what: str


# Mutations of bytes.

_BYTES: Final = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x40, 0x0B, 0xFC, 0xFD, 0x63)
_RUNS: Final = (
    b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x80\x80\x80\x80\x10", b"\x80" * 12,
    b"\x00" * 8, b"\xff" * 8,
)  # fmt: skip


def mutated(data: bytes, chance: random.Random, other: bytes = b"") -> bytes:
    """``data`` with one to a few changes; ``other`` is what pieces may be taken from."""
    changed = bytearray(data)
    for _ in range(1 + int(chance.expovariate(1.0))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(9):
            case 0 | 1 if changed:
                changed[at % len(changed)] ^= 1 << chance.randrange(8)
            case 2 | 3 if changed:
                changed[at % len(changed)] = chance.choice(_BYTES)
            case 4:
                changed[at:at] = chance.choice(_RUNS)
            case 5:
                changed[at : at + chance.choice((1, 1, 2, 4, 16, 100))] = b""
            case 6:
                begin = chance.randrange(len(changed) + 1)
                changed[at:at] = changed[begin : begin + chance.choice((1, 4, 16, 200))]
            case 7:
                source = other or bytes(changed)
                begin = chance.randrange(len(source) + 1)
                size = chance.choice((1, 8, 64, 1000))
                changed[at : at + size] = source[begin : begin + size]
            case 8:
                del changed[at:]
            case _:
                changed += bytes([chance.randrange(256)])
    return bytes(changed)


def mutated_module(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """A module with bytes changed anywhere; with one byte changed, so that many stay valid; or with a section changed as a whole."""
    match chance.randrange(10):
        case 0 | 1 | 2 | 3:
            changed = bytearray(data)
            at = chance.randrange(8, len(changed))
            changed[at] = chance.choice((changed[at] ^ 1 << chance.randrange(8), chance.choice(_BYTES), (changed[at] + 1) % 256))
            return bytes(changed)
        case 4 | 5:
            sections = list(split(data))
            at = chance.randrange(len(sections))
            payload = bytes(sections[at].payload)
            match chance.randrange(5):
                case 0:
                    del sections[at]
                case 1:
                    sections.insert(chance.randrange(len(sections) + 1), sections[at])
                case 2:
                    sections[at] = msgspec.structs.replace(sections[at], payload=mutated(payload, chance, other))
                case 3:
                    sections[at] = msgspec.structs.replace(sections[at], id=chance.randrange(14))
                case _:
                    foreign = [each for each in split(other) if each.id == sections[at].id]
                    sections[at : at + 1] = foreign[:1]
            return write(sections)
    return mutated(data, chance, other)


_WORDS: Final = (
    "null", "true", "NaN", "1e999", "-1", "18446744073709551616", "1" + "0" * 400, '""', "[]", "{}", '"\\ud800"', '"\\u0000"', "9" * 5000,
    '"' + "a" * 1000 + '"', "[" * 3000, '"\\u202e"', "'x'", "1979-05-27T07:32:00Z", '"""', "inf", "0x", "[[rows]]", "a.b.c", "\n", "=", ",",
)  # fmt: skip


def mutated_text(text: str, chance: random.Random) -> bytes:
    """JSON or TOML with tokens replaced, or with bytes changed."""
    if chance.random() < 0.4:
        return mutated(text.encode(), chance)
    changed = text
    for _ in range(1 + int(chance.expovariate(2.0))):
        marks = [at for at, char in enumerate(changed) if char in '":,[]{}=\n '] or [0]
        begin = chance.choice(marks)
        end = chance.choice([at for at in marks if at >= begin][:6])
        changed = changed[:begin] + chance.choice(_WORDS) + changed[end + chance.randrange(2) :]
    return changed.encode("utf-8", "surrogatepass")


# The oracle within this process, and a subject that never runs: what reading and sealing need.


class NearOracle(Oracle):
    """Wasmtime without a server between: the same code that the server runs."""

    capabilities = Capabilities(transport="memory", state_at_trap=True)

    def __init__(self) -> None:
        self.machine = Machine()

    def identity(self) -> Identity:
        return Identity("wasmtime")

    def start(self, program: Program, limits: Limits, host: Host) -> Answered:  # noqa: ARG002 - the contract's
        variant = Variant()
        compiled = self.machine.answer(Compile(variant, program.template_sha256, program.wasm))
        assert isinstance(compiled, Judged)
        if compiled.refusal is not None:
            return Answered(Execution(compiled.refusal))
        ran = self.machine.answer(
            Run(
                variant, program.kind, program.template_sha256, program.entry, program.parameters, program.parameters_address,
                limits.deadline_s, limits.memory_bytes,
            )
        )  # fmt: skip
        assert isinstance(ran, Ran)
        return Answered(ran.execution)

    def validate(self, wasm: bytes, limits: Limits, host: Host) -> Outcome | None:  # noqa: ARG002 - the contract's
        judged = self.machine.answer(Validate(Variant(), wasm))
        assert isinstance(judged, Judged)
        return judged.refusal

    def assemble(self, text: bytes, limits: Limits, host: Host) -> bytes:  # noqa: ARG002 - the contract's
        assembled = self.machine.answer(Assemble(text))
        assert isinstance(assembled, Assembled)
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

    def start(self, program: Program, limits: Limits, host: Host) -> Answered:
        raise NotImplementedError


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
        request = Request((), rows=chance.choice(("declared", "auto")))
        plan = plans.make(case, request, self.oracle, self.oracle, chance.choice(self.subjects), self.host)
        self.said[
            "refused by the oracle"
            if plan.refusal
            else "skipped"
            if plan.skipped
            else "no capsule"
            if plan.no_capsule
            else "sealed"
        ] += 1
        for each in (plan.capsule, plan.subject_capsule):
            if each is not None and (refusal := self.oracle.validate(each.wasm, Limits(), self.host)) is not None:
                raise AssertionError(f"the capsule of a valid artifact is refused: {refusal}")

    def manifest(self, chance: random.Random) -> None:
        """A manifest."""
        data = mutated_text(chance.choice(self.manifests), chance)
        with contextlib.suppress(ManifestError):
            for place in witness.places(witness.read_manifest(data)).values():
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
    """A capsule and the recorder memory that a run of all its rows left."""

    capsule: Capsule
    memory: bytes
    rows: int


class Streams:
    """Recorded runs of the corpus, and a subject that carries a changed one out."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.said = world.said
        self.recorded = list(self._record())

    def _record(self) -> Iterator[Recorded]:
        oracle = self.world.oracle
        for case in self.world.cases:
            plan = plans.make(case, Request(()), oracle, oracle, self.world.subjects[0], self.world.host)
            if plan.capsule is None or len(plan.artifact) > _SMALL or len(plan.capsule.layout.rows) > 64:
                continue
            rows = len(plan.capsule.layout.rows) - plan.capsule.layout.n_init
            ran = Side(self.world.oracle, plan.capsule, Limits(deadline_s=1.0), self.world.host).run(lo.Parameters(0, rows))
            if ran.image is None or not isinstance(ran.outcome, Returned):
                continue
            memory = bytearray(ran.header.address if ran.header else 0) + ran.image.stream
            memory[lo.HEADER_ADDRESS : lo.VIEW_ADDRESS] = _header(ran.image.header)
            yield Recorded(plan.capsule, bytes(memory), rows)

    def decode(self, chance: random.Random) -> None:
        """A stream changed on its way must be found out, by whichever transport it comes; none may be taken for the oracle's."""
        recorded = chance.choice(self.recorded)
        header = lo.read_header(recorded.memory[lo.HEADER_ADDRESS :])
        memory = bytearray(recorded.memory)
        words = chance.randrange(2) == 0
        lies = chance.randrange(2) == 0
        if lies:  # an engine that digests its own wrong stream right
            stream = _changed_words(recorded.memory[header.address :], chance)
            lanes = digest(stream)
            memory[header.address :] = stream
            header = msgspec.structs.replace(header, length=len(stream), lane_a=lanes[0], lane_b=lanes[1])
            memory[lo.HEADER_ADDRESS : lo.VIEW_ADDRESS] = _header(header)
        carrying = None if lies else random.Random(chance.random())
        subject = Carrier(recorded, bytes(memory), carrying, words=words)
        sides = [
            Side(each, recorded.capsule, Limits(), self.world.host)
            for each in (Carrier(recorded, recorded.memory, None, words=False), subject)
        ]
        report = CapsulePass(sides[0], sides[1], {}, 24, 10).report()
        self.said[f"{'lie' if lies else 'damage'} by {'words' if words else 'memory'}: {report.verdict}"] += 1
        cut = report.verdict == "inconclusive" and "could not grow" in report.reason
        if subject.changed and report.verdict != "diverge" and not cut:
            raise AssertionError(f"a changed stream is {report.verdict}: {report.reason}")
        if not subject.changed and report.verdict != "agree":
            raise AssertionError(f"an unchanged stream is {report.verdict}: {report.reason}")


class Carrier(Oracle):
    """Carries a recorder memory out; ``damage`` changes what is carried, once a run, on its way."""

    def __init__(self, recorded: Recorded, memory: bytes, damage: random.Random | None, *, words: bool) -> None:
        self.capabilities = Capabilities(transport="words" if words else "memory", state_at_trap=True)
        self.recorded, self.memory, self.damage = recorded, memory, damage
        self.changed = memory != recorded.memory

    def identity(self) -> Identity:
        return Identity("carrier")

    def validate(self, wasm: bytes, limits: Limits, host: Host) -> Outcome | None:
        raise NotImplementedError

    def assemble(self, text: bytes, limits: Limits, host: Host) -> bytes:
        raise NotImplementedError

    def start(self, program: Program, limits: Limits, host: Host) -> Answered:  # noqa: ARG002 - the contract's
        _, _, _, mode, space, _, offset, step = lo.PARAMETERS.unpack(program.parameters)
        header = self.memory[lo.HEADER_ADDRESS : lo.VIEW_ADDRESS]
        if self.capabilities.transport == "words":
            stream = self.memory[lo.read_header(header).address :]
            carried = header + (bytes(lo.VIEW_BYTES) if space else _view(stream, mode, offset, step))
        else:
            carried = self.memory
        if self.damage is not None:
            damaged = mutated(carried, self.damage) if self.damage.randrange(3) == 0 else _changed_words(carried, self.damage)
            if self.capabilities.transport == "words":
                damaged = damaged[: len(carried)].ljust(len(carried), b"\0")  # missing slots are the protocol's matter
            # What is neither header nor stream is not carried for its own sake.
            self.changed = self.changed or _carried(damaged, self.capabilities) != _carried(carried, self.capabilities)
            carried, self.damage = damaged, None
        return Answered(Execution(Returned(), carried=carried))


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


def _changed_words(data: bytes, chance: random.Random) -> bytes:
    """Words changed in the ways that digests and readers are weak at: top bits in pairs, swaps, huge offsets."""
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data) & ~7, 8)]
    first, second = chance.randrange(len(words)), chance.randrange(len(words))
    match chance.randrange(7):
        case 0:
            words[first] ^= 1 << 63
            words[second] ^= 1 << 63
        case 1:
            words[first], words[second] = words[second], words[first]
        case 2:
            words[first] ^= 1 << chance.randrange(64)
        case 3:
            words[first] = chance.choice((0, 1, 8, (1 << 64) - 1, 1 << 32, 1 << 63, (1 << 32) - 8, len(data), len(data) - 8))
        case 4:
            words[first] = (words[first] + chance.choice((1, -1, 8, -8))) % (1 << 64)
        case 5:
            words = words[: first + 1]
        case _:
            words[first:first] = [chance.randrange(1 << 64)]
    return b"".join(word.to_bytes(8, "little") for word in words)


# The loop.


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Raises ``HangError`` in an input that takes over a second of CPU time, or waits."""

    def late(number: int, _frame: object) -> None:
        raise HangError(signal.Signals(number).name)

    before = {number: signal.signal(number, late) for number in (signal.SIGPROF, signal.SIGALRM)}
    try:
        yield
    finally:
        _arm(0, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _arm(cpu_s: float, wall_s: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s)


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def one(kind: str, seed: int, number: int, put: Callable[[random.Random], None], cap: int) -> Wrong | None:
    """One input; what was wrong with it, if anything was."""
    chance = random.Random(hashlib.sha256(f"{seed}:{kind}:{number}".encode()).digest())
    _arm(CPU_S, WALL_S)
    what = ""
    try:
        put(chance)
    except (StreamError, DiffcheckError) as error:
        what = "" if kind == "input" else f"{type(error).__name__}: {error}"
    except HangError as error:
        what = f"over {CPU_S:g} s ({error})\n{_last_frames()}"
    except Exception as error:  # noqa: BLE001 - what is looked for
        what = f"{type(error).__name__}: {error}\n{_last_frames()}"
    finally:
        _arm(0, 0)
    if not what and peak_bytes() > cap:
        what = f"memory grew to {peak_bytes() / 1e6:.0f} MB"
    return Wrong(kind, number, what) if what else None


def _last_frames() -> str:
    return "".join(traceback.format_exc().splitlines(keepends=True)[-7:])


def run(kind: str, seed: int, numbers: range, put: Callable[[random.Random], None], *, progress: bool = False) -> list[Wrong]:
    """All inputs of a kind; gives what was wrong, at most 20 of them."""
    found: list[Wrong] = []
    cap = max(MEMORY_BYTES, peak_bytes() + MEMORY_BYTES // 2)  # a test runner may have been large before
    begun = time.monotonic()
    for done, number in enumerate(numbers, 1):
        wrong = one(kind, seed, number, put, cap)
        if wrong is not None:
            if wrong.what.startswith("memory"):
                cap = peak_bytes() + 50_000_000
            found.append(wrong)
            if progress:
                print(f"{wrong.kind}:{wrong.number}: {wrong.what}", flush=True)
            if len(found) == 20:
                break
        if progress and done % 20_000 == 0:
            rate = done / (time.monotonic() - begun)
            print(f"{kind}: {done:,} of {len(numbers):,}, {rate:,.0f} a second, peak {peak_bytes() / 1e6:.0f} MB", flush=True)
    return found


def part(kind: str, seed: int, numbers: range) -> int:
    """Put these numbers through, and print what came of it; the exit code."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder, watched():
        world = World(Path(folder))
        put = world.reading if kind == "input" else Streams(world).decode
        begun = time.monotonic()
        wrong = run(kind, seed, numbers, put, progress=True)
        elapsed = time.monotonic() - begun
    said = ", ".join(f"{what} {times:,}" for what, times in sorted(world.said.items()))
    print(
        f"{kind} {numbers.start:,} to {numbers.stop - 1:,}{f' by {numbers.step}' * (numbers.step > 1)}: {len(numbers):,} in {elapsed:.0f} s, "
        f"{len(wrong)} wrong, peak memory {peak_bytes() / 1e6:.0f} MB; {said}",
        flush=True,
    )
    return 1 if wrong else 0


def shared(kind: str, seed: int, numbers: range, jobs: int) -> int:
    """The same by so many processes, each with every so many-th number."""
    shares = [numbers[at::jobs] for at in range(min(jobs, len(numbers)))]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_exit_with, args=(kind, seed, share)) for share in shares]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    return max((abs(each.exitcode or 0) for each in processes), default=0)


def _exit_with(kind: str, seed: int, numbers: range) -> None:
    sys.exit(part(kind, seed, numbers))


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    options.add_argument("--inputs", type=int, default=100_000, help="mutated inputs for reading and sealing")
    options.add_argument("--streams", type=int, default=10_000, help="mutated streams for decoding and comparing")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--first", type=int, default=0, help="the first number of each kind")
    options.add_argument("--jobs", type=int, default=1, help="processes that share the numbers")
    options.add_argument("--only", default="", help="KIND:NUMBER of one input (kinds: input, stream)")
    chosen = options.parse_args()
    if chosen.only:
        kind, _, number = chosen.only.partition(":")
        return part(kind, chosen.seed, range(int(number), int(number) + 1))
    codes = [
        shared(kind, chosen.seed, range(chosen.first, chosen.first + count), chosen.jobs)
        for kind, count in (("input", chosen.inputs), ("stream", chosen.streams))
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
