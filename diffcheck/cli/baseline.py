"""``diffcheck baseline``: the file of known divergences, maintained from the last report."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from diffcheck import verdict
from diffcheck.cases import case_ids
from diffcheck.cli import config_defaults, run_history
from diffcheck.cli.command_group import SuggestingGroup
from diffcheck.cli.options import options
from diffcheck.errors import ConfigError
from diffcheck.nightly import baseline as b
from diffcheck.nightly import baseline_changes, baseline_file
from diffcheck.report import history_tables, json_file, terminal_text
from diffcheck.text import visible

if TYPE_CHECKING:
    from diffcheck.nightly.baseline import Baseline
    from diffcheck.verdict import Report

_DEFAULT = "baseline.toml"


@click.group("baseline", cls=SuggestingGroup)
def command() -> None:
    """Maintain baseline.toml, the file of known divergences, from the last report; each change is printed."""


@command.command("add")
@click.argument("signatures", nargs=-1, metavar="SIGNATURE...")
@click.option("--all", "every", is_flag=True, help="Add all new and returned clusters.")
@click.option("--issue", default="", metavar="URL", help="Link to the issue that reports the bug.")
@click.option("--note", default="", metavar="TEXT", help="A remark.")
@click.option("--expires", type=click.DateTime(("%Y-%m-%d",)), metavar="DATE", help="Report the entry after this day (YYYY-MM-DD).")
@options("baseline", "reports")
def add(
    signatures: tuple[str, ...], issue: str, note: str, expires: datetime | None, baseline: str | None, reports: str, *, every: bool
) -> int:
    """Add clusters of the last report. SIGNATURE may be abbreviated."""
    report, known, path = _both(baseline, reports)
    ids = [each.case for each in report.cases]
    case_ids.require_same_root(known.root_from(path.parent), known.cases, report.root, ids, str(path))
    new = [each.signature for each in _standings(report, known).of("new", "returned", "flaky") if _is_new(known, each.signature)]
    if not signatures and not every:
        some = f": {', '.join(new[:8])}" if new else ""
        raise ConfigError(
            f"no signature was given; {len(new)} of the last report are not known{some}", hint="name them, or use --all"
        )
    wanted = dict.fromkeys([*(new if every else ()), *(_full(each, list(b.occurrences(report))) for each in signatures)])
    expiry: date | None = expires.date() if expires else None
    if report.root and not known.root and not known.entries:
        known = msgspec.structs.replace(known, root=os.path.relpath(report.root, _folder(path)))
    return _write(baseline_changes.add(known, report, wanted, issue, note, expiry), path)


@command.command("update")
@options("baseline", "reports")
def update(baseline: str | None, reports: str) -> int:
    """Update entries from the last report: mark fixed ones, add and drop cases."""
    report, known, path = _both(baseline, reports)
    _require_root(report, known, path)
    return _write(baseline_changes.update(known, report, run_history.today()), path)


@command.command("prune")
@click.option("--fixed", is_flag=True, help="Also remove fixed entries; if one returns, it is reported as new.")
@options("baseline", "reports")
def prune(baseline: str | None, reports: str, *, fixed: bool) -> int:
    """Remove the entries whose cases no longer exist."""
    report, known, path = _both(baseline, reports)
    _require_root(report, known, path)
    return _write(baseline_changes.prune(known, report, run_history.today(), fixed=fixed), path)


@command.command("list")
@options("baseline")
def list_(baseline: str | None) -> int:
    """Print the entries."""
    history_tables.entries(baseline_file.read(Path(baseline or _DEFAULT)), terminal_text.console())
    return 0


def _both(file: str | None, reports: str) -> tuple[Report, Baseline, Path]:
    path = Path(file or _DEFAULT)
    return json_file.read(Path(reports) / json_file.FILE_NAME), baseline_file.read(path) if path.exists() else b.Baseline(), path


def _folder(file: Path) -> str:
    return os.path.realpath(file.parent)


def _require_root(report: Report, known: Baseline, path: Path) -> None:
    """Raises ``ConfigError`` if the report's cases have another root than the baseline's: the same ids are other files there.

    Of a root on another machine only the folder's name is compared.
    """
    folder = _folder(path)
    root = os.path.realpath(
        os.path.join(folder, known.root)  # noqa: PTH118 - as in case_ids
        if known.root
        else case_ids.root(folder, folder, config_defaults.folder())
    )
    here = Path(report.root).is_dir()
    if report.root and (report.root == root or (not here and Path(report.root).name == Path(root).name)):
        return
    file = visible(str(path))
    if not report.root:
        raise ConfigError("the report does not name the root of its cases", hint="rerun to write a new report")
    raise ConfigError(
        f"the root of the report's cases is {visible(report.root)}, that of {file} is {visible(root)}",
        hint=f'use --reports with a report of that root; if both are the same cases, write root = "FOLDER" at the top of {file}',
    )


def _standings(report: Report, known: Baseline) -> verdict.BaselineReport:
    return b.apply(report, known, run_history.today()).baseline or verdict.BaselineReport()


def _is_new(known: Baseline, signature: str) -> bool:
    entry = known.entries.get(signature)
    return entry is None or entry.fixed is not None


def _full(given: str, known: list[str]) -> str:
    found = [given] if given in known else [each for each in known if given and each.startswith(given)]
    if len(found) == 1:
        return found[0]
    some = ", ".join((found or known)[:8]) or "none"
    what = f"{len(found)} signatures begin with {given!r}" if found else f"the last report has no signature {given!r}"
    raise ConfigError(what, hint=f"{'they' if found else 'there'} are {some}")


def _write(change: tuple[Baseline, tuple[str, ...]], path: Path) -> int:
    after, lines = change
    for line in lines:
        click.echo(line)
    if lines:
        baseline_file.write(after, path)
        click.echo(f"{path}: {len(after.entries)} entries", err=True)
    else:
        click.echo(f"{path}: nothing to change", err=True)
    return 0
