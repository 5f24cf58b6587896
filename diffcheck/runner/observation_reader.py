"""The subject's own observation of a case, whole or not at all: what a snapshot and a witness harness are made of.

Where the subject's digest is the oracle's, every byte of the stream is known to be equal and the oracle's copy stands for the
subject's. Where it is not, what differs is fetched from the subject, and what was put together has to have the subject's digest.
``full`` reads every byte from the subject, window by window, and asks the oracle for nothing that ends up in a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import Image
from diffcheck.capsule.decode import rows as decode_rows
from diffcheck.capsule.digest import digest
from diffcheck.errors import RunFailedError, StreamError
from diffcheck.observation import Cost, Crashed, Exited, OutOfMemory, Returned, TimedOut, Trapped, sentence
from diffcheck.runner.passes.decoded_instance import decoded
from diffcheck.runner.passes.instances import MAX_INSTANCES, Instances
from diffcheck.runner.passes.stream_assembly import Images
from diffcheck.runner.passes.window_search import RunBudget
from diffcheck.text import plural, visible

if TYPE_CHECKING:
    from diffcheck.observation import FinalState, Outcome, RowSeen
    from diffcheck.runner.passes.capsule_run import CapsuleRun, CapsuleSide
    from diffcheck.runner.passes.instances import Instance

How = Literal["digest", "differences", "full", "carried"]
"""How values came from the subject: its digest is the oracle's; what differs was fetched; every byte was read; its own transport
carries the whole stream in one run."""

MAX_WINDOWS: Final = 20_000


class Stop(msgspec.Struct, frozen=True):
    """A row that did not return, and how it ended; ``seen`` is whether the subject reported its state all the same.

    ``stub`` names an import without an answer that was called in that row, which is then the likely reason.
    """

    row: str
    outcome: Outcome
    seen: bool
    stub: str = ""

    def __str__(self) -> str:
        """The row and its end in words."""
        reason = f"; it called {self.stub}" if self.stub else ""
        return f"row {visible(self.row)} {sentence(self.outcome)}{reason}"


class Observation(msgspec.Struct, frozen=True):
    """The rows that shared one instance, init rows first, and its state after them.

    ``agrees`` is whether the oracle's digest is the subject's; None where the oracle gave none.
    """

    rows: tuple[RowSeen, ...]
    state: FinalState
    how: How
    agrees: bool | None
    stream_bytes: int

    @property
    def last(self) -> RowSeen | None:
        """The last row that was entered, whose branch values and calls of stubs are the instance's."""
        return next((row for row in reversed(self.rows) if row.entered), None)


class Read(msgspec.Struct, frozen=True):
    """All that was read: an instance after the other, the rows that did not return, the last of them last."""

    instances: tuple[Observation, ...]
    stops: tuple[Stop, ...]
    cost: Cost

    @property
    def how(self) -> How:
        """The weakest of the ways in which values came: whatever rests on a digest says so."""
        ways = {each.how for each in self.instances}
        return next((each for each in ("digest", "differences", "full", "carried") if each in ways), "carried")

    @property
    def agrees(self) -> bool | None:
        """Whether every instance's digest is the oracle's; None where one could not be compared."""
        known = [each.agrees for each in self.instances]
        return False if False in known else None if None in known or not known else True


class ObservationReader:
    """Runs a capsule under the subject and reads what it observed; the oracle says where traps are and what needs no reading."""

    def __init__(self, oracle: CapsuleSide, subject: CapsuleSide, *, full: bool, max_passes: int) -> None:
        self._oracle, self._subject, self._full = oracle, subject, full
        self._max_passes = max_passes
        self._layout = subject.capsule.layout
        self._instances = Instances(oracle, subject, limit=len(self._layout.rows) + 1)
        self._name = subject.backend.identity().name

    def read(self, *, keep_going: bool) -> Read:
        """Everything, or ``RunFailedError`` with the reason; without ``keep_going`` up to the first row that does not return."""
        instances: list[Observation] = []
        stops: list[Stop] = []
        for run in self._instances:
            if len(instances) == MAX_INSTANCES:
                left = plural(self._instances.left, "row")
                raise RunFailedError(
                    f"{left} after the first {MAX_INSTANCES} instances were not run", hint="give fewer rows at a time"
                )
            instance, stop, self._instances.first = self._group(run)
            if instance is not None:
                instances.append(instance)
            if stop is not None:
                stops.append(stop)
                if not keep_going:
                    break
        return Read(tuple(instances), tuple(stops), self._subject.cost)

    def _group(self, run: Instance) -> tuple[Observation | None, Stop | None, int]:
        """What an instance did, the row that ended it if one did, and the first row of the next one."""
        first, last, oracle, subject = run.first, run.last, run.oracle, run.subject
        if subject.header is None:
            if not isinstance(subject.outcome, Trapped | Crashed) or subject.damage:
                raise self._no_answer(subject)
            return self._before_trap(first, last, subject, oracle)
        image, how = self._image(first, last, subject, oracle)
        if self._instances.exits_return(image):
            return None, None, first
        return self._decoded(first, image, how, subject, oracle)

    def _decoded(
        self, first: int, image: Image, how: How, subject: CapsuleRun, oracle: CapsuleRun
    ) -> tuple[Observation, Stop | None, int]:  # fmt: skip
        seen = decoded(image, subject.outcome, self._layout)
        rows, at = seen.rows, seen.stop
        agrees = None if oracle.image is None else oracle.image.header.stream_key == image.header.stream_key
        stop = None
        if at is not None:
            if at < self._layout.n_init:
                raise RunFailedError(f"{self._name}: {Stop(rows[at].name, rows[at].outcome or subject.outcome, seen=True)}")
            stop = self._stop(rows[at].name, rows[at].outcome or subject.outcome, rows[at], seen=True)
            rows = rows[: at + 1]
        after = self._instances.last if at is None else self._instances.row(first, at) + 1
        if stop is not None and stop.outcome == Exited(0) and after == self._instances.last:
            stop = None  # the program has come to its end, and said so
        return Observation(rows, seen.state, how, agrees, len(image.stream)), stop, after

    def _stop(self, name: str, outcome: Outcome, row: RowSeen | None, *, seen: bool) -> Stop:
        called = row.stub_calls if row is not None else ()
        stub = next((each for each, calls in zip(self._layout.stubs, called, strict=False) if calls and each.kind == "trap"), None)
        words = ""
        if stub is not None:
            words = f"the import {visible(stub.module)} {visible(stub.name)}, which a capsule has no answer to"
            words += f" ({stub.reason})" if stub.reason else ""
        return Stop(name, outcome, seen, words)

    def _no_answer(self, ran: CapsuleRun) -> RunFailedError:
        if ran.damage:
            return RunFailedError(f"{self._name} gave a damaged observation: {ran.damage}", hint="run `diffcheck doctor`")
        hint = "see what it says with `diffcheck run` and `diffcheck show`"
        if isinstance(ran.outcome, TimedOut):
            hint = "give --deadline more seconds"
        elif isinstance(ran.outcome, OutOfMemory):
            hint = "give --memory-limit more"
        return RunFailedError(f"{self._name} {sentence(ran.outcome)}", hint=hint)

    # Bytes of the stream.

    def _image(self, first: int, last: int, subject: CapsuleRun, oracle: CapsuleRun) -> tuple[Image, How]:
        """The subject's stream, every byte of it known to be the subject's."""
        header = subject.header
        assert header is not None, "the caller looked"  # noqa: S101
        if header.flags & lo.FLAG_CUT:
            raise RunFailedError(f"{self._name} could not grow the recorder's memory: the observation is cut")
        if subject.image is not None:
            return subject.image, "carried"
        if not self._full and oracle.image is not None:
            if oracle.image.header.stream_key == header.stream_key:
                if subject.view != oracle.image.stream[: lo.VIEW_BYTES].ljust(lo.VIEW_BYTES, b"\0"):
                    raise RunFailedError(f"{self._name} gave a damaged observation: its digest is right, the words with it are not")
                return oracle.image, "digest"
            image = self._differences(first, last, subject, oracle.image)
            if image is not None:
                return image, "differences"
        return self._whole(first, last, subject), "full"

    def _differences(self, first: int, last: int, subject: CapsuleRun, oracle: Image) -> Image | None:
        """The stream with what differs fetched; None where that did not give the subject's digest."""
        assert subject.header is not None, "the caller looked"  # noqa: S101
        images = Images(self._layout, oracle, RunBudget(self._max_passes))

        def view(mode: int, offset: int, step: int) -> bytes | None:
            ran = self._subject.run(lo.Parameters(first, last, self._instances.flags, mode, 0, 0, offset, step))
            return ran.view if ran.header is not None else None

        try:
            image = images.subject(subject, view)
        except (StreamError, ValueError):
            return None
        whole = not images.unlocated and digest(image.stream) == (subject.header.lane_a, subject.header.lane_b)
        return image if whole else None

    def _whole(self, first: int, last: int, subject: CapsuleRun) -> Image:
        """Every byte of the stream from the subject, checked by its digest."""
        assert subject.header is not None, "the caller looked"  # noqa: S101
        length = subject.header.length
        if length > MAX_WINDOWS * lo.VIEW_BYTES or length % 8 or length < self._layout.heap_offset(first, last):
            raise RunFailedError(f"{self._name} has an observation of {length:,} bytes, which is not read", hint="give fewer rows")
        ran = self._subject.complete(subject, self._instances.parameters(first, last))
        if ran.image is None:
            raise self._no_answer(ran)
        return ran.image

    # Traps that report nothing.

    def _before_trap(self, first: int, last: int, trapped: CapsuleRun, oracle: CapsuleRun) -> tuple[Observation | None, Stop, int]:
        """The rows before the one in which the subject trapped, by a run that stops there."""
        hint, expected = None, None
        if oracle.image is not None:
            seen = decode_rows(oracle.image, self._layout)
            stop = next((at for at, row in enumerate(seen) if not isinstance(row.outcome, Returned)), None)
            if stop is not None:
                expected, hint = seen[stop], first + stop - self._layout.n_init
        row, outcome = self._find(first, last, hint, trapped)
        name = self._layout.rows[self._layout.n_init + row].name
        stop_at = self._stop(name, outcome, expected if hint == row else None, seen=False)
        if row == first:
            return None, stop_at, row + 1
        before = self._instances.run(first, row)
        ran = before.subject
        if ran.header is None:
            raise self._no_answer(ran)
        image, how = self._image(first, row, ran, before.oracle)
        return self._decoded(first, image, how, ran, before.oracle)[0], stop_at, row + 1

    def _find(self, first: int, last: int, hint: int | None, trapped: CapsuleRun) -> tuple[int, Outcome]:
        """The first row in [first, last) in which the subject ends, and how; ``hint`` is where the oracle does."""
        low, high, outcome = first, last, trapped.outcome
        if (failed := self._fails(first, first)) is not None:
            names = ", ".join(visible(each.name) for each in self._layout.rows[: self._layout.n_init]) or "the recorder"
            raise RunFailedError(f"{self._name} {sentence(failed)} before the first row, in {names}")
        tries = [each for each in (hint, hint + 1 if hint is not None else None) if each is not None and low < each < high]
        while high - low > 1:
            middle = tries.pop(0) if tries else (low + high) // 2
            if not low < middle < high:
                continue
            failed = self._fails(first, middle)
            if failed is None:
                low = middle
            else:
                high, outcome = middle, failed
        return low, outcome

    def _fails(self, first: int, last: int) -> Outcome | None:
        ran = self._subject.run(self._instances.parameters(first, last))
        if ran.header is not None:
            return None
        if ran.damage or not isinstance(ran.outcome, Trapped | Crashed):
            raise self._no_answer(ran)
        return ran.outcome


def totals(read: Read) -> dict[int, int]:
    """The counters of all instances, summed, as unsigned 64-bit numbers."""
    found: dict[int, int] = {}
    for each in read.instances:
        for branch, value in each.state.counters.items():
            found[branch] = (found.get(branch, 0) + value) % (1 << 64)
    return found


__all__ = ["Cost", "How", "Observation", "ObservationReader", "Read", "Stop", "totals"]
