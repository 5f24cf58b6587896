"""``diffcheck harness``: the command for ``witness run --harness``."""

from __future__ import annotations

import os
from typing import Any

import rich_click as click

from diffcheck.backend import registry
from diffcheck.cli.options import PROGRAMS, engine, observed_rows, option, options
from diffcheck.errors import DiffcheckError
from diffcheck.runner.observe import observe_case, witness_harness
from diffcheck.text import visible

_EPILOG = (
    "Environment: WITNESS_MODULE, WITNESS_MANIFEST and WITNESS_OUTPUT, as witness sets them. Exit code 0 only if the snapshot is "
    "complete; otherwise nothing is written and stderr has the reason."
)


@click.command("harness", epilog=_EPILOG)
@click.option("--backend", default=registry.preferred("subject"), show_default=True, metavar="NAME",
              envvar="DIFFCHECK_BACKEND",
              help="The engine to run: a backend, harness:COMMAND or wasi:COMMAND.")  # fmt: skip
@options("rows", "auto-rows")
@click.option("--schema", type=click.Choice(("auto", "v1", "v2")), default="auto", show_default=True,
              help="v1: counters; v2: also every row's state, for MC/DC; auto: v2 if there is row state.")  # fmt: skip
@click.option("--keep-going", is_flag=True,
              help="Continue in a new instance after a row that does not return; counters are summed.")  # fmt: skip
@click.option("--full", is_flag=True,
              help="Read every value from the backend, even if its digest equals the oracle's.")  # fmt: skip
@options("stub-imports", PROGRAMS)
@option("deadline", default="60")  # one case: a slow machine should not cost the record
@options("memory-limit", "max-passes", "slice")
def command(backend: str, schema: Any, **given: Any) -> int:  # noqa: ANN401 - click's
    """Run a module for witness under any backend and write the snapshot that witness reads.

    For `witness run FILE --harness 'diffcheck harness --backend kilnd'`: full MC/DC of that backend's run.
    """
    wanted = observe_case.ObserveRequest(
        "",
        backend=engine(backend, given),
        rows=observed_rows(given),
        stub_imports=given["stub_imports"],
        full=given["full"],
        keep_going=given["keep_going"],
        deadline_s=given["deadline"],
        memory_bytes=given["memory_limit"],
        max_passes=given["max_passes"],
        slice=given["slice"],
    )
    try:
        witness_harness.run(wanted, schema, os.environ, lambda line: click.echo(f"note: {visible(line, 2000)}", err=True))
    except DiffcheckError as error:  # one line with the hint, among witness's own output
        click.echo(f"error: {visible(error.line, 2000)}", err=True)
        return error.exit_code
    return 0
