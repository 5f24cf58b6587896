"""``diffcheck imports``: an artifact's imports, their stubs, and an engine's own functions."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import rich_click as click

from diffcheck.backend import contract, registry
from diffcheck.cli.options import PROGRAMS, engine, options
from diffcheck.errors import EXIT_USAGE, ConfigError
from diffcheck.report import imports as report
from diffcheck.report import terminal_text
from diffcheck.runner.observe import import_survey

_EPILOG = (
    "Verdicts: real, the function works; stub, it is accepted and does nothing; broken, it does something wrong; absent, it does "
    "not exist. Exit code 2 if a given file is not a module, or the engine is missing or cannot be probed; otherwise 0."
)


@click.command("imports", epilog=_EPILOG)
@click.argument("artifacts", nargs=-1, metavar="[ARTIFACT...]")
@click.option("--probe", is_flag=True,
              help="Probe the engine's own functions, with a generated module for each wasi function.")  # fmt: skip
@click.option("--subject", default=registry.preferred("subject"), show_default=True, metavar="NAME",
              envvar="DIFFCHECK_SUBJECT",
              help="The engine to probe.")  # fmt: skip
@click.option("--keep", metavar="DIR", default="", show_default="none",
              help="Store each probe's module, command and output in this folder.")  # fmt: skip
@click.option("--engine-version", default="", metavar="TEXT", show_default="as reported",
              help="The version on a Markdown page, for an engine that reports none.")  # fmt: skip
@click.option("--format", "format_", type=click.Choice(("table", "json", "markdown")), default="table", show_default=True,
              help="What to print.")  # fmt: skip
@options(PROGRAMS, "deadline", "memory-limit")
def command(
    artifacts: tuple[str, ...],
    *,
    probe: bool,
    subject: str,
    keep: str,
    engine_version: str,
    format_: str,
    deadline: float,
    memory_limit: int,
    **given: Any,  # noqa: ANN401 - the options of the table
) -> int:
    """List each import with its signature, its stub, the engines' own function and the number of calls.

    ARTIFACT is a .wasm or .wat file or a folder; its capsule is run under the oracle to count calls. Without one, --probe lists
    the engine's functions.
    """
    if not artifacts and not probe:
        raise ConfigError("no artifact was given", hint="give an artifact, or use --probe")
    limits = contract.RunLimits(deadline_s=deadline, memory_bytes=memory_limit)
    chosen = registry.preferred("subject") if subject == registry.AUTO else subject
    request = import_survey.SurveyRequest(artifacts, probe, engine(chosen, given), keep, limits)
    found = import_survey.survey(request, lambda line: click.echo(f"note: {line}", err=True))
    if format_ == "json":
        click.echo(report.as_json(found))
    elif format_ == "markdown":
        today = dt.datetime.now(tz=dt.UTC).date()
        click.echo(report.as_markdown(found, today, version=engine_version), nl=False)
    else:
        report.show(found, terminal_text.console())
    given_files = {str(Path(path)) for path in artifacts}
    return EXIT_USAGE if any(each.problem and each.path in given_files for each in found.artifacts) else 0
