"""The capsule pass over a case: the same capsule under both engines, group after group, until all rows are compared.

One run of the subject is enough if the digests of both streams are equal. The oracle's stream locates traps. If a subject reports
nothing at a trap, the rows before it are compared by another run (``instances``), and an unexpected trap is located by bisection
over the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.calls import GATHERED
from diffcheck.capsule.decode import left_open
from diffcheck.capsule.deterministic.form import Choices
from diffcheck.compare import outcomes
from diffcheck.compare import references as compare_references
from diffcheck.compare import rows as compare_rows
from diffcheck.compare import state as compare_state
from diffcheck.compare.expected_results import ExpectedResults
from diffcheck.errors import StreamError
from diffcheck.observation import (
    Crashed,
    Exited,
    HarnessFailed,
    LeftSlice,
    OutOfMemory,
    Refused,
    Returned,
    RowRecord,
    TimedOut,
    Trapped,
    sentence,
)
from diffcheck.runner.passes import open_limits
from diffcheck.runner.passes.call_logs import with_calls
from diffcheck.runner.passes.decoded_instance import decoded, is_trap, same_end, same_trap
from diffcheck.runner.passes.hang_check import why_slow
from diffcheck.runner.passes.instances import NOT_RUN, Instances, TrapRuns
from diffcheck.runner.passes.legal_choices import compare_choices
from diffcheck.runner.passes.page_diff import Pages, read_view
from diffcheck.runner.passes.pass_evidence import PassEvidence
from diffcheck.runner.passes.reference_identity import Identities
from diffcheck.runner.passes.stream_assembly import Images, whole_state
from diffcheck.runner.passes.trap_bisection import DamagedAnswerError, PassOverError, Trials, first_failing_row
from diffcheck.runner.passes.window_search import local
from diffcheck.text import plural
from diffcheck.verdict import PassReport

if TYPE_CHECKING:
    from diffcheck.capsule.decode import Image
    from diffcheck.capsule.deterministic.form import DeterministicForm
    from diffcheck.compare.findings import Findings
    from diffcheck.observation import Outcome
    from diffcheck.runner.passes.capsule_run import CapsuleRun, CapsuleSide
    from diffcheck.runner.passes.decoded_instance import DecodedInstance
    from diffcheck.runner.passes.instances import Instance
    from diffcheck.runner.passes.open_limits import OpenLimit
    from diffcheck.runner.passes.window_search import RunBudget
    from diffcheck.verdict import Verdict
    from diffcheck.witness.formats import Manifest

_STACK: Final = "call stack exhausted"
_CUT: Final = "the recorder's memory could not grow, so the stream is truncated"


class CapsulePass:
    """Runs the capsule of one case under both engines; ``report`` returns the result."""

    def __init__(
        self, oracle: CapsuleSide, subject: CapsuleSide, findings: Findings, budget: RunBudget, functions: int,
        *, manifest: Manifest | None = None, hangs: bool = True, form: DeterministicForm | None = None,
    ) -> None:  # fmt: skip
        """``hangs`` is as in ``Request``. ``form`` is the deterministic form of the capsules; ``choices`` are the oracle's, None if
        unknown.
        """
        self.oracle, self.subject = oracle, subject
        self.layout = oracle.capsule.layout
        self.findings, self.budget = findings, budget
        self.form = form
        self.choices: Choices | None = Choices()
        self.functions = functions
        self.hangs = hangs
        self.inconclusive = ""
        self.in_recorder = False
        self.unlocated = 0
        self.left: tuple[str, LeftSlice] | None = None
        """The first row in which the subject left the slice, and where it went."""
        self.evidence = PassEvidence(self.layout, manifest)
        self.expected = ExpectedResults(self.layout, findings)
        one, other = oracle.identified(), subject.identified()
        identified = (one, other) if one is not None and other is not None else None
        self.identities = Identities(*identified, findings, budget) if identified else None
        silent = not subject.backend.capabilities.state_at_trap
        self.instances = Instances(oracle, subject, trap_runs=TrapRuns(oracle, subject, identified, functions) if silent else None)

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

    # Groups.

    def _groups(self) -> None:
        for instance in self.instances:
            self.instances.first = self._group(instance)
        if self.instances.left:
            self.findings.not_compared(f"{self.instances.left} rows after the first {self.instances.limit} instances")

    @property
    def _exits_silently(self) -> bool:
        """Whether an exit is a trap at which the subject reports no state."""
        traps = not self.oracle.capsule.form.unwinds or bool(self.instances.flags & lo.EXIT_TRAPS)
        return traps and not self.subject.reports_exits

    def _trials(self, side: CapsuleSide) -> Trials:
        return Trials(side, self.instances.parameters)

    def _group(self, instance: Instance) -> int:
        """Compare the rows of an instance; returns the first row of the next instance."""
        first, last, oracle, subject = instance.first, instance.last, instance.oracle, instance.subject
        self.findings.begin_group()
        if isinstance(oracle.outcome, Trapped) and oracle.image is None and not oracle.damage:
            self.choices = None
            return self._search(first, last, oracle, subject)
        image = self._oracle_image(oracle, subject)
        if self.instances.exits_return(image):
            return first
        expected = decoded(image, oracle.outcome, self.layout, self.form)
        if self.choices is not None:
            self.choices = Choices(self.choices.nans + expected.choices.nans, self.choices.relaxed + expected.choices.relaxed)
        self.evidence.add_group(expected, oracle, subject)
        self.expected.oracle(expected.rows, first=first == 0)
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
            self._timed_out(oracle, subject, 0, 0)
            return
        self._check_ran(subject)
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
            self._compare_streams(first, last, image, expected, subject)
            return after
        if isinstance(subject.outcome, Trapped | Crashed):
            return self._compare_trap(first, last, expected, subject)
        self._failed(subject, first, last)
        raise PassOverError

    def _failed(self, subject: CapsuleRun, first: int, last: int) -> None:
        """The subject has no stream and the oracle has one."""
        outcome = subject.outcome
        if isinstance(outcome, TimedOut):
            self._timed_out(Returned(), outcome, first, last)
            return
        self._check_ran(outcome)
        if isinstance(outcome, Refused) and self.subject.refusals is not None:
            why = self.subject.refusals.why_no_divergence(outcome, capsule=True)
            if why:
                raise PassOverError(why)
        outcomes.compare(Returned(), outcome, self.findings)

    def _check_ran(self, outcome: Outcome) -> None:
        """End the pass if the outcome does not depend on the engine."""
        if isinstance(outcome, OutOfMemory):
            why = f"the subject is {sentence(outcome)}; use a larger --memory-limit"
            raise PassOverError(why, in_recorder=outcome.in_recorder)
        if isinstance(outcome, HarnessFailed) and outcome.wrapper:
            raise PassOverError(f"the subject did not run: {sentence(outcome)}")

    def _timed_out(self, oracle: Outcome, subject: TimedOut, first: int, last: int) -> None:
        """The subject timed out in the rows [first, last), and the oracle ended with ``oracle``."""
        if not self.hangs:
            raise PassOverError(f"the subject {sentence(subject)}")
        parameters = self.instances.parameters(first, last)
        fuel = self.oracle.run(parameters, msgspec.structs.replace(self.oracle.limits, count_fuel=True)).fuel

        def rerun(deadline_s: float) -> Outcome:
            return self.subject.run(parameters, msgspec.structs.replace(self.subject.limits, deadline_s=deadline_s)).outcome

        slow, again = why_slow(subject, oracle, fuel, self.functions, self.subject.backend.capabilities, rerun)
        if slow:
            raise PassOverError(slow)
        self.findings.diverge(
            "outcome", "outcome", sentence(oracle), f"hangs ({sentence(again)})", shape="hang",
            detail=f"the oracle used {fuel} units of fuel; even a subject a hundred times slower would have finished",
        )  # fmt: skip

    # Streams.

    def _compare_streams(self, first: int, last: int, image: Image, expected: DecodedInstance, subject: CapsuleRun) -> None:
        """Compare the subject's stream, and the identities of functions if nothing differs."""
        before = self.findings.total
        exhausted = expected.stop is not None and is_trap(expected.rows[expected.stop].outcome, _STACK)
        self._compare_stream(first, last, image, expected, subject, exhausted=exhausted)
        if self.identities is None and self.layout.described:
            compare_references.functions_not_compared(expected.state, self.findings)
        if self.identities is not None and self.findings.total == before and not exhausted:
            self.identities.compare(self.instances.parameters(first, last))

    def _compare_stream(
        self, first: int, last: int, image: Image, expected: DecodedInstance, subject: CapsuleRun, *, exhausted: bool
    ) -> None:
        """Compare digests, and if they differ the whole streams."""
        header = subject.header
        assert header is not None, "checked by the caller"  # noqa: S101
        if lo.FLAG_CALLS_CUT & (header.flags | image.header.flags):
            self.findings.not_compared(f"of the bytes passed to an import in one call, those after the first {GATHERED:,}")
        if lo.FLAG_PASSED_CUT & (header.flags | image.header.flags):
            self.findings.not_compared("of the objects passed to an import in one call, those beyond 1,000 values or 8 levels")
        kind_differs = isinstance(subject.outcome, Trapped) and not same_trap(expected, subject.outcome)
        if header.stream_key == image.header.stream_key and not kind_differs:
            self._same_digest(image, expected, subject, exhausted=exhausted)
            return
        if lo.FLAG_CUT & (header.flags | image.header.flags):
            raise PassOverError(f"{_CUT}; use a larger --memory-limit", in_recorder=True)
        images = Images(self.layout, image, self.budget)
        try:
            theirs = images.subject(subject, read_view(self.subject, self.instances.parameters(first, last)))
            actual = decoded(theirs, subject.outcome, self.layout, self.form)
        except StreamError as error:
            self.findings.diverge("stream", "observation stream", "whole", str(error), shape="damaged")
            return
        expected, actual = with_calls(self.oracle, self.subject, self.instances.parameters(first, last), expected, actual)
        before = self.findings.total, len(self.findings.allowances)
        self.evidence.add_decisions(expected, actual)
        self.expected.subject(actual.rows)
        pages = self._compare_instances(first, expected, actual, exhausted=exhausted)
        memories = [memory.index for memory in self.layout.memories]
        look = Pages(self.oracle, self.subject, self.instances.parameters(first, last), memories, self.findings, self.budget)
        unlocated = images.unlocated + look.compare(pages)
        self.unlocated += unlocated
        self._compare_choices(first, last, expected, actual, found=self.findings.total > before[0])
        found = (self.findings.total, len(self.findings.allowances)) != before
        if unlocated:
            return
        if not found and kind_differs:  # it trapped after the last row
            self._check_recorder(self.subject, first, last, subject.outcome)
            outcomes.compare(Returned(), subject.outcome, self.findings)
        elif not images.whole(theirs) or (not found and not exhausted):
            self.findings.diverge(
                "stream", "digest", image.header.digest_hex, header.digest_hex, shape="digest over equal bytes",
                detail="the bytes are equal: the engine computes the digest wrongly, or its stream varies between runs",
            )  # fmt: skip

    def _compare_choices(self, first: int, last: int, expected: DecodedInstance, actual: DecodedInstance, *, found: bool) -> None:
        """Compare the open results of a deterministic form; locate the row of one that is not allowed if nothing else differs."""
        differs = actual.choices.not_allowed != expected.choices.not_allowed
        row = self._row_not_allowed(first, last) if differs and not found else ""
        compare_choices(expected.choices, actual.choices, self.findings, row)

    def _row_not_allowed(self, first: int, last: int) -> str:
        """The first row with a result that is not allowed, located by runs of fewer rows; empty if it is before all rows."""
        if self._not_allowed(first, first):
            return ""
        row, _ = first_failing_row(self._not_allowed, first, last)
        return self.layout.rows[self.layout.n_init + row].name

    def _not_allowed(self, first: int, last: int) -> bool:
        """Whether only the subject has a result in the rows [first, last) that is not allowed."""
        instance = self.instances.run(first, last)
        oracle, subject = instance.oracle, instance.subject
        if oracle.image is None or subject.header is None or subject.header.stream_key == oracle.image.header.stream_key:
            return False
        try:
            view = read_view(self.subject, self.instances.parameters(first, last))
            image = Images(self.layout, oracle.image, self.budget).subject(subject, view)
        except StreamError:
            return False
        return decoded(image, subject.outcome, self.layout, self.form).choices.not_allowed is not None

    def _same_digest(self, image: Image, expected: DecodedInstance, subject: CapsuleRun, *, exhausted: bool) -> None:
        """The digests are equal, so the streams are, if the subject carried out what it digested."""
        stopped = (
            expected.rows[expected.stop] if expected.stop is not None and left_open(image, self.layout, expected.stop) else None
        )
        if stopped is not None and stopped.outcome is not None and isinstance(subject.outcome, Returned):
            outcomes.compare(stopped.outcome, subject.outcome, self.findings, stopped.name)
        elif subject.header != image.header or (subject.image is None and subject.view != local(image.stream)(0, 0, 0)):
            self.findings.diverge(
                "stream", "observation stream", "whole", "damaged: the digest is correct, but the values reported with it are not",
                shape="damaged",
            )  # fmt: skip
        else:
            if lo.FLAG_CUT & image.header.flags:
                self.findings.not_compared(_CUT)
            self._agreed(expected, subject.outcome, exhausted=exhausted)

    def _agreed(self, expected: DecodedInstance, subject: Outcome, *, exhausted: bool) -> None:
        """Count the values that an equal digest proves equal, and compare the kind of a trap, which is not in the stream."""
        self.evidence.add_decisions(expected, expected)
        self.expected.both(expected.rows)
        for at, row in enumerate(expected.rows):
            if row.outcome is not None:
                trapped = at == expected.stop and isinstance(row.outcome, Trapped) and isinstance(subject, Trapped)
                actual = msgspec.structs.replace(row, outcome=subject) if trapped else row
                compare_rows.compare(row, actual, self.layout, self.findings)
        if not exhausted:
            compare_state.compare(expected.state, expected.state, self.layout, self.findings)

    def _compare_instances(
        self, first: int, expected: DecodedInstance, actual: DecodedInstance, *, exhausted: bool
    ) -> list[tuple[int, int]]:
        """Compare rows up to the first with different outcomes, then the state if there is none."""
        for at, (row, actual_row) in enumerate(zip(expected.rows, actual.rows, strict=True)):
            if row.outcome is None and actual_row.outcome is None:
                continue
            if self._limit_differs(first, row, actual_row):
                return []
            if isinstance(row.outcome, Returned) and isinstance(actual_row.outcome, Trapped):
                self._check_recorder(self.subject, first, self.instances.row(first, at) + 1, actual_row.outcome)
            if isinstance(row.outcome, LeftSlice):
                raise PassOverError(f"the oracle {sentence(row.outcome)} in another run")
            if isinstance(actual_row.outcome, LeftSlice):
                self.left = self.left or (row.name, actual_row.outcome)
            compare_rows.compare(row, actual_row, self.layout, self.findings)
            if row.outcome is None or actual_row.outcome is None or not outcomes.same(row.outcome, actual_row.outcome):
                return []
        if exhausted:
            return []
        return compare_state.compare(expected.state, actual.state, self.layout, self.findings)

    def _limit_differs(self, first: int, row: RowRecord, actual_row: RowRecord) -> bool:
        """Whether only one engine reached an open limit in a row."""

        def small(limit: OpenLimit) -> Outcome:
            return self.oracle.run(self.instances.parameters(first, self.instances.last), limit.small(self.oracle.limits)).outcome

        why = open_limits.differ(row.outcome, actual_row.outcome, small, self.findings, row.name)
        self.inconclusive = why or self.inconclusive
        return bool(why)

    # Traps that report nothing.

    def _compare_trap(self, first: int, last: int, expected: DecodedInstance, subject: CapsuleRun) -> int:
        """The subject trapped or crashed without a stream; returns the first row of the next group."""
        row = None if expected.stop is None else self.instances.row(first, expected.stop)
        ends_here = expected.stop is not None and isinstance(expected.rows[expected.stop].outcome, Trapped | Exited)
        if ends_here and expected.stop is not None and expected.stop < self.layout.n_init:
            self._trapped_row(first, first, expected.rows[expected.stop], subject.outcome)
            return self.instances.last
        if ends_here and row is not None:
            if self._before(first, row):
                # It may have completed this row and ended in a later one, for the same reason.
                ended = subject.outcome if row + 1 >= last else self._trials(self.subject).run(first, row + 1).outcome
                self._trapped_row(first, row + 1, expected.rows[expected.stop or 0], ended)
                return row + 1
            last = row
        return self._trapped_early(first, last, subject)

    def _trapped_early(self, first: int, last: int, subject: CapsuleRun) -> int:
        """The subject ended in one of the rows [first, last), which the oracle completed; all but the first such row take runs from
        the budget.
        """
        if self.findings.total and not all(self.budget.take() for _ in range((last - first).bit_length())):
            self.findings.not_compared(
                f"the rows from {self.layout.rows[self.layout.n_init + first].name} on: use a larger --max-passes"
            )
            return self.instances.last
        found = self._trials(self.subject).failing(first, last)
        if found is None:
            self._check_recorder(self.subject, first, first, subject.outcome)
            name = ", ".join(each.name for each in self.layout.rows[: self.layout.n_init])
            self.in_recorder = self.in_recorder or not name  # in the code of every capsule, unless instantiation trapped
            self.findings.diverge(
                "outcome", "outcome", "returned", sentence(subject.outcome), row=name,
                shape=outcomes.shape(Returned(), subject.outcome),
            )  # fmt: skip
            return self.instances.last
        at, outcome = found
        if at > first or self.layout.n_init:
            self._before(first, at)
        self._trapped_row(first, at + 1, self._oracle_row(first, at), outcome)
        return at + 1

    def _search(self, first: int, last: int, oracle: CapsuleRun, subject: CapsuleRun) -> int:
        """The oracle reports nothing at a trap: locate it by bisection as for a subject; the state is not compared."""
        self.evidence.outcomes.setdefault("oracle", oracle.outcome)
        self.evidence.outcomes.setdefault("subject", subject.outcome)
        self.evidence.changed = True
        found = self._trials(self.oracle).failing(first, last)
        if found is None:
            name = ", ".join(each.name for each in self.layout.rows[: self.layout.n_init])
            self._trapped_row(first, first, RowRecord(name, oracle.outcome), subject.outcome)
            return self.instances.last
        at, outcome = found
        self._check_recorder(self.oracle, first, at + 1, outcome)
        if not self._before(first, at):
            return self._trapped_early(first, at, subject)
        row = RowRecord(self.layout.rows[self.layout.n_init + at].name, outcome)
        self._trapped_row(first, at + 1, row, self._trials(self.subject).run(first, at + 1).outcome)
        return at + 1

    def _before(self, first: int, row: int) -> bool:
        """Compare the rows before ``row`` by runs that stop there; returns whether the subject completed them."""
        instance = self.instances.run(first, row)
        oracle, subject = instance.oracle, instance.subject
        if oracle.image is None:
            self.inconclusive = f"the oracle {sentence(oracle.outcome)} when it was run again"
            return True
        if subject.damage:
            self.findings.diverge("stream", "observation stream", "whole", subject.damage, shape=subject.damage[:40])
            return True
        if subject.header is None and not isinstance(subject.outcome, Trapped | Crashed):
            self._failed(subject, first, row)
            raise PassOverError
        if subject.header is None:
            return False
        self._compare_streams(first, row, oracle.image, decoded(oracle.image, oracle.outcome, self.layout, self.form), subject)
        self.findings.not_compared("the state at a trap: the subject reports none")
        return True

    def _oracle_row(self, first: int, row: int) -> RowRecord:
        ran = self.oracle.run(self.instances.parameters(first, row + 1))
        if ran.image is None:
            raise PassOverError(f"the oracle {sentence(ran.outcome)} when it was run again")
        return decoded(ran.image, ran.outcome, self.layout).rows[self.layout.n_init + row - first]

    def _check_recorder(self, side: CapsuleSide, first: int, last: int, outcome: Outcome) -> None:
        """End the pass if a trap in the rows [first, last) is the recorder's: without it the engine completes them."""
        if isinstance(side.unrecorded(self.instances.parameters(first, last)), Returned):
            name = "oracle" if side is self.oracle else "subject"
            why = f"the {name} {sentence(outcome)} in the recorder, not in a row"
            raise PassOverError(why, in_recorder=True)

    def _trapped_row(self, first: int, last: int, oracle: RowRecord, outcome: Outcome) -> None:
        """Compare the row before ``last``, in which the subject ended without a state."""
        subject = RowRecord(oracle.name, outcome)
        if self._limit_differs(first, oracle, subject):
            return
        if same_end(oracle.outcome, outcome) and self._exits_silently:
            self.findings.compared(1, 1, rows=1)
            self.findings.not_compared(
                "the code of an exit: it is a trap in this capsule, and the subject reports no state at a trap"
            )
            return
        if isinstance(outcome, Trapped | Crashed) and not isinstance(oracle.outcome, Trapped):
            self._check_recorder(self.subject, first, last, outcome)
        if isinstance(oracle.outcome, Returned):
            self.evidence.add_oracle_row(oracle)  # the subject has no record of it
        compare_rows.compare(oracle, subject, self.layout, self.findings, state=False)

    # Vacuity.

    def _shows_nothing(self) -> bool:
        """Whether the final state is the initial one, or without rows all zeros; may run the oracle."""
        if not self.instances.last:
            return not self.findings.agreement.values_nonzero
        inert = self.oracle.run(lo.Parameters(0, self.instances.last, lo.INERT))
        whole = self.oracle.run(self.instances.parameters(0, self.instances.last))
        if inert.image is None or whole.image is None:
            return True
        return whole_state(inert.image, self.layout) == whole_state(whole.image, self.layout)
