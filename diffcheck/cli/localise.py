"""``diffcheck localise``: the first instruction whose execution differs."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck.cli.options import PROGRAMS, options
from diffcheck.cli.triage_session import named, row_option, target_argument, voices
from diffcheck.report import terminal_text
from diffcheck.triage import localise_artifact
from diffcheck.triage.writeup import location_text

_EPILOG = (
    "Exit codes: 0 the engines do not differ on the capsule; 1 they differ, located as far as possible; 2 usage, "
    "configuration, a missing engine or an artifact that cannot be run."
)


@click.command("localise", epilog=_EPILOG)
@target_argument
@row_option
@click.option("--json", "as_json", is_flag=True, help="Write the answer as JSON.")
@options("subject", "oracle", PROGRAMS, "deadline", "memory-limit", "rows", "auto-rows", "stub-imports", "slice", "max-passes",
         "reports", "verbose")  # fmt: skip
def command(target: str, row: str, *, as_json: bool, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Find the first instruction at which the subject's result differs from the oracle's.

    An artifact is a .wasm file, or .wat text; a case or signature is one of the last report. Its code is instrumented; nothing is
    required of the engine under test.
    """
    found, wanted = named(target, {**given, "mode": "capsule"})
    say, note = voices(verbose=given["verbose"])
    answer = localise_artifact.localise(wanted, row or found.row, say, note)
    if as_json:
        click.echo(location_text.as_json(answer))
    else:
        location_text.localised(answer, terminal_text.console())
    return int(answer.depth != "none")
