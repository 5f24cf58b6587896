"""``diffcheck explain``: the two runs of a case side by side."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck.cli.options import PROGRAMS, options
from diffcheck.cli.triage_session import named, row_option, target_argument, voices
from diffcheck.report import styles
from diffcheck.triage import localise_artifact
from diffcheck.triage.writeup import location_text

_EPILOG = (
    "Exit codes: 0 the engines do not differ on the capsule; 1 they do; 2 usage, configuration, a missing engine or a case that "
    "cannot be run."
)


@click.command("explain", epilog=_EPILOG)
@target_argument
@row_option
@options("subject", "oracle", PROGRAMS, "deadline", "memory-limit", "rows", "auto-rows", "max-passes", "reports", "verbose")
def command(target: str, row: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Show a case's two runs side by side, where they part.

    CASE is an artifact, or a case or signature of the last report. It is run and localised in: what led to the instruction that
    differs, then the witness trace and the counters on both sides.
    """
    found, wanted = named(target, {**given, "mode": "capsule"})
    say, note = voices(verbose=given["verbose"])
    answer = localise_artifact.explain(wanted, row or found.row, say, note)
    location_text.explained(answer, styles.console())
    return int(answer.answer.depth != "none")
