"""A capsule's rows under both engines, one instance after the other: a row that does not return ends its instance.

A subject that reports nothing at a trap is run by a plan, which is made of the oracle's runs (``TrapRuns``): N trapping rows take
N + 1 executions.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.batch.batch_form import MAX_RANGES, Batch, PageRange, keys
from diffcheck.capsule.decode import first_stop, left_open, swallowed
from diffcheck.capsule.decode import state as decode_state
from diffcheck.compare.outcomes import FAILURES
from diffcheck.observation import HarnessFailed, Returned, Trapped
from diffcheck.runner.passes.capsule_run import CapsuleRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from diffcheck.capsule.decode import Image
    from diffcheck.observation import FinalState
    from diffcheck.runner.passes.capsule_run import CapsuleSide

MAX_INSTANCES: Final = 64
NOT_RUN: Final = CapsuleRun(HarnessFailed("not run, since the oracle failed", wrapper=True))
"""In place of a subject's run when there is no state of the oracle to compare it with."""
_PAGE_COPY_S: Final = 0.00042
"""Time of copying a page, by kilnd 0.4.4 (measured 2026-11)."""
_KEPT_BYTES: Final = 64 << 20
"""Limit of the oracle's streams that are planned with."""


class Instance(msgspec.Struct, frozen=True):
    """The rows [first, last) run in a new instance of each engine."""

    first: int
    last: int
    oracle: CapsuleRun
    subject: CapsuleRun


class Instances:
    """Iterates over instances: runs the rows [first, last) under both engines, at most ``limit`` times.

    The consumer sets ``first`` to the row after the one that ended the instance. ``flags`` apply to every run. With
    ``trap_runs`` the oracle runs first.
    """

    def __init__(
        self, oracle: CapsuleSide, subject: CapsuleSide, limit: int = MAX_INSTANCES, trap_runs: TrapRuns | None = None
    ) -> None:
        self._trap_runs = trap_runs
        self._oracle, self._subject = oracle, subject
        self._layout = oracle.capsule.layout
        self.first, self.last = 0, len(self._layout.rows) - self._layout.n_init
        self.flags, self.limit = 0, limit
        self._again = False

    def __iter__(self) -> Iterator[Instance]:
        """At least one instance, even if there are no rows."""
        count = 0
        while (self.first < self.last or not count) and count < self.limit:
            yield self._instance(self.limit - count)
            count, self._again = count + (not self._again), False

    @property
    def left(self) -> int:
        """The number of rows that were not run."""
        return max(0, self.last - self.first)

    def parameters(self, first: int, last: int) -> lo.Parameters:
        """The parameters that run the rows [first, last)."""
        return lo.rows(first, last, self.flags)

    def _instance(self, instances: int) -> Instance:
        """The next of the remaining ``instances``. The only row of an instance needs no plan."""
        if self._trap_runs is None or self.last - self.first <= 1:
            return self.run(self.first, self.last)
        parameters = self.parameters(self.first, self.last)
        oracle = self._oracle.run(parameters)
        failed = oracle.image is None and isinstance(oracle.outcome, FAILURES)
        subject = NOT_RUN if failed else self._trap_runs.run(parameters, oracle, instances)
        return Instance(self.first, self.last, oracle, subject)

    def run(self, first: int, last: int) -> Instance:
        """Run the rows [first, last) under both engines at the same time."""
        parameters = self.parameters(first, last)
        pending = self._subject.start(parameters)
        oracle = self._oracle.run(parameters)
        return Instance(first, last, oracle, pending.wait())

    def exits_return(self, image: Image) -> bool:
        """Whether a row returned although the program asked to exit; if so, the same rows run again, and exits trap."""
        if self.flags or not swallowed(image, self._layout):
            return False
        self.flags, self._again = lo.EXIT_TRAPS, True
        return True

    def row(self, first: int, record: int) -> int:
        """The row of a record in the instance that began at ``first``; ``last`` for an init row, since no other can run."""
        return first + record - self._layout.n_init if record >= self._layout.n_init else self.last


class TrapRuns:
    """Runs a subject that reports nothing at a trap after the oracle; ``identities`` are both sides in identity form.

    The rows that do not trap under the oracle run in one execution, range after range, in batch form. A range with the oracle's
    stream key is known to be equal, as if it had run alone; any other range runs alone. Each instance runs up to its trapping row.
    """

    def __init__(
        self, oracle: CapsuleSide, subject: CapsuleSide, identities: tuple[CapsuleSide, CapsuleSide] | None, functions: int
    ) -> None:
        self._oracle, self._subject, self._identities = oracle, subject, identities
        self._layout, self._functions = oracle.capsule.layout, functions
        self._planned: set[int] = set()

    def run(self, parameters: lo.Parameters, oracle: CapsuleRun, instances: int) -> CapsuleRun:
        """The subject's run of the rows of ``parameters``; ``instances`` is the largest number of instances, with this one.

        If the oracle traps, the run ends after that row, unless the subject does not trap there.
        """
        row = self._trapping_row(parameters, oracle)
        if row is None:
            return self._subject.run(parameters)
        through = msgspec.structs.replace(parameters, last=row + 1)
        ran = self._subject.run_once(through)
        if ran.header is not None or ran.damage:
            return self._subject.run(parameters)
        if parameters.flags not in self._planned:
            self._planned.add(parameters.flags)
            self._plan(parameters, oracle, instances)
        return ran

    def _trapping_row(self, parameters: lo.Parameters, oracle: CapsuleRun) -> int | None:
        """The row in which the oracle traps, so that the subject reports nothing; None if there is none."""
        if oracle.image is None or not isinstance(oracle.outcome, Trapped):
            return None
        at = first_stop(oracle.image, self._layout)
        if at is None or at < self._layout.n_init:
            return None
        if not left_open(oracle.image, self._layout, at) and self._subject.reports_exits:
            return None
        return parameters.first + at - self._layout.n_init

    # The plan.

    def _plan(self, parameters: lo.Parameters, oracle: CapsuleRun, instances: int) -> None:
        """Run what the oracle completes in one execution of the subject, and in another one in identity form."""
        ranges = dict.fromkeys(self._ranges(parameters, oracle, instances))
        completed = {each: ran for each in ranges if _completed(ran := self._oracle.run_once(each))}
        batch = self._batch(completed)
        for sides in ((self._oracle, self._subject), *([self._identities] if self._identities else [])):
            if len(completed) == 1:
                sides[1].run_once(next(iter(completed)))
            elif batch is not None:
                self._run_batch(*sides, batch, parameters.flags)

    def _ranges(self, parameters: lo.Parameters, oracle: CapsuleRun, instances: int) -> Iterator[lo.Parameters]:
        """The ranges of rows that the oracle completes, instance by instance."""
        kept = 0
        for _ in range(min(instances, MAX_RANGES)):
            kept += len(oracle.image.stream) if oracle.image is not None else 0
            if oracle.image is None or kept > _KEPT_BYTES or swallowed(oracle.image, self._layout):
                return
            self._oracle.known[parameters] = oracle
            row, at = self._trapping_row(parameters, oracle), first_stop(oracle.image, self._layout)
            if row is None:
                yield parameters
                row = None if at is None else parameters.first + at - self._layout.n_init
            else:
                yield lo.rows(parameters.first, row, parameters.flags)
            if row is None or not parameters.first <= row < parameters.last - 1:
                return
            parameters = msgspec.structs.replace(parameters, first=row + 1)
            oracle = self._oracle.run(parameters)

    def _run_batch(self, oracle: CapsuleSide, subject: CapsuleSide, batch: Batch, flags: int) -> None:
        """Run a batch; the ranges with the oracle's stream keys become known runs of the subject."""
        ran = subject.run_batch(batch, flags)
        if ran.header is None:
            return
        for rows, key in zip(batch.ranges, keys(ran.view, len(batch.ranges)), strict=True):
            parameters = lo.Parameters(*rows, flags)
            expected = oracle.run_once(parameters)
            if _completed(expected) and expected.header is not None and expected.header.stream_key == key:
                subject.known[parameters] = expected

    # The batch.

    def _batch(self, completed: Mapping[lo.Parameters, CapsuleRun]) -> Batch | None:
        """The batch of these runs of the oracle; None if there is none, or if restoring costs more than an execution.

        A range after which the state cannot be restored is the last one, and all but one of these are left out.
        """
        if len(completed) < 2 or (lasting := self._oracle.capsule.unrestorable()) is None:  # noqa: PLR2004 - a batch
            return None
        initial = self._oracle.run(lo.Parameters(0, self._layout.n_rows, lo.INERT))
        if initial.image is None:
            return None
        before = decode_state(initial.image, self._layout)
        after = {each: decode_state(ran.image, self._layout) for each, ran in completed.items() if ran.image is not None}
        if any(len(pages) < size for pages, size in zip(before.pages, before.memories, strict=True)):
            return None
        last = [each for each in after if _resized(before, after[each]) or not lasting.isdisjoint(range(each.first, each.last))]
        ranges = [*(each for each in after if each not in last), *last[:1]]
        pages = tuple(self._changed(before, [after[each] for each in ranges[: len(ranges) - bool(last)]]))
        known = self._subject.backend.capabilities
        copy_s = _PAGE_COPY_S * sum(each.count for each in pages)
        if len(ranges) < 2 or copy_s > known.startup_s + self._functions * known.function_s:  # noqa: PLR2004 - a batch
            return None
        return Batch(tuple((each.first, each.last) for each in ranges), pages)

    def _changed(self, before: FinalState, after: Sequence[FinalState]) -> Iterator[PageRange]:
        """The pages that one of the ranges changes."""
        for at, memory in enumerate(self._layout.memories):
            changed = [
                page for page, digest in enumerate(before.pages[at]) if any(each.pages[at][page] != digest for each in after)
            ]
            for _, run in groupby(enumerate(changed), lambda each: each[1] - each[0]):
                pages = [page for _, page in run]
                yield PageRange(memory.index, pages[0], len(pages))


def _completed(ran: CapsuleRun) -> bool:
    """Whether a run of the oracle has all of its stream."""
    return ran.image is not None and isinstance(ran.outcome, Returned)


def _resized(before: FinalState, after: FinalState) -> bool:
    """Whether a memory or a table has another size."""
    return (before.memories, before.tables) != (after.memories, after.tables)
