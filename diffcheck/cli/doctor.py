"""``diffcheck doctor``: whether each engine works as diffcheck needs it, and its known weaknesses."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck import probe
from diffcheck.backend import contract
from diffcheck.cli.options import PROGRAMS, options, programs
from diffcheck.report import plan_tables, styles


@click.command("doctor")
@click.argument("names", nargs=-1, metavar="[BACKEND...]")
@options(PROGRAMS, "deadline", "memory-limit")
def command(names: tuple[str, ...], deadline: float, memory_limit: int, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Try each backend with small programs whose answers are known, and probe its weaknesses.

    BACKEND is a name from `diffcheck backends`, harness:COMMAND or wasi:COMMAND; without one, all that can be found are tried.
    Exit code 1 where an engine does not work, 2 where one that was named is missing, else 0.
    """
    limits = contract.RunLimits(deadline_s=deadline, memory_bytes=memory_limit)
    return plan_tables.doctor(probe.diagnose(names, programs(given), limits), styles.console())
