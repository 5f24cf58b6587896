"""``diffcheck export-wast``: a divergence as a script for an engine's own regression tests."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck.cli import triage, triage_session
from diffcheck.errors import EXIT_DIVERGE, UnrunnableError
from diffcheck.triage.writeup import wast

_EPILOG = (
    "Exit codes: 1 the script was printed; 0 nothing diverges; 2 usage, configuration, missing engine or no script; "
    "3 flaky or inconclusive; 130 interrupted."
)


@click.command("export-wast", epilog=_EPILOG)
@triage_session.arguments
def command(target: str, row: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Print a divergence as a script of assertions that fails on the subject and passes on the oracle.

    Triages it first, as `diffcheck triage` does, in the same folder: a divergence that was triaged before is printed at once.
    """
    steps, code, stopped = triage.triaged(target, row, given)
    script = steps.folder.bytes(wast.FILE)
    if script is not None:
        click.echo(script.decode(), nl=False)
    elif code == EXIT_DIVERGE:
        why = steps.state.standalone or "the module has no text form"
        raise UnrunnableError(f"there is no script: {why}", hint="`diffcheck triage` writes a folder with all that is known")
    if stopped:
        click.echo(f"stopped   {stopped}; the same command resumes", err=True)
    return code
