"""The evidence of a capsule pass for its report: outcomes, digests, output, stub calls, MC/DC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from diffcheck.observation import Returned, RowRecord, sentence
from diffcheck.text import decode
from diffcheck.verdict import Printed, SideReport, StubUse
from diffcheck.witness import mcdc

if TYPE_CHECKING:
    from diffcheck.capsule import layout as lo
    from diffcheck.observation import Outcome, Output
    from diffcheck.runner.passes.capsule_run import CapsuleRun, CapsuleSide
    from diffcheck.runner.passes.decoded_instance import DecodedInstance
    from diffcheck.verdict import McdcImpact
    from diffcheck.witness.formats import Manifest

_PRINTED_KEPT: Final = 32
_PRINTED_BYTES: Final = 4096


class PassEvidence:
    """The evidence of a capsule pass, collected group by group.

    ``outcomes`` is by side; ``changed`` is whether the rows had any observable effect.
    """

    def __init__(self, layout: lo.Layout, manifest: Manifest | None) -> None:
        self._layout, self._manifest = layout, manifest
        self.outcomes: dict[str, Outcome] = {}
        self.changed = False
        self.printed: list[Printed] = []
        self._logs: dict[str, str] = {}
        self._digests: dict[str, list[str]] = {"oracle": [], "subject": []}
        self._calls: tuple[int, ...] = (0,) * len(layout.stubs)
        self._decisions = mcdc.DecisionEvidence(), mcdc.DecisionEvidence()

    def add_group(self, instance: DecodedInstance, oracle: CapsuleRun, subject: CapsuleRun) -> None:
        """Add the runs of a group; ``instance`` is the oracle's."""
        self._add_outcomes(instance, oracle, subject)
        for name, ran in (("oracle", oracle), ("subject", subject)):
            if ran.header is not None:
                self._digests[name].append(ran.header.digest_hex)
            if ran.log:
                self._logs[name] = ran.log
        for row in instance.rows:
            self._add_output(row.name, "stdout", row.stdout)
            self._add_output(row.name, "stderr", row.stderr)
        called = [row.stub_calls for row in instance.rows if row.stub_calls]
        if called:
            self._calls = tuple(a + b for a, b in zip(self._calls, called[-1], strict=True))
        self.changed = self.changed or any(instance.state.counters.values()) or any(map(_observable, instance.rows))

    def _add_outcomes(self, instance: DecodedInstance, oracle: CapsuleRun, subject: CapsuleRun) -> None:
        if instance.stop is not None and (outcome := instance.rows[instance.stop].outcome) is not None:
            self.outcomes.setdefault("oracle", outcome)
        if not isinstance(subject.outcome, Returned):
            self.outcomes.setdefault("subject", subject.outcome)
        elif (
            instance.stop is not None and oracle.header and subject.header and oracle.header.stream_key == subject.header.stream_key
        ):
            self.outcomes.setdefault("subject", self.outcomes["oracle"])

    def _add_output(self, row: str, stream: Literal["stdout", "stderr"], output: Output | None) -> None:
        if output is not None and output.total and len(self.printed) < _PRINTED_KEPT:
            self.printed.append(Printed(row, stream, decode(output.captured[:_PRINTED_BYTES]), output.total))

    def add_decisions(self, oracle: DecodedInstance, subject: DecodedInstance) -> None:
        """Add the MC/DC evidence of both engines."""
        for evidence, instance in zip(self._decisions, (oracle, subject), strict=True):
            evidence.add(instance.rows, instance.state.counters)

    def add_oracle_row(self, row: RowRecord) -> None:
        """Add the MC/DC evidence of a row that only the oracle completed."""
        self._decisions[0].add((row,), {})

    # For the report.

    def impact(self) -> tuple[McdcImpact, ...]:
        """The conditions on which the engines lead to different conclusions."""
        if self._manifest is None or not self._manifest.decisions:
            return ()
        return mcdc.Decisions(self._manifest, self._layout.branches).impact(*self._decisions)

    def side(self, name: str, side: CapsuleSide) -> SideReport:
        """The report of one side: outcome, cost, digests, log."""
        outcome = self.outcomes.get(name, Returned())
        return SideReport(outcome, sentence(outcome), side.cost, "-".join(self._digests[name][:4]), self._logs.get(name, ""))

    def stubs(self) -> tuple[StubUse, ...]:
        """The stubs that were called, with the number of calls."""
        called = zip(self._layout.stubs, self._calls, strict=True)
        return tuple(StubUse(stub.module, stub.name, stub.kind, calls) for stub, calls in called if calls)


def _observable(row: RowRecord) -> bool:
    """Whether a row had any result, output or outcome other than returning."""
    printed = any(output is not None and output.total for output in (row.stdout, row.stderr))
    ended = row.outcome is not None and not isinstance(row.outcome, Returned)
    return bool(row.results) or printed or ended
