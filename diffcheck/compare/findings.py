"""What a comparison gathers, and how a divergence gets its signature."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.verdict import Agreement, Allowance, Divergence, Where
from diffcheck.witness.formats import BranchPlace

if TYPE_CHECKING:
    from diffcheck.verdict import DivergenceKind

KEPT: Final = 200
"""How many divergences of one pass are kept, and of those beyond the first one of each signature, up to as many again; their number
is always told."""


class Findings:
    """Gathers divergences, allowances and how much was compared; ``branches`` say where the branches stand, ``unit`` is what the
    artifact is called, without folders and suffixes.

    ``places`` count the divergences by kind, row and item, in the shape of allowances without a rule: what they become where the
    deterministic form shows that they are legal choices. The first ``KEPT`` places are kept.
    """

    def __init__(self, branches: dict[int, BranchPlace] | None = None, unit: str = "") -> None:
        self._branches = branches or {}
        self._unit = unit
        self.divergences: list[Divergence] = []
        self.total = 0
        self.places: dict[tuple[str, str, str], Allowance] = {}
        self._allowances: dict[tuple[str, str, str], Allowance] = {}
        self._rows = self._values = self._values_nonzero = self._pages = self._counters = self._counters_nonzero = 0
        self._not_compared: dict[str, None] = {}
        self._causes: dict[str, str] = {}
        self._seen: set[str] = set()

    @property
    def allowances(self) -> tuple[Allowance, ...]:
        """The allowances, one a rule and item."""
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

    def diverge(  # noqa: PLR0913 - what is known of a difference
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
        """Record a divergence. ``shape`` is what its signature rests on besides kind and place: what does not drift.

        ``branch`` is a branch's id, ``function`` a function's index before instrumentation.
        """
        self.total += 1
        place = self._branches.get(branch, BranchPlace()) if branch is not None else self._function(function)
        if oracle == subject:
            detail = detail or "both read alike; what was recorded differs"
        self._count(kind, row, item, oracle, subject)
        where = Where(row, item, place.function or row.partition("=")[0], place.kind, place.file, place.line)
        mark = place.mark or where.function
        anywhere = place.shared or kind == "validity"  # an invalid module has no place; what counts is the rule that it breaks
        cause = self._cause(row, signature(kind, item, mark if anywhere else f"{self._unit}: {mark}", shape))
        if len(self.divergences) < KEPT or (cause not in self._seen and len(self._seen) < KEPT):
            self._seen.add(cause)
            self.divergences.append(Divergence(kind, where, oracle, subject, cause, detail))

    def _function(self, index: int | None) -> BranchPlace:
        """A function as a place, as far as a branch in it has its name."""
        name = next((each.function for each in self._branches.values() if index is not None and each.function_index == index), "")
        return BranchPlace(name, mark=name)

    def _count(self, kind: str, row: str, item: str, oracle: str, subject: str) -> None:
        known = self.places.get((kind, row, item))
        if known is not None:
            self.places[kind, row, item] = msgspec.structs.replace(known, count=known.count + 1)
        elif len(self.places) < KEPT:
            self.places[kind, row, item] = Allowance("", "", Where(row, item), oracle, subject)

    def begin_group(self) -> None:
        """The next instance begins: what differs on it follows from nothing before."""
        self._causes.clear()

    def _cause(self, row: str, own: str) -> str:
        """The signature of the first divergence in the same row, or of the instance for the final state: others follow from it."""
        first = self._causes.setdefault("", own)
        return self._causes.setdefault(row, own) if row else first

    def allow(self, rule: str, section: str, item: str, oracle: str, subject: str, *, row: str = "") -> None:
        """Record a difference that the specification leaves open."""
        key = (rule, row, item)
        known = self._allowances.get(key)
        if known is not None:
            self._allowances[key] = msgspec.structs.replace(known, count=known.count + 1)
        elif len(self._allowances) < KEPT:
            self._allowances[key] = Allowance(rule, section, Where(row, item), oracle, subject)

    def compared(self, values: int, nonzero: int = 0, *, rows: int = 0, pages: int = 0) -> None:
        """Count what was compared."""
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
        """Say what could not be compared."""
        self._not_compared[what] = None

    def place(self, branch: int) -> str:
        """A branch's place in words."""
        return str(self._branches.get(branch, ""))


def signature(kind: str, item: str, mark: str, shape: str) -> str:
    """Twelve hex digits that stay the same while the difference does: from what differs and where in the artifact's own terms.

    ``mark`` is the place: code whose source is known by that, so that it has one signature in every artifact it is linked into;
    else the artifact's name and the function's, since many artifacts have a ``run``. Not from values, row numbers, arguments,
    branch ids, addresses or folders, which drift from build to build; nor from the pass, since one cause shows in both.
    """
    parts = (kind, item.split(" ", 1)[0], mark, shape)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:12]
