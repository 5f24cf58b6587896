"""``diffcheck submit``: artifacts to a service, and its report as of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from diffcheck import process
from diffcheck.cli import completion, publish
from diffcheck.cli.options import options
from diffcheck.errors import EXIT_AGREE
from diffcheck.report import json_file, model
from diffcheck.service import client

if TYPE_CHECKING:
    from diffcheck.service.client import Submission


@click.command("submit")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", shell_complete=completion.paths)
@click.option("--server", default="http://127.0.0.1:8484", show_default=True, metavar="URL", envvar="DIFFCHECK_SERVER",
              help="Address of the service.")  # fmt: skip
@click.option(
    "--token", default=None, metavar="TEXT", envvar="DIFFCHECK_TOKEN", help="Service token; prefer the environment variable."
)
@click.option("--engine", default="", metavar="NAME", envvar="DIFFCHECK_ENGINE", show_default="the service's first",
              help="Engine under test, by its name at the service.")  # fmt: skip
@click.option("--wait", is_flag=True, envvar="DIFFCHECK_WAIT", help="Wait for the verdict, store the report and print it.")
@options("auto-rows", "reports", "quiet", "verbose")
def command(  # noqa: PLR0913 - the options
    paths: tuple[str, ...], server: str, token: str | None, engine: str, reports: str, *, wait: bool, auto_rows: bool, quiet: bool,
    verbose: bool,
) -> int:  # fmt: skip
    """Submit artifacts with their case files and manifests to a service (`diffcheck serve`).

    Prints the job's address; with --wait the report of `diffcheck run`, with its exit codes.
    """
    service = client.Client(server, token)
    job = service.submit(paths, engine, auto_rows=auto_rows)
    click.echo(f"{server.rstrip('/')}/jobs/{job.id}", err=wait)
    return _report(service, job, Path(reports), quiet=quiet, verbose=verbose) if wait else EXIT_AGREE


def _report(service: client.Client, job: Submission, folder: Path, *, quiet: bool, verbose: bool) -> int:
    """Wait for the report, publish it as a run's, and return the exit code."""
    json_file.prepare(folder)
    report = service.report(job)
    with process.locked(folder):
        publish.publish(report, folder, {}, quiet=quiet, verbose=verbose)
    return model.exit_code(report)
