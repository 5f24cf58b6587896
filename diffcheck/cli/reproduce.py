"""``diffcheck reproduce``: a module, a script and an issue that reproduce a divergence without diffcheck."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck.cli import triage_session
from diffcheck.errors import EXIT_DIVERGE, EXIT_INTERRUPTED
from diffcheck.text import visible
from diffcheck.triage import workflow
from diffcheck.triage.reduce import interestingness

_EPILOG = (
    "Exit codes: 0 nothing diverges; 1 a divergence, reproduced in the folder; 2 usage, configuration, missing engine or unusable "
    "artifact; 3 inconclusive; 130 interrupted."
)


@click.command("reproduce", epilog=_EPILOG)
@triage_session.arguments
def command(target: str, row: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Write plain commands for both engines that reproduce a divergence; nothing is reduced.

    A folder of `diffcheck reduce` is used as it is.
    """
    with triage_session.opened(target, given) as (session, folder, say):
        steps = workflow.TriageWorkflow(session, folder, say, row)
        try:
            if not steps.find():
                return steps.nothing
            whole = steps.write()
        except interestingness.BudgetExhausted:
            whole = False
        stopped = session.budget.stopped()
    if whole:
        why = steps.state.standalone
        click.echo(f"symptom     {visible(str(steps.symptom), 400)}")
        click.echo(f"standalone  {'no: ' + visible(why, 400) if why else 'yes, by reproduce.sh'}")
    click.echo(f"folder      {visible(str(folder.path), 400)}")
    if not whole:
        click.echo(f"stopped     {'interrupted' if stopped else 'time limit reached'}; the same command resumes")
    return EXIT_INTERRUPTED if stopped else EXIT_DIVERGE
