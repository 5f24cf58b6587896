"""The subject's own observation of a case, complete or not at all. Snapshots and the witness harness are made of it.

If the subject's digest is the oracle's, every byte of the stream is known to be equal and the oracle's copy is used. If not, what
differs is fetched from the subject, and the assembled stream must have the subject's digest. With ``full`` every byte is read from
the subject, window by window, and no value comes from the oracle.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, get_args

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import Image
from diffcheck.capsule.recorder.digest import digest
from diffcheck.errors import RunFailedError, StreamError
from diffcheck.observation import Cost, Crashed, Exited, LeftSlice, OutOfMemory, Returned, RowRecord, TimedOut, Trapped, sentence
from diffcheck.runner.passes.decoded_instance import DecodedInstance, decoded
from diffcheck.runner.passes.instances import MAX_INSTANCES, Instances
from diffcheck.runner.passes.streams.stream_assembly import Images
from diffcheck.runner.passes.streams.window_search import RunBudget
from diffcheck.runner.passes.trap_bisection import first_failing_row
from diffcheck.text import plural, visible

if TYPE_CHECKING:
    from diffcheck.observation import Outcome
    from diffcheck.runner.passes.capsule_run import CapsuleRun, CapsuleSide
    from diffcheck.runner.passes.instances import Instance

How = Literal["digest", "differences", "full", "carried"]
"""How values came from the subject, the weakest first: equal by digest; what differs was fetched; every byte was read in windows;
every byte came in one run."""

MAX_WINDOWS: Final = 20_000


class Stop(msgspec.Struct, frozen=True):
    """A row that did not return, and its outcome; ``state_reported`` is whether the subject reported its state all the same.

    ``stub`` names a stubbed import that was called in that row and traps, which is then the likely reason.
    """

    row: str
    outcome: Outcome
    state_reported: bool
    stub: str = ""

    def __str__(self) -> str:
        """The row and its outcome as a sentence."""
        reason = f"; it called {self.stub}" if self.stub else ""
        return f"row {visible(self.row)} {sentence(self.outcome)}{reason}"


class CaseObservation(msgspec.Struct, frozen=True):
    """The instances of a case in order, each without the rows after its stop, and the rows that did not return.

    ``how`` is the weakest way in which a value came. ``agrees`` is whether every digest is the oracle's; None if that is unknown.
    """

    instances: tuple[DecodedInstance, ...]
    stops: tuple[Stop, ...]
    cost: Cost
    how: How = "carried"
    agrees: bool | None = None

    @property
    def counters(self) -> dict[int, int]:
        """The counters by branch id, summed over the instances modulo 2**64."""
        total: Counter[int] = Counter()
        for instance in self.instances:
            total.update(instance.state.counters)
        return {branch: count % (1 << 64) for branch, count in total.items()}


class ObservationReader:
    """Reads what the rows did under the subject. The oracle locates traps and supplies the bytes that are equal by digest."""

    def __init__(self, oracle: CapsuleSide, subject: CapsuleSide, *, full: bool, max_passes: int) -> None:
        self._subject, self._full, self._max_passes = subject, full, max_passes
        self._layout = subject.capsule.layout
        self._instances = Instances(oracle, subject, limit=len(self._layout.rows) + 1)
        self._name = subject.backend.identity().name
        self._ways: set[How] = set()
        self._agreements: set[bool | None] = set()

    def read(self, *, keep_going: bool) -> CaseObservation:
        """The observation; without ``keep_going``, up to the first row that does not return. Raises ``RunFailedError``."""
        instances: list[DecodedInstance] = []
        stops: list[Stop] = []
        for run in self._instances:
            if len(instances) == MAX_INSTANCES:
                left = plural(self._instances.left, "row")
                raise RunFailedError(
                    f"{left} after the first {MAX_INSTANCES} instances were not run", hint="use fewer rows at a time"
                )
            instance, stop, self._instances.first = self._group(run)
            if instance is not None:
                instances.append(instance)
            if stop is not None:
                stops.append(stop)
                if not keep_going:
                    break
        how: How = next((way for way in get_args(How) if way in self._ways), "carried")
        agrees = False if False in self._agreements else True if self._agreements == {True} else None
        return CaseObservation(tuple(instances), tuple(stops), self._subject.cost, how, agrees)

    def _group(self, run: Instance) -> tuple[DecodedInstance | None, Stop | None, int]:
        """An instance, the row that ended it if one did, and the first row of the next one."""
        if run.subject.header is None:
            if not isinstance(run.subject.outcome, Trapped | Crashed) or run.subject.damage:
                raise self._unreadable(run.subject)
            return self._before_trap(run)
        image, how = self._image(run)
        if self._instances.exits_return(image):
            return None, None, run.first
        return self._decoded(run, image, how)

    def _decoded(self, run: Instance, image: Image, how: How) -> tuple[DecodedInstance, Stop | None, int]:
        self._ways.add(how)
        self._agreements.add(None if run.oracle.image is None else run.oracle.image.header.stream_key == image.header.stream_key)
        instance = decoded(image, run.subject.outcome, self._layout)
        at = instance.stop
        if at is None:
            return instance, None, self._instances.last
        stop = self._stop(instance.rows[at], instance.rows[at].outcome or run.subject.outcome, state_reported=True)
        if at < self._layout.n_init and not isinstance(stop.outcome, LeftSlice):
            raise RunFailedError(f"{self._name}: {stop}")
        after = self._instances.row(run.first, at) + 1
        ended = stop.outcome == Exited(0) and after == self._instances.last  # the normal end of a program
        return msgspec.structs.replace(instance, rows=instance.rows[: at + 1]), None if ended else stop, after

    def _stop(self, row: RowRecord, outcome: Outcome, *, state_reported: bool) -> Stop:
        calls = zip(self._layout.stubs, row.stub_calls, strict=False)
        stub = next((stub for stub, count in calls if count and stub.kind == "trap"), None)
        name = ""
        if stub is not None:
            name = f"the import {visible(stub.module)} {visible(stub.name)}, which is stubbed by a trap"
            name += f" ({stub.reason})" if stub.reason else ""
        return Stop(row.name, outcome, state_reported, name)

    def _unreadable(self, ran: CapsuleRun) -> RunFailedError:
        if ran.damage:
            return self._damaged(ran.damage)
        hint = "run `diffcheck run`, then `diffcheck show`, for the engine's message"
        if isinstance(ran.outcome, TimedOut):
            hint = "use a longer --deadline"
        elif isinstance(ran.outcome, OutOfMemory):
            hint = "use a larger --memory-limit"
        return RunFailedError(f"{self._name} {sentence(ran.outcome)}", hint=hint)

    def _damaged(self, why: str) -> RunFailedError:
        return RunFailedError(f"the observation of {self._name} is damaged: {why}", hint="run `diffcheck doctor`")

    # Bytes of the stream.

    def _image(self, run: Instance) -> tuple[Image, How]:
        """The subject's stream, every byte of it known to be the subject's."""
        header, oracle = run.subject.header, run.oracle.image
        assert header is not None, "checked by the caller"  # noqa: S101
        if header.flags & lo.FLAG_CUT:
            raise RunFailedError(f"{self._name} could not grow the recorder's memory, so the observation is truncated")
        if run.subject.image is not None:
            return run.subject.image, "carried"
        if not self._full and oracle is not None:
            if oracle.header.stream_key == header.stream_key:
                if run.subject.view != oracle.stream[: lo.VIEW_BYTES].ljust(lo.VIEW_BYTES, b"\0"):
                    raise self._damaged("its digest is correct, but the values reported with it are not")
                return oracle, "digest"
            image = self._differences(run, header, oracle)
            if image is not None:
                return image, "differences"
        return self._whole(run, header), "full"

    def _differences(self, run: Instance, header: lo.Header, oracle: Image) -> Image | None:
        """The oracle's stream with the subject's bytes where they differ; None if its digest is not the subject's."""
        images = Images(self._layout, oracle, RunBudget(self._max_passes))

        def view(mode: int, offset: int, step: int) -> bytes | None:
            ran = self._subject.run(lo.Parameters(run.first, run.last, self._instances.flags, mode, 0, 0, offset, step))
            return ran.view if ran.header is not None else None

        try:
            image = images.subject(run.subject, view)
        except (StreamError, ValueError):
            return None
        return image if not images.unlocated and digest(image.stream) == (header.lane_a, header.lane_b) else None

    def _whole(self, run: Instance, header: lo.Header) -> Image:
        """Every byte of the stream, read from the subject and checked by its digest."""
        length = header.length
        if length > MAX_WINDOWS * lo.VIEW_BYTES or length % 8 or length < self._layout.heap_offset(run.first, run.last):
            raise RunFailedError(f"{self._name} has an observation of {length:,} bytes, which is not read", hint="use fewer rows")
        ran = self._subject.complete(run.subject, self._instances.parameters(run.first, run.last))
        if ran.image is None:
            raise self._unreadable(ran)
        return ran.image

    # Traps without a reported state.

    def _before_trap(self, run: Instance) -> tuple[DecodedInstance | None, Stop, int]:
        """The rows before the one in which the subject trapped, from a run that stops there."""
        first = run.first
        rows = decoded(run.oracle.image, run.oracle.outcome, self._layout).rows if run.oracle.image is not None else ()
        expected = {first + at - self._layout.n_init: row for at, row in enumerate(rows) if not isinstance(row.outcome, Returned)}
        guess = next(iter(expected), run.last)
        row, outcome = self._trap(run, (guess, guess + 1))
        seen = expected.get(row) or RowRecord(self._layout.rows[self._layout.n_init + row].name, outcome)
        stop = self._stop(seen, outcome, state_reported=False)
        if row == first:
            return None, stop, row + 1
        before = self._instances.run(first, row)
        if before.subject.header is None:
            raise self._unreadable(before.subject)
        return self._decoded(before, *self._image(before))[0], stop, row + 1

    def _trap(self, run: Instance, guesses: tuple[int, ...]) -> tuple[int, Outcome]:
        """The first row in which the subject traps or crashes, and its outcome."""
        if (failed := self._failure(run.first, run.first)) is not None:
            names = ", ".join(visible(row.name) for row in self._layout.rows[: self._layout.n_init]) or "the recorder"
            raise RunFailedError(f"{self._name} {sentence(failed)} before the first row, in {names}")
        row, outcome = first_failing_row(self._failure, run.first, run.last, guesses)
        return row, run.subject.outcome if outcome is None else outcome

    def _failure(self, first: int, last: int) -> Outcome | None:
        ran = self._subject.run_once(self._instances.parameters(first, last))
        if ran.header is not None:
            return None
        if ran.damage or not isinstance(ran.outcome, Trapped | Crashed):
            raise self._unreadable(ran)
        return ran.outcome
