"""Columns are as wide as their content; no number and no word is split."""

import io
import re

import pytest
from rich.console import Console
from rich.text import Text

from diffcheck.report import tables

HEADERS = (("case", ""), ("row", ""), ("where", ""), ("wasmtime", "green"), ("kilnd", "red"))
ROW = (
    "corpus/09-engine/callback_nullability\ncapsule diverges, expected",
    "reserve=0x100000000",
    "memory 0 at 0x1f40",
    "-9223372036854775808",
    "trapped: out of bounds table access",
)


def lines(width, row=ROW):
    out = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    out.print(tables.fitted(HEADERS, [[Text(cell) for cell in row]], width))
    return out.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_number_is_split(width):
    shown = lines(width)
    assert max(map(len, shown)) <= width
    for number in ("0x100000000", "0x1f40", "-9223372036854775808", "callback_nullability"):
        assert any(number in line for line in shown)


def test_a_wide_terminal_is_not_filled():
    assert max(map(len, lines(200))) < 170


def test_a_narrow_terminal_has_one_value_below_the_other():
    assert any(line.startswith("kilnd: trapped") for line in lines(60))


@pytest.mark.parametrize("width", [10, 21, 34])
def test_wrapping_keeps_every_character(width):
    text = "result -1000 of corpus/09-engine/very-long_name.with/parts and 0x1p-3 nan:0x400000 " + "x" * 50
    shown = tables.wrapped(Text(text), width)
    assert re.sub(r"\s", "", shown.plain) == re.sub(r"\s", "", text)
    assert "0x1p-3" in shown.plain
