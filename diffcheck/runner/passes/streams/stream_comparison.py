"""The stream of a subject compared with the oracle's: by digest, and value by value if the digests differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import left_open
from diffcheck.capsule.import_calls import GATHERED
from diffcheck.compare import outcomes
from diffcheck.compare import references as compare_references
from diffcheck.compare import rows as compare_rows
from diffcheck.compare import state as compare_state
from diffcheck.errors import StreamError
from diffcheck.observation import (
    LeftSlice,
    Returned,
    Trapped,
    sentence,
)
from diffcheck.runner.passes.decoded_instance import decoded, is_trap, same_trap
from diffcheck.runner.passes.legal_choices import compare_choices
from diffcheck.runner.passes.streams.call_logs import with_calls
from diffcheck.runner.passes.streams.page_diff import PageComparison, read_view
from diffcheck.runner.passes.streams.stream_assembly import Images
from diffcheck.runner.passes.streams.window_search import local
from diffcheck.runner.passes.trap_bisection import PassOverError, first_failing_row

if TYPE_CHECKING:
    from diffcheck.capsule.decode import Image
    from diffcheck.observation import Outcome
    from diffcheck.runner.passes.capsule_run import CapsuleRun
    from diffcheck.runner.passes.decoded_instance import DecodedInstance
    from diffcheck.runner.passes.pass_state import PassState

_STACK: Final = "call stack exhausted"
_CUT: Final = "the recorder's memory could not grow, so the stream is truncated"


class StreamComparison:
    """Compares the streams of runs of some rows; differences go to the findings of the pass."""

    def __init__(self, state: PassState) -> None:
        self._pass = state
        self._oracle, self._subject, self._layout = state.oracle, state.subject, state.layout
        self._findings, self._instances = state.findings, state.instances

    def compare(self, first: int, last: int, image: Image, expected: DecodedInstance, subject: CapsuleRun) -> None:
        """Compare the subject's stream, and the identities of functions if nothing differs."""
        before = self._findings.total
        exhausted = expected.stop is not None and is_trap(expected.rows[expected.stop].outcome, _STACK)
        self._compare(first, last, image, expected, subject, exhausted=exhausted)
        if self._pass.identities is None and self._layout.described:
            compare_references.functions_not_compared(expected.state, self._findings)
        if self._pass.identities is not None and self._findings.total == before and not exhausted:
            self._pass.identities.compare(self._instances.parameters(first, last))

    def _compare(
        self, first: int, last: int, image: Image, expected: DecodedInstance, subject: CapsuleRun, *, exhausted: bool
    ) -> None:
        """Compare digests, and if they differ the whole streams."""
        header = subject.header
        assert header is not None, "checked by the caller"  # noqa: S101
        if lo.FLAG_CALLS_CUT & (header.flags | image.header.flags):
            self._findings.not_compared(f"of the bytes passed to an import in one call, those after the first {GATHERED:,}")
        if lo.FLAG_PASSED_CUT & (header.flags | image.header.flags):
            self._findings.not_compared("of the objects passed to an import in one call, those beyond 1,000 values or 8 levels")
        kind_differs = isinstance(subject.outcome, Trapped) and not same_trap(expected, subject.outcome)
        if header.stream_key == image.header.stream_key and not kind_differs:
            self._same_digest(image, expected, subject, exhausted=exhausted)
            return
        if lo.FLAG_CUT & (header.flags | image.header.flags):
            raise PassOverError(f"{_CUT}; use a larger --memory-limit", in_recorder=True)
        images = Images(self._layout, image, self._pass.budget)
        try:
            theirs = images.subject(subject, read_view(self._subject, self._instances.parameters(first, last)))
            actual = decoded(theirs, subject.outcome, self._layout, self._pass.form)
        except StreamError as error:
            self._findings.diverge("stream", "observation stream", "whole", str(error), shape="damaged")
            return
        expected, actual = with_calls(self._oracle, self._subject, self._instances.parameters(first, last), expected, actual)
        before = self._findings.total, len(self._findings.allowances)
        self._pass.evidence.add_decisions(expected, actual)
        self._pass.expected.subject(actual.rows)
        pages = self._compare_rows(first, expected, actual, exhausted=exhausted)
        memories = [memory.index for memory in self._layout.memories]
        look = PageComparison(
            self._oracle, self._subject, self._instances.parameters(first, last), memories, self._findings, self._pass.budget
        )
        unlocated = images.unlocated + look.compare(pages)
        self._pass.unlocated += unlocated
        self._compare_choices(first, last, expected, actual, found=self._findings.total > before[0])
        found = (self._findings.total, len(self._findings.allowances)) != before
        if unlocated:
            return
        if not found and kind_differs:  # it trapped after the last row
            self._pass.check_recorder(self._subject, first, last, subject.outcome)
            outcomes.compare(Returned(), subject.outcome, self._findings)
        elif not images.whole(theirs) or (not found and not exhausted):
            self._findings.diverge(
                "stream", "digest", image.header.digest_hex, header.digest_hex, shape="digest over equal bytes",
                detail="the bytes are equal: the engine computes the digest wrongly, or its stream varies between runs",
            )  # fmt: skip

    def _compare_choices(self, first: int, last: int, expected: DecodedInstance, actual: DecodedInstance, *, found: bool) -> None:
        """Compare the open results of a deterministic form; locate the row of one that is not allowed if nothing else differs."""
        differs = actual.choices.not_allowed != expected.choices.not_allowed
        row = self._row_not_allowed(first, last) if differs and not found else ""
        compare_choices(expected.choices, actual.choices, self._findings, row)

    def _row_not_allowed(self, first: int, last: int) -> str:
        """The first row with a result that is not allowed, located by runs of fewer rows; empty if it is before all rows."""
        if self._not_allowed(first, first):
            return ""
        row, _ = first_failing_row(self._not_allowed, first, last)
        return self._layout.rows[self._layout.n_init + row].name

    def _not_allowed(self, first: int, last: int) -> bool:
        """Whether only the subject has a result in the rows [first, last) that is not allowed."""
        instance = self._instances.run(first, last)
        oracle, subject = instance.oracle, instance.subject
        if oracle.image is None or subject.header is None or subject.header.stream_key == oracle.image.header.stream_key:
            return False
        try:
            view = read_view(self._subject, self._instances.parameters(first, last))
            image = Images(self._layout, oracle.image, self._pass.budget).subject(subject, view)
        except StreamError:
            return False
        return decoded(image, subject.outcome, self._layout, self._pass.form).choices.not_allowed is not None

    def _same_digest(self, image: Image, expected: DecodedInstance, subject: CapsuleRun, *, exhausted: bool) -> None:
        """The digests are equal, so the streams are, if the subject carried out what it digested."""
        stopped = (
            expected.rows[expected.stop] if expected.stop is not None and left_open(image, self._layout, expected.stop) else None
        )
        if stopped is not None and stopped.outcome is not None and isinstance(subject.outcome, Returned):
            outcomes.compare(stopped.outcome, subject.outcome, self._findings, stopped.name)
        elif subject.header != image.header or (subject.image is None and subject.view != local(image.stream)(0, 0, 0)):
            self._findings.diverge(
                "stream", "observation stream", "whole", "damaged: the digest is correct, but the values reported with it are not",
                shape="damaged",
            )  # fmt: skip
        else:
            if lo.FLAG_CUT & image.header.flags:
                self._findings.not_compared(_CUT)
            self._agreed(expected, subject.outcome, exhausted=exhausted)

    def _agreed(self, expected: DecodedInstance, subject: Outcome, *, exhausted: bool) -> None:
        """Count the values that an equal digest proves equal, and compare the kind of a trap, which is not in the stream."""
        self._pass.evidence.add_decisions(expected, expected)
        self._pass.expected.both(expected.rows)
        for at, row in enumerate(expected.rows):
            if row.outcome is not None:
                trapped = at == expected.stop and isinstance(row.outcome, Trapped) and isinstance(subject, Trapped)
                actual = msgspec.structs.replace(row, outcome=subject) if trapped else row
                compare_rows.compare(row, actual, self._layout, self._findings)
        if not exhausted:
            compare_state.compare(expected.state, expected.state, self._layout, self._findings)

    def _compare_rows(
        self, first: int, expected: DecodedInstance, actual: DecodedInstance, *, exhausted: bool
    ) -> list[tuple[int, int]]:
        """Compare rows up to the first with different outcomes, then the state if there is none."""
        for at, (row, actual_row) in enumerate(zip(expected.rows, actual.rows, strict=True)):
            if row.outcome is None and actual_row.outcome is None:
                continue
            if self._pass.limit_differs(first, row, actual_row):
                return []
            if isinstance(row.outcome, Returned) and isinstance(actual_row.outcome, Trapped):
                self._pass.check_recorder(self._subject, first, self._instances.row(first, at) + 1, actual_row.outcome)
            if isinstance(row.outcome, LeftSlice):
                raise PassOverError(f"the oracle {sentence(row.outcome)} in another run")
            if isinstance(actual_row.outcome, LeftSlice):
                self._pass.left = self._pass.left or (row.name, actual_row.outcome)
            compare_rows.compare(row, actual_row, self._layout, self._findings)
            if row.outcome is None or actual_row.outcome is None or not outcomes.same(row.outcome, actual_row.outcome):
                return []
        if exhausted:
            return []
        return compare_state.compare(expected.state, actual.state, self._layout, self._findings)
