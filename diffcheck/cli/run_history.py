"""What a run takes from earlier runs: baseline, history, timings, failed cases, the journal of an interrupted run."""

from __future__ import annotations

import contextlib
import math
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import rich_click as click

from diffcheck import verdict
from diffcheck.cases import case_ids
from diffcheck.config import option_table
from diffcheck.errors import DiffcheckError, ReportError
from diffcheck.nightly import baseline, baseline_file, history, timings
from diffcheck.report import json_file, model, page_data
from diffcheck.report.evidence import statement
from diffcheck.runner import events
from diffcheck.runner.persist import journal
from diffcheck.text import plural, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.report.page_data import Life
    from diffcheck.runner.request import Request
    from diffcheck.verdict import Report


_COSTS_SHOWN: Final = 8
_LOCALISING_S: Final = 60.0
SELFTEST: Final = "selftest.json"
_SWEEP: Final = Path("sweep", "sweep.json")


class Known:
    """The baseline of a run; empty without a file."""

    def __init__(self, file: str | None, *, strict: bool) -> None:
        self._file, self._strict = file or "", strict
        self._baseline = baseline_file.read(Path(file)) if file else None
        self._subject = ""

    def request(self, wanted: Request) -> Request:
        """The request with the known signatures, which need no confirmation."""
        if self._baseline is None:
            return wanted
        return msgspec.structs.replace(wanted, known=self._baseline.known(), known_root=self._root, known_file=self._file)

    def live(self, event: events.Event) -> events.Event:
        """The event; the verdict of a finished case becomes ``known`` if all its divergences are known."""
        if isinstance(event, events.RunStarted):
            self._subject = event.subject.name
        if self._baseline is None or not isinstance(event, events.CaseFinished):
            return event
        return events.CaseFinished(baseline.marked(event.report, self._baseline.known(self._subject).keys()))

    @property
    def _root(self) -> str:
        return self._baseline.root_from(Path(self._file).parent) if self._baseline is not None else ""

    def apply(self, report: Report) -> Report:
        """The report with known divergences marked; raises ``ConfigError`` if the baseline's cases have another root."""
        if self._baseline is not None:
            ids = [each.case for each in report.cases]
            case_ids.require_same_root(self._root, self._baseline.cases, report.root, ids, self._file)
            return baseline.apply(report, self._baseline, today(), file=self._file, strict=self._strict)
        return msgspec.structs.replace(report, baseline=verdict.BaselineReport(strict=True)) if self._strict else report


def journaled(wanted: Request, reports: Path) -> tuple[Request, str]:
    """The request with its journal beside the reports, and a note if an interrupted run is discarded when it starts, or missing."""
    path, note = reports / journal.FILE_NAME, ""
    done, total = journal.unfinished(path)
    if done and not wanted.resume:
        note = f"an interrupted run ({done} of {total} cases) is discarded; --resume would have resumed it"
    elif wanted.resume and not total:
        note = "there is no interrupted run to resume: a new run begins"
    return msgspec.structs.replace(wanted, journal=str(path)), note


def last_failed(wanted: Request, reports: Path) -> Request:
    """The request for the failed cases of the last report only, or for those of the interrupted run that is resumed."""
    path = reports / journal.FILE_NAME
    ids = journal.case_names(path) if wanted.resume else ()
    if not ids:
        last = json_file.read(reports / json_file.FILE_NAME)
        ids = tuple(sorted(each.case for each in last.cases if model.fails(each)))
    if not ids:
        click.echo("note: no case failed in the last report: all cases are run", err=True)
    return msgspec.structs.replace(wanted, ids=ids)


def timed(wanted: Request, reports: Path, given: Mapping[str, Any]) -> Request:
    """The request with the cases' earlier times: those of ``--timings``, else those of the last report, for the order only."""
    if given.get("timings"):
        times = timings.read(Path(given["timings"]))
        return msgspec.structs.replace(wanted, times_ns=times, shard_times_ns=times)
    try:
        return msgspec.structs.replace(wanted, times_ns=timings.read(reports / json_file.FILE_NAME))
    except ReportError:
        return wanted  # no usable report: ordered by size


def today() -> date:
    """The date in UTC, so that a run's verdict does not depend on the machine's time zone."""
    return datetime.now(UTC).date()


def lives(report: Report, reports: Path) -> dict[str, Life]:
    """Each cluster's baseline entry and last runs, for the page."""
    standings = {each.signature: each for each in report.baseline.standings} if report.baseline else {}
    path, strips = reports / history.FILE_NAME, {}
    if path.is_file():
        with contextlib.suppress(ReportError):  # ``remember`` reports it; the page goes without
            strips = history.strip(path, report.subject.name, until=report.started)
    return {key: page_data.life(standings.get(key), strips.get(key, ())) for key in {**standings, **strips}}


def caused(report: Report, wanted: Request, limit: str, *, quiet: bool = False) -> Report:
    """The report with the causes of its new clusters: of up to ``limit`` of them, or ``auto`` as many as a minute allows.

    Its time includes theirs. It is marked interrupted if localising was, so that the run can be resumed for the causes.
    """
    if report.baseline is not None and report.baseline.file:
        new = [each.signature for each in report.baseline.of("new", "returned")]
    else:
        new = [each.signature for each in model.clusters(report)]
    number = option_table.parse_causes(limit)
    most = len(new) if number is None else number
    if not new or report.interrupted or not most:
        return report
    from diffcheck.triage import causes  # noqa: PLC0415 - 50 ms that only a run with something new pays for

    chosen = causes.first_occurrences(report, new)[:most]
    if not chosen:
        return report

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    begun = time.monotonic_ns()
    say(f"localising {plural(len(chosen), 'new cluster')} of {len(new)} (--causes 0 skips this)")
    try:
        found, tried = causes.find_causes(wanted, chosen, _LOCALISING_S if number is None else math.inf)
    except (DiffcheckError, KeyboardInterrupt) as error:  # the run's results are reported all the same
        click.echo(f"note: nothing was localised: {visible(str(error) or 'interrupted', 500)}", err=True)
        return msgspec.structs.replace(report, interrupted=isinstance(error, KeyboardInterrupt))
    without = tried - sum(len(each.signatures) for each in found)
    if without:
        say(f"{plural(without, 'cluster')} not traced to an instruction; `diffcheck localise` prints the reason")
    if tried < len(chosen):
        say(f"{plural(len(chosen) - tried, 'cluster')} not localised: the time limit was reached (--causes N)")
    return msgspec.structs.replace(report, causes=found, elapsed_ns=report.elapsed_ns + time.monotonic_ns() - begun)


def with_map(report: Report, reports: Path) -> Report:
    """The report with the share of the map that the last sweep of the same subject checked, if there was one."""
    path = reports / _SWEEP
    if not path.is_file():
        return report
    from diffcheck.runner.sweep import coverage  # noqa: PLC0415 - only after a sweep

    try:
        found = msgspec.json.decode(path.read_bytes(), type=coverage.SweepMap)
    except (OSError, msgspec.MsgspecError):
        return report  # `diffcheck sweep` reports it
    if found.subject != report.subject:
        return report
    checked = sum(each.outcome in coverage.CHECKED for each in found.cells)
    return msgspec.structs.replace(report, map=verdict.MapShare(len(found.cells), checked, found.checks))


def with_selftest(report: Report, reports: Path) -> Report:
    """The report with the result of the last selftest, if that was one of this diffcheck."""
    try:
        found = msgspec.json.decode((reports / SELFTEST).read_bytes(), type=verdict.SelftestResult)
    except (OSError, msgspec.MsgspecError):
        return report
    return msgspec.structs.replace(report, selftest=found) if found.sha256 == statement.own_digest() else report


def remember(report: Report, reports: Path) -> None:
    """Add the run to the history; a history that cannot be written is a note."""
    if report.interrupted or report.division:
        return  # the history has whole runs only
    path = reports / history.FILE_NAME
    try:
        history.add(path, report)
        costs = history.costlier_now(path)
        for each in costs[:_COSTS_SHOWN]:
            click.echo(f"note: {visible(each.case, 200)} got {each.what}", err=True)
        if len(costs) > _COSTS_SHOWN:
            click.echo(f"note: and {plural(len(costs) - _COSTS_SHOWN, 'more case')}; see `diffcheck history`", err=True)
    except ReportError as error:
        click.echo(f"note: {visible(str(error), 500)}; {visible(error.hint, 500)}", err=True)
