"""A reduction under way: the smallest module so far that still shows the symptom, and how a pass tests smaller ones.

A pass is a function that takes a ``Reduction`` and makes its ``best`` smaller; ``reduce.PASSES`` lists them in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from diffcheck.errors import ArtifactError
from diffcheck.text import plural
from diffcheck.triage.reduce.delta_debugging import UNLIMITED, Subsets
from diffcheck.triage.reduce.interestingness import Candidate
from diffcheck.wasm.draft import Draft, draft
from diffcheck.wasm.section import PREAMBLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from diffcheck.triage.reduce.interestingness import Checker
    from diffcheck.triage.reduce.oracle_trace import OracleTrace

T = TypeVar("T")


class ModuleSize(msgspec.Struct, frozen=True):
    """The size of a module: bytes of function bodies, bytes of the file, number of defined functions."""

    code: int
    file: int
    functions: int


def sizes(wasm: bytes) -> ModuleSize:
    """The sizes of a module."""
    found = draft(wasm)
    return ModuleSize(sum(map(len, found.bodies.values())), len(wasm), len(found.bodies))


class Reduction:
    """``best`` shows the symptom on ``rows``. ``save`` receives each smaller module; ``trace`` traces one under the oracle."""

    def __init__(
        self, checker: Checker, rows: tuple[str, ...], wasm: bytes,
        *, trace: Callable[[bytes], OracleTrace | None], save: Callable[[bytes], None], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.checker, self.rows, self.best = checker, rows, wasm
        self.say = say
        self._trace, self._save = trace, save
        self._last_trace: tuple[bytes, OracleTrace | None] | None = None

    @property
    def draft(self) -> Draft:
        """The smallest module so far, to be changed."""
        return draft(self.best)

    def summary(self) -> str:
        """The size of the smallest module so far and the number of candidates that were run."""
        now = sizes(self.best)
        return f"{now.code:,} bytes of code in {plural(now.functions, 'function')}, {self.checker.tested:,} candidates run"

    def why_nothing(self) -> str:
        """Why a reduction is pointless, else empty; the input shows the symptom."""
        return "an empty module also reproduces it" if self.shows(PREAMBLE) else ""

    def shows(self, wasm: bytes) -> bool:
        """Whether a module shows the symptom."""
        return self.first([wasm]) is not None

    def first(self, candidates: Iterable[bytes]) -> int | None:
        """The index of the first candidate that shows the symptom."""
        return self.checker.first(Candidate(each, self.rows) for each in candidates)

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

    def trace(self) -> OracleTrace | None:
        """What ``best`` executes under the oracle; None if it could not be traced."""
        if self._last_trace is None or self._last_trace[0] != self.best:
            self._last_trace = self.best, self._trace(self.best)
        return self._last_trace[1]


def written(candidate: Draft) -> bytes:
    """A candidate's bytes; empty if it cannot be written because a removed item is still referenced."""
    try:
        return candidate.write()
    except (ArtifactError, KeyError, IndexError):
        return b""
