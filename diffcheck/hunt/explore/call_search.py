"""The search for rows: batches of calls in one instance after the rows found so far; a row that does something new is added."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from diffcheck.hunt.explore.coverage import Reached

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from diffcheck.capsule.driver import Call
    from diffcheck.cases.rows import Function
    from diffcheck.hunt.explore.argument_choice import ArgumentChoice
    from diffcheck.hunt.explore.coverage import Coverage, Feature
    from diffcheck.runner.passes.decoded_instance import DecodedInstance
    from diffcheck.runner.row_plans.row_trials import RowTrials
    from diffcheck.wasm.values import Value

_BATCH: Final = 60
_MOST_ROWS: Final = 96
_BEFORE: Final = 3
"""Rows before one with something new that are tried with it, since they may have made the state that it needs."""
_PRODUCTIVE: Final = 0.7
_DEADLINE_S, _MOST_S = 0.1, 0.5
"""The time limit of a batch, to which twice the time of the last one is added, and the highest; an endless call costs several."""
_MINIMISING_S: Final = 5.0


class CallSearch:
    """Searches rows for the functions ``targets``. ``rows`` are the best so far, after the ``init`` calls; ``tried`` is the number
    of calls, and ``endless`` are the names of those that did not end.
    """

    def __init__(
        self, trials: RowTrials, coverage: Coverage, init: Sequence[Call], targets: Sequence[Function], choice: ArgumentChoice,
        chance: Random,
    ) -> None:  # fmt: skip
        self._trials, self._coverage, self._init, self._targets = trials, coverage, list(init), targets
        self._choice, self._chance = choice, chance
        self.rows: list[Call] = []
        self.tried = 0
        self.endless: set[str] = set()
        self._until, self._last_s = math.inf, _MOST_S
        self._over: Callable[[], bool] = lambda: False
        self._seen: set[Feature] = set()
        self._useful: dict[str, list[tuple[Value, ...]]] = {}

    def run(self, first: Sequence[Call], until: float, over: Callable[[], bool]) -> None:
        """Search until the time (monotonic clock), or it is ``over``, or all counters and decisions are reached."""
        self._until, self._over = until, over
        self._instance(())  # for its time
        for at in range(0, len(first), _BATCH):
            self._try(first[at : at + _BATCH])
        while time.monotonic() < until and not over() and not self._is_complete():
            self._try([self._candidate() for _ in range(_BATCH)])

    def reached(self, rows: Sequence[Call]) -> Reached:
        """What some rows reach in their order; nothing if they do not end."""
        instance = self._trials.instance([*self._init, *rows])
        return self._coverage.reached_by([instance]) if instance is not None else Reached()

    def minimise(self, until: float) -> None:
        """Leave out rows, the last first, without which all is still reached, until the time, or the search is over."""
        whole = self.reached(self.rows)
        for at in range(len(self.rows) - 1, -1, -1):
            fewer = self.rows[:at] + self.rows[at + 1 :]
            if time.monotonic() > until or self._over():
                return
            if self.reached(fewer).includes(whole):
                self.rows = fewer

    def _is_complete(self) -> bool:
        reached = self.reached(self.rows)
        return (len(reached.covered), len(reached.counters)) == (self._coverage.decisions, self._coverage.branches)

    def _candidate(self) -> Call:
        productive = [each for each in self._targets if each.name in self._useful]
        target = self._chance.choice(productive if productive and self._chance.random() < _PRODUCTIVE else self._targets)
        types = [str(each) for each in target.type.params]
        return target.call_with(self._choice.candidate(types, self._useful.get(target.name, [])))

    # A batch.

    def _try(self, batch: Sequence[Call]) -> None:
        """Run calls after the rows so far, and add those that do something new, with some before them if these are needed."""
        if len(self.rows) > _MOST_ROWS:
            self.minimise(time.monotonic() + _MINIMISING_S)
        batch = [each for each in batch if each.name not in self.endless]
        self.tried += len(batch)
        features = self._features(batch)
        news: list[int] = []
        seen = set(self._seen)
        for at, each in enumerate(features):
            if each - seen:
                news.append(at)
                seen |= each
        for before in (0, _BEFORE):
            lost = [at for at in news if features[at] - self._seen]
            if lost:
                wanted = sorted({each for at in lost for each in range(max(0, at - before), at + 1)})
                self._extend([batch[at] for at in wanted])

    def _extend(self, calls: Sequence[Call]) -> None:
        """Add calls that still do something new."""
        calls = [each for each in calls if each.name not in self.endless]
        features = self._features(calls)
        for call, each in zip(calls, features, strict=True):
            if call.args and each - self._seen:
                self._useful.setdefault(call.name.partition("=")[0], []).append(call.args)
        if set().union(*features) - self._seen:
            self.rows += [call for call, each in zip(calls, features, strict=True) if each]
            self._seen |= set().union(*features)

    def _features(self, batch: Sequence[Call]) -> list[frozenset[Feature]]:
        """What each call of a batch does after the rows so far; nothing if it does not return, or the time is up."""
        if not batch:
            return []
        instance = self._instance(batch)
        if instance is None:
            middle = len(batch) // 2
            if middle and time.monotonic() < self._until:
                return [*self._features(batch[:middle]), *self._features(batch[middle:])]
            return [frozenset()] * len(batch)
        rows = instance.rows[len(self._init) + len(self.rows) : instance.stop]
        found = [self._coverage.observed([each]).features for each in rows]
        return [*found, frozenset(), *self._features(batch[len(found) + 1 :])] if len(found) < len(batch) else found

    def _instance(self, batch: Sequence[Call]) -> DecodedInstance | None:
        calls = [*self._init, *self.rows, *batch]
        if not self._trials.fits(calls):
            return None
        begun = time.monotonic()
        instance = self._trials.instance(calls, min(_DEADLINE_S + 2 * self._last_s, _MOST_S))
        if instance is not None:
            self._last_s = time.monotonic() - begun
        elif len(batch) == 1:
            self.endless.add(batch[0].name)
        return instance
