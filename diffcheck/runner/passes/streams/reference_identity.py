"""The functions that references refer to, compared by one further run of a group in identity form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.compare import references
from diffcheck.errors import StreamError
from diffcheck.observation import Crashed, Trapped, sentence
from diffcheck.runner.passes.decoded_instance import decoded
from diffcheck.runner.passes.streams.page_diff import read_view
from diffcheck.runner.passes.streams.stream_assembly import Images

if TYPE_CHECKING:
    from diffcheck.capsule import layout as lo
    from diffcheck.capsule.decode import Image
    from diffcheck.compare.findings import Findings
    from diffcheck.runner.passes.capsule_run import CapsuleRun, CapsuleSide
    from diffcheck.runner.passes.streams.window_search import RunBudget

_WHAT = "which functions the references point to"


class Identities:
    """Compares groups of rows in identity form."""

    def __init__(self, oracle: CapsuleSide, subject: CapsuleSide, findings: Findings, budget: RunBudget) -> None:
        self._oracle, self._subject, self._findings, self._budget = oracle, subject, findings, budget
        self._layout = oracle.capsule.layout

    def add_costs(self, oracle: CapsuleSide, subject: CapsuleSide) -> None:
        """Add the cost of these runs to the sides that report it."""
        oracle.cost += self._oracle.cost
        subject.cost += self._subject.cost

    def compare(self, parameters: lo.Parameters) -> None:
        """Compare the rows of ``parameters``, in which nothing else differs."""
        pending = self._subject.start(parameters)
        oracle = self._oracle.run(parameters)
        subject = pending.wait()
        if oracle.image is None:
            self._findings.not_compared(f"{_WHAT}: the oracle {sentence(oracle.outcome)}")
        elif subject.header is None:
            self._failed(subject)
        elif subject.header.stream_key != oracle.image.header.stream_key:
            self._compare(parameters, oracle, oracle.image, subject)

    def _failed(self, subject: CapsuleRun) -> None:
        """A wrong function may trap, or have another type than that of the call."""
        if isinstance(subject.outcome, Trapped | Crashed):
            words = sentence(subject.outcome)
            self._findings.diverge(
                "outcome", "outcome of calling referenced functions", "returned", words, shape=f"identity {words}"
            )
        else:
            self._findings.not_compared(f"{_WHAT}: the subject {sentence(subject.outcome)}")

    def _compare(self, parameters: lo.Parameters, oracle: CapsuleRun, image: Image, subject: CapsuleRun) -> None:
        images = Images(self._layout, image, self._budget)
        try:
            theirs = images.subject(subject, read_view(self._subject, parameters))
            other = decoded(theirs, subject.outcome, self._layout)
        except StreamError as error:
            self._findings.not_compared(f"{_WHAT}: {error}")
            return
        if images.unlocated:
            self._findings.not_compared(f"{_WHAT}: {images.unlocated} differing bytes were not read")
        one = decoded(image, oracle.outcome, self._layout)
        for row, its in zip(one.rows, other.rows, strict=True):
            found = references.of_row(row), references.of_row(its)
            if len(found[0].places) == len(found[1].places):
                references.compare(*found, self._layout, self._findings, numbers=False, row=row.name)
        found = references.of_state(one.state), references.of_state(other.state)
        references.compare(*found, self._layout, self._findings, numbers=False)
