"""``diffcheck reduce``: a smaller module that shows the same divergence."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck.cli import triage_session
from diffcheck.errors import EXIT_DIVERGE, EXIT_INTERRUPTED
from diffcheck.text import visible
from diffcheck.triage import workflow
from diffcheck.triage.reduce import interestingness

_EPILOG = (
    "Exit codes: 0 nothing diverges; 1 a divergence was reduced, within the time limit; 2 usage, configuration, missing engine or "
    "unusable artifact; 3 inconclusive; 130 interrupted."
)


@click.command("reduce", epilog=_EPILOG)
@triage_session.arguments
def command(target: str, row: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Reduce an artifact to a smaller one that shows the same divergence.

    First the rows, then the module; every candidate is valid and has the same signature.
    """
    with triage_session.opened(target, given) as (session, folder, say):
        steps = workflow.TriageWorkflow(session, folder, say, row)
        try:
            if not steps.find():
                return steps.nothing
            whole = steps.minimise() and steps.reduce()
        except interestingness.BudgetExhausted:
            whole = False
        before, after = steps.state.before, steps.state.after
        stopped = session.budget.stopped()
    if before is not None and after is not None:
        share = f" ({after.code / before.code:.1%})" if before.code else ""
        click.echo(
            f"code      {before.code:,} bytes to {after.code:,}{share}, {before.functions:,} to {after.functions:,} functions"
        )
        click.echo(f"symptom   {visible(str(steps.symptom), 400)}")
        click.echo(f"output    {visible(str(steps.reduced), 400)}")
    if not whole:
        click.echo(f"stopped   {'interrupted' if stopped else 'time limit reached'}; the same command resumes")
    return EXIT_INTERRUPTED if stopped else EXIT_DIVERGE
