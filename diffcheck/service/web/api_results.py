"""The API's operations on runs, cases, findings, builds and the map."""

from __future__ import annotations

import re
from sqlite3 import Connection
from typing import Annotated, Final, Literal

import msgspec
from litestar import get, patch
from litestar.params import PathParameter, QueryParameter
from litestar.response import File

from diffcheck.report import files, json_file
from diffcheck.service import access, catalogue
from diffcheck.service.access import Principal
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.web.api import Cursor, Limit, Name, Number, Search
from diffcheck.service.web.operations import BINARY, MEDIA_TYPES, Format, ReportDownload
from diffcheck.service.web.problems import documented
from diffcheck.verdict import Verdict

Digest = Annotated[str, QueryParameter(pattern=r"^[0-9a-f]{64}$")]
_POLICY: Final = re.compile(rb'http-equiv="Content-Security-Policy" content="([^"]{1,2000})"')
_HEAD_BYTES: Final = 4096


class FindingChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of a finding; what is not given stays. Linking an issue marks a finding as known."""

    state: Literal["new", "known"] | None = None
    issue: Annotated[str, msgspec.Meta(max_length=500, pattern=r"^(https?://\S+)?$")] | None = None
    note: Annotated[str, msgspec.Meta(max_length=2000)] | None = None


@get("/runs", sync_to_thread=True, responses=documented(400, 404))
def runs(
    connection: Connection, suite: Name = "", cursor: Cursor = None, limit: Limit = catalogue.PAGE
) -> catalogue.Listing[catalogue.RunEntry]:
    """Runs, the latest first."""
    return catalogue.runs(connection, suite, cursor, limit)


@get("/jobs/{number:int}/runs", sync_to_thread=True, responses=documented(400, 404))
def job_runs(connection: Connection, number: Number) -> catalogue.Listing[catalogue.RunEntry]:
    """The runs of a job: one for each report that its commands wrote."""
    catalogue.job(connection, number)
    return catalogue.runs(connection, "", None, catalogue.PAGE, job_number=number)


@get("/runs/{number:int}", sync_to_thread=True, responses=documented(400, 404))
def run(connection: Connection, number: Number) -> catalogue.RunEntry:
    """A run."""
    return catalogue.run(connection, number)


@get("/runs/{number:int}/report", sync_to_thread=True, operation_class=ReportDownload, responses=documented(400, 404))
def report(
    folder: DataFolder,
    connection: Connection,
    number: Number,
    report_format: Annotated[Format, QueryParameter(name="format")] = "json",
) -> File:
    """The report of a run in any format of `diffcheck report`."""
    digest = catalogue.run(connection, number).report
    path = folder.store.path(digest if report_format == "json" else _rendered(folder, digest, report_format))
    headers = {}
    if report_format == "html":
        with path.open("rb") as file:
            policy = _POLICY.search(file.read(_HEAD_BYTES))
        # The page's own policy has the digests of its script and style; in a sandbox it has no access to the service.
        headers["Content-Security-Policy"] = f"{policy[1].decode() if policy else ''}; sandbox allow-scripts".lstrip("; ")
    return File(
        path,
        media_type=MEDIA_TYPES[report_format],
        filename=f"run-{number}",
        content_disposition_type="inline" if report_format == "html" else "attachment",
        headers=headers,
    )


def _rendered(folder: DataFolder, digest: str, report_format: str) -> str:
    """The digest of a rendered report, which is made again if it was evicted."""
    with folder.database.reading() as connection:
        row = connection.execute("SELECT sha256 FROM rendered WHERE report = ? AND format = ?", (digest, report_format)).fetchone()
    if row is not None and folder.store.exists(row["sha256"]):
        return str(row["sha256"])
    stored = json_file.decode(folder.store.path(digest).read_bytes(), "the stored report")
    made = folder.store.add([files.render(stored, report_format)], cap_bytes=1 << 30, derived=True)
    with folder.database.writing() as connection:
        connection.execute("INSERT OR REPLACE INTO rendered VALUES (?, ?, ?)", (digest, report_format, made))
    return made


@get("/cases", sync_to_thread=True, responses=documented(400, 404))
def cases(
    connection: Connection,
    suite: Name,
    verdict: Verdict | None = None,
    search: Search = "",
    cursor: Cursor = None,
    limit: Limit = catalogue.PAGE,
) -> catalogue.Listing[catalogue.CaseEntry]:
    """The cases of a suite with their last runs, those that diverge first."""
    return catalogue.cases(connection, suite, verdict or "", search, cursor, limit)


@get("/cases/{number:int}", sync_to_thread=True, responses=documented(400, 404))
def case(connection: Connection, number: Number) -> catalogue.CaseEntry:
    """A case."""
    return catalogue.case(connection, number)


@get("/cases/{number:int}/results", sync_to_thread=True, responses=documented(400, 404))
def case_results(
    connection: Connection, number: Number, cursor: Cursor = None, limit: Limit = catalogue.PAGE
) -> catalogue.Listing[catalogue.CaseResult]:
    """The history of a case, latest first."""
    catalogue.case(connection, number)
    return catalogue.case_history(connection, number, cursor, limit)


@get("/findings", sync_to_thread=True, responses=documented(400, 404))
def findings(
    connection: Connection,
    finding_state: Annotated[catalogue.FindingState | None, QueryParameter(name="state")] = None,
    subject: Name = "",
    search: Search = "",
    cursor: Cursor = None,
    limit: Limit = catalogue.PAGE,
) -> catalogue.Listing[catalogue.FindingEntry]:
    """Findings, the latest change first."""
    return catalogue.findings(connection, finding_state or "", subject, search, cursor, limit)


@get("/findings/{number:int}", sync_to_thread=True, responses=documented(400, 404))
def finding(connection: Connection, number: Number) -> catalogue.FindingDetail:
    """A finding with its last occurrence, its files and its history."""
    return catalogue.finding(connection, number)


@patch("/findings/{number:int}", sync_to_thread=True, opt={"scope": "operate"}, responses=documented(400, 404, 413))
def change_finding(folder: DataFolder, who: Principal, number: Number, data: FindingChange) -> catalogue.FindingEntry:
    """Link an issue, mark as known, reopen, or note."""
    return changed(folder, who, number, data)


def changed(folder: DataFolder, who: Principal, number: int, change: FindingChange) -> catalogue.FindingEntry:
    """The finding after a change; raises ``NotFoundError``."""
    state = change.state or ("known" if change.issue else None)
    with folder.database.writing() as connection:
        number = catalogue.finding(connection, number).finding.id
        connection.execute(
            "UPDATE findings SET state = coalesce(?, state), issue = coalesce(?, issue), note = coalesce(?, note) WHERE id = ?",
            (state, change.issue, change.note, number),
        )
        access.audit(connection, who.name, "finding changed", f"{number}: {msgspec.json.encode(change).decode()}")
        return catalogue.finding(connection, number).finding


@get("/findings/{number:int}/files/{name:str}", sync_to_thread=True, media_type=BINARY, responses=documented(400, 404))
def attachment(
    folder: DataFolder, connection: Connection, number: Number, name: Annotated[str, PathParameter(max_length=100)]
) -> File:
    """A file of a finding: the program, the reduced one, the reproducer, the issue's text."""
    found = catalogue.finding(connection, number).attachments
    if name not in found:
        raise catalogue.NotFoundError("there is no such file")
    return File(folder.store.path(found[name]), filename=name, media_type=BINARY)


@get("/builds", sync_to_thread=True, responses=documented(400, 404))
def builds(connection: Connection, cursor: Cursor = None, limit: Limit = catalogue.PAGE) -> catalogue.Listing[catalogue.BuildEntry]:
    """Builds from the watched folder, the latest first."""
    return catalogue.builds(connection, cursor, limit)


@get("/builds/compare", sync_to_thread=True, responses=documented(400))
def compare(connection: Connection, first: Digest, second: Digest) -> catalogue.Comparison:
    """Two builds, by the digests of their programs, compared by their findings."""
    return catalogue.compare(connection, first, second)


@get("/map", sync_to_thread=True, responses=documented(400, 404))
def cells(
    connection: Connection, subject: Name, family: Name, cursor: Cursor = None, limit: Limit = catalogue.PAGE
) -> catalogue.Listing[catalogue.GridCell]:
    """The cells of a family of instructions in the map of the last sweep."""
    return catalogue.cells(connection, subject, family, cursor, limit)


HANDLERS: Final = (
    runs, job_runs, run, report, cases, case, case_results, findings, finding, change_finding, attachment, builds, compare, cells,
)  # fmt: skip
