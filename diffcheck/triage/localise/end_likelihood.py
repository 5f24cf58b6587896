"""How likely it is that an engine ended behind an event: an instruction that is new to the run is likelier to be at fault."""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from typing import TYPE_CHECKING

from diffcheck.observation import Trapped
from diffcheck.triage.tracing import control_flow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.observation import Outcome
    from diffcheck.triage.tracing.event_log import Record
    from diffcheck.triage.tracing.instrument import Instrumented

_KEY_EVENTS = 3
_NOVELTY = (1.0, 0.1, 0.01)
"""The weight of an instruction's first execution anywhere, at that place, and with those values."""
_SELDOM = 1e-6


class Odds:
    """The weights of so many events from ``start`` on; uniform where none are given."""

    def __init__(self, start: int, weights: Sequence[float]) -> None:
        self.start, self.sums = start, list(accumulate(weights, initial=0.0))

    def middle(self, low: int, high: int) -> int:
        """The number in (low, high) that parts what is left most evenly: at least so many events, or fewer."""
        if high - self.start >= len(self.sums):
            return (low + high) // 2
        half = (self.sums[low - self.start] + self.sums[high - self.start]) / 2
        at = bisect(self.sums, half) + self.start
        if at > low + 1 and half - self.sums[at - 1 - self.start] < self.sums[min(at, high) - self.start] - half:
            at -= 1
        return min(max(at, low + 1), high - 1)


def weights(made: Instrumented, trace: Sequence[Record], outcome: Outcome) -> list[float]:
    """How likely it is that the subject, which ended so, ended behind so many of the trace's events."""
    kind = outcome.kind if isinstance(outcome, Trapped) else ""
    acting: dict[int, tuple[str, bool]] = {}
    found, seen = [_SELDOM], set[object]()
    for at, record in enumerate(trace):
        if record.site not in acting:
            acting[record.site] = _acting(made, record.site, kind)
        name, able = acting[record.site]
        values = tuple(each.value for each in trace[max(0, at - _KEY_EVENTS + 1) : at + 1])
        weight = _SELDOM
        for key, worth in zip((name, record.site, (record.site, values)), _NOVELTY, strict=True):
            if able and key not in seen:
                seen.add(key)
                weight = max(weight, worth)
        found.append(weight)
    return found


def _acting(made: Instrumented, number: int, kind: str) -> tuple[str, bool]:
    """The instruction that follows an event, and whether it may trap so."""
    site = made.site(number)
    body = made.bodies_of.get(site.function) if site is not None else None
    if site is None or body is None:
        return "", True
    name = body.code[control_flow.acting(body, site.position, made.unprobed)].instruction.name
    return name, control_flow.may_trap(name, kind)
