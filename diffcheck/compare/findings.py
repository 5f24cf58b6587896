"""The findings of a comparison, and the signatures of divergences."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.verdict import Agreement, Allowance, Divergence, Where
from diffcheck.witness.formats import BranchPlace, places

if TYPE_CHECKING:
    from diffcheck.verdict import DivergenceKind
    from diffcheck.witness.formats import Manifest

KEPT: Final = 200
"""The number of divergences that a pass keeps, and beyond them of first divergences of further signatures. All are counted."""


class Findings:
    """Collects divergences, allowances and the amount of compared values; ``manifest`` has the places of branches, ``unit`` is the
    name of the artifact without folders and suffixes.

    ``places`` counts divergences by kind, row and item, as allowances without a rule: they become allowances if the deterministic
    form shows that they are legal choices. The first ``KEPT`` places are kept.
    """

    def __init__(self, manifest: Manifest | None = None, unit: str = "", *, by_row: bool = False) -> None:
        """``unit`` is the artifact's name in signatures; with ``by_row`` they have the whole row and not only its function."""
        self._by_row = by_row
        self._manifest = manifest
        self._unit = unit
        self.divergences: list[Divergence] = []
        self.total = 0
        self.places: dict[tuple[str, str, str], Allowance] = {}
        self._allowances: dict[tuple[str, str, str], Allowance] = {}
        self._rows = self._values = self._values_nonzero = self._pages = self._counters = self._counters_nonzero = 0
        self._not_compared: dict[str, None] = {}
        self._causes: dict[str, str] = {}
        self._seen: set[str] = set()

    @cached_property
    def _branches(self) -> dict[int, BranchPlace]:
        return places(self._manifest) if self._manifest else {}

    @property
    def allowances(self) -> tuple[Allowance, ...]:
        """The allowances, one for each rule and item."""
        return tuple(self._allowances.values())

    @property
    def agreement(self) -> Agreement:
        """How much was compared, and what was not."""
        return Agreement(
            rows=self._rows,
            counters=self._counters,
            counters_nonzero=self._counters_nonzero,
            values=self._values,
            values_nonzero=self._values_nonzero,
            pages=self._pages,
            not_compared=tuple(self._not_compared),
        )

    def diverge(  # noqa: PLR0913 - the properties of a difference
        self,
        kind: DivergenceKind,
        item: str,
        oracle: str,
        subject: str,
        *,
        row: str = "",
        branch: int | None = None,
        function: int | None = None,
        shape: str = "",
        detail: str = "",
    ) -> None:
        """Record a divergence. ``shape`` is the part of the signature besides kind and place; it must not vary between builds.

        ``branch`` is the id of a branch, ``function`` the index of a function before instrumentation.
        """
        self.total += 1
        place = self._branches.get(branch, BranchPlace()) if branch is not None else self._function(function)
        if oracle == subject:
            detail = detail or "both have the same text; the recorded values differ"
        self._count(kind, row, item, oracle, subject)
        where = Where(row, item, place.function or row.partition("=")[0], place.kind, place.file, place.line)
        mark = place.mark or (row if self._by_row else where.function)
        anywhere = place.shared or kind == "validity"  # an invalid module has no place; the broken rule counts
        cause = self._cause(row, signature(kind, item, mark if anywhere else f"{self._unit}: {mark}", shape))
        if len(self.divergences) < KEPT or (cause not in self._seen and len(self._seen) < KEPT):
            self._seen.add(cause)
            self.divergences.append(Divergence(kind, where, oracle, subject, cause, detail))

    def _function(self, index: int | None) -> BranchPlace:
        """The place of a function, with its name if one of its branches has it."""
        name = next((each.function for each in self._branches.values() if index is not None and each.function_index == index), "")
        return BranchPlace(name, mark=name)

    def _count(self, kind: str, row: str, item: str, oracle: str, subject: str) -> None:
        known = self.places.get((kind, row, item))
        if known is not None:
            self.places[kind, row, item] = msgspec.structs.replace(known, count=known.count + 1)
        elif len(self.places) < KEPT:
            self.places[kind, row, item] = Allowance("", "", Where(row, item), oracle, subject)

    def begin_group(self) -> None:
        """Begin the next instance, whose differences do not follow from earlier ones."""
        self._causes.clear()

    def _cause(self, row: str, own: str) -> str:
        """The signature of the first divergence in the same row, or of the instance for the final state: others follow from it."""
        first = self._causes.setdefault("", own)
        return self._causes.setdefault(row, own) if row else first

    def allow(self, rule: str, section: str, item: str, oracle: str, subject: str, *, row: str = "") -> None:
        """Record a difference that the specification allows."""
        key = (rule, row, item)
        known = self._allowances.get(key)
        if known is not None:
            self._allowances[key] = msgspec.structs.replace(known, count=known.count + 1)
        elif len(self._allowances) < KEPT:
            self._allowances[key] = Allowance(rule, section, Where(row, item), oracle, subject)

    def compared(self, values: int, nonzero: int = 0, *, rows: int = 0, pages: int = 0) -> None:
        """Count compared values."""
        self._rows += rows
        self._values += values
        self._values_nonzero += nonzero
        self._pages += pages

    def compared_counters(self, number: int, nonzero: int) -> None:
        """Count compared counters, which are values too: every instance has all of them, so the largest numbers count."""
        self._counters = max(self._counters, number)
        self._counters_nonzero = max(self._counters_nonzero, nonzero)
        self.compared(number, nonzero)

    def not_compared(self, what: str) -> None:
        """Record what could not be compared."""
        self._not_compared[what] = None

    def place(self, branch: int) -> str:
        """The place of a branch as text."""
        return str(self._branches.get(branch, ""))


def signature(kind: str, item: str, mark: str, shape: str) -> str:
    """Twelve hex digits that identify a difference across builds: a digest of its kind, item, place and shape.

    ``mark`` is the place: source code if known, so that the signature is the same in every artifact that links the code; else the
    names of artifact and function, since many artifacts have a ``run``. Values, row numbers, arguments, branch ids, addresses and
    folders are left out, since they vary between builds, and so is the pass, since both passes may show the same cause.
    """
    parts = (kind, item.split(" ", 1)[0], mark, shape)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:12]
