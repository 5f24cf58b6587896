"""A smaller module with the same symptom: bodies first, then what they leave unused, then within bodies.

Every candidate is a whole module that the oracle validates before anything runs it; the best one so far is saved at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from diffcheck.errors import ArtifactError
from diffcheck.rows import choose
from diffcheck.text import plural
from diffcheck.triage import units as un
from diffcheck.triage.checker import Question, Spent
from diffcheck.triage.closing import closable, closed, zero_body
from diffcheck.triage.inlining import inlinings
from diffcheck.triage.replay import Line
from diffcheck.triage.segments import NULL_FUNC, blanked, emptied, full, nulled, trimmed, without, without_nulls
from diffcheck.triage.tidy import tidy
from diffcheck.wasm.draft import Draft, draft
from diffcheck.wasm.section import PREAMBLE
from diffcheck.wasm.typing import type_body

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffcheck.triage.checker import Checker
    from diffcheck.triage.watch import Watched
    from diffcheck.wasm.draft import DataDraft
    from diffcheck.wasm.typing import Body

T = TypeVar("T")
_END: Final = b"\x0b"
_UNREACHABLE: Final = b"\x00" + b"\x00" + _END
_ALTERNATIVES, _FEW, _SMALL = 8, 3, 2000
"""How many things are tried in a unit's place, and how many where there are more bytes of code."""
_ROUNDS: Final = 12
_PIECES: Final = 64
_REPLAYED: Final = 4000
_PATIENCE, _LESS = 24, 4
"""For what is no code, and of which there may be hundreds; and how much less where it was once at an end."""
_INLINED: Final = 16


class Sizes(msgspec.Struct, frozen=True):
    """How large a module is: the bytes of its function bodies, and of its file."""

    code: int
    file: int
    functions: int


def sizes(wasm: bytes) -> Sizes:
    """The sizes of a module."""
    found = draft(wasm)
    return Sizes(sum(map(len, found.bodies.values())), len(wasm), len(found.bodies))


class Reducer:
    """Reduces ``best``, which shows the symptom on ``rows``. ``save`` is given each better one, ``watch`` what a candidate does."""

    def __init__(
        self, checker: Checker, rows: tuple[str, ...], wasm: bytes,
        *, watch: Callable[[bytes], Watched | None], save: Callable[[bytes], None], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.checker, self.rows, self.best = checker, rows, wasm
        self.watch, self.save, self.say = watch, save, say
        self._last_watched: tuple[bytes, Watched | None] | None = None

    def run(self) -> bool:
        """Reduce until nothing more goes, True, or the time is over, False; ``best`` is what was reached."""
        try:
            for round_ in range(_ROUNDS):
                before = self.best
                self._round(round_)
                if self.best == before:
                    break
            self.say(f"nothing more goes: {self._now()}")
        except Spent:
            return False
        return True

    def _now(self) -> str:
        now = sizes(self.best)
        return f"{now.code:,} bytes of code in {plural(now.functions, 'function')}, {self.checker.asked:,} candidates run"

    def why_nothing(self) -> str:
        """Why there is nothing to reduce: an empty module shows it as well. That the input shows it, the caller looked."""
        if self.checker.shows(self.question(PREAMBLE)):
            return "an empty module shows it as well"
        return ""

    def question(self, wasm: bytes) -> Question:
        """A candidate as the checker takes it."""
        return Question(wasm, self.rows)

    def _round(self, round_: int) -> None:
        for name, step in (
            ("replaying", self._replayed),
            ("exports", self._exports),
            ("functions", self._functions),
            ("imports", self._imports),
            ("segments", self._segments),
            ("bodies", self._bodies),
            ("tidying", self._tidied),
            ("inlining", self._inlined),
            ("data", self._data),
        ):
            before = self.best
            step()
            if self.best != before:
                self.say(f"round {round_ + 1}, {name}: {self._now()}")

    # Candidates.

    def _try(self, *candidates: Draft) -> bool:
        """Take the first candidate that shows it and is not what there is already."""
        written = [each for each in map(_written, candidates) if each != self.best]
        at = self.checker.first(map(self.question, written))
        if at is None:
            return False
        self._take(written[at])
        return True

    def _watched(self) -> Watched | None:
        """What the best so far does."""
        if self._last_watched is None or self._last_watched[0] != self.best:
            self._last_watched = self.best, self.watch(self.best)
        return self._last_watched[1]

    def _take(self, wasm: bytes) -> None:
        self.best = wasm
        self.save(wasm)

    def _thin(self, items: Sequence[T], make: Callable[[list[T]], Draft], patience: int = 1 << 30) -> list[T]:
        """As many of the items as may be applied together, found by halving (delta debugging); ``best`` has them applied."""
        return self._most(items, lambda some: _written(make(some)), self._take, patience)

    def _most(
        self, items: Sequence[T], make: Callable[[list[T]], bytes], take: Callable[[bytes], None], patience: int = 1 << 30
    ) -> list[T]:
        """As many of the items as may be applied together; ``take`` is given each candidate that shows it, one larger than the other.

        After ``patience`` candidates of one size in a row that do not show it, the others of that size are not tried. It may be their
        number that counts, so as many as go from the end are then looked for, and several at once with less patience after that.
        """
        kept: list[T] = []
        pending, chunk, counted = list(items), len(items), False
        while pending and chunk:
            parts = [pending[at : at + chunk] for at in range(0, len(pending), chunk)]
            pending, at, missed = [], 0, 0
            enough = -(-patience // _LESS) if counted and chunk > 1 else patience
            while at < len(parts) and missed < enough:
                tried = parts[at : at + enough - missed]
                hit = self.checker.first(self.question(make(kept + part)) for part in tried)
                end = at + (len(tried) if hit is None else hit)
                missed = missed + len(tried) if hit is None else 0
                pending += [item for part in parts[at:end] for item in part]
                if hit is not None:
                    kept += parts[end]
                    take(make(kept))
                at = end + (hit is not None)
            pending += [item for part in parts[at:] for item in part]
            if missed >= enough and not counted:
                counted = True
                last = self._from_end(pending, kept, make, take)
                kept += pending[len(pending) - last :]
                pending = pending[: len(pending) - last]
            chunk = min(chunk, len(pending)) // 2 if chunk > 1 else 0
            if not chunk and pending and len(parts[0]) > 1:
                chunk = 1
        return kept

    def _from_end(self, items: list[T], kept: list[T], make: Callable[[list[T]], bytes], take: Callable[[bytes], None]) -> int:
        """How many of the last items may be applied besides those that are, where fewer of them may whenever more may; not all may."""
        low, high = 0, len(items)
        while high - low > 1:
            some = (low + high) // 2
            more = kept + items[-some:]
            if self.checker.shows(self.question(make(more))):
                low = some
                take(make(more))
            else:
                high = some
        return low

    # The row by itself.

    def _replayed(self) -> None:
        """The row's function as a straight line of what was executed; taken where it comes out shorter than what there is."""
        source = draft(self.best)
        target = self._row_function(source)
        watched = self._watched() if target is not None else None
        if target is None or watched is None:
            return
        pieces = watched.pieces[-_REPLAYED:]
        line = Line(source.module.function_type(target))

        def body(code: bytes) -> bytes:
            return _written(source.with_bodies({target: code}))

        def less(gone: list[int]) -> bytes:
            dropped = set(gone)
            return body(line.summed([each for at, each in enumerate(pieces) if at not in dropped]))

        if not pieces or not self.checker.shows(self.question(less([]))):
            return
        gone = set(self._most(range(len(pieces)), less, lambda _: None))
        kept = [each for at, each in enumerate(pieces) if at not in gone]
        size = sizes(self.best).code
        written = [each for each in (body(line.last(kept)), body(line.summed(kept))) if each and sizes(each).code < size]
        at = self.checker.first(map(self.question, written))
        if at is not None:
            self._take(written[at])

    def _row_function(self, source: Draft) -> int | None:
        """The function that the one row calls; None where there are more rows, or the module has no such function."""
        calls = [each for each in choose(source.module, self.rows).calls if not each.init]
        return calls[0].function if len(calls) == 1 and calls[0].function in source.bodies else None

    # Whole items.

    def _functions(self) -> None:
        """Bodies that are not needed: of those that never run to ``unreachable``, of others to zeros."""
        source = draft(self.best)
        watched = self._watched()
        idle = {index for index in source.bodies if watched is None or index not in watched.executed}
        self._replaced(dict.fromkeys(idle, _UNREACHABLE))
        source = draft(self.best)
        self._replaced({index: zero_body(source, index) for index in source.bodies})
        self._merged()

    def _replaced(self, wanted: dict[int, bytes]) -> None:
        """Bodies of ``best`` by shorter ones, as many as go."""
        source = draft(self.best)
        shorter = [index for index, body in wanted.items() if len(body) < len(source.bodies[index])]
        self._thin(shorter, lambda some: source.with_bodies({index: wanted[index] for index in some}))

    def _merged(self) -> None:
        """One function for all that have the same type and body."""
        source = draft(self.best)
        first: dict[tuple[int, bytes], int] = {}
        alias = {}
        for index, body in source.bodies.items():
            same = first.setdefault((source.module.all_functions[index], body), index)
            if same != index:
                alias[index] = same
        if alias:
            self._try(msgspec.structs.replace(source, alias=alias))

    def _exports(self) -> None:
        source = draft(self.best)
        called = {each.name for each in choose(source.module, self.rows).calls}
        called |= {each.partition("=")[0] for each in self.rows}
        if self._try(msgspec.structs.replace(source, exports=tuple(each for each in source.exports if each.name in called))):
            source = draft(self.best)
        self._thin(
            source.exports,
            lambda some: msgspec.structs.replace(source, exports=tuple(each for each in source.exports if each not in some)),
            _PATIENCE,
        )
        if source.start is not None:
            self._try(msgspec.structs.replace(draft(self.best), start=None))

    def _imports(self) -> None:
        """Imports become items of the module's own."""
        source = draft(self.best)
        self._thin(closable(source), lambda some: closed(source, some))

    def _segments(self) -> None:
        source = draft(self.best)
        elements = [at for at, each in enumerate(source.elements) if each]
        self._thin(elements, lambda some: msgspec.structs.replace(source, elements=without(source.elements, some)))
        source = draft(self.best)
        if self._try(msgspec.structs.replace(source, data=emptied(source.data, full(source.data)))):
            source = draft(self.best)  # it is their number that counts, if anything
        data = [at for at, each in enumerate(source.data) if each]
        self._thin(data, lambda some: msgspec.structs.replace(source, data=without(source.data, some)), _PATIENCE)
        source = draft(self.best)
        self._thin(full(source.data), lambda some: msgspec.structs.replace(source, data=emptied(source.data, some)), _PATIENCE)
        source = draft(self.best)
        items = [
            (at, item) for at, each in enumerate(source.elements) if each and each.ref.heap == "func" and (each.table is not None)
            for item, code in enumerate(each.items) if code != NULL_FUNC
        ]  # fmt: skip
        self._thin(items, lambda some: msgspec.structs.replace(source, elements=nulled(source.elements, some)), _PATIENCE)
        for at in range(len(draft(self.best).elements)):
            shorter = without_nulls(draft(self.best), at)
            if shorter is not None:
                self._try(shorter)

    def _data(self) -> None:
        """Contents of active segments, in pieces."""
        for at in range(len(draft(self.best).data)):
            source = draft(self.best)
            segment = source.data[at]
            if segment is None or len(segment.content) <= 1:
                continue
            size = -(-len(segment.content) // _PIECES)

            def blank(
                some: list[int], source: Draft = source, at: int = at, segment: DataDraft = segment, size: int = size
            ) -> Draft:
                data = (*source.data[:at], blanked(segment, some, size), *source.data[at + 1 :])
                return msgspec.structs.replace(source, data=data)

            self._thin(range(0, len(segment.content), size), blank, _PATIENCE)
            shorter = trimmed(draft(self.best), at)
            if shorter is not None:
                self._try(shorter)

    # Within bodies.

    def _bodies(self) -> None:
        """Units of all bodies, the outer ones first; those that cannot be replaced are looked into."""
        source = draft(self.best)
        watched = self._watched()
        bodies = _typed(source)
        every = {index: un.units(index, body) for index, body in bodies.items()}
        ends = {index: {each.last: each for each in found} for index, found in every.items()}
        alternatives = _ALTERNATIVES if source.code_bytes <= _SMALL else _FEW
        edits: list[un.Edit] = []
        frontier = un.outermost([each for found in every.values() for each in found])

        def make(some: list[un.Edit]) -> Draft:
            return _edited(source, edits + some)

        while frontier:
            kept: list[un.Edit] = []
            open_ = frontier
            options = {
                unit: un.replacements(
                    unit, bodies[unit.function], source.bodies[unit.function],
                    watched.at(unit.function, unit.last) if watched is not None else (), ends[unit.function],
                )[:alternatives]
                for unit in frontier
            }  # fmt: skip
            for number in range(alternatives):
                wanted = [un.Edit(unit, options[unit][number]) for unit in open_ if len(options[unit]) > number]
                found = self._thin(wanted, make)
                edits += found
                kept += found
                done = {each.unit for each in found}
                open_ = [unit for unit in open_ if unit not in done]
            frontier = _children(open_, every)

    def _tidied(self) -> None:
        source = draft(self.best)
        changed = {}
        for index, body in source.bodies.items():
            try:
                changed[index] = tidy(body, len(source.module.function_type(index).params))
            except ArtifactError:
                continue
        changed = {index: body for index, body in changed.items() if body != source.bodies[index]}
        self._thin(list(changed), lambda some: source.with_bodies({index: changed[index] for index in some}))
        self._merged()

    def _inlined(self) -> None:
        """Calls by the bodies of what they call, where a function goes by it."""
        while (now := sizes(self.best)).code <= _SMALL:
            written = [_written(each) for each in islice(inlinings(draft(self.best)), _INLINED)]
            fewer = [each for each in written if each and sizes(each).functions < now.functions]
            at = self.checker.first(map(self.question, fewer))
            if at is None:
                return
            self._take(fewer[at])
            self._tidied()


def _written(candidate: Draft) -> bytes:
    """A candidate's bytes; none where it cannot be written, as where what is left names what is gone."""
    try:
        return candidate.write()
    except (ArtifactError, KeyError, IndexError):
        return b""


def _typed(source: Draft) -> dict[int, Body]:
    found = {}
    for index, body in source.bodies.items():
        try:
            found[index] = type_body(source.module, index, body, 0)
        except ArtifactError:  # an instruction that is not known here: the body stays as it is
            continue
    return found


def _edited(source: Draft, edits: Sequence[un.Edit]) -> Draft:
    by_function: dict[int, list[un.Edit]] = {}
    for each in edits:
        by_function.setdefault(each.unit.function, []).append(each)
    return source.with_bodies({index: un.apply(source.bodies[index], some) for index, some in by_function.items()})


def _children(parents: Sequence[un.Unit], every: dict[int, tuple[un.Unit, ...]]) -> list[un.Unit]:
    """The largest units within others; those of a body are in the order of their beginnings."""
    done = set(parents)
    inner: list[un.Unit] = []
    for parent in parents:
        own = every[parent.function]
        begin = bisect_left(own, parent.first, key=lambda unit: unit.first)
        end = bisect_right(own, parent.last, key=lambda unit: unit.first)
        inner += [unit for unit in own[begin:end] if parent.holds(unit) and unit not in done]
    return un.outermost(inner)


__all__ = ["Reducer", "Sizes", "sizes"]
