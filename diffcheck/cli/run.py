"""``diffcheck run``: cross-check artifacts and report."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from diffcheck import process
from diffcheck.backend import registry
from diffcheck.cli import completion, config_defaults, publish, run_history
from diffcheck.cli.command_group import ARGUMENTS
from diffcheck.cli.options import options, recorded, request
from diffcheck.config import option_table
from diffcheck.errors import DiffcheckError
from diffcheck.report import files, json_file, model, progress, terminal_text
from diffcheck.report.evidence import toolchain
from diffcheck.runner import events, run

if TYPE_CHECKING:
    from diffcheck.runner.request import Request
    from diffcheck.verdict import Report

_EPILOG = (
    "Exit codes: 0 all cases as expected; 1 a divergence not in the baseline, even if expected; 2 usage, configuration, missing "
    "engine or (without a 1) unusable file; 3 inconclusive; 130 interrupted."
)


@click.command("run", epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", shell_complete=completion.paths)
@options(*(option.name for option in registry.options()), panels=True)
@click.help_option("-h", "--help", panel=option_table.OUTPUT)
def command(paths: tuple[str, ...], reports: str, baseline: str | None, *, strict: bool, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Cross-check artifacts: run each under the subject and the oracle, and report where they disagree.

    PATH is an artifact (.wasm, .wat), a script (.wast) or a folder of them.
    """
    folder = Path(reports)
    named = files.wanted(given, folder / json_file.FILE_NAME)  # before hours of work whose results could not be stored
    json_file.prepare(folder)
    context = click.get_current_context(silent=True)
    arguments = context.meta[ARGUMENTS] if context is not None else ()
    resume = shlex.join(["diffcheck", *(each for each in arguments if each != "--resume"), "--resume"])
    view = {name: given[name] for name in ("quiet", "verbose")}
    known = run_history.Known(baseline, strict=strict)
    wanted = request(paths, given)
    with process.locked(folder):
        if given["last_failed"]:
            wanted = run_history.last_failed(wanted, folder)
        started, note = run_history.journaled(wanted, folder)
        started = known.request(run_history.timed(started, folder, given))
        live = LiveRun(model.Collector(recorded(given)), known, fail_fast=given["fail_fast"], quiet=given["quiet"], note=note)
        failed = live.run(started)
        report = known.apply(live.report(failed))
        report = run_history.caused(report, wanted, given["causes"], quiet=given["quiet"])
        report = run_history.with_selftest(run_history.with_map(report, folder), folder)
        report = toolchain.with_pins(report, config_defaults.in_force().toolchain)
        publish.publish(report, folder, named, resume=resume, **view)
    if failed is not None:
        raise failed
    return model.exit_code(report)


class LiveRun:
    """A run whose events are collected and displayed; ``note`` is displayed when it starts."""

    def __init__(
        self, collector: model.Collector, known: run_history.Known, *, fail_fast: bool, quiet: bool, note: str = ""
    ) -> None:
        self._note = note
        self._collector, self._known = collector, known
        self._fail_fast, self._quiet = fail_fast, quiet
        self._interrupted = self._failed_fast = False

    def run(self, wanted: Request) -> DiffcheckError | None:
        """Run to the end, to an interruption or to an error; returns an error that came after the first finished case."""
        try:
            self._collect(wanted)
        except DiffcheckError as error:
            if not self._collector.any_finished:
                raise
            return error
        if not self._collector.began:
            if self._interrupted:
                raise KeyboardInterrupt
            raise RuntimeError("the run ended before it started")
        return None

    def report(self, failed: DiffcheckError | None) -> Report:
        """The report of the finished cases."""
        return msgspec.structs.replace(self._collector.report(), error=str(failed or ""), failed_fast=self._failed_fast)

    def _collect(self, wanted: Request) -> None:
        with contextlib.ExitStack() as stack:
            display = progress.Display(terminal_text.console(stderr=True), plain=wanted.verbose)
            show = stack.enter_context(display).take if not self._quiet else lambda _: None
            stream = stack.enter_context(contextlib.closing(run.run(wanted)))
            try:
                for event in stream:
                    if self._note and isinstance(event, events.RunStarted):
                        click.echo(f"note: {self._note}", err=True)
                    self._collector.take(event)
                    shown = self._known.live(event)
                    show(shown)
                    if self._fail_fast and isinstance(shown, events.CaseFinished) and model.fails(shown.report):
                        self._failed_fast = True
                        return
            except KeyboardInterrupt:
                self._interrupted = True
