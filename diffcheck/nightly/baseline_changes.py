"""Changes of a baseline by the report of a run. Each function returns the new baseline and a line for each change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.nightly.baseline import Baseline, BaselineEntry, is_gone, occurrences, of, statuses, with_present_ids
from diffcheck.text import plural, visible

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from diffcheck.nightly.baseline import Occurrence
    from diffcheck.verdict import Report

Change = tuple[Baseline, tuple[str, ...]]


def add(baseline: Baseline, report: Report, signatures: Iterable[str], issue: str, note: str, expires: date | None) -> Change:
    """Add clusters of a report; a fixed entry becomes known again, since this subject."""
    entries, lines = dict(baseline.entries), []
    found = occurrences(report)
    for signature in signatures:
        occurrence = found[signature]
        before = entries.get(signature)
        entry = BaselineEntry(
            signature,
            occurrence.cases,
            of(report.subject),
            occurrence.what,
            issue,
            note,
            expires,
            occurrence.modes,
            occurrence.rows,
            occurrence.flaky,
        )
        again = before is not None and before.fixed is not None
        if before is not None:
            entry = msgspec.structs.replace(entry, issue=issue or before.issue, note=note or before.note)
        entries[signature] = entry
        cases = plural(len(entry.cases), "case")
        lines.append(f"{'added again' if again else 'added'} {signature}: {occurrence.what or 'flaky'}, in {cases}")
    return baseline.having(entries), tuple(lines)


def update(baseline: Baseline, report: Report, today: date) -> Change:
    """Update entries by a report: mark fixed ones, add new cases, remove cases that no longer exist.

    Cases that were not run stay.
    """
    entries, lines = dict(baseline.entries), []
    found = occurrences(report)
    existing = {case.case for case in report.cases}
    current, unsure = with_present_ids(baseline, report)
    for status in statuses(report, baseline, today):
        entry = entries.get(status.signature)
        if entry is None or entry.fixed is not None:
            continue
        after, changes = entry, []
        here = found.get(status.signature)
        known_as = current.entries[status.signature].cases
        if known_as != entry.cases and (here is not None or unsure.isdisjoint(known_as)):
            after, changes = msgspec.structs.replace(after, cases=known_as), ["present ids of its cases"]
        if status.state == "fixed":
            after, changes = msgspec.structs.replace(after, fixed=of(report.subject)), [*changes, f"marked as fixed: {status.why}"]
        elif here is not None:
            after, more = _widened(after, here)
            changes += more
        gone = {case for case in after.cases if case not in existing and is_gone(case, report)}
        if gone and gone != set(after.cases):
            after = msgspec.structs.replace(after, cases=tuple(sorted(set(after.cases) - gone)))
            changes = [*changes, f"{plural(len(gone), 'case')} removed that no longer exist"]
        if changes:
            entries[entry.signature] = after
            lines.append(f"{entry.signature}: {'; '.join(changes)}")
    return baseline.having(entries), tuple(lines)


def _widened(entry: BaselineEntry, here: Occurrence) -> tuple[BaselineEntry, list[str]]:
    changes = []
    more = [case for case in here.cases if case not in entry.cases]
    if more:
        changes.append(f"{plural(len(more), 'case')} added: {', '.join(visible(each, 60) for each in more[:5])}")
    if here.flaky and not entry.flaky:
        changes.append("marked as flaky")
    rows = () if not entry.rows or not here.rows else tuple(sorted({*entry.rows, *here.rows}))
    modes = tuple(sorted({*entry.modes, *here.modes}))
    if not here.flaky and (rows, modes) != (tuple(sorted(entry.rows)), tuple(sorted(entry.modes))):
        changes.append("found in another row or mode")
    else:
        rows, modes = entry.rows, entry.modes
    after = msgspec.structs.replace(
        entry, cases=tuple(sorted({*entry.cases, *more})), flaky=entry.flaky or here.flaky, rows=rows, modes=modes
    )
    return after, changes


def prune(baseline: Baseline, report: Report, today: date, *, fixed: bool = False) -> Change:
    """Remove entries whose cases or rows do not exist; with ``fixed`` also fixed entries, whose signatures then become new."""
    stale = {each.signature: each.why for each in statuses(report, baseline, today) if each.state == "stale"}
    entries, lines = {}, []
    for key, entry in baseline.entries.items():
        if key in stale or (fixed and entry.fixed is not None):
            lines.append(f"removed {key}: {stale.get(key, 'it was marked as fixed')}")
        else:
            entries[key] = entry
    return baseline.having(entries), tuple(lines)
