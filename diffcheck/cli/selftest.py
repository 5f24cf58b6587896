"""``diffcheck selftest``: plant faults and check that each is reported."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from diffcheck import probe, process
from diffcheck.backend import contract, registry
from diffcheck.cli import run_history
from diffcheck.cli.option_types import SEED, Count
from diffcheck.cli.options import PROGRAMS, options, programs
from diffcheck.faults import selftest
from diffcheck.report import command_tables, terminal_text
from diffcheck.report.evidence import statement
from diffcheck.runner import engines, request


@click.command("selftest")
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option(
    "--seed",
    type=SEED,
    metavar="N",
    default=0,
    show_default=True,
    envvar="DIFFCHECK_SEED",
    help="Random seed for faults and places.",
)
@click.option(
    "--faults",
    type=Count(1, 100_000),
    metavar="N",
    default=200,
    show_default=True,
    envvar="DIFFCHECK_FAULTS",
    help="Number of faults, half of them in the direct pass; as many runs without a fault.",
)
@click.option(
    "--engine",
    default=registry.preferred("oracle"),
    show_default=True,
    envvar="DIFFCHECK_ENGINE",
    metavar="NAME",
    help="The engine that runs the programs.",
)
@options(PROGRAMS, "deadline", "slice", "reports")
def command(paths: tuple[str, ...], seed: int, faults: int, engine: str, deadline: float, reports: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Plant faults in programs and in engines' answers, and check that each is reported correctly.

    PATH is an artifact or a folder of them; by default, five small built-in artifacts. Exit code 1 if a fault is missed or
    reported wrongly, or if a run without a fault has a finding. Writes DIR/selftest.json, which later runs report as evidence.
    """
    inner = registry.create(engine, programs(given))
    with contract.local_host() as host, closing(engines.preferred_oracle({})) as oracle, closing(inner):
        probe.engine_check.require(inner, engine, host, contract.RunLimits(deadline))
        inner.capabilities = probe.engine_check.capabilities(inner, host, contract.RunLimits(deadline))
        test = selftest.Selftest(oracle, inner, host, request.Request((), deadline_s=deadline, slice=given["slice"]))
        test.prepare([Path(path) for path in paths])
        runs = list(test.run(seed, faults))
    folder = Path(reports)
    process.make_folder(folder, "choose another folder with --reports")
    result = msgspec.json.encode(selftest.result(runs, statement.own_digest(), engine, seed))
    process.write_atomically(folder / run_history.SELFTEST, [msgspec.json.format(result, indent=2), b"\n"])
    return command_tables.selftest(runs, test.left_out, terminal_text.console(), seed)
