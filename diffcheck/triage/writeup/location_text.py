"""What localising found, for a terminal and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from diffcheck.report.terminal_text import facts, safe
from diffcheck.text import plural
from diffcheck.triage.localise.side_by_side import ComparedLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from diffcheck.triage.localise.location import Localisation
    from diffcheck.triage.localise.side_by_side import SideBySide


def as_json(answer: Localisation) -> str:
    """The localisation as JSON."""
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()


def localised(answer: Localisation, console: Console) -> None:
    """Print the localisation, the events around it, and the number of runs."""
    console.print(safe(str(answer), "bold", 2000))
    console.print(facts(_facts(answer)))
    if answer.before:
        console.print(Text("\nBefore it, the same on both engines:", "dim"))
        for each in answer.before:
            where = f"{each.function} {each.offset:#x}" if each.instruction != "entry" else each.function
            console.print(safe(f"  {each.event:>10,}  {where}  {each.instruction}  {each.value}", limit=400))


def explained(found: SideBySide, console: Console) -> None:
    """Print the two runs side by side: the events before the first difference, the difference, and the values after it."""
    answer = found.answer
    if answer.depth == "none":
        console.print(safe(answer.why, "bold", 2000))
        return
    console.print(safe(str(answer), "bold", 2000))
    if answer.path:
        console.print(Text("\ncall path, the same on both", "bold"))
        for depth, each in enumerate(answer.path):
            console.print(safe("  " * depth + ("└ " if depth else "  ") + each, limit=400))
    if answer.source:
        console.print(Text.assemble(("  source ", "dim"), safe(answer.source, limit=400)))
    if answer.before:
        console.print(_two("instructions: function, offset in its body, and the value that each left", _moments(answer), answer))
    for title, lines in (
        (f"row {found.row}" if found.row else "row", found.ends),
        ("witness trace", found.trace),
        (_counters(found), found.counters),
    ):
        if lines:
            console.print(_two(title, lines, answer))
    for note in (*answer.notes, *([found.unread] if found.unread else ())):
        console.print(safe(f"note: {note}", "yellow", 1000))


def _counters(found: SideBySide) -> str:
    who = found.answer.subject_engine or "the subject"
    return f"counters at the end; {who}'s without the row that it did not end" if found.cut else "counters at the end"


def _moments(answer: Localisation) -> Iterator[ComparedLine]:
    for each in answer.before:
        yield ComparedLine(f"{each.function} {each.offset:#x} {each.instruction}", each.value, each.value, same=True)
    if answer.instruction:
        yield ComparedLine(f"{answer.function} {answer.offset:#x} {answer.instruction}", answer.oracle, answer.subject)


def _two(title: str, lines: Iterable[ComparedLine], answer: Localisation) -> Table:
    """Two columns, in which what differs stands out; a value that both have is written once."""
    table = Table(box=box.SIMPLE_HEAD, title=safe(title, "bold"), title_justify="left", header_style="dim", pad_edge=False)
    table.add_column("", overflow="fold", ratio=2)
    table.add_column(safe(answer.oracle_engine or "oracle"), overflow="fold", ratio=2)
    table.add_column(safe(answer.subject_engine or "subject"), overflow="fold", ratio=2)
    for each in lines:
        style = "dim" if each.same else "bold"
        other = safe("=" if each.same and each.subject else each.subject, style, 400)
        table.add_row(safe(("  " if each.same else "▶ ") + each.where, style, 400), safe(each.oracle, style, 400), other)
    return table


def _facts(answer: Localisation) -> Iterator[tuple[str, Text]]:
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
    yield "cost", safe(runs + (f"; seen by {seen}" if answer.variant or answer.confirmed else ""))
