"""JUnit XML: its schema, what counts as what, hostile names."""

from pathlib import Path
from xml.etree import ElementTree as ET

import junitparser
import msgspec
import pytest
import xmlschema
from hypothesis import given, settings

from diffcheck.report import junit
from diffcheck.report.model import exit_code

from . import hostile, samples
from .samples import agreed, case, diverged
from .test_console import golden
from .test_model import collect

SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))


def rendered(report):
    data = junit.render(report)
    SCHEMA.validate(data.decode())
    return data


def one(verdict, expected, passes=None):
    made = collect(samples.events((case("a/b", passes or [agreed()], verdict, expected=expected, reason="why"),)))
    (test,) = ET.fromstring(rendered(made)).iter("testcase")
    kinds = [each.tag for each in test if each.tag in ("failure", "error", "skipped")]
    return kinds, exit_code(made)


def test_the_sample_as_junit():
    report = msgspec.structs.replace(collect(samples.events(notice=samples.NOTICE)), started="2026-01-01T00:00:00+00:00")
    golden("junit.xml", rendered(report).decode().replace("><", ">\n<"))


@pytest.mark.parametrize(
    ("verdict", "expected", "kinds"),
    [
        ("agree", "agree", []),
        ("agree", "diverge", ["error"]),
        ("diverge", "agree", ["failure"]),
        ("diverge", "diverge", ["failure"]),
        ("known", "agree", ["skipped"]),
        ("flaky", "agree", ["error"]),
        ("inconclusive", "agree", ["error"]),
        ("inconclusive", "inconclusive", ["skipped"]),
        ("skipped", "agree", ["error"]),
        ("skipped", "skipped", ["skipped"]),
    ],
)
def test_a_case_fails_here_exactly_where_the_exit_code_is_not_0(verdict, expected, kinds):
    found, code = one(verdict, expected)
    assert found == kinds
    assert bool({"failure", "error"} & set(found)) == (code != 0)


def test_sums_are_those_of_the_report_and_a_reader_takes_it():
    report = collect(samples.events())
    read = junitparser.JUnitXml.fromstring(rendered(report))
    assert read.tests == len(report.cases)
    assert read.failures == report.totals["diverge"]
    assert read.errors == 1
    assert {suite.name for suite in read} == {"decisions", "memory", "floats", "loops", "odd"}


def test_a_failure_tells_both_values_and_the_place():
    text = ET.fromstring(rendered(collect(samples.events()))).find(".//testcase[@name='triangle']/failure").text
    assert "row run_row_2: counter 17 in is_leap_year br_if, leap_year.c:12" in text
    assert "wasmtime: 3" in text
    assert "kilnd: 2" in text


def test_differences_beyond_those_told_are_counted():
    many = diverged([samples.COUNTER] * 50)
    text = ET.fromstring(rendered(collect(samples.events((case("a", [many], "diverge"),))))).find(".//failure").text
    assert text.count("row run_row_2") == 20
    assert "and 30 more differences" in text


def unharmed(name):
    data = rendered(hostile.report(name))
    assert len(data) < 200_000
    first = ET.fromstring(data).find(".//failure/..")
    wanted = hostile.shown(name.rpartition("/")[2]) or "?"
    assert first.get("name")[:80] == wanted


@pytest.mark.parametrize("name", hostile.NAMES, ids=lambda name: repr(name[:20]))
def test_a_hostile_name_is_text(name):
    unharmed(name)


@settings(deadline=None, max_examples=50)
@given(name=hostile.ANY)
def test_any_name_is_text(name):
    unharmed(name)


def test_a_run_without_cases_is_valid():
    rendered(collect(samples.events(())))


def test_a_case_from_the_cache_takes_what_it_took():
    made = case("x", [agreed()], "agree", elapsed_ns=5, cached=("oracle", "subject"))
    took = sum(side.cost.elapsed_ns for each in made.passes for side in (each.oracle, each.subject))
    assert took > 10**6
    (test,) = ET.fromstring(rendered(collect(samples.events((made,))))).iter("testcase")
    assert float(test.get("time")) == round(took / 1e9, 3)
