"""The expected results of rows, as the opinion of a judge, and rows in which both engines differ from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.compare import expectations
from diffcheck.observation import Returned, RowRecord, sentence, trap_of
from diffcheck.text import listed, plural
from diffcheck.verdict import SCRIPT, Judgement, Opinion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from diffcheck.capsule.layout import Layout
    from diffcheck.compare.findings import Findings
    from diffcheck.observation import Outcome
    from diffcheck.verdict import Divergence


_MOST_NAMED: Final = 3


class ExpectedResults:
    """Checks the rows of both engines.

    ``why_unchecked(row, first)`` is why an unmet expectation of a row, or of instantiation if the row is empty, is no finding, and
    empty if it is one; ``first`` is the number of the row that the instance begins with. ``instantiation`` is what is expected of
    instantiation, empty if nothing is.
    """

    def __init__(self, layout: Layout, findings: Findings) -> None:
        self._expected = {each.name: each.expected for each in layout.rows if each.expected}
        self._objects = layout.objects
        self._findings = findings
        self.instantiation = ""
        self.why_unchecked: Callable[[str, int], str] = lambda _row, _first: ""
        self._oracle: dict[str, bool] = {}
        self._subject: dict[str, bool] = {}
        self._unchecked: dict[str, str] = {}

    def oracle(self, rows: Iterable[RowRecord], first: int) -> None:
        """Check the oracle's rows in the instance that begins with row ``first``."""
        for row, text in self._of(rows):
            met = expectations.met(text, row, self._objects)
            why = "" if met else self.why_unchecked(row.name, first)
            if why:
                self._unchecked[row.name] = why
            else:
                self._oracle[row.name] = met

    def subject(self, rows: Iterable[RowRecord]) -> None:
        """Check the subject's rows."""
        self._subject.update((row.name, expectations.met(text, row, self._objects)) for row, text in self._of(rows))

    def both(self, rows: Iterable[RowRecord]) -> None:
        """Check rows in which both engines are equal: record those that are not as expected."""
        rows = tuple(rows)
        self.subject(rows)
        for row, text in self._of(rows):
            if not self._oracle.get(row.name, True):
                words = _words(row)
                detail = f"expected {text}: both engines give the same other result"
                self._findings.diverge("expectation", "expectation", words, words, row=row.name, shape="both", detail=detail)

    def instantiated(self, outcome: Outcome) -> None:
        """Check how the instantiation ended in both engines."""
        outcome = trap_of(outcome)
        if not self.instantiation or expectations.met(self.instantiation, RowRecord("", outcome)):
            return
        if why := self.why_unchecked("", 0):
            self._findings.not_compared(f"the expected result of instantiation: {why}")
            return
        words, detail = sentence(outcome), f"expected {self.instantiation}: both engines give the same other result"
        self._findings.diverge("expectation", "instantiation", words, words, shape="both", detail=detail)

    def conclude(self, findings: Findings) -> None:
        """Add the expected results to the divergences as an opinion, and what was not checked to what was not compared."""
        findings.divergences[:] = map(self._judged, findings.divergences)
        for why in dict.fromkeys(self._unchecked.values()):
            rows = [row for row, each in self._unchecked.items() if each == why]
            findings.not_compared(f"the expected results of {plural(len(rows), 'row')} ({listed(rows, _MOST_NAMED)}): {why}")

    def _of(self, rows: Iterable[RowRecord]) -> list[tuple[RowRecord, str]]:
        if not self._expected:
            return []
        return [(row, self._expected[row.name]) for row in rows if row.outcome is not None and row.name in self._expected]

    def _judged(self, each: Divergence) -> Divergence:
        oracle = self._oracle.get(each.where.row)
        if oracle is None or each.kind not in ("result", "outcome"):
            return each
        subject = self._subject.get(each.where.row, False)
        gives: Literal["oracle", "subject", "other", ""] = (
            "" if oracle and subject else "oracle" if oracle else "subject" if subject else "other"
        )
        opinion = Opinion(SCRIPT, SCRIPT, gives, self._expected[each.where.row])
        return msgspec.structs.replace(each, judgement=Judgement((opinion,)))


def _words(row: RowRecord) -> str:
    if isinstance(row.outcome, Returned):
        return ", ".join(map(str, row.results)) or "returned"
    return sentence(row.outcome) if row.outcome is not None else "not reached"
