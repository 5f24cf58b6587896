"""The Markdown summary: its size, and that names are text in what a Markdown parser makes of it."""

import re
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given, settings
from markdown_it import MarkdownIt

from diffcheck.report import markdown

from . import hostile, large, samples
from .samples import case, diverged
from .test_console import golden
from .test_model import collect

OURS = {
    "h2",
    "h3",
    "p",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "strong",
    "code",
    "br",
    "ul",
    "li",
    "details",
    "summary",
    "sub",
    "blockquote",
}


class Parsed(HTMLParser):
    """The elements and the text of what a parser with tables makes of Markdown."""

    def __init__(self, data):
        super().__init__()
        self.tags, self.cells, self.text = [], [], ""
        self.feed(MarkdownIt("commonmark").enable("table").render(data.decode()))
        self.close()

    def handle_starttag(self, tag, _attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.cells.append(0)
        if tag in ("td", "th"):
            self.cells[-1] += 1

    def handle_data(self, data):
        self.text += data


def test_the_sample_as_a_summary():
    report = msgspec.structs.replace(collect(samples.events(notice=samples.NOTICE)), started="2026-01-01T00:00:00+00:00")
    golden("summary.md", markdown.render(report).decode())


def unharmed(name):
    data = markdown.render(hostile.report(name))
    assert len(data) < 60_000
    found, plain = Parsed(data), Parsed(markdown.render(hostile.report("plain")))
    links = {"a"} if re.match("https?://", name) else set()  # the address of an issue
    assert set(found.tags) <= OURS | links
    assert found.cells == plain.cells
    for tag in ("table", "h2", "h3", "li", "details", "blockquote"):
        assert found.tags.count(tag) == plain.tags.count(tag), tag
    # Markdown takes spaces at the ends of a line and of a cell away.
    assert " ".join(hostile.shown(name, 40).split()) in " ".join(found.text.split())


@pytest.mark.parametrize("name", hostile.NAMES, ids=lambda name: repr(name[:20]))
def test_a_hostile_name_is_text(name):
    unharmed(name)


@settings(deadline=None, max_examples=60)
@given(name=hostile.ANY)
def test_any_name_is_text(name):
    unharmed(name)


@pytest.mark.parametrize("value", ["http://a.example", "www.a.example", "@someone", "#1", ":tada:", "$x$", "~~x~~", "a@b.example"])
def test_what_github_would_make_something_of_is_broken_up(value):
    assert not re.search(r"://|www\.|@|#\d|:t|\$|~", re.sub(r"&#\d+;", "_", markdown.text(value)))


def test_10_000_cases_and_clusters_are_a_short_summary():
    many = tuple(
        case(f"c{at}", [diverged([msgspec.structs.replace(samples.COUNTER, signature=f"s{at}")])], "diverge")
        for at in range(10_000)
    )
    text = markdown.render(collect(samples.events(many))).decode()
    assert len(text) < 20_000
    assert "10,000 differences in 10,000 cases" in text
    assert "And 9,975 more differences" in text


def test_the_worst_that_names_can_do_stays_within_what_a_job_may_write():
    worst = "\U000e0041" * 1000
    where = samples.Where(worst, worst, worst, worst, worst, 1)
    cases = tuple(
        case(
            f"{at}{worst}",
            [diverged([samples.Divergence("counter", where, worst, worst + "x", f"s{at}", worst)])],
            "diverge",
            reason=worst,
        )
        for at in range(200)
    ) + tuple(case(f"open{at}{worst}", [samples.agreed()], "inconclusive", reason=worst) for at in range(200))
    findings = tuple(samples.EngineFinding(worst, worst, worst) for _ in range(200))
    assert len(markdown.render(collect(samples.events(cases, notice=worst, findings=findings)))) < markdown.MAX_BYTES // 2


def test_a_nightly_run_is_told_in_a_page():
    text = markdown.render(large.report(500)).decode()
    assert text.count("\n") < 80


def test_an_error_that_ended_the_run_is_shown():
    report = msgspec.structs.replace(collect(samples.events(finished=False)), error="<b>gone</b>")
    text = markdown.render(report).decode()
    assert "an error ended the run" in text.splitlines()[0]
    assert "**Ended by an error:** &#60;b&#62;gone&#60;/b&#62;. The finished cases are reported." in text
