"""The first execution of an instruction that fails its known-answer test, for a subject whose own events cannot be used.

If an engine executes an instruction of the recorder, the driver or the log wrongly, its events are wrong too. Known answers do not
depend on them, and a run of the oracle alone shows where the artifact executes the instruction.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from diffcheck.triage.localise.event_runs import BEFORE, FirstDifference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.probe.instructions import WrongInstruction
    from diffcheck.triage.localise.event_search import EventSearch
    from diffcheck.triage.localise.explanation import Explainer
    from diffcheck.triage.localise.location import Localisation

_READS: Final = ("get", "len", "size")
_WHY: Final = "it fails its known-answer test; the subject's events cannot be used"


def may_read_back(reader: str, writer: str) -> bool:
    """Whether an instruction may read what another one has written, so that a difference may be the reader's."""
    kind, _, operation = reader.partition(".")
    return "load" in operation or (kind == writer.partition(".")[0] and operation in _READS)


def first_execution(search: EventSearch, explainer: Explainer, wrong: Sequence[WrongInstruction]) -> Localisation | None:
    """The first execution of one of these instructions; None if the oracle's last events have none."""
    names = {each.name: each for each in wrong}

    @lru_cache
    def place(number: int) -> tuple[int, int]:
        """The function and position of such an instruction at a site or directly after it, or (-1, -1)."""
        site = explainer.instrumentation.site(number)
        body = explainer.instrumentation.bodies_of.get(site.function) if site is not None else None
        if site is None or body is None:
            return -1, -1
        for position in (site.position, explainer.instrumentation.acting(site.function, site.position)):
            if position >= 0 and body.code[position].instruction.name in names:
                return site.function, position
        return -1, -1

    records = explainer.stack.history(search.total)
    for at, record in enumerate(records):
        function, position = place(record.site)
        if position < 0:
            continue
        name = explainer.instrumentation.bodies_of[function].code[position].instruction.name
        site = explainer.instrumentation.site(record.site)
        event = record.event + (site is None or site.position != position)
        there = FirstDifference(event, record, record, records[max(0, at - BEFORE) : at], search.measured.outcome, search.ended)
        return explainer.at(there, (function, position), (names[name].oracle, names[name].subject), "result", _WHY)
    return None
