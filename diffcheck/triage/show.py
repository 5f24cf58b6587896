"""What localising found, for a terminal and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.text import Text

from diffcheck.report.words import facts, safe
from diffcheck.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from diffcheck.triage.result import Localised


def as_json(answer: Localised) -> str:
    """The answer as JSON."""
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()


def localised(answer: Localised, console: Console) -> None:
    """Print the answer, what stood around it, and what it cost."""
    console.print(safe(str(answer), "bold", 2000))
    console.print(facts(_facts(answer)))
    if answer.before:
        console.print(Text("\nBefore it, the same on both engines:", "dim"))
        for each in answer.before:
            where = f"{each.function} {each.offset:#x}" if each.instruction != "entry" else each.function
            console.print(safe(f"  {each.event:>10,}  {where}  {each.instruction}  {each.value}", limit=400))


def _facts(answer: Localised) -> Iterator[tuple[str, Text]]:
    if answer.row:
        yield "row", safe(answer.row)
    if answer.file_offset >= 0:
        yield "in the file", safe(f"offset {answer.file_offset:#x}, function {answer.function_index}")
    if answer.execution:
        yield "execution", safe(f"number {answer.execution:,} of this instruction")
    if answer.source:
        yield "source", safe(answer.source)
    if answer.locals:
        yield "locals", safe(", ".join(answer.locals), limit=2000)
    for note in answer.notes:
        yield "note", safe(note, limit=1000)
    runs = f"{plural(answer.runs, 'run')} of the subject after {answer.row_runs} to find the row"
    seen = "both digests" if answer.confirmed else f"digest {answer.variant}"
    yield "cost", safe(runs + (f"; seen by {seen}" if answer.variant else ""))
