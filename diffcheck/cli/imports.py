"""``diffcheck imports``: what an artifact's imports are given, and what an engine has of its own."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import rich_click as click

from diffcheck.backend import contract, registry
from diffcheck.cli.options import PROGRAMS, engine, options
from diffcheck.errors import EXIT_USAGE, ConfigError
from diffcheck.harness import import_survey
from diffcheck.report import imports as report
from diffcheck.report import styles

_EPILOG = (
    "A verdict says what was seen: real, it did what it must; stub, it was accepted and did nothing; broken, it did something "
    "wrong; absent, there is no such function. Exit code 2 where the engine to probe is missing or cannot be probed, else 0."
)


@click.command("imports", epilog=_EPILOG)
@click.argument("artifacts", nargs=-1, metavar="[ARTIFACT...]")
@click.option("--probe", is_flag=True,
              help="Measure what the engine itself gives, by a generated module for each function of wasi.")  # fmt: skip
@click.option("--subject", default=registry.preferred("subject"), show_default=True, metavar="NAME",
              envvar="DIFFCHECK_SUBJECT",
              help="The engine to probe.")  # fmt: skip
@click.option("--keep", metavar="DIR", default="", show_default="nothing is kept",
              help="Store each probe's module, its command and its output in this folder.")  # fmt: skip
@click.option("--engine-version", default="", metavar="TEXT", show_default="the version that the engine reports",
              help="The version to name on a page, for an engine that does not report its version.")  # fmt: skip
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
    """List each import with its signature, what the capsule gives it, what engines give it, and how often it was called.

    ARTIFACT is a .wasm or .wat file or a folder; it is run in the capsule under the oracle, to count calls. Without one, --probe
    alone says what the engine has.
    """
    if not artifacts and not probe:
        raise ConfigError("there is nothing to look at", hint="give an artifact, or --probe to ask the engine")
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
        report.show(found, styles.console())
    given_files = {str(Path(path)) for path in artifacts}
    return EXIT_USAGE if any(each.problem and each.path in given_files for each in found.artifacts) else 0
