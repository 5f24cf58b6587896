"""Progress of a run on stderr: a bar on a terminal, otherwise a line for each case."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Self

from rich.panel import Panel
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

from diffcheck.report import terminal_text
from diffcheck.runner.events import CaseFinished, CaseStarted, RunFinished, RunStarted
from diffcheck.text import duration, plural

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from diffcheck.runner.events import Event
    from diffcheck.verdict import CaseReport

_VERDICT_WIDTH = 12
_NAME_LIMIT = 40


class Display:
    """Displays the events of a run; as a context manager, restores the terminal at the end."""

    def __init__(self, console: Console, *, plain: bool = False) -> None:
        self._console = console
        self._plain = plain or not console.is_terminal or console.is_dumb_terminal
        self._total = self._done = 0
        self._working: dict[str, None] = {}
        self._progress: Progress | None = None
        self._headline = ""

    def __enter__(self) -> Self:
        """Nothing is printed before the first event."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove the bar."""
        self._stop()

    def take(self, event: Event) -> None:
        """Show an event; the engines' names after the first answer of an engine."""
        if self._headline and not isinstance(event, RunStarted):
            self._console.print(Text(self._headline))
            self._headline = ""
        match event:
            case RunStarted():
                self._start(event)
            case CaseStarted(case):
                self._begin_bar()
                self._working[case] = None
                self._update()
            case CaseFinished(report):
                self._done += 1
                self._working.pop(report.case, None)
                self._finished(report)
            case RunFinished():
                self._stop()

    def _start(self, event: RunStarted) -> None:
        self._total = event.total
        if event.notice:
            self._console.print(notice(event.notice))
        for line in event.notes:
            self._console.print(terminal_text.safe(f"note: {line}", limit=2000), soft_wrap=True)
        what = f"{plural(event.total, 'case')}, {plural(event.jobs, 'job')}: "
        self._headline = f"{what}{terminal_text.engine(event.subject)} against {terminal_text.engine(event.oracle)}"

    def _begin_bar(self) -> None:
        """Start at the first case: the bar has a thread, and workers are forked before from a process with one thread."""
        if self._plain or self._progress is not None:
            return
        bar = BarColumn(bar_width=max(8, self._console.width // 4), complete_style="cyan", finished_style="green")
        self._progress = Progress(bar, _Count(), _Pace(), _Working(), console=self._console, transient=True)
        self._progress.add_task("", total=self._total, completed=self._done, working="")
        self._progress.start()

    def _finished(self, report: CaseReport) -> None:
        width = len(str(self._total))
        begin = Text.assemble(
            (f"[{self._done:>{width}}/{self._total}] ", terminal_text.QUIET),
            terminal_text.verdict(report.verdict, _VERDICT_WIDTH),
            " ",
        )
        case, end = terminal_text.safe(report.case), Text(f"  {duration(report.elapsed_ns / 1e9)}", terminal_text.QUIET)
        if self._plain:
            self._console.print(Text.assemble(begin, case, end), soft_wrap=True)
            return
        if report.verdict not in ("agree", "skipped") and self._progress is not None:
            case.truncate(max(8, self._console.width - begin.cell_len - end.cell_len), overflow="ellipsis")
            self._progress.console.print(Text.assemble(begin, case, end), overflow="ellipsis", no_wrap=True)
        self._update()

    def _update(self) -> None:
        if self._progress is None:
            return
        first = next(iter(self._working), "")
        more = len(self._working) - 1
        working = Text.assemble(
            terminal_text.safe(first, limit=_NAME_LIMIT), f" +{more}" if more > 0 else "", no_wrap=True, overflow="ellipsis"
        )
        self._progress.update(self._progress.task_ids[0], completed=self._done, working=working)

    def _stop(self) -> None:
        progress, self._progress = self._progress, None
        if progress is not None:
            with contextlib.suppress(OSError):  # the terminal may be gone
                progress.stop()


def notice(text: str) -> Panel:
    """A warning in a frame."""
    return Panel(terminal_text.safe(text, limit=2000), title=Text("NOTICE"), style="bold yellow", title_align="left")


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:.0f}/{task.total or 0:.0f}", no_wrap=True)


class _Pace(ProgressColumn):
    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()

    def render(self, task: Task) -> Text:
        elapsed = time.monotonic() - self._began
        if not task.completed or elapsed <= 0:
            return Text(duration(elapsed), no_wrap=True)
        rate = task.completed / elapsed
        left = ((task.total or 0) - task.completed) / rate
        return Text(f"{rate:.1f} cases/s, {duration(left)} left", style=terminal_text.QUIET, no_wrap=True)


class _Working(ProgressColumn):
    def render(self, task: Task) -> Text:
        working = task.fields.get("working")
        return working if isinstance(working, Text) else Text("")
