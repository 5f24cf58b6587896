"""``diffcheck doctor``: known-answer tests of engines, and their limitations."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck import probe
from diffcheck.backend import contract
from diffcheck.cli.options import PROGRAMS, options, programs
from diffcheck.report import command_tables, terminal_text


@click.command("doctor")
@click.argument("names", nargs=-1, metavar="[BACKEND...]")
@options(PROGRAMS, "deadline", "memory-limit")
def command(names: tuple[str, ...], deadline: float, memory_limit: int, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Run known-answer tests on each backend and list its limitations.

    BACKEND is a name from `diffcheck backends`, harness:COMMAND or wasi:COMMAND; without one, all that are found.
    Exit codes: 0 all work; 1 an engine does not work; 2 a named one is missing.
    """
    limits = contract.RunLimits(deadline_s=deadline, memory_bytes=memory_limit)
    return command_tables.doctor(probe.diagnose(names, programs(given), limits), terminal_text.console())
