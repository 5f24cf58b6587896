"""``diffcheck explain``: the two runs of a case side by side."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck.cli.options import PROGRAMS, options
from diffcheck.cli.triage_session import named, row_option, target_argument, voices
from diffcheck.report import terminal_text
from diffcheck.triage import localise_artifact
from diffcheck.triage.writeup import location_text

_EPILOG = (
    "Exit codes: 0 the engines do not differ on the capsule; 1 they do; 2 usage, configuration, a missing engine or a case that "
    "cannot be run."
)


@click.command("explain", epilog=_EPILOG)
@target_argument
@row_option
@options("subject", "oracle", PROGRAMS, "deadline", "memory-limit", "rows", "auto-rows", "slice", "max-passes", "reports",
         "verbose")  # fmt: skip
def command(target: str, row: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Show a case's two runs side by side at the first difference.

    The case is run and localised: the instructions before the one that differs, then witness trace and counters on both sides.
    """
    found, wanted = named(target, {**given, "mode": "capsule"})
    say, note = voices(verbose=given["verbose"])
    answer = localise_artifact.explain(wanted, row or found.row, say, note)
    location_text.explained(answer, terminal_text.console())
    return int(answer.answer.depth != "none")
