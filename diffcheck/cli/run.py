"""``diffcheck run``: cross-check artifacts and report."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from diffcheck import process
from diffcheck.backend import registry
from diffcheck.cli import publish, run_history
from diffcheck.cli.options import options, recorded, request
from diffcheck.errors import DiffcheckError
from diffcheck.report import files, json_file, model, progress, styles
from diffcheck.runner import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from diffcheck.runner.request import Request

_EPILOG = (
    "Exit codes: 0 all cases as expected; 1 a divergence that is not known; 2 usage, configuration, "
    "a missing engine, no artifact, or a given file that cannot be read; 3 nothing diverged, but a case is open or nothing was "
    "compared; 130 interrupted."
)


@click.command("run", epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@options(*(option.name for option in registry.options()))
def command(paths: tuple[str, ...], reports: str, baseline: str | None, *, strict: bool, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Cross-check artifacts: run each under the subject and the oracle, and report where they disagree.

    PATH is an artifact (.wasm, or .wat text) or a folder of them.
    """
    named = files.wanted(given, Path(reports) / json_file.FILE_NAME)  # before hours of work whose results could not be stored
    json_file.prepare(Path(reports))
    with process.locked(Path(reports)):
        return _run(paths, Path(reports), baseline, named, given, strict=strict)


def _run(
    paths: tuple[str, ...], reports: Path, baseline: str | None, named: dict[str, Path], given: dict[str, Any], *, strict: bool
) -> int:  # fmt: skip
    collector = model.Collector(recorded(given))
    known = run_history.Known(baseline, strict=strict)
    failed: DiffcheckError | None = None
    wanted = request(paths, given)
    try:
        interrupted = _collect(known.request(run_history.timed(run_history.journaled(wanted, reports), reports, given)), collector)
    except DiffcheckError as error:
        if not collector.any_finished:
            raise
        interrupted, failed = True, error  # what was finished by then is reported all the same
    if not collector.began:
        if interrupted:
            raise KeyboardInterrupt
        raise RuntimeError("the run ended before it began")
    report = known.apply(msgspec.structs.replace(collector.report(), error=str(failed or "")))
    report = run_history.caused(report, wanted, given["causes"])
    publish.publish(report, reports, named)
    if failed is not None:
        raise failed
    return model.exit_code(report)


def _collect(wanted: Request, collector: model.Collector) -> bool:
    """Run and note every event; returns whether the run was interrupted. What was finished by then is in the collector."""
    events = iter(run.run(wanted))
    with progress.Display(styles.console(stderr=True), plain=wanted.verbose) as display, _terminable():
        try:
            for event in events:
                collector.take(event)
                display.take(event)
        except KeyboardInterrupt:
            return True
        finally:
            close = getattr(events, "close", None)
            if close is not None:
                close()
    return False


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, as CI sends it, ends a run as Ctrl-C does: what was finished is reported."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
