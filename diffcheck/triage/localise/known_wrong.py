"""Where an artifact first executes an instruction that known answers show to be wrong: for a subject whose own events say nothing.

An engine that is wrong in what the recorder, the driver or the log use spoils what they carry. Known answers rest on none of them, and
where the instruction stands in the artifact is seen in a run of the oracle alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from diffcheck.triage.localise.event_runs import BEFORE, FirstDifference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.probe.instructions import Wrong
    from diffcheck.triage.localise.event_search import Search
    from diffcheck.triage.localise.explanation import Explainer
    from diffcheck.triage.localise.location import Localisation

_WHY: Final = "its known answer is wrong; the subject's own events cannot be trusted"


def first_execution(search: Search, explainer: Explainer, wrong: Sequence[Wrong]) -> Localisation | None:
    """The first execution of one of these instructions; None where the oracle executes none of them, or not early enough."""
    names = {each.name: each for each in wrong}

    @lru_cache
    def place(number: int) -> tuple[int, int]:
        """The function and position of such an instruction at a site, or directly behind it; -1 twice where there is none."""
        site = explainer.made.site(number)
        body = explainer.made.bodies_of.get(site.function) if site is not None else None
        if site is None or body is None:
            return -1, -1
        for position in (site.position, explainer.made.acting(site.function, site.position)):
            if position >= 0 and body.code[position].instruction.name in names:
                return site.function, position
        return -1, -1

    records = explainer.history(search.total)
    for at, record in enumerate(records):
        function, position = place(record.site)
        if position < 0:
            continue
        name = explainer.made.bodies_of[function].code[position].instruction.name
        site = explainer.made.site(record.site)
        event = record.event + (site is None or site.position != position)
        there = FirstDifference(event, record, record, records[max(0, at - BEFORE) : at], search.measured.outcome, search.ended)
        return explainer.at(there, (function, position), (names[name].oracle, names[name].subject), "result", _WHY)
    return None
