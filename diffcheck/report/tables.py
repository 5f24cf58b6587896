"""Tables whose columns are as wide as their content needs; numbers and words are never split, names break after their marks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from diffcheck.report import terminal_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    Row = Sequence[Text]

_BREAK: Final = re.compile(r"(?<=[/=])(?=\S)|(?<=[A-Za-z][.\-:\]])(?=[A-Za-z])|(?<= )(?=\S)")
"""Where a line may be broken: after a space, and in names; not within ``-1000``, ``0x1p-3`` or ``nan:0x400000``."""
_LONGEST: Final = 36
"""Characters of the longest number that is kept whole: a v128 in hex. Longer ones are folded."""
_OVERHEAD: Final = 3
"""Cells of a column beside its content: two of padding, one of border."""


def fitted(headers: Sequence[tuple[str, str]], rows: Sequence[Row], width: int, *, lines: bool = True) -> RenderableType:
    """A table within ``width``; one value below the other if the columns would have to split a word.

    ``headers`` are the columns' names and styles; ``lines`` draws a border around every row.
    """
    overhead = _OVERHEAD * len(headers) + 1 if lines else 2 * len(headers) - 2
    widths = _widths([[Text(name), *(row[at] for row in rows)] for at, (name, _) in enumerate(headers)], width - overhead)
    if not widths:
        return Group(*(_stacked(headers, row, width) for row in rows))
    table = Table(
        box=box.ROUNDED if lines else None,
        show_lines=lines,
        pad_edge=lines,
        padding=(0, 1) if lines else (0, 2, 0, 0),
        border_style=terminal_text.QUIET,
        header_style="bold",
    )
    for (name, style), room in zip(headers, widths, strict=True):
        table.add_column(Text(name), width=room, style=style, overflow="fold")
    for row in rows:
        table.add_row(*(wrapped(cell, room) for cell, room in zip(row, widths, strict=True)))
    return table


def wrapped(text: Text, width: int) -> Text:
    """The text broken into lines of at most ``width`` cells; a longer word without a place to break is folded."""
    lines = [part for line in text.split("\n", allow_blank=True) for part in _broken(line, width)]
    return Text("\n", overflow="fold").join(lines)


def _broken(line: Text, width: int) -> list[Text]:
    ends = [match.start() for match in _BREAK.finditer(line.plain)] + [len(line.plain)]
    cuts, begin, last = [], 0, 0
    for end in ends:
        if cell_len(line.plain[begin:end].rstrip()) > width and last > begin:
            cuts.append(last)
            begin = last
        last = end
    parts = list(line.divide(cuts))
    for part in parts:
        part.rstrip()
    return parts


def _widths(columns: Sequence[Sequence[Text]], available: int) -> list[int]:
    """Each column's width, narrowed where it costs the fewest lines; empty if they do not fit without splitting words."""
    lines = [[line for cell in column for line in cell.plain.split("\n")] for column in columns]
    widths = [max(map(cell_len, each), default=0) for each in lines]
    least = [min(_LONGEST, max((cell_len(word) for line in each for word in _words(line)), default=0)) for each in lines]
    if sum(least) > available:
        return []
    lengths = [[[cell_len(line) for line in cell.plain.split("\n")] for cell in row] for row in zip(*columns, strict=True)]
    while sum(widths) > available:
        narrower = [
            [each - (at == one) for at, each in enumerate(widths)] for one in range(len(widths)) if widths[one] > least[one]
        ]
        widths = min(narrower, key=lambda each: (_height(lengths, each), max(each)))
    return [max(1, each) for each in widths]


def _height(rows: Sequence[Sequence[Sequence[int]]], widths: Sequence[int]) -> tuple[int, int]:
    """About how many lines rows need whose cells have lines of these lengths; then the lines of all cells."""
    counts = [[sum(-(-length // width) or 1 for length in cell) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return sum(map(max, counts)), sum(map(sum, counts))


def _words(line: str) -> list[str]:
    return [word.rstrip() for word in _BREAK.split(line)]


def _stacked(headers: Sequence[tuple[str, str]], row: Row, width: int) -> Text:
    """A row as lines of label and value, with an empty line after them."""
    text = Text()
    for (name, style), cell in zip(headers, row, strict=True):
        value = Text(", ").join(cell.split("\n"))
        value.stylize_before(style)
        text.append_text(wrapped(Text.assemble((f"{name}: ", terminal_text.QUIET), value), width)).append("\n")
    return text
