"""JUnit XML for CI: a case is a test, the folders of cases are suites.

Valid for Jenkins's schema (junit-10.xsd) and for readers of surefire's form. A case that diverges is a failure, one that is
inconclusive or unexpected an error, and one that is known or expected to be inconclusive is skipped.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from diffcheck.report import terminal_text
from diffcheck.report.model import conclusion, settled
from diffcheck.report.summary import code_of, kind_and_item, pass_words, standings
from diffcheck.text import plural, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diffcheck.verdict import CaseReport, Divergence, Report

_MAX_NAME: Final = 300
_MAX_LINE: Final = 600
_MAX_DIVERGENCES: Final = 20
_MAX_LOG_LINES: Final = 40
_ROOT: Final = "cases"


def render(report: Report) -> bytes:
    """The report as JUnit XML. Every string goes through ``visible``: the library writes NUL and ESC as they are."""
    document = JUnitXml("diffcheck")
    folders: dict[str, list[CaseReport]] = {}
    for case in report.cases:
        folders.setdefault(case.case.rpartition("/")[0], []).append(case)
    properties = tuple((key, visible(value, _MAX_LINE)) for key, value in _properties(report))
    issues = {key: each.issue for key, each in standings(report).items() if each.issue}
    for folder, cases in folders.items():
        # Not document.add_testsuite, which compares every suite with all before it.
        document.append(_suite(report, folder, cases, properties, issues))
    document.update_statistics()
    # Jenkins's schema has no such attribute on the root; it is on each suite.
    document._elem.attrib.pop("skipped", None)  # noqa: SLF001 - the library has no other way to leave it out
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + document.tostring() + b"\n"


def _suite(
    report: Report, folder: str, cases: list[CaseReport], properties: tuple[tuple[str, str], ...], issues: Mapping[str, str]
) -> TestSuite:  # fmt: skip
    suite = TestSuite(_name(folder) or _ROOT)
    if (started := _timestamp(report.started)) is not None:
        suite.timestamp = started
    for key, value in properties:
        suite.add_property(key, value)
    suite.add_testcases([_case(report, folder, case, issues) for case in cases])
    return suite


def _timestamp(started: str) -> str | None:
    """The run's start as surefire has it, without a zone; None where the stored text is not a time."""
    try:
        return datetime.fromisoformat(started).replace(tzinfo=None).isoformat(timespec="seconds")
    except ValueError:
        return None


def _properties(report: Report) -> Iterator[tuple[str, str]]:
    yield "diffcheck.version", report.tool.version
    yield "subject", terminal_text.engine(report.subject)
    yield "subject.sha256", report.subject.sha256
    yield "oracle", terminal_text.engine(report.oracle)
    yield "conclusion", conclusion(report)[1]
    if report.notice:
        yield "notice", report.notice
    for finding in report.engine_findings[:_MAX_DIVERGENCES]:
        yield "engine finding", f"{finding.name}: {finding.what}"


def _name(text: str) -> str:
    return visible(text, _MAX_NAME)


def _case(report: Report, folder: str, case: CaseReport, issues: Mapping[str, str]) -> TestCase:
    test = TestCase(
        _name(case.case.rpartition("/")[2]) or "?",
        classname=_name(folder).replace("/", ".") or _ROOT,
        time=round(case.took_ns / 1e9, 3),
    )
    result = _result(report, case)
    if result is not None:
        test.result = [result]
    test.system_out = "\n".join(visible(line, _MAX_LINE) for line in _facts(case, issues))
    log = "\n".join(_logs(report, case))
    if log:
        test.system_err = log
    return test


def _result(report: Report, case: CaseReport) -> Failure | Error | Skipped | None:
    reason = visible(case.reason, _MAX_LINE)
    if case.verdict == "diverge":
        failure = Failure(reason or "diverges", "diverge")
        failure.text = "\n".join(_differences(report, case))
        return failure
    if not settled(case):
        expected = f"{case.verdict}, {case.expected} was expected"
        return Error(f"{expected}: {reason}" if reason else expected, case.verdict)
    if case.verdict != "agree":
        return Skipped(f"{case.verdict}: {reason}" if reason else case.verdict, case.verdict)
    return None


def _differences(report: Report, case: CaseReport) -> Iterator[str]:
    for each in case.passes:
        total = max(each.divergences_total, len(each.divergences))
        if not total:
            continue
        yield f"{each.mode} pass: {plural(total, 'difference')}"
        for one in each.divergences[:_MAX_DIVERGENCES]:
            yield from _difference(report, one)
        if total > _MAX_DIVERGENCES:
            yield f"and {plural(total - _MAX_DIVERGENCES, 'more difference')}, in report.json"


def _difference(report: Report, one: Divergence) -> Iterator[str]:
    oracle, subject = terminal_text.columns(report)
    left, right = terminal_text.side_by_side(one.oracle, one.subject, _MAX_LINE)
    row = f"row {one.where.row}: " if one.where.row else ""
    place = ", ".join(code_of(one.where))
    yield "  " + visible(f"{row}{kind_and_item(one)}" + (f" in {place}" if place else ""), _MAX_LINE)
    yield f"    {oracle}: {left}"
    yield f"    {subject}: {right}"
    detail = terminal_text.detail(one)
    if detail or one.signature:
        yield "    " + visible(", ".join(part for part in (detail, f"signature {one.signature}") if part), _MAX_LINE)


def _facts(case: CaseReport, issues: Mapping[str, str]) -> Iterator[str]:
    if case.purpose:
        yield case.purpose
    for signature in dict.fromkeys(signature for each in case.passes for signature in each.signatures if signature in issues):
        yield f"{signature} is known: {issues[signature]}"
    for each in case.passes:
        yield pass_words(each)
        if each.applicable:
            yield f"{each.mode}: compared {terminal_text.compared(each.agreement)}" + (", vacuous" if each.vacuous else "")
        for use in each.stubs[:_MAX_DIVERGENCES]:
            yield f"{each.mode}: stubbed ({use.kind}): {use.module} {use.name}, {plural(use.calls, 'call')}"
        for allowed in each.allowances[:_MAX_DIVERGENCES]:
            times = terminal_text.times(allowed.count, "time", at_least=allowed.at_least)
            yield f"{each.mode}: allowed: {allowed.rule} ({allowed.section}), {times}"
    for sentence in case.not_done[:_MAX_DIVERGENCES]:
        yield f"not compared: {sentence}"
    yield f"plan {case.plan}, artifact {case.sha256}"


def _logs(report: Report, case: CaseReport) -> Iterator[str]:
    for each in case.passes:
        for name, side in zip(terminal_text.columns(report), (each.oracle, each.subject), strict=True):
            if side is not None and side.log:
                yield f"{name}, {each.mode} pass:"
                yield from (visible(line, _MAX_LINE) for line in side.log[-(1 << 14) :].splitlines()[-_MAX_LOG_LINES:])
