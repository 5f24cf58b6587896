"""The table of ``diffcheck selftest``: a line a class of fault, and each fault that was not told as what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from diffcheck.report.styles import HEADING, QUIET, safe
from diffcheck.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from diffcheck.faults.selftest import SelftestRun


def render(runs: Iterable[SelftestRun], left_out: Sequence[str], console: Console, seed: int) -> int:
    """Print the table when all runs are over; gives the exit code."""
    done = list(runs)
    faulty, clean = [each for each in done if each.kind], [each for each in done if not each.kind]
    table = Table(box=None, pad_edge=False, header_style=HEADING)
    for name, justify in (
        ("pass", "left"),
        ("fault", "left"),
        ("planted", "right"),
        ("reported", "right"),
        ("called agreement", "right"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for mode, kind in sorted({(each.mode, each.kind) for each in faulty}):
        of = [each for each in faulty if (each.mode, each.kind) == (mode, kind)]
        missed = sum(each.missed for each in of)
        table.add_row(mode, kind, str(len(of)), str(sum(each.correct for each in of)), str(missed) if missed else "-")
    console.print(table)
    wrong = [each for each in done if not each.correct]
    for each in wrong:
        what = f"{each.kind} at {each.where}" if each.kind else "no fault"
        way = ", carried in windows" if each.words else ""
        console.print(safe(f"{each.artifact}, {each.mode} pass{way}: {what}", limit=400))
        console.print(safe(f"  expected {each.expected}", QUIET, 400))
        console.print(safe(f"  reported {each.verdict}: {each.reported}", QUIET, 400))
    for text in left_out:
        console.print(safe(f"left out: {text}", QUIET, 400))
    direct = sum(each.mode == "direct" for each in faulty)
    found = sum(not each.correct for each in clean)
    console.print(
        safe(
            f"seed {seed}: {plural(len(faulty), 'fault')} planted, {direct} on the direct pass: "
            f"{sum(each.correct for each in faulty)} reported as what and where they are, "
            f"{sum(each.missed for each in faulty)} called agreement; "
            f"{plural(len(clean), 'run')} without a fault: {plural(found, 'finding')}",
            limit=400,
        )
    )
    return 1 if wrong or not faulty else 0
