"""``diffcheck explain``: the two runs of a case side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from diffcheck.cli.options import options, request

_EPILOG = (
    "Exit codes: 0 the engines do not differ on the capsule; 1 they do; 2 usage, configuration, a missing engine or a case that "
    "cannot be run."
)


@click.command("explain", epilog=_EPILOG)
@click.argument("case", metavar="CASE")
@click.option("--row", default="", metavar="ROW", envvar="DIFFCHECK_ROW", show_envvar=True,
              help="The row to look at, as `diffcheck show` names it; without it the first that differs.")  # fmt: skip
@options("subject", "oracle", "kilnd", "deadline", "memory-limit", "rows", "max-passes", "reports", "verbose")
def command(case: str, row: str, *, reports: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Show a case's two runs side by side, where they part.

    CASE is an artifact, or a case or signature of the last report. It is run and localised in: what led to the instruction that
    differs, then the witness trace and the counters on both sides.
    """
    from diffcheck.report import json_, words  # noqa: PLC0415 - rich, only where it is used
    from diffcheck.text import visible  # noqa: PLC0415 - as above
    from diffcheck.triage import once, show, target  # noqa: PLC0415 - engines, only where they are used

    def say(line: str) -> None:
        if given["verbose"]:
            click.echo(visible(line, 2000), err=True)

    file = Path(reports) / json_.FILE_NAME
    report = json_.read(file) if file.exists() and not Path(case).is_file() else None
    found = target.find(case, report, reports)
    answer = once.explain(request((found.case.artifact,), {**given, "mode": "capsule"}), row or found.row, say)
    show.explained(answer, words.console())
    return int(answer.answer.depth != "none")
