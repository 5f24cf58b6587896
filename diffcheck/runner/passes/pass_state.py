"""What the parts of a capsule pass share: both sides, the instances of their rows, and what was found so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.capsule.deterministic.form import Choices
from diffcheck.compare import outcomes
from diffcheck.compare.expected_results import ExpectedResults
from diffcheck.observation import (
    LeftSlice,
    Returned,
    RowRecord,
    sentence,
)
from diffcheck.runner.passes import open_limits
from diffcheck.runner.passes.instances import Instances, TrapRuns
from diffcheck.runner.passes.pass_evidence import PassEvidence
from diffcheck.runner.passes.streams.reference_identity import Identities
from diffcheck.runner.passes.trap_bisection import PassOverError

if TYPE_CHECKING:
    from diffcheck.capsule.deterministic.form import DeterministicForm
    from diffcheck.compare.findings import Findings
    from diffcheck.observation import Outcome
    from diffcheck.runner.passes.capsule_run import CapsuleSide
    from diffcheck.runner.passes.open_limits import OpenLimit
    from diffcheck.runner.passes.streams.window_search import RunBudget
    from diffcheck.witness.formats import Manifest


RECORDER = "recorder"
"""The item of a divergence that is a trap in the recorder."""


class PassState:
    """Both sides of a capsule pass, its instances, and its results so far."""

    def __init__(
        self, oracle: CapsuleSide, subject: CapsuleSide, findings: Findings, budget: RunBudget, functions: int,
        *, manifest: Manifest | None = None, hangs: bool = True, form: DeterministicForm | None = None,
    ) -> None:  # fmt: skip
        """``hangs`` is as in ``Request``; ``form`` is the deterministic form of the capsules."""
        self.oracle, self.subject = oracle, subject
        self.layout = oracle.capsule.layout
        self.findings, self.budget = findings, budget
        self.form = form
        self.choices: Choices | None = Choices()
        """The oracle's open results; None if unknown."""
        self.functions = functions
        self.hangs = hangs
        self.inconclusive = ""
        self.in_recorder = False
        self.instantiation: Outcome | None = None
        """How instantiation ended in the oracle, once that is known."""
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

    def check_recorder(self, side: CapsuleSide, first: int, last: int, outcome: Outcome) -> None:
        """End the pass if a trap in the rows [first, last) is the recorder's: without it the engine completes them.

        The recorder is valid code, so a trap of the subject there is a divergence, unless a limit was reached.
        """
        if not isinstance(side.unrecorded(self.instances.parameters(first, last)), Returned):
            return
        name = "oracle" if side is self.oracle else "subject"
        ended = f"{sentence(outcome)} in the recorder"
        if side is self.subject and not any(limit.met_by(outcome) for limit in open_limits.OPEN_LIMITS):
            row = self.layout.rows[self.layout.n_init + last - 1].name if last > first else ""
            shape = outcomes.shape(Returned(), outcome)
            self.findings.diverge("stream", RECORDER, "whole", ended, row=row, shape=shape)
        raise PassOverError(f"the {name} {ended}, not in a row", in_recorder=True)

    def limit_differs(self, first: int, row: RowRecord, actual_row: RowRecord) -> bool:
        """Whether only one engine reached an open limit in a row."""

        def small(limit: OpenLimit) -> Outcome:
            return self.oracle.run(self.instances.parameters(first, self.instances.last), limit.small(self.oracle.limits)).outcome

        why = open_limits.differ(row.outcome, actual_row.outcome, small, self.findings, row.name)
        self.inconclusive = why or self.inconclusive
        return bool(why)
