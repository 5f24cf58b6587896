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
from diffcheck.cases import toolchain
from diffcheck.cases.arguments import BUFFER_BYTES
from diffcheck.cases.numeric_functions import NumericFunctions
from diffcheck.cases.rows import INIT, exported
from diffcheck.runner.row_choice import ROW_FUEL, ChosenRow, TriedRow, choose_rows
from diffcheck.runner.row_trials import Trial
from diffcheck.text import plural
from diffcheck.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diffcheck.capsule.driver import Call
    from diffcheck.cases.arguments import Addresses, Arguments
    from diffcheck.cases.registrations import Registration
    from diffcheck.cases.rows import Function, Rows
    from diffcheck.runner.row_trials import RowTrials
    from diffcheck.wasm.module import Module

PLANNING_S: Final = 120.0
"""The oracle's CPU time for all trials."""
_TRIALS: Final = 700
_PATIENCE: Final = 5
PER_FUNCTION: Final = 16
"""The most candidates of a function in a round, boundary values among them."""
_BLOCKS, _BLOCK_BYTES = 6, 64
_MAKERS: Final = 10
"""The objects that are made in a round."""
_ROUNDS: Final = 3
_HANDLES: Final = 4
"""The objects that a function is tried with."""
_PEEKS: Final = 3
_FIRST: Final = "called first, as a host does"
_UNTRIED: Final = Trial()
_LOWEST: Final = 1024
"""Addresses below are rarely objects."""


class PlannedRow(msgspec.Struct, frozen=True):
    """A row as text, with the reason."""

    row: str
    why: str


class RowPlan(msgspec.Struct, frozen=True):
    """The planned rows, init rows first, and notes; ``cut`` is whether the planning ended before all was tried."""

    rows: tuple[PlannedRow, ...]
    notes: tuple[str, ...] = ()
    cut: bool = False


class Handle(msgspec.Struct, frozen=True):
    """An object: the name of the function that made it, and its address."""

    maker: str
    bits: int


class RowPlanner:
    """Plans the rows of one artifact. ``given`` are its declared or default rows."""

    def __init__(
        self, module: Module, artifact: bytes, given: Rows, targets: Sequence[Function], slots: Sequence[Function],
        registered: Sequence[Registration], trials: RowTrials,
    ) -> None:  # fmt: skip
        self._module, self._given, self._trials = module, given, trials
        self._targets, self._slots = targets, slots
        self._contexts: dict[str, list[int]] = {}
        for each in registered:
            self._contexts.setdefault(f"table[{each.slot}]", []).append(each.context)
        self._functions = exported(module)
        self._addresses = arguments_.static_addresses(module, artifact)
        self._numeric = NumericFunctions(module)
        self._entered: set[int] = set()
        self._init: list[Call] = list(given.init)
        self._why: dict[str, str] = {}
        self._base = trials.run(self._init)
        self._tried: dict[str, TriedRow] = {}
        self._found: list[tuple[Call, int]] = []
        self._made: list[tuple[int, int]] = []
        self._late, self._allocator = False, -1

    def plan(self) -> RowPlan:
        """The rows; without any if no candidate is of use."""
        self._construct()
        self._allocate()
        handles: list[Handle] = []
        for round_ in range(_ROUNDS):
            self._try(self._candidates(self._targets, handles, first=not round_), _TRIALS * (round_ + 2) // (_ROUNDS + 2))
            made = self._make() if round_ < _ROUNDS - 1 else []
            handles += made
            if not made:
                break
        self._try(self._candidates(self._slots, handles, first=True), _TRIALS)
        return self._planned(self._in_order(self._choose()))

    # What is called first.

    def _construct(self) -> None:
        """Add the functions that a host calls first, if they return."""
        types = {name: each.type for name, each in self._functions.items()}
        called = {each.function for each in self._init}
        for name in (*toolchain.constructors(types), toolchain.minified_constructor(self._module, types)):
            if name is not None and self._functions[name].index not in called:
                self._add(self._functions[name].call(name), _FIRST)

    def _add(self, call: Call, why: str) -> Trial | None:
        """Add an init row if it returns; returns its trial."""
        if not self._trials.fits((*self._init, call)):
            return None
        trial = self._trials.run((*self._init, call))
        if trial.stop is not None or trial.fuel - self._base.fuel > ROW_FUEL:
            return None
        self._init.append(call)
        self._why.setdefault(call.name, why)
        self._base = trial
        return trial

    def _allocate(self) -> None:
        """Allocate the buffer and the blocks, if an export is an allocator: it gives two places that do not overlap."""
        types = {name: each.type for name, each in self._functions.items()}
        for name, args in toolchain.allocators(self._module, types, BUFFER_BYTES):
            call = self._call(self._functions[name], tuple(Value("i32", each) for each in args))
            places = self._trials.run((*self._init, call, call)).results[-2:]
            if len(places) == 2 and 0 < places[0] <= places[1] - BUFFER_BYTES and not places[0] % 4:  # noqa: PLR2004 - both
                self._add(call, f"{BUFFER_BYTES:,} bytes at {places[0]}")
                self._addresses = msgspec.structs.replace(self._addresses, buffer=places[0])
                self._allocator = call.function
                small = tuple(Value("i32", _BLOCK_BYTES if each == BUFFER_BYTES else each) for each in args)
                self._allocate_blocks(self._call(self._functions[name], small))
                return

    def _allocate_blocks(self, call: Call) -> None:
        for _ in range(_BLOCKS):
            trial = self._add(call, f"{_BLOCK_BYTES} bytes for a function that frees what it takes")
            if trial is not None:
                self._addresses = msgspec.structs.replace(self._addresses, blocks=(*self._addresses.blocks, trial.results[-1]))

    # Candidates.

    def _candidates(self, targets: Sequence[Function], handles: Sequence[Handle], *, first: bool) -> Iterator[TriedRow]:
        """Rows to try, the first ones of each function before the second ones."""
        offered = [self._offers(each, handles, first=first) for each in targets if each.name not in self._why]
        return (each for each in chain.from_iterable(zip_longest(*offered)) if each is not None)

    def _offers(self, target: Function, handles: Sequence[Handle], *, first: bool) -> list[TriedRow]:
        params = target.type.params
        if target.index in self._numeric or not params:
            rows = arguments_.boundaries(target.type, PER_FUNCTION) if first else []
            return [TriedRow(self._call(target, each), _UNTRIED, always=bool(params)) for each in rows]
        found: list[Arguments] = []
        for context in self._contexts.get(target.name, [None]):
            rest = target.type if context is None else msgspec.structs.replace(target.type, params=params[1:])
            some = [
                each for handle in self._fitting(target, handles) for each in arguments_.pointers(rest, self._rotated(), handle)
            ]
            if first:
                plain = arguments_.pointers(rest, self._rotated())
                some = plain + some + arguments_.boundaries(rest, 3 if plain else PER_FUNCTION)
            found += some if context is None else [(Value("i32", context), *each) for each in some]
        return [TriedRow(self._call(target, each), _UNTRIED) for each in dict.fromkeys(found)]

    def _rotated(self) -> Addresses:
        """The addresses, with another block first each time."""
        blocks = self._addresses.blocks
        self._addresses = msgspec.structs.replace(self._addresses, blocks=(*blocks[1:], *blocks[:1]))
        return self._addresses

    @staticmethod
    def _fitting(target: Function, handles: Sequence[Handle]) -> list[int]:
        """The objects for a function, those first whose maker's name begins as its own does."""

        def common(each: Handle) -> int:
            pairs = zip(each.maker.lower(), target.name.lower(), strict=False)
            return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(each.maker), len(target.name)))

        best = sorted(handles, key=common, reverse=True)[:_HANDLES]
        return [each.bits for each in best if common(each) or len(handles) <= _HANDLES or len(target.name) <= 3]  # noqa: PLR2004

    @staticmethod
    def _call(target: Function, args: Arguments) -> Call:
        return target.call(f"{target.name}={','.join(map(str, args))}" if args else target.name, args)

    def _try(self, rows: Iterable[TriedRow], most: int) -> None:
        """Try rows until so many were tried, or the time is over; a function whose rows enter nothing new is left soon."""
        useless: Counter[int] = Counter()
        for row in rows:
            left = not row.always and useless[row.call.function] >= _PATIENCE
            if left or row.call.name in self._tried or not self._trials.fits((*self._init, row.call), _PEEKS):
                continue
            if len(self._tried) >= most:
                break
            if self._trials.cpu_s > PLANNING_S:
                self._late = True
                break
            peeks = self._out_pointers(row.call)
            trial = self._trials.run((*self._init, row.call), peeks)
            fuel = max(0, trial.fuel - self._base.fuel)
            self._tried[row.call.name] = msgspec.structs.replace(row, trial=msgspec.structs.replace(trial, fuel=fuel))
            useless[row.call.function] = 0 if trial.entered - self._entered else useless[row.call.function] + 1
            self._entered |= trial.entered
            if trial.stop is None and row.call.type.params:
                self._note_objects(row.call, trial.results[len(self._init) :])

    def _out_pointers(self, call: Call) -> list[int]:
        """The addresses in the buffer that a call may store an object at."""
        buffer = self._addresses.buffer
        if buffer is None or not self._trials.peeks or call.function in self._numeric:
            return []
        parts = [each.bits for each in call.args if each.type == "i32" and buffer <= each.bits < buffer + BUFFER_BYTES]
        return parts[:_PEEKS]

    def _note_objects(self, call: Call, results: Sequence[int]) -> None:
        """Note what may be an object: the result, or else what was stored at an argument."""
        values = list(results[:1]) if call.type.results == ("i32",) else []
        values += [each & 0xFFFF_FFFF for each in results[1:]]
        passed = {each.bits for each in call.args}
        own = next((each for each in values if self._is_object(each) and each not in passed), None)
        if own is not None:
            self._found.append((call, values.index(own) if call.type.results == ("i32",) else values.index(own) + 1))

    def _is_object(self, bits: int) -> bool:
        buffer = self._addresses.buffer or 0
        in_buffer = buffer <= bits < buffer + BUFFER_BYTES
        return _LOWEST <= bits < self._base.memory_bytes and not bits % 4 and not in_buffer and bits not in self._addresses.blocks

    def _make(self) -> list[Handle]:
        """Add calls that make objects as init rows; returns the objects."""
        handles: list[Handle] = []
        found, self._found = self._found, []
        seen: set[int] = set()
        for call, at in sorted(found, key=lambda each: not toolchain.makes(each[0].name.partition("=")[0])):
            name = call.name.partition("=")[0]
            if len(handles) == _MAKERS or call.function in seen or toolchain.frees(name) or call.function == self._allocator:
                continue
            before, peeks = len(self._init), self._out_pointers(call)
            if self._add(call, "makes an object") is None:
                continue
            seen.add(call.function)
            result = self._trials.run(self._init, peeks).results[before + at : before + at + 1]
            bits = result[0] & 0xFFFF_FFFF if result else 0
            self._made.append((before, bits))
            if self._is_object(bits):
                handles.append(Handle(name, bits))
        return handles

    def _choose(self) -> list[ChosenRow]:
        """The chosen rows. The last objects that none of them is called with are not made; addresses depend on those before."""
        chosen = choose_rows(list(self._tried.values()), self._base.entered)
        used = {value.bits for each in chosen for value in each.call.args}
        kept = len(self._made)
        while kept and self._made[kept - 1][1] not in used:
            kept -= 1
        if kept == len(self._made):
            return chosen
        self._init = self._init[: self._made[kept][0]]
        del self._made[kept:]
        self._base = self._trials.run(self._init)
        return self._choose()

    # The result.

    def _in_order(self, chosen: Sequence[ChosenRow]) -> list[ChosenRow]:
        """The rows without those that do not return behind the others, as far as one trial can show it."""
        alone = {each.call.name for each in chosen if self._tried[each.call.name].trial.stop is None}
        first = [each for each in chosen if each.call.name in alone]
        stops = [each for each in chosen if each.call.name not in alone]
        tested: list[ChosenRow] = []
        for each in first:
            if not self._trials.fits([*self._init, *(one.call for one in tested), each.call]):
                break
            tested.append(each)
        rest = first[len(tested) :]
        while tested:
            trial = self._trials.run([*self._init, *(one.call for one in tested)])
            if trial.stop is None:
                break
            at = len(trial.results) - len(self._init)
            del tested[max(0, at)]
        return [*tested, *rest, *stops]

    def _planned(self, chosen: Sequence[ChosenRow]) -> RowPlan:
        implied = sum(1 for each in self._given.init if not each.name.startswith(INIT))
        init = [PlannedRow(INIT + each.name.removeprefix(INIT), self._why.get(each.name, _FIRST)) for each in self._init[implied:]]
        rows = [PlannedRow(each.call.name, each.why) for each in chosen]
        entered = self._base.entered.union(*(self._tried[each.call.name].trial.entered for each in chosen))
        count = sum(1 for each in entered if each >= 0)
        tried = f"{plural(len(rows), 'row')} of {len(self._tried):,} tried under the oracle"
        notes = [f"{tried}: they enter {count:,} of {len(self._module.functions):,} functions"]
        if self._late:
            notes.append(f"the planning of rows ended after {PLANNING_S:g} s, so the rows depend on this machine's speed")
        return RowPlan((*init, *rows), tuple(notes), self._late)
