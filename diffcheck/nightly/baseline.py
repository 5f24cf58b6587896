"""The baseline of known signatures, and a run compared with it."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.cases.case_ids import certain, is_under, renamed
from diffcheck.text import visible
from diffcheck.verdict import BaselineReport, BaselineStatus, totals, worst

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from diffcheck.observation import Identity
    from diffcheck.verdict import CaseReport, Divergence, EntryState, PassReport, Report

_HIDES: Final = ("outcome", "stream", "not located", "validity")
"""Kinds of divergences after which the rest of the instance is not compared."""
_ORDER: Final = ("new", "returned", "fixed", "wider", "expired", "stale", "flaky", "masked", "absent", "not run", "known")


class Engine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A subject, as entries identify it."""

    subject: str
    version: str = ""
    sha256: str = ""


class BaselineEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One known signature. ``what`` describes it, ``rows`` are the rows in which it occurred (empty: in the final state), ``modes``
    the passes; ``since`` is the subject in which it was first found, ``fixed`` the one in which it was gone.
    """

    signature: str
    cases: tuple[str, ...]
    since: Engine
    what: str = ""
    issue: str = ""
    note: str = ""
    expires: date | None = None
    modes: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    flaky: bool = False
    fixed: Engine | None = None


class Baseline(msgspec.Struct, frozen=True):
    """All entries by signature. ``root`` is the folder that ids of cases are relative to, as a path from the file's folder; empty
    if unknown.
    """

    entries: dict[str, BaselineEntry] = {}
    root: str = ""

    def having(self, entries: dict[str, BaselineEntry]) -> Baseline:
        """The baseline with other entries."""
        return msgspec.structs.replace(self, entries=entries)

    @property
    def cases(self) -> tuple[str, ...]:
        """The cases of all entries."""
        return tuple(dict.fromkeys(case for each in self.entries.values() for case in each.cases))

    def root_from(self, folder: Path) -> str:
        """The absolute path of the root of a file in ``folder``; empty if unknown."""
        return str((folder / self.root).resolve()) if self.root else ""

    def known(self, subject: str = "") -> dict[str, tuple[str, ...]]:
        """The known signatures of a subject (empty: of all) with their cases."""
        found = self.entries.values()
        return {each.signature: each.cases for each in found if each.fixed is None and subject in ("", each.since.subject)}


def of(identity: Identity) -> Engine:
    """The subject of a run, as entries identify it."""
    return Engine(identity.name, identity.version, identity.sha256)


# A run compared with it.


class Occurrence(msgspec.Struct, frozen=True):
    """The occurrences of a signature in a run; ``flaky`` if no pass has it in all repeats."""

    signature: str
    cases: tuple[str, ...]
    modes: tuple[str, ...]
    rows: tuple[str, ...]
    what: str
    flaky: bool


def occurrences(report: Report) -> dict[str, Occurrence]:
    """The signatures of a run, including flaky ones, in order of occurrence."""
    found: dict[str, list[tuple[str, PassReport, Divergence | None]]] = {}
    for case in report.cases:
        for each in case.passes:
            first: dict[str, Divergence | None] = {}
            for one in each.divergences:
                first.setdefault(one.signature, one)
            for signature in (signature for run in each.repeats for signature in run.signatures):
                first.setdefault(signature, None)
            for signature, divergence in first.items():
                if signature:
                    found.setdefault(signature, []).append((case.case, each, divergence))
    return {signature: _occurrence(signature, places) for signature, places in found.items()}


def _occurrence(signature: str, places: list[tuple[str, PassReport, Divergence | None]]) -> Occurrence:
    divergences = [each for _, _, each in places if each is not None]
    rows = {each.where.row for each in divergences}
    return Occurrence(
        signature,
        tuple(dict.fromkeys(case for case, _, _ in places)),
        tuple(dict.fromkeys(each.mode for _, each, _ in places)),
        tuple(sorted(rows)) if "" not in rows else (),
        words(divergences[0]) if divergences else "",
        all(not _steady(signature, each) for _, each, _ in places),
    )


def _steady(signature: str, each: PassReport) -> bool:
    return signature in each.signatures and all(signature in run.signatures for run in each.repeats)


def words(divergence: Divergence) -> str:
    """A divergence in a line without its values, which vary between builds: ``result 0 of f, br_if in f (leap.c:12)``.

    Outcomes do not vary, so they are included.
    """
    where = divergence.where
    if divergence.kind == "outcome":
        return visible(f"{where.function or 'the module'}: oracle {divergence.oracle}, subject {divergence.subject}", 160)
    item = where.item if where.item.startswith(divergence.kind) else f"{divergence.kind} {where.item}".strip()
    code = " in ".join(part for part in (where.branch, where.function) if part)
    line = f" ({where.file}{'' if where.line is None else f':{where.line}'})" if where.file else ""
    return visible(f"{item}{', ' if code else ''}{code}{line}", 160)


def apply(report: Report, baseline: Baseline, today: date, *, file: str = "", strict: bool = False) -> Report:
    """The report with known divergences marked, and the status of every signature."""
    known = set(baseline.known(report.subject.name))
    cases = tuple(marked(case, known) for case in report.cases)
    result = BaselineReport(file, strict, statuses(report, baseline, today))
    return msgspec.structs.replace(report, cases=cases, totals=totals(cases), baseline=result)


def statuses(report: Report, baseline: Baseline, today: date) -> tuple[BaselineStatus, ...]:
    """The status of every signature of the run and of every entry of its subject, in the order of ``_ORDER``."""
    baseline, unsure = with_present_ids(baseline, report)
    entries = {key: each for key, each in baseline.entries.items() if each.since.subject == report.subject.name}
    known = baseline.known(report.subject.name)
    found = occurrences(report)
    statuses = [_unknown_status(each, entries.get(key)) for key, each in found.items() if key not in known]
    by_name = {case.case: case for case in report.cases}
    for key in sorted(known):
        entry = entries[key]
        statuses.append(_entry_status(entry, found.get(key), by_name, report, today, unsure=not unsure.isdisjoint(entry.cases)))
    return tuple(sorted(statuses, key=lambda each: _ORDER.index(each.state)))


def with_present_ids(baseline: Baseline, report: Report) -> tuple[Baseline, frozenset[str]]:
    """The baseline with the present ids of its cases, and the new ids that may belong to other cases."""
    names = renamed((case for entry in baseline.entries.values() for case in entry.cases), (case.case for case in report.cases))
    if not names:
        return baseline, frozenset()
    entries = {
        key: msgspec.structs.replace(entry, cases=tuple(dict.fromkeys(names.get(case, case) for case in entry.cases)))
        for key, entry in baseline.entries.items()
    }
    return baseline.having(entries), frozenset(names.values()) - set(certain(names, report.places).values())


def marked(case: CaseReport, known: AbstractSet[str]) -> CaseReport:
    """The case with the verdict ``known`` if all its divergences are; one without a signature is never known."""
    passes = tuple(msgspec.structs.replace(each, verdict="known") if _is_known(each, known) else each for each in case.passes)
    if passes == case.passes:
        return case
    verdict = worst([each.verdict for each in passes if each.applicable])
    return msgspec.structs.replace(case, passes=passes, verdict=verdict)


def _is_known(each: PassReport, known: AbstractSet[str]) -> bool:
    if each.verdict not in ("diverge", "flaky"):
        return False
    signatures = {one.signature for one in each.divergences} | {one for run in each.repeats for one in run.signatures}
    undecided = any(run.verdict not in ("agree", "diverge") for run in each.repeats)
    return bool(signatures) and signatures <= known and not undecided


def _unknown_status(found: Occurrence, fixed: BaselineEntry | None) -> BaselineStatus:
    if fixed is not None and fixed.fixed is not None:
        why = f"it was fixed in {visible(fixed.fixed.version or fixed.fixed.sha256[:12], 40)}"
        if found.flaky:  # the place of a flaky trap is random, so only a steady one counts as returned
            return BaselineStatus(
                found.signature, "flaky", found.cases, fixed.issue, fixed.note, f"{why}, and it occurs in some runs"
            )
        return BaselineStatus(found.signature, "returned", found.cases, fixed.issue, fixed.note, why)
    return BaselineStatus(found.signature, "flaky" if found.flaky else "new", found.cases, why=found.what)


def _entry_status(
    entry: BaselineEntry, found: Occurrence | None, cases: Mapping[str, CaseReport], report: Report, today: date, *, unsure: bool
) -> BaselineStatus:  # fmt: skip
    state, why = _status(entry, found, cases, report, today)
    if unsure and found is None:
        state, why = "not run", "its cases have ids of version 0.1, which may belong to other cases"
    names = found.cases if found else entry.cases
    return BaselineStatus(entry.signature, state, names, entry.issue, entry.note or entry.what, why)


def _status(
    entry: BaselineEntry, found: Occurrence | None, cases: Mapping[str, CaseReport], report: Report, today: date
) -> tuple[EntryState, str]:
    more = sorted(set(found.cases) - set(entry.cases)) if found else []
    if more:
        return "wider", f"its entry does not have {', '.join(visible(each, 60) for each in more[:3])}{' ...' if more[3:] else ''}"
    if entry.expires is not None and entry.expires < today:
        return "expired", f"on {entry.expires.isoformat()}"
    if found is not None:
        return ("flaky", "it occurs in some runs only") if found.flaky else ("known", "")
    return _missing_status(entry, cases, report)


def _missing_status(  # noqa: PLR0911 - one line for each reason
    entry: BaselineEntry, cases: Mapping[str, CaseReport], report: Report
) -> tuple[EntryState, str]:
    """The status of an entry without an occurrence: fixed only if all its existing cases show that."""
    there = [cases[name] for name in entry.cases if name in cases]
    if not all(name in cases or is_gone(name, report) for name in entry.cases):
        return "not run", "not all of its cases were run"
    if not there:
        return "stale", f"the case {visible(entry.cases[0], 60)} no longer exists"
    statuses = [each for each in (_case_status(entry, case) for case in there) if each != "stale"]
    if not statuses:
        return "stale", "its rows no longer exist"
    if "not run" in statuses:
        return "not run", "not all of its cases had a complete run"
    if "masked" in statuses:
        return "masked", "an earlier difference hides it"
    if "flaky" in statuses:
        return "absent", "one of its cases is flaky, so it may only be missing in this run"
    if entry.since.sha256 and entry.since.sha256 == report.subject.sha256:
        return "absent", "the subject is the build in which it was found"
    if entry.flaky:
        return "absent", "it was flaky, so it may only be missing in this run"
    return "fixed", f"gone in {visible(report.subject.version or report.subject.sha256[:12], 40)}"


def is_gone(case: str, report: Report) -> bool:
    """Whether a case that is not in the report does not exist."""
    partial = report.interrupted or any(report.options.get(name) for name in ("only", "last-failed", "shard"))
    return not partial and any(is_under(place, case) for place in report.places)


def _case_status(entry: BaselineEntry, case: CaseReport) -> EntryState:
    """The status of a signature by one case without it; *stale* if the case no longer has the entry's rows."""
    if any(each.applicable for each in case.passes) and entry.rows and not set(entry.rows) & set(case.rows):
        return "stale"
    for mode in entry.modes or tuple(each.mode for each in case.passes if each.applicable):
        found = next((each for each in case.passes if each.mode == mode and each.applicable), None)
        if found is None or found.verdict not in ("agree", "diverge", "known", "oracle", "flaky"):
            return "not run"
        if any((run.verdict, set(run.signatures)) != (_first(found), set(found.signatures)) for run in found.repeats):
            return "flaky"
        if found.divergences and (not entry.rows or any(_may_hide(each, entry) for each in found.divergences)):
            return "masked"
        if found.divergences_total > len(found.divergences):
            return "masked"
    return "fixed" if case.passes else "not run"


def _first(seen: PassReport) -> str:
    """The verdict of the first run of a repeated pass."""
    return "diverge" if seen.divergences else "agree"


def _may_hide(divergence: Divergence, entry: BaselineEntry) -> bool:
    return divergence.kind in _HIDES or divergence.where.row in entry.rows
