"""The number of events before a silent trap: one after which the subject reports nothing.

Two things can be observed. A run that is to stop after n events finishes if and only if the subject reaches them: one bit. And if
each run is a separate process, the program can allocate memory at each block of events, so that peak memory shows the block in which
it ended: about seven bits. Memory only guides the search. The answer depends on two runs: one that stops after n events and finishes,
and one that should stop after n + 1 and does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.observation import OutOfMemory, TimedOut, Trapped
from diffcheck.triage.localise import end_likelihood
from diffcheck.triage.localise.end_likelihood import EndLikelihood
from diffcheck.triage.tracing.event_log import MAX_TRACE, RAWS, WrongDigest, step_of

if TYPE_CHECKING:
    from diffcheck.triage.localise.event_runs import EventRuns, FirstDifference
    from diffcheck.triage.tracing.event_log import Record
    from diffcheck.triage.tracing.log_reader import LogRun


class SilentTrapSearch:
    """The search in [start, end), in which the subject ended in a run."""

    def __init__(self, runs: EventRuns, start: int, end: int) -> None:
        self.runs, self.start, self.end = runs, start, end
        self.low, self.high = start, end
        """The subject logs at least ``low`` events and fewer than ``high``."""
        self.equal = start
        """The events before this one are equal to the oracle's."""
        self.near = start, end
        """The range in which it ended, estimated from memory."""
        self.sharp = True
        self.likelihood: EndLikelihood | None = None

    def find(self, ran: LogRun) -> FirstDifference | tuple[int, int]:
        """The end of the subject as the first difference, or the window of earlier events that differs. ``ran`` is the run that
        ended, which allocated memory only at its start.
        """
        runs = self.runs
        outcome = runs.ended
        if not isinstance(outcome, Trapped | TimedOut) and runs.run_subject(0, 1, 0).log is None:
            return runs.at(-1, (), outcome)
        runs.progress.calibrate(ran)
        while self.high - self.low > 1 or self.equal < self.low:
            wide = self.runs.progress.works and self.sharp and self.near[1] - self.near[0] > 1
            found = self._measure() if wide else self._run(self.equal, self._middle())
            if found is not None:
                return found
        records = runs.oracle_records(max(0, self.low - RAWS // 2), self.low + 1)
        return runs.at(self.low, records, outcome)

    # By memory.

    def _measure(self) -> tuple[int, int] | None:
        """Measure a run through the estimated range."""
        near = self.near
        found = self._run(max(self.low, near[0] - 1), near[1])  # an end in the range then allocates at least one block
        self.sharp = self.near != near
        return found

    def _run(self, start: int, halt: int) -> tuple[int, int] | None:
        """Run the events in [start, halt); the window with the first difference, if all events before ``start`` are equal."""
        step = step_of(start, halt)
        ran = self.runs.run_subject(start, step, halt, self.runs.progress.take(-(-(halt - start) // step)))
        if isinstance(ran.outcome, OutOfMemory) and ran.block:
            self.runs.progress.works = False
            return None
        if ran.log is None:
            if halt <= self.low:
                raise WrongDigest("it finished before, but not again")
            self.high = halt
        else:
            window = self.runs.window(ran.log, start, step, halt)
            if window is not None:
                return window if start == self.equal else self._run(self.equal, halt)
            self.low = halt
            self.equal = halt if start == self.equal else self.equal
        self.runs.progress.measure(ran, start, step, halt)
        self._estimate()
        return None

    def _estimate(self) -> None:
        """Update the estimated range."""
        progress, (low, high) = self.runs.progress, self.near
        first, last = progress.near(self.low, self.high)
        if first < low or last > high:
            progress.missed()
            self.sharp = True
            first, last = progress.near(self.low, self.high)
        self.near = first, last

    # By stopping.

    def _middle(self) -> int:
        if self.high - self.low == 1:
            return self.low
        low, high = self.near if self.runs.progress.works else (self.low, self.high)
        if high - low == 1:
            return low if low > self.low else high
        if self.likelihood is None:
            self.likelihood = EndLikelihood(self.start, self._weights())
        return self.likelihood.middle(low, high)

    def _weights(self) -> list[float]:
        trace = self._trace()
        return end_likelihood.weights(self.runs.instrumentation, trace, self.runs.ended) if trace is not None else []

    def _trace(self) -> tuple[Record, ...] | None:
        """The oracle's events in the range; None if there are too many or its transport carries windows only."""
        if self.end - self.start > MAX_TRACE or self.runs.oracle.backend.capabilities.transport == "words":
            return None
        return self.runs.oracle_records(self.start, self.end)
