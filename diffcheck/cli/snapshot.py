"""``diffcheck snapshot``: an artifact's exported globals after a run."""

from __future__ import annotations

import json
from typing import Any

import rich_click as click

from diffcheck.backend import registry
from diffcheck.cli.options import PROGRAMS, engine, observed_rows, option, options
from diffcheck.report import command_tables, terminal_text
from diffcheck.runner.observe import snapshot
from diffcheck.text import visible

_EPILOG = (
    "In JSON, `values` has the i32 and i64 globals as numbers (unsigned for those of witness), `globals` every global with type "
    "and bits in hex. Exit codes: 1 the run did not complete; 2 the artifact cannot be run."
)


@click.command("snapshot", epilog=_EPILOG)
@click.argument("artifact", metavar="ARTIFACT")
@click.option("--backend", default=registry.preferred("subject"), show_default=True, metavar="NAME",
              envvar="DIFFCHECK_BACKEND",
              help="The engine to run: a backend, harness:COMMAND or wasi:COMMAND.")  # fmt: skip
@click.option("--prefix", default="__witness_counter_", show_default=True, metavar="TEXT",
              help="Prefix of the globals' names; '' for all.")  # fmt: skip
@options("rows", "auto-rows")
@click.option("--full", is_flag=True,
              help="Read every value from the backend, even if its digest equals the oracle's.")  # fmt: skip
@click.option(
    "--format", "format_", type=click.Choice(("table", "json")), default="table", show_default=True, help="What to print."
)
@options("stub-imports", PROGRAMS)
@option("deadline", default="60")  # one case: a slow machine should not cost the record
@options("memory-limit", "max-passes", "slice")
def command(artifact: str, format_: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Run an artifact and print its exported globals by name.

    Without arguments in the case file, the program gets none, as under witness.
    """
    found = snapshot.snapshot(
        artifact,
        backend=engine(given["backend"], given),
        prefix=given["prefix"],
        rows=observed_rows(given),
        stub_imports=given["stub_imports"],
        full=given["full"],
        deadline_s=given["deadline"],
        memory_bytes=given["memory_limit"],
        max_passes=given["max_passes"],
        slice=given["slice"],
    )
    if found.notice:
        click.echo(f"note: {visible(found.notice, 2000)}", err=True)
    if format_ == "json":
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        command_tables.snapshot(found, terminal_text.console())
        click.echo(snapshot.how(found), err=True)
    return 0
