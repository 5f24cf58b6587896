"""What a program does, seen without diffcheck: its twin runs in wasmtime, with canonical NaNs alone and with those of each engine.

A fault is observable where the twin with the fault reports something else than the twin without, both times: with canonical NaNs no
NaN that the specification leaves open explains it, and with the engines' own the subject does something else than the oracle at all.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from functools import cache

import msgspec
import wasmtime

from tests.campaigns.program import CALLS, Place, Program

FUEL = 20_000_000
FEATURES = (
    "bulk_memory", "exceptions", "function_references", "gc", "memory64", "multi_memory", "multi_value", "reference_types",
    "relaxed_simd", "simd", "tail_call", "threads", "wide_arithmetic",
)  # fmt: skip


class UnprovedError(Exception):
    """A twin that ended by something that is no behaviour of the program: its fuel, its log's size, a refusal."""


class Seen(msgspec.Struct, frozen=True):
    """What was seen at a place of an instance; ``at_trap`` where it can be read from an engine that reports state at traps alone."""

    instance: int
    place: Place
    values: tuple[int | str, ...]
    at_trap: bool = False


@cache
def engine(*, canonical: bool, target: str = "") -> wasmtime.Engine:
    """Wasmtime, where ``canonical`` is whether every NaN that the specification leaves open is the canonical one."""
    config = wasmtime.Config()
    if target:
        config.target = target
    for feature in FEATURES:
        setattr(config, f"wasm_{feature}", feature != "threads" or not target)  # the interpreter has no threads
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = canonical
    return wasmtime.Engine(config)


def behaviour(
    program: Program, marked: int | None = None, fault: int | None = None, *, used: wasmtime.Engine | None = None
) -> list[Seen]:  # fmt: skip
    """All that a program does, in the order of its rows; a row that traps is the last one of its instance."""
    used = used or engine(canonical=True)
    wasm = wasmtime.Module(used, wasmtime.wat2wasm(program.twin(marked, fault)))
    seen: list[Seen] = []
    row, instance = 0, 0
    while row < len(program.rows):
        twin = _Twin(program, used, wasm, instance)
        row = twin.run(row)
        seen += twin.seen()
        instance += 1
    return seen


class _Twin:
    """One instance of a twin."""

    def __init__(self, program: Program, used: wasmtime.Engine, wasm: wasmtime.Module, instance: int) -> None:
        self.program, self.instance = program, instance
        self.store = wasmtime.Store(used)
        self.store.set_fuel(FUEL)
        self.exports = wasmtime.Instance(self.store, wasm, []).exports(self.store)
        self.outcomes: dict[str, str] = {}
        self.trapped = ""

    def run(self, first: int) -> int:
        """Run rows from ``first`` on; gives the row that the next instance begins with."""
        names = list(self.program.rows)
        for at in range(first, len(names)):
            self.exports["row"].set_value(self.store, at)
            outcome = self._call(f"row {at}")
            self.outcomes[names[at]] = outcome
            if outcome:
                self.trapped = names[at]
            if outcome or self.exports["ended"].value(self.store):
                break
        state = self._call("state")
        if state:
            raise UnprovedError(state)
        return at + 1

    def _call(self, export: str) -> str:
        """A trap's words; empty where it returned."""
        try:
            self.exports[export](self.store)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            words = str(error).splitlines()
            if "fuel" in str(error) or "call stack" in str(error):
                raise UnprovedError(words[-1]) from error
            return words[-1].strip()
        return ""

    def seen(self) -> list[Seen]:
        end = self.exports["log_end"].value(self.store)
        log = self.exports["log"].read(self.store, 0, end)
        found: dict[Place, list[int | str]] = defaultdict(list)
        for name, outcome in self.outcomes.items():
            found[Place(name, "outcome")].append(outcome)
        for at in range(0, end, 16):
            label, bits = (int.from_bytes(log[start : start + 8], "little") for start in (at, at + 8))
            place, which = self._place(label)
            found[place] += [*which, bits]
        for name in self.program.memories:
            memory = self.exports[name]
            data = memory.read(self.store, 0, memory.data_len(self.store))
            found[Place("", "memory")] += [len(data), hashlib.sha256(data).hexdigest()]
        return [Seen(self.instance, place, tuple(values), self._at_trap(place)) for place, values in found.items()]

    def _place(self, label: int) -> tuple[Place, tuple[int, ...]]:
        """A label's place; of a call, which import."""
        if label < CALLS:
            return self.program.places[label], ()
        row, which = divmod(label - CALLS, 256)
        return Place(list(self.program.rows)[row], "calls"), (which,)

    def _at_trap(self, place: Place) -> bool:
        return bool(self.trapped) and (not place.row or (place.row == self.trapped and place.item != "outcome"))


class Difference(msgspec.Struct, frozen=True):
    """A place where two behaviours differ."""

    instance: int
    place: Place
    at_trap: bool


def differences(right: list[Seen], wrong: list[Seen]) -> list[Difference]:
    """Where they differ: by instance, its rows in their order, then its state."""
    rows: list[str] = []
    both: dict[tuple[int, Place], tuple[list[Seen], list[Seen]]] = {}
    for side, seen in enumerate((right, wrong)):
        for each in seen:
            both.setdefault((each.instance, each.place), ([], []))[side].append(each)
            if each.place.row and each.place.row not in rows:
                rows.append(each.place.row)
    found = [
        Difference(instance, place, any(each.at_trap for each in (*ones, *others)))
        for (instance, place), (ones, others) in both.items()
        if [each.values for each in ones] != [each.values for each in others]
    ]
    return sorted(found, key=lambda each: (each.instance, rows.index(each.place.row) if each.place.row else len(rows)))


def observable(program: Program, marked: int, fault: int, right: list[Seen], target: str = "") -> list[Difference]:
    """Where a fault of an engine for a target shows with canonical NaNs, if it shows with the engines' own as well.

    ``right`` is the behaviour without it, with canonical NaNs.
    """
    found = differences(right, behaviour(program, marked, fault))
    if not found:
        return []
    oracle = behaviour(program, used=engine(canonical=False))
    return found if differences(oracle, behaviour(program, marked, fault, used=engine(canonical=False, target=target))) else []
