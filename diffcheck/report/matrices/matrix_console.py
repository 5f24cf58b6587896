"""A matrix for a person at a terminal: conformance by family, time and memory, divergences by cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.report import terminal_text
from diffcheck.report.matrices.matrix import ENDED, cell
from diffcheck.report.tables import fitted
from diffcheck.text import duration, plural, size, visible

if TYPE_CHECKING:
    from rich.console import Console

    from diffcheck.report.matrices.matrix import EngineColumn, Matrix

_SHOWN: Final = 20


def render(found: Matrix, console: Console) -> None:
    """Print the matrix: conformance by family, speed and memory, divergences by cause."""
    engines = [visible(each.name, 40) for each in found.engines]
    columns = [("family", ""), ("cases", ""), *((each, "") for each in engines)]
    rows = [
        [
            terminal_text.safe(each.name),
            terminal_text.safe(f"{each.cases:,}"),
            *map(terminal_text.safe, map(cell, each.agree, each.compared)),
        ]
        for each in found.families
    ]
    rows.append(
        [
            terminal_text.safe("all"),
            terminal_text.safe(f"{found.cases:,}"),
            *(terminal_text.safe(_all(each)) for each in found.engines),
        ]
    )
    rows.append(
        [
            terminal_text.safe("time"),
            terminal_text.safe(""),
            *(terminal_text.safe(duration(each.cost.elapsed_ns / 1e9)) for each in found.engines),
        ]
    )
    rows.append(
        [
            terminal_text.safe("peak memory"),
            terminal_text.safe(""),
            *(terminal_text.safe(size(each.cost.peak_bytes)) for each in found.engines),
        ]
    )
    console.print(fitted(columns, rows, console.width, lines=False))
    console.print(f"agreeing / compared cases; time and memory over the {plural(found.common, 'case')} that all engines completed")
    for each in found.causes[:_SHOWN]:
        who = ", ".join(name for name, answer in zip(engines, each.answers, strict=True) if answer == "diverges")
        console.print(terminal_text.safe(f"{who}: {each.title} ({plural(len(each.cases), 'case')}; {each.judgement})", limit=400))
    if len(found.causes) > _SHOWN:
        console.print(f"and {plural(len(found.causes) - _SHOWN, 'more cause')}, on the page")


def _all(each: EngineColumn) -> str:
    return cell(each.totals["agree"], sum(each.totals[word] for word in ENDED))
