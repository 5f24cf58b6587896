"""Two runs compared: which clusters and cases appeared, are gone, changed, or are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.cases.case_ids import renamed
from diffcheck.nightly import baseline

if TYPE_CHECKING:
    from diffcheck.verdict import CaseReport, Report


class ClusterChange(msgspec.Struct, frozen=True):
    """A signature in two runs: what it is, and its cases in each."""

    signature: str
    what: str
    before: tuple[str, ...]
    after: tuple[str, ...]


class CaseChange(msgspec.Struct, frozen=True):
    """A case in two runs: what it came to, empty where it was not in that run."""

    case: str
    before: str
    after: str


class RunDiff(msgspec.Struct, frozen=True):
    """What two runs differ in."""

    appeared: tuple[ClusterChange, ...]
    gone: tuple[ClusterChange, ...]
    changed: tuple[ClusterChange, ...]
    unchanged: tuple[ClusterChange, ...]
    cases: tuple[CaseChange, ...]
    same_cases: int

    @property
    def same(self) -> bool:
        """Whether the runs say the same of every case and cluster."""
        return not (self.appeared or self.gone or self.changed or self.cases)


def between(one: Report, other: Report) -> RunDiff:
    """What ``other`` says that ``one`` does not; that a divergence is known by now is no difference, nor are values that drift."""
    names = renamed((case.case for case in one.cases), (case.case for case in other.cases))
    before, after = baseline.seen(one), baseline.seen(other)
    clusters = [
        ClusterChange(
            key,
            (after.get(key) or before[key]).what,
            tuple(names.get(case, case) for case in before[key].cases) if key in before else (),
            after[key].cases if key in after else (),
        )
        for key in {**before, **after}
    ]
    clusters.sort(key=lambda each: (-len(each.before) - len(each.after), each.signature))
    left, right = ({names.get(case.case, case.case): _came_to(case) for case in report.cases} for report in (one, other))
    cases = [CaseChange(name, left.get(name, ""), right.get(name, "")) for name in sorted({**left, **right})]
    return RunDiff(
        tuple(each for each in clusters if not each.before),
        tuple(each for each in clusters if not each.after),
        tuple(each for each in clusters if each.before and each.after and set(each.before) != set(each.after)),
        tuple(each for each in clusters if set(each.before) == set(each.after)),
        tuple(each for each in cases if each.before != each.after),
        sum(each.before == each.after for each in cases),
    )


def _came_to(case: CaseReport) -> str:
    verdict = "diverge" if case.verdict == "known" else case.verdict
    signatures = sorted({one for each in case.passes for one in each.signatures}) if verdict == "diverge" else []
    return f"{verdict} ({', '.join(signatures)})" if signatures else verdict
