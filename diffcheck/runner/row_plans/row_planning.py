"""Plans the rows of ``--auto-rows`` with the oracle: what to call first, with which arguments, and which rows are worth running.

Every candidate is tried under the oracle (``row_trials``). Pointers are addresses that the artifact's own allocator returned, and
handles are results of its own functions: the calls that made them are init rows, so they are made in each instance. The rows depend
on the artifact and the oracle alone, unless the planning takes longer than ``PLANNING_S``.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.cases import arguments as arguments_
from diffcheck.cases.numeric_functions import NumericFunctions
from diffcheck.cases.rows import INIT
from diffcheck.observation import TimedOut, sentence
from diffcheck.runner.row_plans.row_choice import TriedRow, choose_rows
from diffcheck.runner.row_plans.row_setup import FIRST, RowSetup
from diffcheck.runner.row_plans.row_trials import RowTrial
from diffcheck.text import plural
from diffcheck.wasm.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diffcheck.cases.arguments import Arguments
    from diffcheck.cases.registrations import Registration
    from diffcheck.cases.rows import Function, Rows
    from diffcheck.runner.row_plans.row_choice import ChosenRow
    from diffcheck.runner.row_plans.row_setup import Handle, ObjectCall
    from diffcheck.runner.row_plans.row_trials import RowTrials
    from diffcheck.wasm.module import Module

PLANNING_S: Final = 120.0
"""The oracle's CPU time for all trials."""
PER_FUNCTION: Final = 16
"""The most boundary values of a function."""
_TRIALS: Final = 700
_ROUNDS: Final = 3
"""Rounds of trials: each but the first with the objects that the one before it found."""
_HANDLES: Final = 4
"""The objects that a function is tried with."""
_FRUITLESS: Final = 300
"""The trials that enter nothing new, over all functions, before a function is left; at least ``_PATIENCE`` of each."""
_PATIENCE: Final = 5
_SHORT_NAME: Final = 3
"""Names of so few characters tell nothing."""
_UNTRIED: Final = RowTrial()


class PlannedRow(msgspec.Struct, frozen=True):
    """A row as text, with the reason."""

    row: str
    why: str


class RowPlan(msgspec.Struct, frozen=True):
    """The planned rows, init rows first, and notes; ``cut`` is whether the planning ended before all was tried."""

    rows: tuple[PlannedRow, ...]
    notes: tuple[str, ...] = ()
    cut: bool = False


class RowPlanner:
    """Plans the rows of one artifact. ``given`` are its declared or default rows, ``targets`` the functions to call: exports and
    those that are ``registered``. ``slots`` are other functions of table 0.
    """

    def __init__(
        self, module: Module, artifact: bytes, given: Rows, targets: Sequence[Function], slots: Sequence[Function],
        registered: Sequence[Registration], trials: RowTrials,
    ) -> None:  # fmt: skip
        self._module, self._given, self._trials = module, given, trials
        self._targets, self._slots = targets, slots
        self._contexts: dict[str, list[int | None]] = {}
        for each in registered:
            self._contexts.setdefault(f"table[{each.slot}]", []).append(each.context)
        self._numeric = NumericFunctions(module)
        self._setup = RowSetup(module, given.init, arguments_.static_addresses(module, artifact), trials)
        self._tried: dict[str, TriedRow] = {}
        self._entered: set[int] = set()
        self._cut = False

    def plan(self) -> RowPlan:
        """The rows; without any if no candidate is of use."""
        if self._setup.base.stop is not None:
            return RowPlan((), (f"no rows were planned: an init row {sentence(self._setup.base.stop)}",))
        self._setup.initialise()
        for round_ in range(_ROUNDS):
            found = self._try(self._targets, _TRIALS * (round_ + 2) // (_ROUNDS + 2), first=not round_)
            if round_ == _ROUNDS - 1 or not self._setup.make_objects(found):
                break
        self._try(self._slots, _TRIALS, first=True)
        return self._planned(self._in_order(self._choose()))

    # Candidates.

    def _candidates(self, targets: Sequence[Function], *, first: bool) -> Iterator[TriedRow]:
        """Rows to try, the first ones of each function before the second ones."""
        limit = max(_PATIENCE, min(PER_FUNCTION, _FRUITLESS // max(1, len(targets))))
        offered = [self._offers(each, limit, first=first) for each in targets if each.name not in self._setup.why]
        return (each for each in chain.from_iterable(zip_longest(*offered)) if each is not None)

    def _offers(self, target: Function, limit: int, *, first: bool) -> list[TriedRow]:
        params = target.type.params
        if target.index in self._numeric or not params:
            rows = arguments_.boundaries(target.type, PER_FUNCTION) if first else []
            return [TriedRow(target.call_with(each), _UNTRIED, always=bool(params)) for each in rows]
        found: list[Arguments] = []
        for context in self._contexts.get(target.name, [None]):
            rest = target.type if context is None else msgspec.structs.replace(target.type, params=params[1:])
            fitting = self._fitting(target)
            some = [each for handle in fitting for each in arguments_.pointers(rest, self._setup.next_addresses(), handle)]
            if first:
                plain = arguments_.pointers(rest, self._setup.next_addresses())
                some = plain + some + arguments_.boundaries(rest, limit if plain else PER_FUNCTION)
            found += some if context is None else [(Value("i32", context), *each) for each in some]
        return [TriedRow(target.call_with(each), _UNTRIED) for each in dict.fromkeys(found)]

    def _fitting(self, target: Function) -> list[int]:
        """The objects for a function, those first whose maker's name begins as its own does."""

        def common(each: Handle) -> int:
            pairs = enumerate(zip(each.maker.lower(), target.name.lower(), strict=False))
            return next((at for at, (one, other) in pairs if one != other), len(target.name))

        handles = [each for each in self._setup.handles if each.bits]
        best = sorted(handles, key=common, reverse=True)[:_HANDLES]
        nameless = len(handles) <= _HANDLES or len(target.name) <= _SHORT_NAME or target.name.startswith("table[")
        return [each.bits for each in best if nameless or common(each)]

    # Trials.

    def _try(self, targets: Sequence[Function], most: int, *, first: bool) -> list[ObjectCall]:
        """Try rows until ``most`` were tried in all, or the time is over; returns those that may have made an object.

        A function whose rows enter nothing new is soon left, sooner if they do not end.
        """
        fruitless: Counter[int] = Counter()
        patience = max(_PATIENCE, _FRUITLESS // max(1, len(targets)))
        found = []
        for row in self._candidates(targets, first=first):
            left = not row.always and fruitless[row.call.function] >= patience
            peeks = self._setup.out_pointers(row.call)
            if left or row.call.name in self._tried or not self._trials.fits((*self._setup.calls, row.call), len(peeks)):
                continue
            if len(self._tried) >= most or self._trials.cpu_s > PLANNING_S:
                self._cut |= self._trials.cpu_s > PLANNING_S
                break
            trial = self._trials.run((*self._setup.calls, row.call), peeks)
            fuel = max(0, trial.fuel - self._setup.base.fuel)
            self._tried[row.call.name] = msgspec.structs.replace(row, trial=msgspec.structs.replace(trial, fuel=fuel))
            cost = patience // 2 if isinstance(trial.stop, TimedOut) else 1
            fruitless[row.call.function] = 0 if trial.entered - self._entered else fruitless[row.call.function] + cost
            self._entered |= trial.entered
            if trial.stop is None and row.call.type.params and row.call.function not in self._numeric:
                made = self._setup.object_call(row.call, trial.results[len(self._setup.calls) :])
                found += [] if made is None else [made]
        return found

    # The result.

    def _choose(self) -> list[ChosenRow]:
        """The chosen rows; the last objects that none of them is called with are not made."""
        chosen = choose_rows(list(self._tried.values()), self._setup.base.entered)
        used = {value.bits for each in chosen for value in each.call.args}
        return self._choose() if self._setup.forget_unused(used) else chosen

    def _in_order(self, chosen: Sequence[ChosenRow]) -> list[ChosenRow]:
        """The rows, those that do not return last. A row that returns alone, but not after the others, is after one of these."""
        returned = [each for each in chosen if self._tried[each.call.name].trial.stop is None]
        stops = [each for each in chosen if self._tried[each.call.name].trial.stop is not None]
        tested: list[ChosenRow] = []
        for each in returned:
            calls = [*self._setup.calls, *(one.call for one in tested), each.call]
            if not self._trials.fits(calls):
                break
            tested.append(each)
        rest = returned[len(tested) :]
        alone: list[ChosenRow] = []
        moved: set[str] = set()
        while tested and (at := self._first_stop(tested)) is not None:
            row = tested.pop(at)
            if row.call.name in moved:
                alone.append(row)
            else:
                tested.insert(0, row)  # it returns alone, so not after what changes the state that it needs
                moved.add(row.call.name)
        # A row after one that does not return has an instance of its own, as in its trial.
        pairs = [each for pair in zip_longest(stops, alone[: len(stops)]) for each in pair if each is not None]
        return [*tested, *rest, *pairs]

    def _first_stop(self, rows: Sequence[ChosenRow]) -> int | None:
        """The first of the rows that does not return after those before it; None if all do."""
        calls = [*self._setup.calls, *(each.call for each in rows)]
        trial = self._trials.run(calls)
        if trial.stop is None:
            return None
        if trial.entered:
            return max(0, len(trial.results) - len(self._setup.calls))
        low, high = 0, len(rows)  # it does not end, and reports nothing
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._trials.run(calls[: len(calls) - len(rows) + middle]).stop else (middle, high)
        return low

    def _planned(self, chosen: Sequence[ChosenRow]) -> RowPlan:
        setup = self._setup
        implied = sum(1 for each in self._given.init if not each.name.startswith(INIT))
        init = [PlannedRow(INIT + each.name.removeprefix(INIT), setup.why.get(each.name, FIRST)) for each in setup.calls[implied:]]
        rows = [PlannedRow(each.call.name, each.why) for each in chosen]
        entered = setup.base.entered.union(*(self._tried[each.call.name].trial.entered for each in chosen))
        count = sum(1 for each in entered if each >= 0)
        tried = f"{plural(len(rows), 'row')} of {len(self._tried):,} tried under the oracle"
        notes = [f"{tried}: they enter {count:,} of {len(self._module.functions):,} functions"]
        if self._cut:
            notes.append(f"the planning of rows ended after {PLANNING_S:g} s, so the rows depend on this machine's speed")
        return RowPlan((*init, *rows), tuple(notes), self._cut)
