"""The likelihood that an engine ended after an event: an instruction that is new to the run is the likeliest fault."""

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
    from diffcheck.triage.tracing.instrument import Instrumentation

_KEY_EVENTS = 3
_NOVELTY = (1.0, 0.1, 0.01)
"""The weight of an instruction's first execution anywhere, at that place, and with those values."""
_SELDOM = 1e-6


class EndLikelihood:
    """The weights of events from ``start`` on; uniform beyond the weights given."""

    def __init__(self, start: int, weights: Sequence[float]) -> None:
        self.start, self.sums = start, list(accumulate(weights, initial=0.0))

    def middle(self, low: int, high: int) -> int:
        """The number of events in (low, high) that splits the remaining weight most evenly."""
        if high - self.start >= len(self.sums):
            return (low + high) // 2
        half = (self.sums[low - self.start] + self.sums[high - self.start]) / 2
        at = bisect(self.sums, half) + self.start
        if at > low + 1 and half - self.sums[at - 1 - self.start] < self.sums[min(at, high) - self.start] - half:
            at -= 1
        return min(max(at, low + 1), high - 1)


def weights(instrumentation: Instrumentation, trace: Sequence[Record], outcome: Outcome) -> list[float]:
    """The weight of each number of events after which the subject may have ended with ``outcome``; not normalised."""
    kind = outcome.kind if isinstance(outcome, Trapped) else ""
    acting: dict[int, tuple[str, bool]] = {}
    found, seen = [_SELDOM], set[object]()
    for at, record in enumerate(trace):
        if record.site not in acting:
            acting[record.site] = _acting(instrumentation, record.site, kind)
        name, able = acting[record.site]
        values = tuple(each.value for each in trace[max(0, at - _KEY_EVENTS + 1) : at + 1])
        weight = _SELDOM
        for key, worth in zip((name, record.site, (record.site, values)), _NOVELTY, strict=True):
            if able and key not in seen:
                seen.add(key)
                weight = max(weight, worth)
        found.append(weight)
    return found


def _acting(instrumentation: Instrumentation, number: int, kind: str) -> tuple[str, bool]:
    """The instruction that follows an event, and whether it can trap with that kind."""
    site = instrumentation.site(number)
    body = instrumentation.bodies_of.get(site.function) if site is not None else None
    if site is None or body is None:
        return "", True
    name = body.code[control_flow.acting(body, site.position, instrumentation.unprobed)].instruction.name
    return name, control_flow.may_trap(name, kind)
