"""A reduction under way: the smallest module so far that still shows the symptom, and how a pass tests smaller ones.

A pass is a function that takes a ``Reduction`` and makes its ``best`` smaller; ``reduce.PASSES`` lists them in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from diffcheck.errors import ArtifactError
from diffcheck.text import plural
from diffcheck.triage.reduce.delta_debugging import UNLIMITED, Subsets
from diffcheck.triage.reduce.interestingness import Question
from diffcheck.wasm.draft import Draft, draft
from diffcheck.wasm.section import PREAMBLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from diffcheck.triage.reduce.interestingness import Checker
    from diffcheck.triage.reduce.oracle_trace import Watched

T = TypeVar("T")


class Sizes(msgspec.Struct, frozen=True):
    """The size of a module: bytes of its function bodies, bytes of its file, number of its functions."""

    code: int
    file: int
    functions: int


def sizes(wasm: bytes) -> Sizes:
    """The sizes of a module."""
    found = draft(wasm)
    return Sizes(sum(map(len, found.bodies.values())), len(wasm), len(found.bodies))


class Reduction:
    """``best`` shows the symptom on ``rows``. ``save`` is given each smaller module, ``watch`` returns what a module executes."""

    def __init__(
        self, checker: Checker, rows: tuple[str, ...], wasm: bytes,
        *, watch: Callable[[bytes], Watched | None], save: Callable[[bytes], None], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.checker, self.rows, self.best = checker, rows, wasm
        self.say = say
        self._watch, self._save = watch, save
        self._last_watched: tuple[bytes, Watched | None] | None = None

    @property
    def draft(self) -> Draft:
        """The smallest module so far, to be changed."""
        return draft(self.best)

    def summary(self) -> str:
        """The size of the smallest module so far and the number of candidates that were run."""
        now = sizes(self.best)
        return f"{now.code:,} bytes of code in {plural(now.functions, 'function')}, {self.checker.asked:,} candidates run"

    def why_nothing(self) -> str:
        """Why there is nothing to reduce, or an empty text; the caller has checked that the input shows the symptom."""
        return "an empty module shows it as well" if self.shows(PREAMBLE) else ""

    def shows(self, wasm: bytes) -> bool:
        """Whether a module shows the symptom."""
        return self.first([wasm]) is not None

    def first(self, candidates: Iterable[bytes]) -> int | None:
        """The index of the first candidate that shows the symptom."""
        return self.checker.first(Question(each, self.rows) for each in candidates)

    def take_first(self, candidates: Sequence[bytes]) -> bool:
        """Take the first candidate that shows the symptom; returns whether there was one."""
        at = self.first(candidates)
        if at is not None:
            self.take(candidates[at])
        return at is not None

    def change(self, candidate: Draft) -> bool:
        """Take a changed module if it differs from ``best`` and shows the symptom; returns whether it was taken."""
        wasm = written(candidate)
        return wasm != self.best and self.take_first([wasm])

    def take(self, wasm: bytes) -> None:
        """Make a module that shows the symptom the smallest so far."""
        self.best = wasm
        self._save(wasm)

    def thin(self, items: Sequence[T], make: Callable[[list[T]], Draft], patience: int = UNLIMITED) -> list[T]:
        """Apply as many of the changes as possible to ``best``; returns those that were applied."""
        subsets: Subsets[T] = Subsets(
            lambda candidates: self.first(written(make(each)) for each in candidates),
            lambda accepted: self.take(written(make(accepted))),
        )
        return subsets.largest(items, patience)

    def watched(self) -> Watched | None:
        """What ``best`` executes under the oracle; None where the oracle gives no answer."""
        if self._last_watched is None or self._last_watched[0] != self.best:
            self._last_watched = self.best, self._watch(self.best)
        return self._last_watched[1]


def written(candidate: Draft) -> bytes:
    """A candidate's bytes; none where it cannot be written because something removed is still referenced."""
    try:
        return candidate.write()
    except (ArtifactError, KeyError, IndexError):
        return b""
