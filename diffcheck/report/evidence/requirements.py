"""The results of a run by requirement, as YAML for requirement tools: artifact, status and message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from diffcheck.report import model
from diffcheck.text import listed, plural, visible

if TYPE_CHECKING:
    from diffcheck.verdict import CaseReport, Report

Status = Literal["pass", "fail", "inconclusive"]


class RequirementResult(msgspec.Struct, frozen=True):
    """The result for a requirement, ``artifact`` in the words of requirement tools."""

    artifact: str
    status: Status
    message: str


def results(report: Report) -> list[RequirementResult]:
    """One result for each requirement that a case names, sorted: it fails if a case fails, and passes if all cases agree."""
    cases: dict[str, list[CaseReport]] = {}
    for case in report.cases:
        for each in dict.fromkeys(case.requirements):
            cases.setdefault(each, []).append(case)
    return [_result(name, cases[name]) for name in sorted(cases)]


def _result(name: str, cases: list[CaseReport]) -> RequirementResult:
    failed = [each for each in cases if each.verdict in ("diverge", "known")]
    open_ = [each for each in cases if each not in failed and (each.verdict != "agree" or model.fails(each))]
    if failed:
        return RequirementResult(name, "fail", f"{_named(failed)}: {failed[0].reason}")
    if open_:
        return RequirementResult(name, "inconclusive", f"{_named(open_)}: {open_[0].reason or open_[0].verdict}")
    return RequirementResult(name, "pass", f"{plural(len(cases), 'case agrees', 'cases agree')}: {_named(cases)}")


def _named(cases: list[CaseReport]) -> str:
    return listed([each.case for each in cases], 8)


def render(report: Report) -> bytes:
    """The results as YAML; strings are in the form of JSON, which is YAML."""
    found = results(report)
    if not found:
        return b"[]\n"
    return "".join(
        f"- artifact: {_text(each.artifact)}\n  status: {each.status}\n  message: {_text(each.message)}\n" for each in found
    ).encode()


def _text(value: str) -> str:
    return msgspec.json.encode(visible(value, 1000)).decode()
