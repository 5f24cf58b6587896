"""``diffcheck gate``: whether a build of an engine may be released."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import rich_click as click

from diffcheck.backend import registry
from diffcheck.cli import completion, run, sweep
from diffcheck.cli.option_types import Number
from diffcheck.cli.options import PROGRAMS, options
from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED, EXIT_USAGE
from diffcheck.nightly import baseline as baselines
from diffcheck.nightly import baseline_changes, baseline_file
from diffcheck.report import cause_rows, json_file, model, page_data
from diffcheck.text import plural, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diffcheck.nightly.baseline import Baseline
    from diffcheck.report.cause_rows import CauseRow
    from diffcheck.verdict import Report

_EPILOG = (
    "Exit codes: 0 nothing new; 1 something diverges and is not known; 2 usage, configuration or missing engine; 3 nothing new, "
    "but a case is inconclusive; 130 interrupted."
)
_WORST: Final = (EXIT_USAGE, EXIT_DIVERGE, EXIT_INCONCLUSIVE, EXIT_AGREE)
_PARTS: Final = ("sweep", ".")
"""The folders of the two reports under ``--reports``: that of the sweep, and that of the cases."""
_NAMED: Final = ("new", "returned", "fixed")
_SHOWN: Final = 10
_SECONDS: Final = 60


@click.command("gate", epilog=_EPILOG)
@click.argument("build", metavar="BUILD")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", shell_complete=completion.paths)
@click.option(
    "--against", default=None, metavar="BUILD", envvar="DIFFCHECK_AGAINST",
    help="Reference build: divergences that it shows too are known. Default: the baseline decides.",
)  # fmt: skip
@click.option(
    "--budget", type=Number(1, 86_400, "seconds"), default=_SECONDS, show_default=True, envvar="DIFFCHECK_BUDGET",
    metavar="SECONDS", help="Time of the sweep for traps and random operands.",
)  # fmt: skip
@options(
    "oracle", PROGRAMS, "jobs", "deadline", "memory-limit", "max-passes", "confirm", "cache", "no-cache", "cache-limit", "reports",
    "baseline", "causes",
)  # fmt: skip
@click.pass_context
def command(
    context: click.RichContext,
    /,
    build: str,
    paths: tuple[str, ...],
    against: str | None,
    reports: str,
    baseline: str | None,
    **given: Any,  # noqa: ANN401 - the options of the table
) -> int:
    """Check a build of an engine before a release: sweep its instructions, run all cases, compare by cause with another build.

    BUILD is a program, or a subject as in --subject; PATH is an artifact, a script or a folder, as in `diffcheck run`.
    """
    folder = Path(reports)
    known: list[str | None] = [baseline, baseline]
    if against is not None:
        # In the same folder, since the names of cases depend on it.
        code = _check(context, _subject(against), paths, folder, [None, None], {**given, "causes": "0"})
        if code == EXIT_INTERRUPTED:
            return code
        known = [str(_known(folder / part)) for part in _PARTS]
    code = _check(context, _subject(build), paths, folder, known, given)
    if code == EXIT_INTERRUPTED:
        return code
    _summarise([json_file.read(folder / part / json_file.FILE_NAME) for part in _PARTS if _has_report(folder / part)], folder)
    return code


def _subject(build: str) -> str:
    """The subject that a build names: a program is one of the preferred engine with a program."""
    return f"{registry.programs()[0].name}:{build}" if Path(build).is_file() else build


def _check(
    context: click.RichContext,
    subject: str,
    paths: tuple[str, ...],
    folder: Path,
    known: Sequence[str | None],
    given: dict[str, Any],
) -> int:
    """Sweep the subject's instructions and run all cases, each with its baseline; returns the worst exit code.

    An interruption ends it, with a line about what is missing.
    """
    of_run = {name: value for name, value in given.items() if name != "budget"}
    shared = {"subject": subject, "reports": str(folder), "quiet": True}
    (folder / _PARTS[0] / json_file.FILE_NAME).unlink(missing_ok=True)
    codes: list[int] = []
    try:
        codes.append(context.invoke(sweep.command, **given, **shared, baseline=known[0]))
        if EXIT_INTERRUPTED not in codes:
            codes.append(context.invoke(run.command, paths=paths, **of_run, **shared, baseline=known[1]))
    except KeyboardInterrupt:
        codes.append(EXIT_INTERRUPTED)
    if EXIT_INTERRUPTED in codes:
        missing = "the cases" if len(codes) > 1 else "the sweep and the cases"
        click.echo(f"gate      exit code {EXIT_INTERRUPTED}, interrupted: {missing} of {visible(subject, 200)} did not complete")
        return EXIT_INTERRUPTED
    return next(each for each in _WORST if each in codes)


def _has_report(folder: Path) -> bool:
    return (folder / json_file.FILE_NAME).is_file()


def _known(folder: Path) -> Path:
    """A baseline with all that the report of a folder has; the report is kept beside it."""
    path = folder / "against.toml"
    known: Baseline = baselines.Baseline()
    if _has_report(folder):
        report = json_file.read(folder / json_file.FILE_NAME)
        known = msgspec.structs.replace(known, root=report.root)
        known, _ = baseline_changes.add(known, report, baselines.occurrences(report), "", "shown by the other build", None)
        shutil.copyfile(folder / json_file.FILE_NAME, path.with_suffix(".json"))
    path.unlink(missing_ok=True)
    baseline_file.write(known, path)
    return path


def _summarise(reports: Sequence[Report], folder: Path) -> None:
    """Print one line for each cause that is new, returned or fixed, and the number of the known ones."""
    rows = [row for report in reports for row in _rows(report)]
    counts = {state: sum(row.state == state for row in rows) for state in (*_NAMED, "known", "expected")}
    click.echo(f"gate      {', '.join(f'{count} {state}' for state, count in counts.items())}, by cause")
    for state in _NAMED:
        of_state = [row for row in rows if row.state == state]
        for row in of_state[:_SHOWN]:
            click.echo(f"{state:<9} {visible(row.title, 200)} ({plural(len(row.cases or row.names), 'case')})")
        if len(of_state) > _SHOWN:
            click.echo(f"{state:<9} and {len(of_state) - _SHOWN} more, in the reports")
    click.echo(f"reports   {visible(str(folder))}, {visible(str(folder / _PARTS[0]))}")


def _rows(report: Report) -> Iterator[CauseRow]:
    standings = {each.signature: each for each in report.baseline.standings} if report.baseline else {}
    lives = {key: page_data.life(each, ()) for key, each in standings.items()}
    yield from cause_rows.cause_rows(report, model.clusters(report), lives)
