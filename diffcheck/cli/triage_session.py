"""What the triage commands share: arguments, the session, progress."""

from __future__ import annotations

import contextlib
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import rich_click as click
from click import get_current_context
from click.core import ParameterSource

from diffcheck import process
from diffcheck.backend import registry
from diffcheck.cases import discovery
from diffcheck.cli import completion
from diffcheck.cli.option_types import Time
from diffcheck.cli.options import PROGRAMS, options, request
from diffcheck.report import json_file, terminal_text
from diffcheck.text import visible
from diffcheck.triage import session as sessions
from diffcheck.triage import target as targets
from diffcheck.triage import triage_folder
from diffcheck.triage.reduce import interestingness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.decorators import FC

    from diffcheck.runner.request import Request
    from diffcheck.triage.target import Target
    from diffcheck.triage.triage_folder import TriageFolder
    from diffcheck.verdict import Report


_HELP: Final = "Time limit, as in 90 (seconds), 10m or 2h; rerun to resume."
target_argument: Final = click.argument("target", metavar="CASE|SIGNATURE|ARTIFACT", shell_complete=completion.targets)
row_option: Final = click.option(
    "--row", default="", metavar="ROW", envvar="DIFFCHECK_ROW",
    help="The row to examine; the first that differs by default.",
)  # fmt: skip
ENGINE_OPTIONS: Final = (
    "subject",
    "oracle",
    PROGRAMS,
    "jobs",
    "deadline",
    "memory-limit",
    "rows",
    "auto-rows",
    "slice",
    "max-passes",
    "reports",
)


def arguments(function: FC) -> FC:
    """The argument and options of the triage commands."""
    decorators: list[Callable[[Any], Any]] = [
        target_argument,
        row_option,
        click.option("--budget", type=Time(), default=None, metavar="TIME", envvar="DIFFCHECK_BUDGET",
                     show_default="no limit", help=_HELP),
        click.option("-o", "--output", default=None, metavar="DIR", envvar="DIFFCHECK_OUTPUT",
                     show_default="triage/NAME under --reports", help="Folder to write to; unfinished work in it is resumed."),
        options(*ENGINE_OPTIONS, shorts={"reports": ""}),
    ]  # fmt: skip
    for each in reversed(decorators):
        function = each(function)
    return function


def named(target: str, given: dict[str, Any]) -> tuple[Target, Request]:
    """The case that a user named, an artifact or one of the last report, and the request for it.

    A reported case has the engines, rows and limits of the reported run, but for what the command has itself.
    """
    path = Path(given["reports"]) / json_file.FILE_NAME
    a_file = Path(target).suffix in discovery.SUFFIXES or Path(target).is_file()
    report = json_file.read(path) if path.exists() and not a_file else None
    found = targets.find(target, report, given["reports"])
    return found, request((found.case.artifact,), given if report is None else _as_reported(given, report))


def _as_reported(given: dict[str, Any], report: Report) -> dict[str, Any]:
    """The options; those with their default value as in the reported run."""
    context = get_current_context()
    values = dict(given)
    for option in context.command.params:
        name = option.name or ""
        text = report.options.get(name.replace("_", "-"))
        by_default = context.get_parameter_source(name) is ParameterSource.DEFAULT
        if text and name in given and by_default and not getattr(option, "multiple", False):
            values[name] = option.type_cast_value(context, text)
    if given["rows"] or given["auto_rows"]:
        values["auto_rows"] = given["auto_rows"]
    else:
        values["rows"] = tuple(shlex.split(report.options.get("rows", "")))
    if values.get("subject") == registry.AUTO and report.subject.name in registry.names():
        values["subject"] = report.subject.name
    return values


def voices(*, verbose: bool) -> tuple[Callable[[str], None], Callable[[str], None]]:
    """Functions that print to stderr: progress, with ``verbose`` only, and notes."""

    def note(line: str) -> None:
        click.echo(visible(line, 2000), err=True)

    def quiet(_: str) -> None:
        pass

    return note if verbose else quiet, note


@contextlib.contextmanager
def opened(target: str, given: dict[str, Any]) -> Iterator[tuple[sessions.Session, TriageFolder, Callable[[str], None]]]:
    """The session and the folder of a command, and a function that shows progress; SIGINT and SIGTERM end the work cleanly."""
    begun = time.monotonic()  # preparation counts as well
    found, wanted = named(target, given)
    folder = triage_folder.TriageFolder(
        Path(given["output"]) if given["output"] else triage_folder.default_folder(given["reports"], found.case.id)
    )
    with process.interruptible() as stopped, _shown() as say:
        budget = interestingness.TimeBudget(given["budget"], stopped, begun)
        with sessions.Session(wanted, found, budget, say) as session:
            if session.engines.notice:
                say(session.engines.notice)
            yield session, folder, say


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[str], None]]:
    """Shows lines on stderr, the last one with a spinner on a terminal."""
    console = terminal_text.console(stderr=True)
    if not console.is_terminal:
        yield lambda line: console.print(terminal_text.safe(line, limit=2000), soft_wrap=True)
        return
    with console.status("starting the engines") as status:

        def say(line: str) -> None:
            status.update(terminal_text.safe(line, limit=2000))
            console.print(terminal_text.safe(line, "dim", 2000))

        yield say
