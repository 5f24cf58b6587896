"""A capsule's rows under both engines, one instance after the other: a row that does not return ends its instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import swallowed
from diffcheck.runner.passes.capsule_run import CapsuleRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.capsule.decode import Image
    from diffcheck.runner.passes.capsule_run import CapsuleSide
    from diffcheck.runner.passes.trap_runs import TrapRuns

MAX_INSTANCES: Final = 64


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
        return Instance(self.first, self.last, oracle, self._trap_runs.run(parameters, oracle, instances))

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
