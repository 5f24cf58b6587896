"""SARIF 2.1.0: a cluster is a result, at its source line where the manifest has one, else at the artifact.

Section numbers are those of the OASIS standard of 27 March 2020. The limits are code scanning's: 25,000 results a run, 10 MB
packed.
"""

from __future__ import annotations

import gzip
import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from diffcheck.report import summary, terminal_text
from diffcheck.report.model import clusters
from diffcheck.report.summary import cluster_verdict, kind_and_item, standings
from diffcheck.text import plural, visible

if TYPE_CHECKING:
    from diffcheck.report.model import Cluster
    from diffcheck.verdict import BaselineStatus, CaseReport, Report, Where

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MAX_RESULTS: Final = 25_000
MAX_PACKED_BYTES: Final = 10_000_000
_MAX_CASES: Final = 10
_MAX_TEXT: Final = 300
_MAX_PATH: Final = 1000
_WEB: Final = re.compile(r"https?://[A-Za-z0-9][A-Za-z0-9./_~#?=&:-]{0,500}")
"""An issue's address that is a valid URI."""
_LEVELS: Final = {"diverge": "error", "flaky": "warning", "inconclusive": "warning"}
_RULES: Final = {
    "outcome": "a run or a call has a different outcome: returned, exited, trapped, refused, crashed, timed out",
    "result": "the result of a call differs",
    "counter": "a branch count differs",
    "brval": "the value of a condition differs",
    "brcnt": "an evaluation count of a condition differs",
    "trace": "the order of evaluated conditions differs",
    "global": "the final value of an exported global differs",
    "table size": "the final size of a table differs",
    "table": "a final element of a table differs",
    "memory size": "the final size of a memory differs",
    "memory": "a final byte of a memory differs",
    "output": "the output to a standard stream differs",
    "stub calls": "the calls of an import differ",
    "stream": "the recorded observation itself differs or is damaged",
    "instruction": "an instruction has a result that the specification does not allow",
    "not located": "the states differ; the place was not found within the limit of executions",
    "expectation": "the engines agree, but not with what the script or case file expects",
    "validity": "an engine loads a module that is invalid or malformed",
}


class Message(msgspec.Struct, frozen=True):
    """Section 3.11."""

    text: str


class Rule(msgspec.Struct, frozen=True, rename="camel"):
    """A reporting descriptor, section 3.49."""

    id: str
    name: str
    short_description: Message


class Driver(msgspec.Struct, frozen=True):
    """The tool component, section 3.19."""

    name: str
    version: str
    rules: tuple[Rule, ...]


class SarifTool(msgspec.Struct, frozen=True):
    """Section 3.18."""

    driver: Driver


class ArtifactLocation(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Section 3.4; a relative path starts at the root of the repository."""

    uri: str
    uri_base_id: str | None = None


class Region(msgspec.Struct, frozen=True, rename="camel"):
    """Section 3.30."""

    start_line: int


class PhysicalLocation(msgspec.Struct, frozen=True, rename="camel"):
    """Section 3.29."""

    artifact_location: ArtifactLocation
    region: Region


class LogicalLocation(msgspec.Struct, frozen=True, rename="camel"):
    """Section 3.33."""

    name: str
    fully_qualified_name: str
    kind: str = "function"


class Location(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Section 3.28."""

    physical_location: PhysicalLocation
    logical_locations: tuple[LogicalLocation, ...] = ()
    message: Message | None = None


class Result(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Section 3.27."""

    rule_id: str
    level: str
    message: Message
    locations: tuple[Location, ...]
    partial_fingerprints: dict[str, str]
    related_locations: tuple[Location, ...] = ()
    work_item_uris: tuple[str, ...] = ()
    properties: dict[str, str | int] = {}


class Notification(msgspec.Struct, frozen=True):
    """Section 3.58."""

    level: str
    message: Message


class Invocation(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Section 3.20."""

    execution_successful: bool
    start_time_utc: str | None = None
    tool_execution_notifications: tuple[Notification, ...] = ()


class AutomationDetails(msgspec.Struct, frozen=True):
    """Section 3.17; the part before the last slash is the category in code scanning."""

    id: str


class SarifRun(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Section 3.14."""

    tool: SarifTool
    invocations: tuple[Invocation, ...]
    automation_details: AutomationDetails
    # An empty list says that nothing was found, a missing one that nothing was looked for, so there is no default to omit.
    results: tuple[Result, ...]


class SarifLog(msgspec.Struct, frozen=True):
    """Section 3.13."""

    schema: str = msgspec.field(name="$schema")
    version: str
    runs: tuple[SarifRun, ...]


def render(report: Report) -> bytes:
    """The report as SARIF: the clusters with most cases within the limits, and a note of how many were left out."""
    found = clusters(report)
    kept = min(len(found), MAX_RESULTS)
    statuses = standings(report)
    results = tuple(_result(report, cluster, statuses.get(cluster.signature)) for cluster in found[:kept])
    data = _encode(report, results, len(found) - kept)
    while kept and len(data) > MAX_PACKED_BYTES and (packed := len(gzip.compress(data, 6))) > MAX_PACKED_BYTES:
        kept = min(kept - 1, int(kept * 0.9 * MAX_PACKED_BYTES / packed))
        results = results[:kept]
        data = _encode(report, results, len(found) - kept)
    return data


def _encode(report: Report, results: tuple[Result, ...], left_out: int) -> bytes:
    notes = [Notification("warning", Message(f"{plural(left_out, 'difference')} omitted: beyond the limits of code scanning"))]
    notifications = [Notification("note", _message(f"{each.name}: {each.what}")) for each in report.engine_findings[:100]]
    notifications += [
        Notification("note", _message(f"{each.what} is stubbed ({each.note}) and was called: {plural(each.count, 'time')}"))
        for each in summary.stubs(report)[:100]
    ]
    if report.notice:
        notifications.insert(0, Notification("warning", _message(report.notice)))
    rules = tuple(Rule(_rule_id(kind), _rule_name(kind), Message(f"Engines disagree: {text}.")) for kind, text in _RULES.items())
    run = SarifRun(
        SarifTool(Driver("diffcheck", visible(report.tool.version) or "?", rules)),
        (Invocation(not report.interrupted, _utc(report.started), tuple(notes * bool(left_out) + notifications)),),
        AutomationDetails(f"diffcheck/{_word(report.subject.name)}-against-{_word(report.oracle.name)}/"),
        results,
    )
    # No indentation: it would be most of 25,000 results.
    return msgspec.json.encode(SarifLog(SCHEMA, "2.1.0", (run,))) + b"\n"


def _rule_id(kind: str) -> str:
    return f"diffcheck/{kind.replace(' ', '-')}"


def _rule_name(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.split()) + "Differs"


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", text[:80]) or "engine"


def _utc(started: str) -> str | None:
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return None
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _message(text: str, limit: int = 1000) -> Message:
    """A plain text message that shows ``text``: braces are doubled (3.11.5), and what would be an embedded link (3.11.6) has the
    parenthesis of its target written as an escape, so that no reading of backslashes makes it one.
    """
    return Message(visible(text, limit).replace("{", "{{").replace("}", "}}").replace("](", "]\\x28"))


def _result(report: Report, cluster: Cluster, standing: BaselineStatus | None) -> Result:
    first = cluster.members[0].first
    verdict = cluster_verdict(cluster)
    lead, *others = cluster.members
    signature = visible(cluster.signature, 200)
    return Result(
        _rule_id(first.kind),
        _LEVELS.get(verdict, "note"),
        _message(_sentence(report, cluster), 4000),
        (_location(first.where, lead.case),),
        # The second is what code scanning identifies alerts by; without it, it would take a hash of the source line.
        {
            "diffcheckSignature/v1": signature,
            "primaryLocationLineHash": f"{sha256(cluster.signature.encode(errors='replace')).hexdigest()[:16]}:1",
        },
        tuple(_location(each.first.where, each.case, each.case.case) for each in others[:_MAX_CASES]),
        (standing.issue,) if standing and _WEB.fullmatch(standing.issue) else (),
        {
            "verdict": verdict,
            "cases": len(cluster.members),
            "differences": cluster.count,
            **({"baseline": standing.state} if standing else {}),
        },
    )


def _sentence(report: Report, cluster: Cluster) -> str:
    """The cluster as text: item, place, both values, cases."""
    first = cluster.members[0].first
    oracle, subject = terminal_text.columns(report)
    left, right = terminal_text.side_by_side(first.oracle, first.subject, _MAX_TEXT)
    row = f", row {visible(first.where.row)}" if first.where.row else ""
    code = " ".join(part for part in (first.where.function, first.where.branch) if part)
    names = ", ".join(visible(member.case.case, 80) for member in cluster.members[:_MAX_CASES])
    more = len(cluster.members) - _MAX_CASES
    return (
        f"{visible(kind_and_item(first), _MAX_TEXT)} differs{row}" + (f", in {visible(code, _MAX_TEXT)}" if code else "")
        + f": {oracle} has {left}, {subject} has {right}. In {plural(len(cluster.members), 'case')}: {names}"
        + (f" and {more:,} more." if more > 0 else ".")
    )  # fmt: skip


def _location(where: Where, case: CaseReport, message: str = "") -> Location:
    physical = PhysicalLocation(_artifact(where.file or case.artifact), _region(where))
    name = visible(where.function, _MAX_TEXT)
    logical = (LogicalLocation(name, f"{visible(case.case, _MAX_TEXT)}::{name}"),) if name else ()
    return Location(physical, logical, _message(message) if message else None)


def _region(where: Where) -> Region:
    """The line; an artifact is given line 1, since code scanning shows no result without a line."""
    return Region(where.line if where.file and where.line is not None and where.line > 0 else 1)


def _artifact(path: str) -> ArtifactLocation:
    """A path as a URI reference (3.4.3): percent-encoded, relative to the repository unless it is absolute."""
    shown = visible(path, _MAX_PATH)
    parts = quote(shown.replace("\\", "/") if re.match(r"[A-Za-z]:\\", shown) else shown, safe="/-._~")
    if shown.startswith("/"):
        return ArtifactLocation(f"file:///{parts.lstrip('/')}")
    # A first segment with a colon would read as a scheme; quote has encoded it.
    return ArtifactLocation(parts or ".", "%SRCROOT%")
