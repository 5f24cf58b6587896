"""``diffcheck reproduce``: a module, a script and a text that show a divergence without diffcheck."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck.cli import triage_session
from diffcheck.errors import EXIT_DIVERGE, EXIT_INTERRUPTED
from diffcheck.text import visible
from diffcheck.triage import workflow
from diffcheck.triage.reduce import interestingness

_EPILOG = (
    "Exit codes: 0 nothing diverges; 1 it does, and the folder has what shows it; 2 usage, configuration, a missing engine or an "
    "artifact that cannot be run; 3 nothing diverges, but the case is open; 130 interrupted."
)


@click.command("reproduce", epilog=_EPILOG)
@triage_session.arguments
def command(target: str, row: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Write what shows a divergence by plain commands of both engines, without reducing anything.

    A folder that `diffcheck reduce` wrote is taken as it is: what stands there is what is shown.
    """
    with triage_session.opened(target, given) as (session, folder, say):
        steps = workflow.TriageWorkflow(session, folder, say, row)
        try:
            if not steps.find():
                return steps.nothing
            steps.write()
        except interestingness.BudgetExhausted:
            return EXIT_INTERRUPTED if session.budget.stopped() else EXIT_DIVERGE
    why = steps.state.standalone
    click.echo(f"shows     {visible(str(steps.symptom), 400)}")
    click.echo(f"plain     {'not shown by plain commands: ' + visible(why, 400) if why else 'shown by reproduce.sh'}")
    click.echo(f"folder    {visible(str(folder.path), 400)}")
    return EXIT_DIVERGE
