"""``diffcheck snapshot``: an artifact's exported globals after a run."""

from __future__ import annotations

import json
from typing import Any

import rich_click as click

from diffcheck.backend import registry
from diffcheck.cli.options import PROGRAMS, engine, option, options
from diffcheck.harness import snapshot
from diffcheck.report import plan_tables, styles
from diffcheck.text import visible

_EPILOG = (
    "In JSON, `values` has the i32 and i64 globals as numbers (unsigned for what witness added, as witness has them), and "
    "`globals` every global with its type and its bits as hex text. Exit code 1 if the run did not complete."
)


@click.command("snapshot", epilog=_EPILOG)
@click.argument("artifact", metavar="ARTIFACT")
@click.option("--backend", default=registry.preferred("subject"), show_default=True, metavar="NAME",
              envvar="DIFFCHECK_BACKEND",
              help="The engine to run under: a name from `diffcheck backends`, or harness:COMMAND or wasi:COMMAND.")  # fmt: skip
@click.option("--prefix", default="__witness_counter_", show_default=True, metavar="TEXT",
              help="Only globals whose name begins so; '' for all.")  # fmt: skip
@click.option("--rows", multiple=True, metavar="ROW", envvar="DIFFCHECK_ROWS",
              help="A row to call, EXPORT or EXPORT=arg,arg; repeated, in order. declared takes the case file's or the default "
                   "ones, auto adds boundary values.")  # fmt: skip
@click.option("--full", is_flag=True,
              help="Read every value from the backend, window by window, also where its digest is the oracle's.")  # fmt: skip
@click.option(
    "--format", "format_", type=click.Choice(("table", "json")), default="table", show_default=True, help="What to print."
)
@options("stub-imports", PROGRAMS)
@option("deadline", default="60")  # one case, and nothing else waits for it: a slow machine should not cost the record
@options("memory-limit", "max-passes")
def command(artifact: str, format_: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Run an artifact and print its exported globals by name.

    A program that has no arguments in its case file is given none, as under witness.
    """
    found = snapshot.snapshot(
        artifact,
        backend=engine(given["backend"], given),
        prefix=given["prefix"],
        rows=given["rows"],
        stub_imports=given["stub_imports"],
        full=given["full"],
        deadline_s=given["deadline"],
        memory_bytes=given["memory_limit"],
        max_passes=given["max_passes"],
    )
    if found.notice:
        click.echo(f"note: {visible(found.notice, 2000)}", err=True)
    if format_ == "json":
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        plan_tables.snapshot(found, styles.console())
        click.echo(snapshot.how(found), err=True)
    return 0
