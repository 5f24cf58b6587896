"""Runs and reports from Python: ``diffcheck.run`` and ``diffcheck.load_report``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.config import option_table
from diffcheck.errors import ConfigError
from diffcheck.report import json_file
from diffcheck.report.model import Collector
from diffcheck.runner.request import Request
from diffcheck.runner.run import run as run_request
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffcheck.runner.events import Event
    from diffcheck.runner.request import Mode, Unknown
    from diffcheck.verdict import Report

_MODES: Final = ("auto", "declared")


def run(  # noqa: PLR0913 - the options of the command
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    rows: str | Sequence[str] = (),
    subject: str = "auto",
    oracle: str = "auto",
    mode: Mode = "both",
    only: str | Sequence[str] = (),
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
    SIGINT, ``interrupted`` is set in the report. Raises ``DiffcheckError`` where nothing can be run, ``ConfigError`` for an
    invalid value.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    rows, only = ((each,) if isinstance(each, str) else tuple(each) for each in (rows, only))
    if (jobs is not None and jobs < 1) or confirm < 0 or deadline_s <= 0 or memory_bytes <= 0:
        raise ConfigError("jobs, deadline_s and memory_bytes are above 0, and confirm is at least 0")
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
        only=only,
        confirm=confirm,
    )
    try:
        msgspec.convert(msgspec.structs.asdict(request), Request)
    except msgspec.ValidationError as error:
        raise ConfigError(visible(str(error), 300), hint="see docs/api.md") from error
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
