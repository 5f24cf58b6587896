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
    "Exit codes: 0 nothing diverges; 1 a divergence was reduced as far as it goes or the budget allows; 2 usage, configuration, a "
    "missing engine or an artifact that cannot be run; 3 nothing diverges, but the case is open; 130 interrupted."
)


@click.command("reduce", epilog=_EPILOG)
@triage_session.arguments
def command(target: str, row: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Reduce an artifact to a smaller one that shows the same divergence.

    The fewest rows first, then the module: every candidate is validated by the oracle, and has to show the same signature.
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
        click.echo(f"shows     {visible(str(steps.symptom), 400)}")
        click.echo(f"written   {visible(str(steps.reduced), 400)}")
    if not whole:
        click.echo(f"stopped   {'by a signal' if stopped else 'the time is over'}; the same command goes on from here")
    return EXIT_INTERRUPTED if stopped else EXIT_DIVERGE
