"""Reduction passes within function bodies: straight lines, units replaced by something shorter, dead code removed, calls inlined."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Final

from diffcheck.cases.rows import choose
from diffcheck.errors import ArtifactError
from diffcheck.triage.reduce import units as un
from diffcheck.triage.reduce.dead_code import without_dead_code
from diffcheck.triage.reduce.delta_debugging import Subsets
from diffcheck.triage.reduce.inlining import inlinings
from diffcheck.triage.reduce.item_passes import merge_functions
from diffcheck.triage.reduce.reduction import sizes, written
from diffcheck.triage.reduce.straight_line import StraightLine
from diffcheck.wasm.typing import type_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.triage.reduce.reduction import Reduction
    from diffcheck.wasm.draft import Draft
    from diffcheck.wasm.typing import Body

_ALTERNATIVES, _FEW, _SMALL = 8, 3, 2000
"""How many replacements of a unit are tested, and how many in modules with more bytes of code than ``_SMALL``."""
_INLINED: Final = 16
_LONGEST: Final = 4000
"""The most instructions of a straight line; the last ones are used."""


def replace_by_straight_line(work: Reduction) -> None:
    """Replace the row's function by the instructions that it executed, in order, if that is shorter."""
    source = work.draft
    target = _row_function(source, work.rows)
    trace = work.trace() if target is not None else None
    if target is None or trace is None or not trace.pieces:
        return
    pieces = trace.pieces[-_LONGEST:]
    line = StraightLine(source.module.function_type(target))

    def module(code: bytes) -> bytes:
        return written(source.with_bodies({target: code}))

    def without(dropped: list[int]) -> bytes:
        gone = set(dropped)
        return module(line.summed([each for at, each in enumerate(pieces) if at not in gone]))

    if not work.shows(without([])):
        return
    subsets: Subsets[int] = Subsets(lambda candidates: work.first(map(without, candidates)), lambda _: None)
    gone = set(subsets.largest(range(len(pieces))))
    kept = [each for at, each in enumerate(pieces) if at not in gone]
    size = sizes(work.best).code
    shorter = [each for each in (module(line.last(kept)), module(line.summed(kept))) if each and sizes(each).code < size]
    work.take_first(shorter)


def replace_units(work: Reduction) -> None:
    """Replace units of all bodies, outer ones first, then the units within those that could not be replaced."""
    source = work.draft
    trace = work.trace()
    bodies = _typed(source)
    every = {index: un.units(index, body) for index, body in bodies.items()}
    ends = {index: {each.last: each for each in found} for index, found in every.items()}
    alternatives = _ALTERNATIVES if source.code_bytes <= _SMALL else _FEW
    edits: list[un.Edit] = []
    frontier = un.outermost([each for found in every.values() for each in found])

    def make(some: list[un.Edit]) -> Draft:
        return _edited(source, edits + some)

    while frontier:
        open_ = frontier
        options = {
            unit: un.replacements(
                unit, bodies[unit.function], source.bodies[unit.function],
                trace.at(unit.function, unit.last) if trace is not None else (), ends[unit.function],
            )[:alternatives]
            for unit in frontier
        }  # fmt: skip
        for number in range(alternatives):
            wanted = [un.Edit(unit, options[unit][number]) for unit in open_ if len(options[unit]) > number]
            applied = work.thin(wanted, make)
            edits += applied
            done = {each.unit for each in applied}
            open_ = [unit for unit in open_ if unit not in done]
        frontier = _children(open_, every)


def remove_dead_code(work: Reduction) -> None:
    """Remove dead code, dropped values and unused locals; merge functions that are then equal."""
    source = work.draft
    changed = {}
    for index, body in source.bodies.items():
        try:
            changed[index] = without_dead_code(body, len(source.module.function_type(index).params))
        except ArtifactError:
            continue
    changed = {index: body for index, body in changed.items() if body != source.bodies[index]}
    work.thin(list(changed), lambda some: source.with_bodies({index: changed[index] for index in some}))
    merge_functions(work)


def inline_calls(work: Reduction) -> None:
    """Replace calls by the body of their callee while that removes a function."""
    while (now := sizes(work.best)).code <= _SMALL:
        candidates = [written(each) for each in islice(inlinings(work.draft), _INLINED)]
        if not work.take_first([each for each in candidates if each and sizes(each).functions < now.functions]):
            return
        remove_dead_code(work)


def _row_function(source: Draft, rows: tuple[str, ...]) -> int | None:
    """The function that the only row calls; None if there are more rows or the function is imported."""
    calls = [each for each in choose(source.module, rows).calls if not each.init]
    return calls[0].function if len(calls) == 1 and calls[0].function in source.bodies else None


def _typed(source: Draft) -> dict[int, Body]:
    found = {}
    for index, body in source.bodies.items():
        try:
            found[index] = type_body(source.module, index, body, 0)
        except ArtifactError:  # an unknown instruction: the body is not changed
            continue
    return found


def _edited(source: Draft, edits: Sequence[un.Edit]) -> Draft:
    by_function: dict[int, list[un.Edit]] = {}
    for each in edits:
        by_function.setdefault(each.unit.function, []).append(each)
    return source.with_bodies({index: un.apply(source.bodies[index], some) for index, some in by_function.items()})


def _children(parents: Sequence[un.Unit], every: dict[int, tuple[un.Unit, ...]]) -> list[un.Unit]:
    """The largest units within others. The units of a body are sorted by their first instruction."""
    done = set(parents)
    inner: list[un.Unit] = []
    for parent in parents:
        own = every[parent.function]
        begin = bisect_left(own, parent.first, key=lambda unit: unit.first)
        end = bisect_right(own, parent.last, key=lambda unit: unit.first)
        inner += [unit for unit in own[begin:end] if parent.holds(unit) and unit not in done]
    return un.outermost(inner)
