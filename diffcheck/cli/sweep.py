"""``diffcheck sweep``: check every instruction of the opcode table with boundary operands."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import rich_click as click

from diffcheck import process, verdict
from diffcheck.backend import contract
from diffcheck.cli import publish, run, run_history
from diffcheck.cli.option_types import SEED, Number
from diffcheck.cli.options import PROGRAMS, options, recorded, request
from diffcheck.config import input_files
from diffcheck.config.version import __version__
from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE, EXIT_INTERRUPTED, ReportError
from diffcheck.report import html_page, json_file, model, terminal_text
from diffcheck.runner import engines
from diffcheck.runner.sweep import coverage, execution, finding_cases, operations
from diffcheck.runner.sweep import sweep as sweeps
from diffcheck.text import plural, visible

if TYPE_CHECKING:
    from diffcheck.runner.engines import Engines
    from diffcheck.runner.request import Request
    from diffcheck.runner.sweep.coverage import Cell, SweepMap
    from diffcheck.runner.sweep.programs import Row
    from diffcheck.verdict import Report

_EPILOG = (
    "Exit codes: 0 no new divergence; 1 an instruction diverges and is not known, or with --strict less was checked than before; "
    "2 usage, configuration or missing engine; 130 interrupted."
)
_FOLDER: Final = "sweep"
_FILE: Final = "sweep.json"
_PAGE: Final = "sweep.html"
_CASES: Final = "cases"
_CAP_BYTES: Final = 256 << 20
_MOST_NAMED: Final = 8


@click.command("sweep", epilog=_EPILOG)
@click.option(
    "--family",
    "families",
    multiple=True,
    envvar="DIFFCHECK_FAMILY",
    metavar="NAME",
    help="Only this family of instructions, such as numeric; repeatable.",
)
@click.option(
    "--budget",
    type=Number(1, 86_400, "seconds"),
    default=120,
    show_default=True,
    envvar="DIFFCHECK_BUDGET",
    metavar="SECONDS",
    help="Boundary operands run in any case, traps for a fifth of this time, random operands in the rest.",
)
@click.option(
    "--seed", type=SEED, metavar="N", default=1, show_default=True, envvar="DIFFCHECK_SEED", help="Seed of the random operands."
)
@click.option(
    "--strict", is_flag=True, envvar="DIFFCHECK_STRICT", help="Fail if something was checked in the last sweep and is not now."
)
@options(
    "subject", "oracle", PROGRAMS, "judge", "jobs", "deadline", "memory-limit", "max-passes", "confirm", "cache", "no-cache",
    "cache-limit", "reports", "quiet", "baseline", "causes",
)  # fmt: skip
def command(
    families: tuple[str, ...],
    budget: float,
    seed: int,
    reports: str,
    baseline: str | None,
    *,
    strict: bool,
    **given: Any,  # noqa: ANN401 - the options of the table
) -> int:
    """Check every instruction with boundary operands: numbers, vectors, memories, tables, references, control and encodings.

    Writes DIR/sweep/: the map of what was checked (sweep.json, sweep.html), and a case and a report for each divergence.
    """
    folder = Path(reports) / _FOLDER
    json_file.prepare(folder)
    wanted = request((str(folder / _CASES),), given)
    with process.locked(folder):
        before = _stored(folder / _FILE)
        chosen = engines.choose(wanted)
        done, rows = _swept(chosen, families, seed, budget, quiet=given["quiet"])
        if done is None:
            return _interrupted()
        code = EXIT_AGREE
        names = _write_cases(rows, folder / _CASES, wanted.options)
        if names:
            report = _checked(wanted, run_history.Known(baseline, strict=False), given)
            publish.publish(report, folder, {}, quiet=given["quiet"], resume="the same command")
            ids = {
                name: next((each.case for each in report.cases if Path(each.artifact).stem == stem), "")
                for name, stem in names.items()
            }
            done = _with_cases(done, ids)
            code = model.exit_code(report)
            if code == EXIT_INTERRUPTED:
                return _interrupted()
        process.write_atomically(folder / _FILE, [msgspec.json.format(msgspec.json.encode(done), indent=2), b"\n"])
        process.write_atomically(folder / _PAGE, [html_page.sweep(done)])
    lost = coverage.lost(before, done) if before is not None else ()
    _summarise(done, lost, folder)
    return code or (EXIT_DIVERGE if strict and lost else EXIT_AGREE)


def _interrupted() -> int:
    click.echo("stopped   interrupted; no map was written")
    return EXIT_INTERRUPTED


def _swept(
    chosen: Engines, families: tuple[str, ...], seed: int, budget_s: float, *, quiet: bool
) -> tuple[SweepMap | None, list[Row]]:
    """The map of a sweep, with operations in place of cases, and its differences; None if it was interrupted."""
    begun, started = time.monotonic_ns(), datetime.now(UTC).isoformat(timespec="seconds")
    families = operations.chosen(families)
    console = terminal_text.console(stderr=True)

    def note(line: str) -> None:
        if not quiet:
            console.print(terminal_text.safe(line, terminal_text.QUIET))

    with (
        contract.local_host() as host,
        closing(engines.preferred_oracle(chosen.request.options)) as validator,
        process.interruptible() as stopped,
    ):
        execute = execution.PoolExecution(chosen.request, validator, host, stopped)
        sweep = sweeps.Sweep(operations.of(families), execute, note, stopped)
        sweep.run(seed, budget_s)
        if stopped():
            return None, []
    done = coverage.SweepMap(
        schema=coverage.SCHEMA,
        tool=verdict.Tool("diffcheck", __version__),
        subject=chosen.subject_identity,
        oracle=chosen.oracle_identity,
        started=started,
        elapsed_ns=time.monotonic_ns() - begun,
        seed=seed,
        families=families,
        cells=sweep.cells,
        checks_per_s=sweep.checks_per_s,
    )
    return done, sweep.found


def _write_cases(rows: list[Row], folder: Path, programs: dict[str, str]) -> dict[str, str]:
    """Write the cases of the differences; returns the file of each operation's case, without its suffix."""
    with contract.local_host() as host, closing(engines.preferred_oracle(programs)) as validator:
        return finding_cases.write(rows, folder, lambda program: execution.artifact(program, validator, host))


def _checked(wanted: Request, known: run_history.Known, given: dict[str, Any]) -> Report:
    """The report of the cases, run as ``diffcheck run`` runs them."""
    live = run.LiveRun(model.Collector(recorded(given)), known, fail_fast=False, quiet=given["quiet"])
    failed = live.run(known.request(wanted))
    if failed is not None:
        raise failed
    return run_history.caused(known.apply(live.report(None)), wanted, given["causes"], quiet=given["quiet"])


def _with_cases(done: SweepMap, ids: dict[str, str]) -> SweepMap:
    cells = tuple(
        msgspec.structs.replace(each, findings=tuple(ids[name] for name in each.findings if name in ids)) for each in done.cells
    )
    return msgspec.structs.replace(done, cells=cells)


def _stored(path: Path) -> SweepMap | None:
    """The map of the last sweep; None if there is none. Raises ``ReportError`` if it cannot be read."""
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(input_files.read_regular(str(path), _CAP_BYTES, "the map", ReportError), type=coverage.SweepMap)
    except msgspec.DecodeError as error:
        raise ReportError(f"{visible(str(path))} is not a map of this version: {visible(str(error))}", hint="remove it") from error


def _summarise(done: SweepMap, lost: tuple[Cell, ...], folder: Path) -> None:
    counts = ", ".join(f"{len(done.of(each)):,} {each}" for each in coverage.OUTCOMES if done.of(each))
    click.echo(f"{terminal_text.engine(done.subject)} against {terminal_text.engine(done.oracle)}: {counts}")
    speed = f"; {done.checks_per_s / 1e6:.1f} million a CPU second in loops" if done.checks_per_s else ""
    click.echo(f"{done.line}{speed}")
    if lost:
        names = ", ".join(f"{each.instruction} ({each.class_})" for each in lost[:_MOST_NAMED])
        click.echo(f"{plural(len(lost), 'cell')} checked in the last sweep and not in this one: {visible(names, 400)}")
    click.echo(f"map: {visible(str(folder / _PAGE))}, {visible(str(folder / _FILE))}")
