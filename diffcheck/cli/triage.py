"""``diffcheck triage``: from a divergence to a folder with everything an issue needs."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck.cli import triage_session
from diffcheck.cli.options import options
from diffcheck.errors import EXIT_DIVERGE, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED
from diffcheck.text import visible
from diffcheck.triage import workflow

_EPILOG = (
    "Exit codes: 0 nothing diverges; 1 a divergence was triaged, within the time limit; 2 usage, configuration, missing engine or "
    "unusable artifact; 3 flaky or inconclusive; 130 interrupted."
)


@click.command("triage", epilog=_EPILOG)
@triage_session.arguments
@options("judge")
def command(target: str, row: str, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Triage a divergence: confirm, reduce, localise, and write an issue ready to file.

    Confirms it, finds the fewest rows and a small module that show it and the first wrong instruction, and writes the folder.
    Run it again to resume.
    """
    steps, code, stopped = triaged(target, row, given)
    if steps.state.symptom is not None or code == EXIT_DIVERGE:
        _summary(steps)
    if stopped:
        click.echo(f"stopped   {stopped}; the same command resumes")
    return code


def triaged(target: str, row: str, given: dict[str, Any]) -> tuple[workflow.TriageWorkflow, int, str]:
    """The triage, the exit code, and what stopped it, empty if it ran to the end."""
    with triage_session.opened(target, given) as (session, folder, say):
        steps = workflow.TriageWorkflow(session, folder, say, row)
        ending, interrupted = steps.run(), session.budget.stopped()
    match ending:
        case "nothing":
            return steps, steps.nothing, ""
        case "blamed":
            return steps, EXIT_DIVERGE, ""
        case "flaky":
            return steps, EXIT_INCONCLUSIVE, ""
        case "partial" if not interrupted:
            return steps, EXIT_DIVERGE, "time limit reached"
    return steps, EXIT_INTERRUPTED if interrupted else EXIT_DIVERGE, "interrupted" if interrupted else ""


def _summary(steps: workflow.TriageWorkflow) -> None:
    """Print the result, one labelled line for each step."""
    state = steps.state
    lines = [("symptom", str(state.symptom))] if state.symptom else []
    if state.flaky:
        lines.append(("flaky", f"{state.flaky}; not triaged"))
    lines += [(each.engine, each.says) for each in state.engines]
    if state.judgement is not None:
        lines.append(("judges", str(state.judgement)))
    if state.blame is not None:
        lines.append(("blame", str(state.blame)))
    if state.before and state.after:
        share = f" ({state.after.code / state.before.code:.1%})" if state.before.code else ""
        if state.rows:
            lines.append(("rows", f"{state.rows_before or len(state.rows)} to {len(state.rows)}: {', '.join(state.rows[:3])}"))
        lines.append(("code", f"{state.before.code:,} bytes to {state.after.code:,}{share}"))
    if state.localised or state.not_localised:
        lines.append(("localised", str(state.localised) if state.localised else f"no: {state.not_localised}"))
    if "write" in state.done:
        lines.append(("standalone", f"no: {state.standalone}" if state.standalone else "yes, by reproduce.sh"))
    lines.append(("folder", str(steps.folder.path)))
    width = max(len(word) for word, _ in lines)
    for word, text in lines:
        click.echo(f"{word:<{width}}  {visible(text, 600)}")
