"""Runs and reports from Python: ``diffcheck.run`` and ``diffcheck.load_report``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from diffcheck.config import option_table
from diffcheck.report import json_file
from diffcheck.report.model import Collector
from diffcheck.runner.request import Request
from diffcheck.runner.run import run as run_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffcheck.runner.events import Event
    from diffcheck.runner.request import Mode, Unknown
    from diffcheck.verdict import Report

_MODES: Final = ("auto", "declared")


def run(  # noqa: PLR0913 - the options of the command
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    rows: Sequence[str] = (),
    subject: str = "auto",
    oracle: str = "auto",
    mode: Mode = "both",
    only: Sequence[str] = (),
    jobs: int | None = None,
    deadline_s: float = 10.0,
    memory_bytes: int = 4 << 30,
    stub_imports: Unknown = "zero",
    confirm: int = 3,
    progress: Callable[[Event], object] | None = None,
) -> Report:
    """Cross-check the artifacts at ``paths`` (files, and folders of them) and return the report; no file is written or cached.

    ``rows`` are the calls of every artifact (``EXPORT``, ``EXPORT=arg,arg``) in place of those of its case file, or ``auto``. The
    other options are those of ``diffcheck run``. ``progress`` is called with each event (``diffcheck.runner.events``). After
    SIGINT, ``interrupted`` is set in the report. Raises ``DiffcheckError`` where nothing can be run.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    request = Request(
        tuple(os.fspath(path) for path in given),
        subject=subject,
        oracle=oracle,
        mode=mode,
        jobs=jobs or option_table.default_jobs(),
        deadline_s=deadline_s,
        memory_bytes=memory_bytes,
        rows="auto" if "auto" in rows else "declared",
        calls=tuple(row for row in rows if row not in _MODES),
        stub_imports=stub_imports,
        only=tuple(only),
        confirm=confirm,
    )
    collector = Collector({})
    for event in run_request(request):
        collector.take(event)
        if progress is not None:
            progress(event)
    return collector.report()


def load_report(path: str | os.PathLike[str]) -> Report:
    """Read a stored report: ``report.json``, or the folder of reports that holds it; raises ``ReportError``."""
    place = Path(path)
    return json_file.read(place / json_file.FILE_NAME if place.is_dir() else place)
