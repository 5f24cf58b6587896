"""The capsule pass over a case: the same capsule under both engines, group after group, until all rows are compared.

One run of the subject is enough if the digests of both streams are equal. The oracle's stream locates traps. If a subject reports
nothing at a trap, the rows before it are compared by another run (``instances``), and an unexpected trap is located by bisection
over the rows.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from diffcheck.capsule import layout as lo
from diffcheck.capsule.deterministic.form import Choices
from diffcheck.capsule.driver import START
from diffcheck.compare import outcomes
from diffcheck.observation import (
    Crashed,
    HarnessFailed,
    Refused,
    Returned,
    TimedOut,
    Trapped,
    sentence,
)
from diffcheck.runner.passes.decoded_instance import decoded
from diffcheck.runner.passes.end_comparison import EndComparison
from diffcheck.runner.passes.instances import NOT_RUN
from diffcheck.runner.passes.pass_state import PassState
from diffcheck.runner.passes.streams.stream_assembly import whole_state
from diffcheck.runner.passes.streams.stream_comparison import StreamComparison
from diffcheck.runner.passes.trap_bisection import DamagedAnswerError, PassOverError
from diffcheck.text import plural
from diffcheck.verdict import PassReport

if TYPE_CHECKING:
    from diffcheck.capsule.decode import Image
    from diffcheck.observation import Outcome
    from diffcheck.runner.passes.capsule_run import CapsuleRun
    from diffcheck.runner.passes.decoded_instance import DecodedInstance
    from diffcheck.runner.passes.instances import Instance
    from diffcheck.verdict import Verdict


class CapsulePass(PassState):
    """Runs the capsule of one case under both engines; ``report`` returns the result."""

    @cached_property
    def _streams(self) -> StreamComparison:
        return StreamComparison(self)

    @cached_property
    def _ends(self) -> EndComparison:
        return EndComparison(self, self._streams)

    def report(self) -> PassReport:
        """Run all groups and return the report."""
        try:
            self._groups()
        except PassOverError as over:
            self.inconclusive = str(over) or self.inconclusive
            self.in_recorder |= over.in_recorder
        except DamagedAnswerError as damaged:
            outcomes.compare(Returned(), damaged.outcome, self.findings)
        findings, evidence = self.findings, self.evidence
        if self.instantiation is not None and not findings.total and not self.inconclusive:
            self.expected.instantiated(self.instantiation)
        self.expected.conclude(findings)
        if self.unlocated:
            self._not_located()
        if self.identities is not None:
            self.identities.add_costs(self.oracle, self.subject)
        verdict: Verdict = "diverge" if findings.total else "inconclusive" if self.inconclusive else "agree"
        return PassReport(
            mode="capsule",
            applicable=True,
            verdict=verdict,
            reason=self._reason(verdict),
            oracle=evidence.side("oracle", self.oracle),
            subject=evidence.side("subject", self.subject),
            divergences=tuple(findings.divergences),
            divergences_total=findings.total,
            allowances=findings.allowances,
            agreement=findings.agreement,
            stubs=evidence.stubs(),
            printed=tuple(evidence.printed),
            vacuous=verdict == "agree" and not evidence.changed and self._shows_nothing(),
            mcdc=evidence.impact() if findings.total else (),
            in_recorder=self.in_recorder or any(each.kind == "stream" for each in findings.divergences),
        )

    def _not_located(self) -> None:
        """Unlocated differences are neither divergence nor agreement, so the pass is inconclusive."""
        what = f"differences within {self.unlocated:,} bytes were not located"
        self.findings.not_compared(what)
        spent = plural(self.budget.total, "execution")
        self.inconclusive = self.inconclusive or f"{what} with {spent}; use a larger --max-passes"

    def _reason(self, verdict: str) -> str:
        if verdict == "inconclusive":
            return self.inconclusive
        if verdict == "diverge":
            return str(self.findings.divergences[0])
        return ""

    def _groups(self) -> None:
        for instance in self.instances:
            self.instances.first = self._group(instance)
        if self.instances.left:
            self.findings.not_compared(f"{self.instances.left} rows after the first {self.instances.limit} instances")

    def _group(self, instance: Instance) -> int:
        """Compare the rows of an instance; returns the first row of the next instance."""
        first, last, oracle, subject = instance.first, instance.last, instance.oracle, instance.subject
        self.findings.begin_group()
        if isinstance(oracle.outcome, Trapped) and oracle.image is None and not oracle.damage:
            self.choices = None
            return self._ends.search(first, last, oracle, subject)
        image = self._oracle_image(oracle, subject)
        if self.instances.exits_return(image):
            return first
        expected = decoded(image, oracle.outcome, self.layout, self.form)
        if self.choices is not None:
            self.choices = Choices(self.choices.nans + expected.choices.nans, self.choices.relaxed + expected.choices.relaxed)
        if not first:
            self.instantiation = next((each.outcome for each in expected.rows if each.name == START), Returned())
        self.evidence.add_group(expected, oracle, subject)
        self.expected.oracle(expected.rows, first)
        return self._compare(first, last, image, expected, subject)

    def _oracle_image(self, oracle: CapsuleRun, subject: CapsuleRun) -> Image:
        """The oracle's stream; ends the pass if there is none."""
        if oracle.image is not None:
            return oracle.image
        self.choices = None
        self.evidence.outcomes.update(oracle=oracle.outcome, subject=subject.outcome)
        if oracle.damage:
            raise PassOverError(f"the oracle's stream is damaged: {oracle.damage}")
        if isinstance(oracle.outcome, Refused):
            self._refused(oracle.outcome, subject.outcome)
            raise PassOverError
        if subject is NOT_RUN:
            raise PassOverError(f"the oracle {sentence(oracle.outcome)}, so the subject was not run")
        if isinstance(oracle.outcome, TimedOut) and isinstance(subject.outcome, TimedOut):
            raise PassOverError(f"both timed out ({oracle.outcome.deadline_s:g} s)")
        raise PassOverError(f"the oracle {sentence(oracle.outcome)}; the subject {sentence(subject.outcome)}")

    def _refused(self, oracle: Refused, subject: Outcome) -> None:
        """The oracle refused the capsule of an artifact that it accepts, usually because instantiation traps."""
        if oracle.kind in ("invalid", "unsupported", "limit"):
            raise PassOverError(f"the oracle accepts the artifact, but not the capsule: it {sentence(oracle)}")
        if isinstance(subject, TimedOut):
            self._ends.timed_out(oracle, subject, 0, 0)
            return
        self._ends.check_ran(subject)
        self.instantiation = oracle
        if outcomes.compare(oracle, subject, self.findings):
            self.evidence.changed = True
            self.findings.compared(1, 1)

    def _compare(self, first: int, last: int, image: Image, expected: DecodedInstance, subject: CapsuleRun) -> int:
        """Compare a group with the subject's run; returns the first row of the next group."""
        after = last if expected.stop is None else self.instances.row(first, expected.stop) + 1
        if subject.damage:
            self.findings.diverge("stream", "observation stream", "whole", subject.damage, shape=subject.damage[:40])
            return after
        if subject.header is not None:
            self._streams.compare(first, last, image, expected, subject)
            return after
        self._ends.check_ran(subject.outcome)
        # Where the oracle stops, a missing answer is that of the row.
        stopped = isinstance(subject.outcome, HarnessFailed) and expected.stop is not None
        if stopped or isinstance(subject.outcome, Trapped | Crashed):
            return self._ends.compare_trap(first, last, expected, subject)
        self._ends.failed(subject, first, last)
        raise PassOverError

    def _shows_nothing(self) -> bool:
        """Whether the final state is the initial one, or without rows all zeros; may run the oracle."""
        if not self.instances.last:
            return not self.findings.agreement.values_nonzero
        inert = self.oracle.run(lo.Parameters(0, self.instances.last, lo.INERT))
        whole = self.oracle.run(self.instances.parameters(0, self.instances.last))
        if inert.image is None or whole.image is None:
            return True
        return whole_state(inert.image, self.layout) == whole_state(whole.image, self.layout)
