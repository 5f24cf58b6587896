"""The API's operations. Functions of ``catalogue``, and those that pages call too, become operations in ``HANDLERS``.

Their docstrings are the OpenAPI document's; of what they raise, ``problems`` makes answers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import MediaType, Request, Response, get, patch, post
from litestar.concurrency import sync_to_thread
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import PathParameter, QueryParameter
from litestar.response import File, ServerSentEvent, ServerSentEventMessage

from diffcheck.config.version import __version__
from diffcheck.report import files, json_file
from diffcheck.service import access, catalogue
from diffcheck.service.access import Principal
from diffcheck.service.catalogue import Number
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.jobs.job_queue import Job
from diffcheck.service.jobs.job_request import JobRequest, RequestError
from diffcheck.service.web.problems import documented
from diffcheck.text import decode, visible

_READ: Final[dict[str, Any]] = {"sync_to_thread": True, "responses": documented(400, 404)}
_POLICY: Final = re.compile(rb'http-equiv="Content-Security-Policy" content="([^"]{1,2000})"')
_HEAD_BYTES: Final = 4096
_POLL_S: Final = 0.3
_MOST_STREAMS: Final = 256
_LOG_PART: Final = 64 << 10
_OFFSET: Final = re.compile(r"[0-9]{1,15}\Z")
_LOG_SHOWN: Final = 1 << 20
_SUBMIT: Final = {"scope": "submit"}
_OPERATE: Final = {"scope": "operate"}
_streams = asyncio.Semaphore(_MOST_STREAMS)
Format = Literal["json", "html", "junit_xml", "sarif", "markdown"]
MEDIA_TYPES: Final[dict[Format, str]] = {
    "json": "application/json", "html": "text/html", "junit_xml": "application/xml", "sarif": "application/sarif+json",
    "markdown": "text/markdown",
}  # fmt: skip
BINARY: Final = "application/octet-stream"
_FILE: Final = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))


@dataclass
class FileUpload(Operation):
    """An operation whose body is a file."""

    def __post_init__(self) -> None:
        """Describe the body."""
        self.request_body = RequestBody({BINARY: _FILE}, required=True)


@dataclass
class ReportDownload(Operation):
    """An operation whose answer is a report in one of the formats."""

    def __post_init__(self) -> None:
        """Describe the answer. Its schema is that of `diffcheck schema`."""
        content = {each: OpenAPIMediaType(schema=Schema()) if each.endswith("json") else _FILE for each in MEDIA_TYPES.values()}
        self.responses = {**(self.responses or {}), "200": OpenAPIResponse("The report", content=content)}


class StoredFile(msgspec.Struct, frozen=True):
    """An uploaded file."""

    sha256: str
    size: int


class ServiceMetadata(msgspec.Struct, frozen=True):
    """The service: its version, and the names that a job may use."""

    version: str
    engines: tuple[str, ...]
    corpora: tuple[str, ...]
    upload_bytes: int


class Health(msgspec.Struct, frozen=True):
    """Whether the service works; ``queued`` and ``running`` are numbers of jobs."""

    status: str
    queued: int
    running: int


@get("/service", sync_to_thread=True, responses=documented())
def about(folder: DataFolder) -> ServiceMetadata:
    """The service and the names that jobs may use."""
    return ServiceMetadata(__version__, folder.planner.engines(), tuple(folder.settings.corpora), folder.store.upload_bytes)


@get("/health", sync_to_thread=True, opt={"scope": None}, responses=documented())
def health(connection: Connection) -> Health:
    """Whether the service works; needs no token."""
    counts = catalogue.counts(connection, "jobs")
    return Health("ok", counts.get("queued", 0), counts.get("running", 0))


@get("/metrics", sync_to_thread=True, media_type=MediaType.TEXT, responses=documented())
def metrics(connection: Connection) -> Response[str]:
    """Metrics in Prometheus' text format, computed when they are asked for."""
    lines = (f"diffcheck_{name} {value}\n" for name, value in catalogue.metrics(connection))
    return Response("".join(lines), media_type="text/plain; version=0.0.4; charset=utf-8")


@post("/artifacts", opt=_SUBMIT, request_max_body_size=None, operation_class=FileUpload, responses=documented(400, 409, 413))
async def upload(request: Request[Principal, None, Any], folder: DataFolder) -> StoredFile:
    """Store an artifact, a manifest or a case file; the body is the file."""
    return await store(folder, request.stream())


async def store(folder: DataFolder, chunks: AsyncIterator[bytes]) -> StoredFile:
    """Store a file as it arrives; raises ``RequestError`` if it is empty, ``TooLargeError``, ``StorageFullError``."""
    with folder.store.incoming() as incoming:
        async for chunk in chunks:
            incoming.write(chunk)
        if not incoming.size_bytes:
            raise RequestError("the file is empty", hint="send the file as the body of the request, or choose another in the form")
        digest = await sync_to_thread(incoming.keep)
    return StoredFile(digest, incoming.size_bytes)


@get("/artifacts/{sha256:str}", sync_to_thread=True, media_type=BINARY, responses=documented(400, 404))
def artifact(folder: DataFolder, sha256: Annotated[str, PathParameter(pattern=r"^[0-9a-f]{64}$")]) -> File:
    """A stored file."""
    return File(folder.store.path(sha256), filename=f"{sha256}.bin", media_type=BINARY)


def submit(folder: DataFolder, who: Principal, data: JobRequest) -> Job:
    """Queue a job. Asking for the same again gives the same job."""
    plan, title = folder.planner.plan(data)
    number, new = folder.queue.submit(plan, title, priority=1 if plan.inputs else 0, owner=who.name)
    with folder.database.writing() as connection:
        if new:
            access.audit(connection, who.name, "job submitted", f"{number}: {title}")
        return catalogue.job(connection, number)


def cancel(folder: DataFolder, who: Principal, number: Number) -> Job:
    """Cancel a job that waits or runs; another one is not changed."""
    folder.queue.cancel(number)
    with folder.database.writing() as connection:
        found = catalogue.job(connection, number)
        access.audit(connection, who.name, "job cancelled", str(number))
        return found


@get("/jobs/{number:int}/log", sync_to_thread=True, media_type=MediaType.TEXT, responses=documented(400, 404))
def log(folder: DataFolder, connection: Connection, number: Number) -> str:
    """The end of a job's log, at most a megabyte."""
    catalogue.job(connection, number)
    return printable(folder.log_end(number, _LOG_SHOWN))


def printable(data: bytes) -> str:
    """A part of a file as text with control characters escaped, but for line breaks."""
    return "\n".join(visible(line, 2000) for line in decode(data).split("\n"))


@get("/jobs/{number:int}/events", media_type="text/event-stream", responses=documented(400, 404))
async def job_events(request: Request[Principal, None, Any], folder: DataFolder, number: Number) -> ServerSentEvent:
    """A job's progress as server-sent events: ``log`` with new lines, ``job`` with the job when it changes. Ends with the job."""
    last = _OFFSET.match(request.headers.get("last-event-id", ""))
    offset = int(last[0]) if last else 0
    await sync_to_thread(_progress, folder, number, offset)  # an error is an answer as long as none has begun
    return ServerSentEvent(_events(folder, number, offset))


async def _events(folder: DataFolder, number: int, offset: int) -> AsyncIterator[ServerSentEventMessage]:
    before: Job | None = None
    async with _streams:
        while True:
            job, part = await sync_to_thread(_progress, folder, number, offset)
            offset += len(part)
            if part:
                yield ServerSentEventMessage(data=printable(part).rstrip("\n"), event="log", id=str(offset))
            if job != before:
                before = job
                yield ServerSentEventMessage(data=msgspec.json.encode(job).decode(), event="job")
            if job.state not in ("queued", "running") and not part:
                return
            await asyncio.sleep(_POLL_S)


def _progress(folder: DataFolder, number: int, offset: int) -> tuple[Job, bytes]:
    """The job, and what its log has after an offset: whole lines, or all if the job has ended."""
    with folder.database.reading() as connection:
        job = catalogue.job(connection, number)
    data = folder.log_part(number, offset, _LOG_PART)
    whole = data[: data.rfind(b"\n") + 1]
    return job, data if job.ended is not None or len(data) == _LOG_PART else whole


class FindingChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of a finding; what is not given stays. Linking an issue marks a finding as known."""

    state: Literal["new", "known"] | None = None
    issue: Annotated[str, msgspec.Meta(max_length=500, pattern=r"^(https?://\S+)?$")] | None = None
    note: Annotated[str, msgspec.Meta(max_length=2000)] | None = None


@get("/runs/{number:int}/report", sync_to_thread=True, operation_class=ReportDownload, responses=documented(400, 404))
def report(
    folder: DataFolder, connection: Connection, number: Number,
    report_format: Annotated[Format, QueryParameter(name="format")] = "json",
) -> File:  # fmt: skip
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
    row = folder.database.row("SELECT sha256 FROM rendered WHERE report = ? AND format = ?", digest, report_format)
    if row is not None and folder.store.exists(row["sha256"]):
        return str(row["sha256"])
    stored = json_file.decode(folder.store.path(digest).read_bytes(), "the stored report")
    made = folder.store.add([files.render(stored, report_format)], cap_bytes=1 << 30, derived=True)
    folder.database.change("INSERT OR REPLACE INTO rendered VALUES (?, ?, ?)", digest, report_format, made)
    return made


def change_finding(folder: DataFolder, who: Principal, number: Number, data: FindingChange) -> catalogue.FindingEntry:
    """Link an issue, mark as known, reopen, or note."""
    state = data.state or ("known" if data.issue else None)
    with folder.database.writing() as connection:
        number = catalogue.finding(connection, number).finding.id
        connection.execute(
            "UPDATE findings SET state = coalesce(?, state), issue = coalesce(?, issue), note = coalesce(?, note) WHERE id = ?",
            (state, data.issue, data.note, number),
        )
        access.audit(connection, who.name, "finding changed", f"{number}: {msgspec.json.encode(data).decode()}")
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


HANDLERS: Final = (
    about, health, metrics,
    get("/audit", opt=_OPERATE, **_READ)(catalogue.audit),
    upload, artifact,
    post("/jobs", sync_to_thread=True, opt=_SUBMIT, responses=documented(400, 409, 413, 429))(submit),
    get("/jobs", **_READ)(catalogue.jobs),
    get("/jobs/{number:int}", **_READ)(catalogue.job),
    post("/jobs/{number:int}/cancel", opt=_OPERATE, status_code=200, **_READ)(cancel),
    log, job_events,
    get("/runs", **_READ)(catalogue.runs),
    get("/jobs/{number:int}/runs", **_READ)(catalogue.job_runs),
    get("/runs/{number:int}", **_READ)(catalogue.run),
    report,
    get("/cases", **_READ)(catalogue.cases),
    get("/cases/{number:int}", **_READ)(catalogue.case),
    get("/cases/{number:int}/results", **_READ)(catalogue.case_results),
    get("/findings", **_READ)(catalogue.findings),
    get("/findings/{number:int}", **_READ)(catalogue.finding),
    patch("/findings/{number:int}", sync_to_thread=True, opt=_OPERATE, responses=documented(400, 404, 413))(change_finding),
    attachment,
    get("/builds", **_READ)(catalogue.builds),
    get("/builds/compare", sync_to_thread=True, responses=documented(400))(catalogue.compare),
    get("/map", **_READ)(catalogue.cells),
)  # fmt: skip
"""In the order of the OpenAPI document."""
