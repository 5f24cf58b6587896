"""``diffcheck explore``: rows and stdin that make an artifact do more."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, Final

import rich_click as click

from diffcheck import process
from diffcheck.backend import contract
from diffcheck.cli.option_types import SEED, Time
from diffcheck.cli.options import options, request
from diffcheck.errors import EXIT_AGREE, EXIT_INTERRUPTED
from diffcheck.hunt.explore import exploration
from diffcheck.report import json_file
from diffcheck.runner import engines
from diffcheck.text import plural, visible

_EPILOG = "Exit codes: 0 the search ended; 2 usage, configuration, or an artifact that cannot be explored; 130 interrupted."
_FOLDER: Final = "explore"
_TIME_S: Final = 60.0


@click.command("explore", epilog=_EPILOG)
@click.argument("artifact", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="ARTIFACT")
@click.option("--time", "time_s", type=Time(), default=_TIME_S, show_default="1m", envvar="DIFFCHECK_TIME", metavar="TIME",
              help="How long to search, as in 90 (seconds), 10m or 8h.")  # fmt: skip
@click.option("--seed", type=SEED, metavar="N", default=1, show_default=True, envvar="DIFFCHECK_SEED", help="Seed of the search.")
@options("deadline", "memory-limit", "stub-imports", "reports")
def command(artifact: Path, time_s: float, seed: int, reports: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Search rows, or the stdin of a program, that reach more branches and decisions of an artifact instrumented by witness.

    Prints the decisions that are fully covered before and after. If more was reached, writes the artifact with its new case file
    into DIR/explore.
    """
    folder = Path(reports) / _FOLDER
    json_file.prepare(folder)
    wanted = request((str(artifact),), given)
    with process.interruptible() as stopped, contract.local_host() as host:
        with closing(engines.preferred_oracle(wanted.options)) as oracle:
            found = exploration.Exploration(wanted, seed, oracle, host, stopped).run(artifact, time_s)
        interrupted = stopped()
    paths = exploration.write(found, artifact, folder)
    before, after = found.before, found.after
    click.echo(
        f"decisions {len(before.covered):,} of {found.decisions:,} fully covered before, {len(after.covered):,} after; "
        f"conditions proved: {len(before.proved):,} before, {len(after.proved):,} after"
    )
    click.echo(f"counters  {len(before.counters):,} of {found.branches:,} not zero before, {len(after.counters):,} after")
    kept = len(found.cases) if found.noun == "input" else sum(len(each.rows) for each in found.cases)
    endless = f"; {found.endless:,} did not terminate" if found.endless else ""
    click.echo(f"tried     {plural(found.tried, found.noun)}{endless}")
    click.echo(f"found     {plural(kept, found.noun)}" if paths else "found     nothing more was reached, so no case was written")
    for path in paths:
        click.echo(f"case      {visible(str(path))}")
    if interrupted:
        click.echo("stopped   interrupted before the search ended")
    return EXIT_INTERRUPTED if interrupted else EXIT_AGREE
