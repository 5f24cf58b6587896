"""Every report of a run names the stubs that were called: coverage that rests on them is a weaker claim."""

import io
import re

import pytest
from rich.console import Console

from diffcheck.report import console, detail, files, json_file

from . import samples
from .test_model import collect

REPORT = collect(samples.events())
CALLED = next(one.stubs[0] for one in REPORT.cases for one in one.passes if one.stubs)


def printed(render):
    buffer = io.StringIO()
    render(Console(file=buffer, width=400))
    return buffer.getvalue()


def plain(data):
    return re.sub(r"&#(\d+);", lambda match: chr(int(match[1])), data.decode())


@pytest.mark.parametrize("name", [each for each in files.FORMATS if each not in ("evidence", "requirements")])
def test_each_file_names_them_with_their_kind(name):
    text = plain(files.render(REPORT, name))
    assert CALLED.name in text
    assert "host_log" in text
    assert "zero" in text


def test_the_stored_report_has_them(tmp_path):
    assert CALLED.name in json_file.write(REPORT, tmp_path).read_text()


def test_the_console_and_a_case_in_full_name_them():
    with_them = next(each for each in REPORT.cases if any(one.stubs for one in each.passes))
    assert "host_log" in printed(lambda out: console.render(REPORT, out))
    assert "host_log" in printed(lambda out: detail.render(REPORT, with_them, out, {}))
