"""How each output tells what is new, known and fixed against a baseline, and what the runs before were."""

import json
from xml.etree import ElementTree as ET

import msgspec
import pytest

from diffcheck.report import console, html_page, junit, markdown, page_data, sarif, summary
from diffcheck.report.model import clusters
from diffcheck.verdict import Cause

from . import samples
from .test_console import shown
from .test_html import Page
from .test_model import collect

NEW, KNOWN = "outcome/refused", samples.COUNTER.signature


def known(case):
    passes = tuple(msgspec.structs.replace(each, verdict="known") if KNOWN in each.signatures else each for each in case.passes)
    return msgspec.structs.replace(case, passes=passes, verdict="known") if passes != case.passes else case


@pytest.fixture
def report():
    made = collect(samples.events(tuple(known(case) for case in samples.CASES)))
    return msgspec.structs.replace(made, started="2026-01-01T00:00:00+00:00", baseline=samples.BASELINE)


def test_new_and_known_are_told_apart(report):
    new, old = summary.news(report, clusters(report))
    assert ([each.signature for each in new], [each.signature for each in old]) == ([NEW], [KNOWN])
    assert summary.states(report) == (("new", 1), ("known", 1), ("fixed", 1), ("stale", 1))


def test_without_a_baseline_everything_asks_for_a_look(report):
    bare = msgspec.structs.replace(report, baseline=None)
    new, old = summary.news(bare, clusters(bare))
    assert (len(new), old, summary.states(bare)) == (2, (), ())


def test_the_page_has_each_clusters_standing_and_the_entries_that_are_gone(report):
    strips = {KNOWN: ("not run", "absent", "diverge", "known"), "gone/1": ("known", "absent")}
    statuses = {each.signature: each for each in samples.BASELINE.standings}
    lives = {key: page_data.life(statuses.get(key), strips.get(key, ())) for key in statuses}
    found = Page(html_page.render(report, lives))
    rows = [value for tag, name, value in found.attributes if (tag, name) == ("li", "data-state")]
    assert rows == ["new", "fixed", "stale", "known"]
    words = " ".join(" ".join(found.texts).split())
    assert "gone/1" in words
    assert "gone in 0.4.4" in words
    assert ("span", "aria-label", "history, oldest first: known, absent") in found.attributes
    assert {value for _, name, value in found.attributes if name == "href" and not value.startswith("#")} == {samples.ISSUE}


def test_a_summary_has_what_is_new_in_its_table_and_what_is_known_folded(report):
    text = markdown.render(report).decode()
    head, _, folded = text.partition("Known differences (1)")
    assert "Against the baseline <code>baseline.toml</code>: **1 new**, 1 known, **1 fixed**, 1 stale." in head
    assert "### 1 difference in 1 case" in head
    assert "- **fixed**: <code>gone/1</code> gone in 0.4.4; result 0 of nan" in head
    assert "leap&#95;year" not in head
    assert f"]({samples.ISSUE})" in folded


@pytest.mark.parametrize(
    "issue", ["javascript:alert(1)", "https://a/) [x](https://b", "https://a/%zz", "12", "http://user@evil/", "https://a b"]
)
def test_an_issue_that_is_no_plain_address_is_text(report, issue):
    statuses = tuple(msgspec.structs.replace(each, issue=issue) for each in samples.BASELINE.standings)
    made = msgspec.structs.replace(report, baseline=msgspec.structs.replace(samples.BASELINE, standings=statuses))
    assert "](" not in markdown.render(made).decode()
    assert "workItemUris" not in sarif.render(made).decode()


def test_a_known_result_names_its_issue_and_is_a_note(report):
    found = {
        each["partialFingerprints"]["diffcheckSignature/v1"]: each
        for each in json.loads(sarif.render(report))["runs"][0]["results"]
    }
    assert (found[KNOWN]["level"], found[KNOWN]["workItemUris"]) == ("note", [samples.ISSUE])
    assert found[KNOWN]["properties"]["baseline"] == "known"
    assert (found[NEW]["level"], found[NEW]["properties"]["baseline"]) == ("error", "new")


def test_a_known_case_is_skipped_and_its_issue_told(report):
    root = ET.fromstring(junit.render(report))
    tests = {each.get("name"): each for each in root.iter("testcase")}
    assert [each.tag for each in tests["triangle"]] == ["skipped", "system-out"]
    assert f"{KNOWN} is known: {samples.ISSUE}" in tests["triangle"].findtext("system-out")
    assert [each.get("name") for each in root.iter("testcase") if each.find("failure") is not None] == ["grow"]


def test_the_console_counts_what_is_known_and_shows_what_is_new(report):
    text = shown(lambda target: console.render(report, target, stored="reports/report.json"), 200)
    assert "cluster new" not in text, "its values stand in the table"
    assert "1 cluster fixed" in text
    assert "1 difference not known in 1 case" in text
    assert f"new, signature {NEW}" in text
    assert f"1 cluster known\n{samples.ISSUE}: 1\n" in text


def test_causes_stand_on_the_page_and_in_the_summary(report):
    made = msgspec.structs.replace(report, causes=(Cause("i32.rotl", (NEW, KNOWN), ("in f at 12", "in g at 3")),))
    found = Page(html_page.render(made))
    words = " ".join(" ".join(found.texts).split())
    assert "in f at 12 in g at 3" in words
    assert f"{NEW} {KNOWN}" in words
    assert [value for tag, name, value in found.attributes if (tag, name) == ("li", "data-state")] == ["new", "fixed", "stale"]
    assert "**i32.rotl**" in markdown.render(made).decode()
    assert "Causes" not in markdown.render(report).decode()
