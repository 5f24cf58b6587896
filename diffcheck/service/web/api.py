"""The API's operations on files and jobs, and of the service itself."""

from __future__ import annotations

import asyncio
import re
from sqlite3 import Connection
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.params import PathParameter, QueryParameter
from litestar.response import File, ServerSentEvent, ServerSentEventMessage

from diffcheck.config.version import __version__
from diffcheck.service import access, catalogue
from diffcheck.service.access import Principal
from diffcheck.service.catalogue import AuditEntry, Listing
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.jobs.job_queue import Job, State
from diffcheck.service.jobs.job_request import JobRequest, RequestError
from diffcheck.service.web.operations import BINARY, FileUpload
from diffcheck.service.web.problems import documented
from diffcheck.text import decode, visible

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Number = Annotated[int, PathParameter(ge=1, le=1 << 53)]
Cursor = Annotated[str | None, QueryParameter(name="cursor", max_length=2000, description="The value of next in the part before.")]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=200)]
Name = Annotated[str, QueryParameter(max_length=200)]
Search = Annotated[str, QueryParameter(name="q", max_length=200)]
_POLL_S: Final = 0.3
_MOST_STREAMS: Final = 256
_LOG_PART: Final = 64 << 10
_OFFSET: Final = re.compile(r"[0-9]{1,15}\Z")
_LOG_SHOWN: Final = 1 << 20
_SUBMIT: Final = {"scope": "submit"}
_OPERATE: Final = {"scope": "operate"}
_streams = asyncio.Semaphore(_MOST_STREAMS)


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


@get("/audit", sync_to_thread=True, opt=_OPERATE, responses=documented(400, 404))
def audit(connection: Connection, cursor: Cursor = None, limit: Limit = catalogue.PAGE) -> Listing[AuditEntry]:
    """Who changed what, the latest first."""
    return catalogue.audit(connection, cursor, limit)


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


@post("/jobs", sync_to_thread=True, opt=_SUBMIT, responses=documented(400, 409, 413, 429))
def submit(folder: DataFolder, who: Principal, data: JobRequest) -> Job:
    """Queue a job. Asking for the same again gives the same job."""
    return submitted(folder, who, data)


def submitted(folder: DataFolder, who: Principal, asked: JobRequest) -> Job:
    """The job of a request; raises ``RequestError``, ``QueueFullError``."""
    plan, title = folder.planner.plan(asked)
    number, new = folder.queue.submit(plan, title, priority=1 if plan.inputs else 0, owner=who.name)
    with folder.database.writing() as connection:
        if new:
            access.audit(connection, who.name, "job submitted", f"{number}: {title}")
        return catalogue.job(connection, number)


@get("/jobs", sync_to_thread=True, responses=documented(400, 404))
def jobs(
    connection: Connection,
    job_state: Annotated[State | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: Limit = catalogue.PAGE,
) -> Listing[Job]:
    """Jobs, the latest first."""
    return catalogue.jobs(connection, job_state or "", cursor, limit)


@get("/jobs/{number:int}", sync_to_thread=True, responses=documented(400, 404))
def job(connection: Connection, number: Number) -> Job:
    """A job."""
    return catalogue.job(connection, number)


@post("/jobs/{number:int}/cancel", sync_to_thread=True, opt=_OPERATE, status_code=200, responses=documented(400, 404))
def cancel(folder: DataFolder, who: Principal, number: Number) -> Job:
    """Cancel a job that waits or runs; another one is not changed."""
    return cancelled(folder, who, number)


def cancelled(folder: DataFolder, who: Principal, number: int) -> Job:
    """The job after its cancellation; raises ``NotFoundError``."""
    with folder.database.reading() as connection:
        catalogue.job(connection, number)
    folder.queue.cancel(number)
    with folder.database.writing() as connection:
        access.audit(connection, who.name, "job cancelled", str(number))
        return catalogue.job(connection, number)


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

    def read() -> Job:
        with folder.database.reading() as connection:
            return catalogue.job(connection, number)

    await sync_to_thread(read)
    return ServerSentEvent(_events(folder, number, int(last[0]) if last else 0))


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


HANDLERS: Final = (about, health, metrics, audit, upload, artifact, submit, jobs, job, cancel, log, job_events)
