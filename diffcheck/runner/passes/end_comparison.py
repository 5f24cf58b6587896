"""Runs that ended without a stream, compared by their ends: refusals, hangs, and traps at which an engine reports nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.compare import outcomes
from diffcheck.compare import rows as compare_rows
from diffcheck.observation import (
    Crashed,
    Exited,
    HarnessFailed,
    OutOfMemory,
    Refused,
    Returned,
    RowRecord,
    TimedOut,
    Trapped,
    sentence,
)
from diffcheck.runner.passes.decoded_instance import decoded, same_end
from diffcheck.runner.passes.hang_check import why_slow
from diffcheck.runner.passes.trap_bisection import PassOverError, Trials

if TYPE_CHECKING:
    from diffcheck.observation import Outcome
    from diffcheck.runner.passes.capsule_run import CapsuleRun, CapsuleSide
    from diffcheck.runner.passes.decoded_instance import DecodedInstance
    from diffcheck.runner.passes.pass_state import PassState
    from diffcheck.runner.passes.streams.stream_comparison import StreamComparison


class EndComparison:
    """Compares the ends of runs. The row of a trap is located by bisection, and the rows before it are compared by their stream."""

    def __init__(self, state: PassState, streams: StreamComparison) -> None:
        self._pass, self._streams = state, streams
        self._oracle, self._subject, self._layout = state.oracle, state.subject, state.layout
        self._findings, self._instances = state.findings, state.instances

    def failed(self, subject: CapsuleRun, first: int, last: int) -> None:
        """The subject has no stream and the oracle has one."""
        outcome = subject.outcome
        if isinstance(outcome, TimedOut):
            self.timed_out(Returned(), outcome, first, last)
            return
        self.check_ran(outcome)
        if isinstance(outcome, Refused) and self._subject.refusals is not None:
            why = self._subject.refusals.why_no_divergence(outcome, capsule=True)
            if why:
                raise PassOverError(why)
        outcomes.compare(Returned(), outcome, self._findings)

    def check_ran(self, outcome: Outcome) -> None:
        """End the pass if the outcome does not depend on the engine."""
        if isinstance(outcome, OutOfMemory):
            why = f"the subject is {sentence(outcome)}; use a larger --memory-limit"
            raise PassOverError(why, in_recorder=outcome.in_recorder)
        if isinstance(outcome, HarnessFailed) and outcome.wrapper:
            raise PassOverError(f"the subject did not run: {sentence(outcome)}")

    def timed_out(self, oracle: Outcome, subject: TimedOut, first: int, last: int) -> None:
        """The subject timed out in the rows [first, last), and the oracle ended with ``oracle``."""
        if not self._pass.hangs:
            raise PassOverError(f"the subject {sentence(subject)}")
        parameters = self._instances.parameters(first, last)
        fuel = self._oracle.run(parameters, msgspec.structs.replace(self._oracle.limits, count_fuel=True)).fuel

        def rerun(deadline_s: float) -> Outcome:
            return self._subject.run(parameters, msgspec.structs.replace(self._subject.limits, deadline_s=deadline_s)).outcome

        slow, again = why_slow(subject, oracle, fuel, self._pass.functions, self._subject.backend.capabilities, rerun)
        if slow:
            raise PassOverError(slow)
        self._findings.diverge(
            "outcome", "outcome", sentence(oracle), f"hangs ({sentence(again)})", shape="hang",
            detail=f"the oracle used {fuel} units of fuel; even a subject a hundred times slower would have finished",
        )  # fmt: skip

    def compare_trap(self, first: int, last: int, expected: DecodedInstance, subject: CapsuleRun) -> int:
        """The subject ended without a stream; returns the first row of the next group."""
        row = None if expected.stop is None else self._instances.row(first, expected.stop)
        ends_here = expected.stop is not None and isinstance(expected.rows[expected.stop].outcome, Trapped | Exited)
        if ends_here and expected.stop is not None and expected.stop < self._layout.n_init:
            self._trapped_row(first, first, expected.rows[expected.stop], subject.outcome)
            return self._instances.last
        if ends_here and row is not None:
            if self._before(first, row):
                # It may have completed this row and ended in a later one, for the same reason.
                ended = subject.outcome
                if row + 1 < last:
                    ended = self._subject.run(self._instances.parameters(first, row + 1)).outcome
                    self.check_ran(ended)
                self._trapped_row(first, row + 1, expected.rows[expected.stop or 0], ended)
                return row + 1
            last = row
        return self._trapped_early(first, last, subject)

    def _trapped_early(self, first: int, last: int, subject: CapsuleRun) -> int:
        """The subject ended in one of the rows [first, last), which the oracle completed; all but the first such row take runs from
        the budget.
        """
        if self._findings.total and not all(self._pass.budget.take() for _ in range((last - first).bit_length())):
            self._findings.not_compared(
                f"the rows from {self._layout.rows[self._layout.n_init + first].name} on: use a larger --max-passes"
            )
            return self._instances.last
        found = self._trials(self._subject).failing(first, last)
        if found is None:
            self._pass.check_recorder(self._subject, first, first, subject.outcome)
            name = self._init_rows
            self._pass.in_recorder |= not name  # in the code of every capsule, unless instantiation trapped
            self._findings.diverge(
                "outcome", "outcome", "returned", sentence(subject.outcome), row=name,
                shape=outcomes.shape(Returned(), subject.outcome),
            )  # fmt: skip
            return self._instances.last
        at, outcome = found
        if at > first or self._layout.n_init:
            self._before(first, at)
        self._trapped_row(first, at + 1, self._oracle_row(first, at), outcome)
        return at + 1

    def search(self, first: int, last: int, oracle: CapsuleRun, subject: CapsuleRun) -> int:
        """The oracle reports nothing at a trap: locate it by bisection as for a subject; the state is not compared."""
        self._pass.evidence.outcomes.setdefault("oracle", oracle.outcome)
        self._pass.evidence.outcomes.setdefault("subject", subject.outcome)
        self._pass.evidence.changed = True
        found = self._trials(self._oracle).failing(first, last)
        if found is None:
            name = self._init_rows
            self._trapped_row(first, first, RowRecord(name, oracle.outcome), subject.outcome)
            return self._instances.last
        at, outcome = found
        self._pass.check_recorder(self._oracle, first, at + 1, outcome)
        if not self._before(first, at):
            return self._trapped_early(first, at, subject)
        row = RowRecord(self._layout.rows[self._layout.n_init + at].name, outcome)
        self._trapped_row(first, at + 1, row, self._trials(self._subject).run(first, at + 1).outcome)
        return at + 1

    def _before(self, first: int, row: int) -> bool:
        """Compare the rows before ``row`` by runs that stop there; returns whether the subject completed them."""
        instance = self._instances.run(first, row)
        oracle, subject = instance.oracle, instance.subject
        if oracle.image is None:
            self._pass.inconclusive = f"the oracle {sentence(oracle.outcome)} when it was run again"
            return True
        if subject.damage:
            self._findings.diverge("stream", "observation stream", "whole", subject.damage, shape=subject.damage[:40])
            return True
        if subject.header is None and not isinstance(subject.outcome, Trapped | Crashed):
            self.failed(subject, first, row)
            raise PassOverError
        if subject.header is None:
            return False
        expected = decoded(oracle.image, oracle.outcome, self._layout, self._pass.form)
        self._pass.expected.oracle(expected.rows, first)
        self._streams.compare(first, row, oracle.image, expected, subject)
        self._findings.not_compared("the state at a trap: the subject reports none")
        return True

    def _oracle_row(self, first: int, row: int) -> RowRecord:
        ran = self._oracle.run(self._instances.parameters(first, row + 1))
        if ran.image is None:
            raise PassOverError(f"the oracle {sentence(ran.outcome)} when it was run again")
        return decoded(ran.image, ran.outcome, self._layout).rows[self._layout.n_init + row - first]

    def _trapped_row(self, first: int, last: int, oracle: RowRecord, outcome: Outcome) -> None:
        """Compare the row before ``last``, in which the subject ended without a state."""
        subject = RowRecord(oracle.name, outcome)
        if self._pass.limit_differs(first, oracle, subject):
            return
        if same_end(oracle.outcome, outcome) and self._exits_silently:
            self._findings.compared(1, 1, rows=1)
            self._findings.not_compared(
                "the code of an exit: it is a trap in this capsule, and the subject reports no state at a trap"
            )
            return
        if isinstance(outcome, Trapped | Crashed) and not isinstance(oracle.outcome, Trapped):
            self._pass.check_recorder(self._subject, first, last, outcome)
        if isinstance(oracle.outcome, Returned):
            self._pass.evidence.add_oracle_row(oracle)  # the subject has no record of it
        compare_rows.compare(oracle, subject, self._layout, self._findings, state=False)
        self._pass.expected.oracle((oracle,), first)
        if oracle.outcome is not None and outcomes.same(oracle.outcome, outcome):
            self._pass.expected.both((oracle,))
        else:
            self._pass.expected.subject((subject,))

    @property
    def _exits_silently(self) -> bool:
        """Whether an exit is a trap at which the subject reports no state."""
        traps = not self._oracle.capsule.form.unwinds or bool(self._instances.flags & lo.EXIT_TRAPS)
        return traps and not self._subject.reports_exits

    @property
    def _init_rows(self) -> str:
        return ", ".join(each.name for each in self._layout.rows[: self._layout.n_init])

    def _trials(self, side: CapsuleSide) -> Trials:
        return Trials(side, self._instances.parameters)
