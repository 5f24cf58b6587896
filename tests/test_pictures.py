"""The pictures of the README are what ``docs/pictures/make.py`` makes."""

from __future__ import annotations

import html
import re
import runpy
from pathlib import Path

import pytest

import diffcheck

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
MAKE = "run python docs/pictures/make.py"


@pytest.fixture(scope="module")
def make():
    return runpy.run_path(str(FOLDER / "make.py"))


def text(svg):
    """The words on the terminal, without times and versions."""
    words = html.unescape(re.sub(r"<[^>]*>", " ", svg.partition("</defs>")[2])).replace("\xa0", " ")
    words = re.sub(r"\d+(\.\d+)? (ms|s|min)\b", "TIME", words)
    return re.sub(r"\d+\.\d+\.\d+", "VERSION", words).split()


def test_the_terminal_s_picture_shows_the_stored_run_as_the_console_prints_it(make):
    assert (FOLDER / "console.svg").read_text() == make["console_svg"](diffcheck.load_report(FOLDER)), MAKE


def test_the_page_s_picture_is_a_png_of_the_declared_size():
    data = (FOLDER / "page.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n"), MAKE
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (1280, 900)


@pytest.mark.kilnd
def test_a_new_run_is_the_same_picture_but_for_times_and_versions(make, real_kilnd, tmp_path):
    assert text(make["console_svg"](make["recorded"](real_kilnd, tmp_path))) == text((FOLDER / "console.svg").read_text())
