"""Evidence of a run: an in-toto statement (v1) with the predicate *test-result* (v0.1), made of the report alone.

The same report gives the same bytes, so evidence is verified by making it again. Fields beyond the predicate's own are in
``diffcheck``.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

import diffcheck
from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE, EXIT_USAGE
from diffcheck.process import program_digest
from diffcheck.report import json_file, model, summary
from diffcheck.report.evidence import toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.observation import Identity
    from diffcheck.verdict import CaseReport, Report, Tool

_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_PREDICATE: Final = "https://in-toto.io/attestation/test-result/v0.1"
Result = Literal["PASSED", "WARNED", "FAILED"]


def render(report: Report, sha256: str = "") -> bytes:
    """The statement as indented JSON with a line break at its end; ``sha256`` is that of the stored report, if it was read."""
    made = statement(report, sha256 or _report_digest(report))
    return msgspec.json.format(msgspec.json.encode(made, order="sorted"), indent=2) + b"\n"


def statement(report: Report, sha256: str) -> dict[str, Any]:
    """The statement: its subjects are the artifacts, its tests the cases; ``sha256`` is that of the stored report."""
    code, reason = model.conclusion(report)
    by_result: dict[Result, list[str]] = {"PASSED": [], "WARNED": [], "FAILED": []}
    for case in report.cases:
        by_result[_result(case)].append(case.case)
    return {
        "_type": _STATEMENT,
        "subject": [{"name": case.case, "digest": {"sha256": case.sha256}} for case in report.cases if case.sha256],
        "predicateType": _PREDICATE,
        "predicate": {
            "result": _conclusion(code),
            "configuration": list(_configuration(report)),
            "passedTests": by_result["PASSED"],
            "warnedTests": by_result["WARNED"],
            "failedTests": by_result["FAILED"],
            "diffcheck": {
                "report": {"sha256": sha256, "schema": report.schema, "started": report.started},
                "options": report.options,
                "exitCode": code,
                "reason": reason,
                "totals": report.totals,
                "interrupted": report.interrupted,
                "baseline": report.baseline.file if report.baseline is not None else "",
                "cases": [_case(each) for each in report.cases],
                "allowed": [{"rule": each.what, "section": each.note, "count": each.count} for each in summary.allowances(report)],
                "notCompared": [{"what": each.what, "cases": each.cases} for each in summary.left_out(report)],
                "map": msgspec.to_builtins(report.map),
                "selftest": msgspec.to_builtins(report.selftest),
                "toolchain": [_tool(tool, cases) for tool, cases in toolchain.tools(report).items()],
                "notice": report.notice,
            },
        },
    }


def _conclusion(code: int) -> Result:
    return "PASSED" if code == EXIT_AGREE else "FAILED" if code in (EXIT_DIVERGE, EXIT_USAGE) else "WARNED"


def _result(case: CaseReport) -> Result:
    if case.verdict == "agree" and case.as_expected:
        return "PASSED"
    return "WARNED" if model.settled(case) or case.verdict != "diverge" else "FAILED"


def _case(case: CaseReport) -> dict[str, Any]:
    return {
        "name": case.case,
        "plan": case.plan,
        "rows": len(case.rows),
        "verdict": case.verdict,
        "expected": case.expected,
        "signatures": sorted({each for one in case.passes for each in one.signatures}),
        "requirements": list(case.requirements),
    }


def _tool(tool: Tool, cases: tuple[str, ...]) -> dict[str, Any]:
    return {"name": tool.name, "version": tool.version, "sha256": tool.sha256, "cases": list(cases)}


def _configuration(report: Report) -> Iterator[dict[str, Any]]:
    """The engines and the tool, each as a resource descriptor."""
    yield _engine("subject", report.subject)
    yield _engine("oracle", report.oracle)
    for each in report.judges:
        yield _engine("judge", each)
    yield {
        "name": "diffcheck",
        "digest": {"sha256": own_digest()},
        "annotations": {"role": "tool", "version": report.tool.version},
    }


def _engine(role: str, identity: Identity) -> dict[str, Any]:
    digest = {"digest": {"sha256": identity.sha256}} if identity.sha256 else {}
    return {"name": identity.name, **digest, "annotations": {"role": role, "version": identity.version}}


@cache
def own_digest() -> str:
    """A digest of diffcheck's own sources."""
    folder = Path(diffcheck.__file__).parent
    return program_digest(*(str(each) for each in sorted(folder.rglob("*.py"))))


def _report_digest(report: Report) -> str:
    digest = hashlib.sha256()
    for piece in json_file.pieces(report):
        digest.update(piece)
    return digest.hexdigest()
