"""What the deterministic form says, as the reports show it: a number that is not exact, and where a divergence was found."""

from __future__ import annotations

import msgspec

from diffcheck.report import detail, summary
from diffcheck.verdict import Allowance, CaseReport, PassReport, Report, Where
from tests.report import samples
from tests.report.test_console import shown
from tests.report.test_model import collect


def only(case: CaseReport) -> Report:
    """The sample report with this case alone."""
    return msgspec.structs.replace(collect(samples.events()), cases=(case,))


def test_differences_of_which_not_all_were_located_are_counted_at_least():
    exact, some = Allowance("rule", "1", Where("f", "result 0"), count=2), Allowance("rule", "1", Where(), count=3, at_least=True)
    for allowed, words in (((exact,), "2 differences"), ((exact, some), "at least 5 differences")):
        one_pass = PassReport("capsule", applicable=True, verdict="agree", allowances=allowed)
        report = only(msgspec.structs.replace(collect(samples.events()).cases[0], passes=(one_pass,)))
        assert [each.times("difference") for each in summary.allowances(report)] == [words]


def test_a_divergence_names_the_form_that_it_was_found_in():
    case = next(each for each in collect(samples.events()).cases if any(one.divergences for one in each.passes))
    passes = tuple(
        msgspec.structs.replace(
            each, divergences=tuple(msgspec.structs.replace(one, form="deterministic") for one in each.divergences)
        )
        for each in case.passes
    )
    for changed, named in ((case, False), (msgspec.structs.replace(case, passes=passes), True)):
        text = shown(lambda target, changed=changed: detail.render(only(changed), changed, target, {}), 200)
        assert ("legal choices made equal" in text) is named
