"""What is known: ``baseline.toml``, and what a run says against it. ``baseline_file`` writes it. All but ``read`` is pure."""

from __future__ import annotations

import difflib
from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.cases.case_ids import certain, is_under, renamed
from diffcheck.config.input_files import parse_toml
from diffcheck.errors import ConfigError
from diffcheck.text import plural, visible
from diffcheck.verdict import BaselineReport, BaselineStatus, totals, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from diffcheck.observation import Identity
    from diffcheck.verdict import CaseReport, Divergence, EntryState, PassReport, Report

FILE_NAME: Final = "baseline.toml"
_CAP_BYTES: Final = 16 << 20
_HIDES: Final = ("outcome", "stream", "not located", "validity")
"""After such a divergence the rest of its instance was not compared."""
_ORDER: Final = ("new", "returned", "fixed", "wider", "expired", "stale", "flaky", "masked", "absent", "not run", "known")


class Engine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A subject as an entry names it."""

    subject: str
    version: str = ""
    sha256: str = ""


class BaselineEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One signature that is known. ``what`` says it in words, ``rows`` are those it was seen in (empty: in the state after them),
    ``modes`` the passes; ``since`` is the subject it was first seen in, ``fixed`` the one it was found to be gone in.
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
    """All entries, by signature. ``root`` is the folder that its cases are named from, relative to the file's own; empty in a file
    that does not say.
    """

    entries: dict[str, BaselineEntry] = {}
    root: str = ""

    def having(self, entries: dict[str, BaselineEntry]) -> Baseline:
        """The same with other entries."""
        return msgspec.structs.replace(self, entries=entries)

    @property
    def cases(self) -> tuple[str, ...]:
        """The cases of all entries."""
        return tuple(dict.fromkeys(case for each in self.entries.values() for case in each.cases))

    def root_from(self, folder: Path) -> str:
        """The root as an absolute path, where the file is in ``folder``; empty in a file that does not say."""
        return str((folder / self.root).resolve()) if self.root else ""

    def known(self, subject: str = "") -> dict[str, tuple[str, ...]]:
        """The signatures that are known of a subject, of any where none is named, with their cases."""
        found = self.entries.values()
        return {each.signature: each.cases for each in found if each.fixed is None and subject in ("", each.since.subject)}


def of(identity: Identity) -> Engine:
    """A run's subject as an entry names it."""
    return Engine(identity.name, identity.version, identity.sha256)


# The file.


def read(path: Path) -> Baseline:
    """The baseline in a file; raises ``ConfigError`` that names the entry, the key and the nearest right name."""
    data = process.read_output_file(path.resolve(), _CAP_BYTES)
    if isinstance(data, process.Unreadable):
        raise ConfigError(f"the baseline {visible(str(path))} cannot be read: {data.reason}", hint="check the path")
    try:
        return parse(data)
    except ConfigError as error:
        raise ConfigError(f"{visible(str(path))}: {error}", hint=error.hint) from error


def parse(data: bytes) -> Baseline:
    """The baseline that a TOML text says."""
    raw = parse_toml(data, ConfigError)
    _check_keys(raw, ("root", "known"), "")
    root = raw.get("root", "")
    if not isinstance(root, str):
        raise ConfigError("root has to be a string", hint="name the folder that cases are named from, relative to this file's")
    tables = raw.get("known", [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ConfigError("known has to be an array of tables", hint="write [[known]] over each entry")
    entries: dict[str, BaselineEntry] = {}
    for number, table in enumerate(tables, 1):
        entry = _entry(table, f"entry {number}")
        if entry.signature in entries:
            raise ConfigError(
                f"the signature {visible(entry.signature)} has two entries", hint="join them, with both entries' cases"
            )
        entries[entry.signature] = entry
    return Baseline(entries, root)


def _entry(table: dict[str, object], name: str) -> BaselineEntry:
    signature = table.get("signature")
    name = f"{name} ({visible(signature, 40)})" if isinstance(signature, str) else name
    _check_keys(table, BaselineEntry.__struct_fields__, f"{name}: ")
    for key in ("since", "fixed"):
        engine = table.get(key)
        if isinstance(engine, dict):
            _check_keys(engine, Engine.__struct_fields__, f"{name}: {key}.")
    try:
        entry = msgspec.convert(table, BaselineEntry)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{name}: {visible(str(error))}", hint="`diffcheck baseline add` writes entries as they should be"
        ) from error
    if not entry.signature or not entry.cases:
        raise ConfigError(f"{name} has no {'cases' if entry.signature else 'signature'}", hint="remove the entry, or fill it in")
    return entry


def _check_keys(table: Mapping[str, object], known: Iterable[str], where: str) -> None:
    names = list(known)
    for key in table:
        if key not in names:
            near = next(iter(difflib.get_close_matches(key[:64], names, 1)), "")
            hint = f"did you mean {near}?" if near else f"the keys are {', '.join(names)}"
            raise ConfigError(f"{where}unknown key {visible(key, 60)}", hint=hint)


# A run against it.


class Occurrence(msgspec.Struct, frozen=True):
    """Where a signature showed up in a run; ``flaky`` where in none of them steadily."""

    signature: str
    cases: tuple[str, ...]
    modes: tuple[str, ...]
    rows: tuple[str, ...]
    what: str
    flaky: bool


def seen(report: Report) -> dict[str, Occurrence]:
    """The signatures of a run, those of flaky passes too, the first to show up first."""
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
    return {signature: _seen(signature, places) for signature, places in found.items()}


def _seen(signature: str, places: list[tuple[str, PassReport, Divergence | None]]) -> Occurrence:
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
    """A divergence in a line, without its values, which drift: ``result 0 of f, br_if in f (leap.c:12)``.

    How a run ended does not drift, so that is said.
    """
    where = divergence.where
    if divergence.kind == "outcome":
        return visible(f"{where.function or 'the module'}: {divergence.oracle} against {divergence.subject}", 160)
    item = where.item if where.item.startswith(divergence.kind) else f"{divergence.kind} {where.item}".strip()
    code = " in ".join(part for part in (where.branch, where.function) if part)
    line = f" ({where.file}{'' if where.line is None else f':{where.line}'})" if where.file else ""
    return visible(f"{item}{', ' if code else ''}{code}{line}", 160)


def apply(report: Report, baseline: Baseline, today: date, *, file: str = "", strict: bool = False) -> Report:
    """The report with each divergence told as known or new, and what became of every entry."""
    baseline, unsure = _current(baseline, report)
    subject = of(report.subject)
    theirs = {key: each for key, each in baseline.entries.items() if each.since.subject == subject.subject}
    known = {key for key, each in theirs.items() if each.fixed is None}
    cases = tuple(marked(case, known) for case in report.cases)
    shown = seen(report)
    standings = [_unlisted(each, theirs.get(key)) for key, each in shown.items() if key not in known]
    by_name = {case.case: case for case in report.cases}
    for key in sorted(known):
        entry = theirs[key]
        standings.append(_standing(entry, shown.get(key), by_name, report, today, unsure=not unsure.isdisjoint(entry.cases)))
    standings.sort(key=lambda each: _ORDER.index(each.state))
    told = BaselineReport(file, strict, tuple(standings))
    return msgspec.structs.replace(report, cases=cases, totals=totals(cases), baseline=told)


def _current(baseline: Baseline, report: Report) -> tuple[Baseline, frozenset[str]]:
    """The baseline by the ids that cases have now, and those of the new ids that may be of other cases than were meant."""
    names = renamed((case for entry in baseline.entries.values() for case in entry.cases), (case.case for case in report.cases))
    if not names:
        return baseline, frozenset()
    entries = {
        key: msgspec.structs.replace(entry, cases=tuple(dict.fromkeys(names.get(case, case) for case in entry.cases)))
        for key, entry in baseline.entries.items()
    }
    return baseline.having(entries), frozenset(names.values()) - set(certain(names, report.places).values())


def marked(case: CaseReport, known: AbstractSet[str]) -> CaseReport:
    """The case with the verdict ``known`` if all its divergences have known signatures; one without a signature is never known."""
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


def _unlisted(shown: Occurrence, fixed: BaselineEntry | None) -> BaselineStatus:
    if fixed is not None and fixed.fixed is not None:
        why = f"it was gone in {visible(fixed.fixed.version or fixed.fixed.sha256[:12], 40)}"
        if shown.flaky:  # where a trap that comes and goes is found is chance: a return is reported once it is steady
            return BaselineStatus(
                shown.signature, "flaky", shown.cases, fixed.issue, fixed.note, f"{why}, and shows up in some runs"
            )
        return BaselineStatus(shown.signature, "returned", shown.cases, fixed.issue, fixed.note, why)
    return BaselineStatus(shown.signature, "flaky" if shown.flaky else "new", shown.cases, why=shown.what)


def _standing(
    entry: BaselineEntry, shown: Occurrence | None, cases: Mapping[str, CaseReport], report: Report, today: date, *, unsure: bool
) -> BaselineStatus:  # fmt: skip
    state, why = _state(entry, shown, cases, report, today)
    if unsure and shown is None:
        state, why = "not run", "its cases are named as in 0.1, and other cases may be meant"
    names = shown.cases if shown else entry.cases
    return BaselineStatus(entry.signature, state, names, entry.issue, entry.note or entry.what, why)


def _state(
    entry: BaselineEntry, shown: Occurrence | None, cases: Mapping[str, CaseReport], report: Report, today: date
) -> tuple[EntryState, str]:
    more = sorted(set(shown.cases) - set(entry.cases)) if shown else []
    if more:
        return "wider", f"its entry does not name {', '.join(visible(each, 60) for each in more[:3])}{' ...' if more[3:] else ''}"
    if entry.expires is not None and entry.expires < today:
        return "expired", f"on {entry.expires.isoformat()}"
    if shown is not None:
        return ("flaky", "it shows up in some runs only") if shown.flaky else ("known", "")
    return _unseen(entry, cases, report)


def _unseen(  # noqa: PLR0911 - one line a reason
    entry: BaselineEntry, cases: Mapping[str, CaseReport], report: Report
) -> tuple[EntryState, str]:
    """What an entry is that showed up nowhere: fixed only if every one of its cases that exist says so."""
    there = [cases[name] for name in entry.cases if name in cases]
    if not all(name in cases or _is_gone(name, report) for name in entry.cases):
        return "not run", "not all of its cases were run"
    if not there:
        return "stale", f"there is no case {visible(entry.cases[0], 60)} any more"
    says = [each for each in (_says(entry, case) for case in there) if each != "stale"]
    if not says:
        return "stale", "none of its rows exists any more"
    if "not run" in says:
        return "not run", "not all of its cases had a complete run"
    if "masked" in says:
        return "masked", "another difference in its place comes before it"
    if "flaky" in says:
        return "absent", "one of its cases did not come to the same each time, so that it does not show up says little"
    if entry.since.sha256 and entry.since.sha256 == report.subject.sha256:
        return "absent", "the subject is the one it was seen in"
    if entry.flaky:
        return "absent", "it was flaky: that it does not show up says little"
    return "fixed", f"gone in {visible(report.subject.version or report.subject.sha256[:12], 40)}"


def _is_gone(case: str, report: Report) -> bool:
    """Whether a case that is not in the report would be, if it existed."""
    partial = report.interrupted or any(report.options.get(name) for name in ("only", "last-failed", "shard"))
    return not partial and any(is_under(place, case) for place in report.places)


def _says(entry: BaselineEntry, case: CaseReport) -> EntryState:
    """What a case in which the signature did not show up says of it; *stale* where it has none of the entry's rows any more."""
    if any(each.applicable for each in case.passes) and entry.rows and not set(entry.rows) & set(case.rows):
        return "stale"
    for mode in entry.modes or tuple(each.mode for each in case.passes if each.applicable):
        found = next((each for each in case.passes if each.mode == mode and each.applicable), None)
        if found is None or found.verdict not in ("agree", "diverge", "known", "flaky"):
            return "not run"
        if any((run.verdict, set(run.signatures)) != (_first(found), set(found.signatures)) for run in found.repeats):
            return "flaky"
        if found.divergences and (not entry.rows or any(_may_hide(each, entry) for each in found.divergences)):
            return "masked"
        if found.divergences_total > len(found.divergences):
            return "masked"
    return "fixed" if case.passes else "not run"


def _first(seen: PassReport) -> str:
    """The verdict of the first run of a pass that was run again."""
    return "diverge" if seen.divergences else "agree"


def _may_hide(divergence: Divergence, entry: BaselineEntry) -> bool:
    return divergence.kind in _HIDES or divergence.where.row in entry.rows


# Changing it. Each gives the new baseline and, a line a change, what was changed.

Change = tuple[Baseline, tuple[str, ...]]


def add(baseline: Baseline, report: Report, signatures: Iterable[str], issue: str, note: str, expires: date | None) -> Change:
    """Add the given clusters of a report; one that was marked as fixed is known again from this subject on."""
    entries, lines = dict(baseline.entries), []
    found = seen(report)
    for signature in signatures:
        shown = found[signature]
        before = entries.get(signature)
        entry = BaselineEntry(
            signature, shown.cases, of(report.subject), shown.what, issue, note, expires, shown.modes, shown.rows, shown.flaky
        )
        again = before is not None and before.fixed is not None
        if before is not None:
            entry = msgspec.structs.replace(entry, issue=issue or before.issue, note=note or before.note)
        entries[signature] = entry
        cases = plural(len(entry.cases), "case")
        lines.append(f"{'added again' if again else 'added'} {signature}: {shown.what or 'flaky'}, in {cases}")
    return baseline.having(entries), tuple(lines)


def update(baseline: Baseline, report: Report, today: date) -> Change:
    """What the report says of entries: those that are fixed are marked, cases that came are added, those that are gone dropped.

    Cases that were not run stay as they are.
    """
    entries, lines = dict(baseline.entries), []
    shown = seen(report)
    told = apply(report, baseline, today).baseline or BaselineReport()
    existing = {case.case for case in report.cases}
    current, unsure = _current(baseline, report)
    for standing in told.standings:
        entry = entries.get(standing.signature)
        if entry is None or entry.fixed is not None:
            continue
        after, said = entry, []
        here = shown.get(standing.signature)
        known_as = current.entries[standing.signature].cases
        if known_as != entry.cases and (here is not None or unsure.isdisjoint(known_as)):
            after, said = msgspec.structs.replace(after, cases=known_as), ["cases named by their present ids"]
        if standing.state == "fixed":
            after, said = msgspec.structs.replace(after, fixed=of(report.subject)), [*said, f"marked as fixed: {standing.why}"]
        elif here is not None:
            after, more = _widened(after, here)
            said += more
        gone = {case for case in after.cases if case not in existing and _is_gone(case, report)}
        if gone and gone != set(after.cases):
            after = msgspec.structs.replace(after, cases=tuple(sorted(set(after.cases) - gone)))
            said = [*said, f"{plural(len(gone), 'case')} dropped that no longer exist"]
        if said:
            entries[entry.signature] = after
            lines.append(f"{entry.signature}: {'; '.join(said)}")
    return baseline.having(entries), tuple(lines)


def _widened(entry: BaselineEntry, here: Occurrence) -> tuple[BaselineEntry, list[str]]:
    said = []
    more = [case for case in here.cases if case not in entry.cases]
    if more:
        said.append(f"{plural(len(more), 'case')} added: {', '.join(visible(each, 60) for each in more[:5])}")
    if here.flaky and not entry.flaky:
        said.append("marked as flaky")
    rows = () if not entry.rows or not here.rows else tuple(sorted({*entry.rows, *here.rows}))
    modes = tuple(sorted({*entry.modes, *here.modes}))
    if not here.flaky and (rows, modes) != (tuple(sorted(entry.rows)), tuple(sorted(entry.modes))):
        said.append("also seen in another row or mode")
    else:
        rows, modes = entry.rows, entry.modes
    after = msgspec.structs.replace(
        entry, cases=tuple(sorted({*entry.cases, *more})), flaky=entry.flaky or here.flaky, rows=rows, modes=modes
    )
    return after, said


def prune(baseline: Baseline, report: Report, today: date, *, fixed: bool = False) -> Change:
    """Remove entries none of whose cases, or rows, exist; with ``fixed`` also those marked so: a return is then told as new."""
    told = apply(report, baseline, today).baseline or BaselineReport()
    stale = {each.signature: each.why for each in told.of("stale")}
    entries, lines = {}, []
    for key, entry in baseline.entries.items():
        if key in stale or (fixed and entry.fixed is not None):
            lines.append(f"removed {key}: {stale.get(key, 'it was marked as fixed')}")
        else:
            entries[key] = entry
    return baseline.having(entries), tuple(lines)
