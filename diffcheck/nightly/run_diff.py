"""The difference of two runs: clusters and cases that appeared, disappeared, changed or stayed the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.cases.case_ids import renamed
from diffcheck.nightly import baseline

if TYPE_CHECKING:
    from diffcheck.verdict import CaseReport, Report


class ClusterChange(msgspec.Struct, frozen=True):
    """A signature with its cases in both runs."""

    signature: str
    what: str
    before: tuple[str, ...]
    after: tuple[str, ...]


class CaseChange(msgspec.Struct, frozen=True):
    """The results of a case in both runs, empty if it is not in the run."""

    case: str
    before: str
    after: str


class RunDiff(msgspec.Struct, frozen=True):
    """The difference of two runs."""

    appeared: tuple[ClusterChange, ...]
    gone: tuple[ClusterChange, ...]
    changed: tuple[ClusterChange, ...]
    unchanged: tuple[ClusterChange, ...]
    cases: tuple[CaseChange, ...]
    same_cases: int

    @property
    def same(self) -> bool:
        """Whether all cases and clusters are the same."""
        return not (self.appeared or self.gone or self.changed or self.cases)


def diff(before: Report, after: Report) -> RunDiff:
    """The difference of two runs, ignoring whether a divergence is known and the values of divergences."""
    names = renamed((case.case for case in before.cases), (case.case for case in after.cases))
    old, new = baseline.occurrences(before), baseline.occurrences(after)
    clusters = [
        ClusterChange(
            key,
            (new.get(key) or old[key]).what,
            tuple(names.get(case, case) for case in old[key].cases) if key in old else (),
            new[key].cases if key in new else (),
        )
        for key in {**old, **new}
    ]
    clusters.sort(key=lambda each: (-len(each.before) - len(each.after), each.signature))
    left, right = ({names.get(case.case, case.case): _result(case) for case in report.cases} for report in (before, after))
    cases = [CaseChange(name, left.get(name, ""), right.get(name, "")) for name in sorted({**left, **right})]
    return RunDiff(
        tuple(each for each in clusters if not each.before),
        tuple(each for each in clusters if not each.after),
        tuple(each for each in clusters if each.before and each.after and set(each.before) != set(each.after)),
        tuple(each for each in clusters if set(each.before) == set(each.after)),
        tuple(each for each in cases if each.before != each.after),
        sum(each.before == each.after for each in cases),
    )


def _result(case: CaseReport) -> str:
    verdict = "diverge" if case.verdict == "known" else case.verdict
    signatures = sorted({one for each in case.passes for one in each.signatures}) if verdict == "diverge" else []
    return f"{verdict} ({', '.join(signatures)})" if signatures else verdict
