import msgspec
import pytest

from diffcheck.report.model import Collector, agreement, clusters, exit_code
from diffcheck.verdict import PassReport

from . import samples
from .samples import CASES, agreed, case, diverged, events, not_applicable


def collect(stream):
    collector = Collector({"mode": "both"})
    for event in stream:
        collector.take(event)
    return collector.report()


def code(*cases, **more):
    return exit_code(collect(events(cases, **more)))


def test_a_report_does_not_depend_on_the_order_in_which_cases_end():
    one, other = collect(events(CASES)), collect(events(tuple(reversed(CASES))))
    assert one.cases == other.cases
    assert [each.case for each in one.cases] == sorted(each.case for each in CASES)
    assert one.totals == other.totals
    assert one.totals["cases"] == len(CASES)


def test_totals_count_each_case_under_exactly_one_verdict():
    totals = collect(events()).totals
    verdicts = ("agree", "diverge", "known", "flaky", "inconclusive", "skipped")
    assert sum(totals[word] for word in verdicts) == totals["cases"]


def test_a_run_without_its_end_is_interrupted():
    report = collect(events(finished=False))
    assert report.interrupted
    assert exit_code(report) == 130


def test_a_report_before_the_run_began_is_a_defect():
    with pytest.raises(RuntimeError):
        Collector({}).report()


AGREE = case("a", [agreed(), not_applicable()])
DIVERGE = case("d", [diverged([samples.COUNTER])], "diverge")


@pytest.mark.parametrize(
    ("cases", "wanted"),
    [
        ([AGREE], 0),
        ([AGREE, DIVERGE], 1),
        ([msgspec.structs.replace(DIVERGE, expected="diverge")], 1),
        ([case("i", [], "inconclusive")], 3),
        ([AGREE, case("i", [agreed()], "inconclusive", expected="inconclusive")], 0),
        ([case("s", [], "skipped")], 3),
        ([AGREE, case("b", [], "skipped", bad_input=True)], 2),
        ([DIVERGE, case("b", [], "skipped", bad_input=True)], 1),
        ([AGREE, case("s", [], "skipped", expected="skipped")], 0),
        ([case("f", [agreed()], "flaky")], 3),
        ([case("f", [agreed()], "flaky", expected="flaky")], 0),
        ([msgspec.structs.replace(AGREE, expected="diverge")], 3),
        ([case("k", [agreed()], "known")], 0),
        ([case("n", [not_applicable()], "skipped", expected="skipped")], 3),
        ([], 3),
    ],
)
def test_exit_code(cases, wanted):
    assert code(*cases) == wanted


def test_an_interruption_goes_before_a_divergence():
    assert code(DIVERGE, interrupted=True) == 130


def test_equal_signatures_are_one_cluster_headed_by_the_first_case():
    found = clusters(collect(events()))
    assert [[member.case.case for member in cluster.members] for cluster in found] == [
        ["decisions/leap_year", "decisions/triangle"],
        ["memory/grow"],
    ]
    assert found[0].count == 3


def test_without_signatures_the_divergences_of_a_kind_in_a_case_are_one_cluster():
    bare = [msgspec.structs.replace(samples.COUNTER, signature="")] * 200
    report = collect(events((case("a", [diverged(bare)], "diverge"), case("b", [diverged(bare)], "diverge"))))
    assert [cluster.count for cluster in clusters(report)] == [200, 200]


def test_a_counter_that_both_passes_compare_counts_once():
    found = agreement(collect(events((case("a", [agreed(), agreed("direct")]), case("b", [agreed()])))))
    assert (found.counters, found.counters_nonzero) == (240, 74)


def test_a_pass_that_is_not_applicable_compares_nothing():
    report = collect(events((case("a", [PassReport("direct", applicable=False, why="no entry")]),)))
    assert agreement(report).values == 0
