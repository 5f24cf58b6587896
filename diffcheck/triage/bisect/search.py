"""The search for the first build with a fault, among builds that do not start or in which other faults hide it.

The answer is a build with the fault whose predecessor, apart from unclear and unusable builds, does not have it. A fault that was
fixed and came back has several such builds; the search returns one of them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Answer = Literal["good", "bad", "unclear", "unusable"]
"""``unclear``: the case does not show whether the build has the fault; ``unusable``: the build does not start."""


class Trial(msgspec.Struct, frozen=True, omit_defaults=True):
    """One build: its answer, the reason, and how often the case was run under it."""

    build: str
    answer: Answer
    why: str = ""
    runs: int = 1


class BisectResult(msgspec.Struct, frozen=True):
    """The result: the builds on both sides, and those between them, which are unclear, unusable or were not run.

    ``why`` is why there is no answer, empty if there is one.
    """

    last_good: str = ""
    first_bad: str = ""
    between: tuple[str, ...] = ()
    why: str = ""


def search(
    builds: Sequence[str], trial: Callable[[str], Trial], again: Callable[[str], Trial], spent: Callable[[], int]
) -> BisectResult:  # fmt: skip
    """Search between the first build, without the fault, and the last one, with it. ``trial`` may return a stored answer, ``again``
    reruns the build, ``spent`` is the number of runs so far.

    The first build is run only if no other one is good. A bad build is confirmed by the repetitions in its trial; the good
    neighbour is rerun at the end. The search ends after three runs more than a binary search needs.
    """
    most = spent() + (len(builds) - 1).bit_length() + 3
    last = trial(builds[-1])
    if last.answer != "bad":
        return BisectResult(why=f"{builds[-1]} does not show the fault: {last.why or last.answer}")
    low, high = 0, len(builds) - 1
    skipped: set[int] = set()
    while (at := _next(low, high, skipped)) is not None and spent() + 1 + (low == 0) < most:
        answer = trial(builds[at]).answer
        if answer == "good":
            low = at
        elif answer == "bad":
            high = at
        else:
            skipped.add(at)
    if low == 0 and (first := trial(builds[0])).answer != "good":
        what = "shows the fault too" if first.answer == "bad" else f"is {first.answer}: {first.why}"
        return BisectResult(why=f"{builds[0]} {what}, so there is no build before the fault")
    confirmed = again(builds[low])
    if confirmed.answer != "good":
        return BisectResult(why=f"{builds[low]} is good in one run and {confirmed.answer} in another: {confirmed.why}")
    return BisectResult(builds[low], builds[high], tuple(builds[low + 1 : high]))


def _next(low: int, high: int, skipped: set[int]) -> int | None:
    """The middle of the longest stretch of builds that were not tried; None if there is none."""
    ends = [low, *sorted(each for each in skipped if low < each < high), high]
    longest = max(pairwise(ends), key=lambda pair: (pair[1] - pair[0], -abs(sum(pair) - low - high)))
    return sum(longest) // 2 if longest[1] - longest[0] > 1 else None
