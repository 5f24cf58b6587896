"""The dashboard: pages rendered on the server from the same functions as the API. Everything works without JavaScript."""

from __future__ import annotations

import functools
import secrets
import time
from datetime import UTC, datetime
from sqlite3 import Connection
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast
from urllib.parse import urlencode

import msgspec
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.params import Body, QueryParameter
from litestar.response import Redirect
from markupsafe import Markup

from diffcheck.report.html_page import prose
from diffcheck.service import access, catalogue
from diffcheck.service.access import Principal
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.jobs.job_request import JobRequest, RequestError
from diffcheck.service.results import NIGHTS
from diffcheck.service.web import api
from diffcheck.service.web.api import FindingChange
from diffcheck.text import duration, plural, size, visible
from diffcheck.verdict import VERDICTS, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from litestar.datastructures import UploadFile

    from diffcheck.service.jobs.job_queue import State as JobState
    from diffcheck.service.settings import JobKind
    from diffcheck.service.web.problems import Problem

T = TypeVar("T")
Query = Annotated[str, QueryParameter(max_length=500)]
State = Annotated[str, QueryParameter(name="state", max_length=20)]
"""An unknown state is one that nothing has."""
Form = Annotated[dict[str, Any], Body(media_type=RequestEncodingType.URL_ENCODED)]
NAVIGATION: Final = (
    ("/", "Overview"), ("/findings", "Findings"), ("/cases", "Cases"), ("/map", "Map"), ("/builds", "Builds"), ("/jobs", "Jobs"),
    ("/submit", "Submit"),
)  # fmt: skip
ASSETS: Final = {"report.css": "text/css", "service.css": "text/css", "service.js": "text/javascript", "icon.svg": "image/svg+xml"}
_LOADER: Final = ChoiceLoader([PackageLoader("diffcheck.service.web"), PackageLoader("diffcheck.report")])
_PER_PAGE: Final = 100
_LOG_SHOWN: Final = 64 << 10
_TEXT_SHOWN: Final = 64 << 10
_TEXTS: Final = (".wat", ".wast", ".md", ".sh", ".toml", ".txt")
_SUBMIT: Final = {"scope": "submit", "page": True}
_OPERATE: Final = {"scope": "operate", "page": True}


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=_LOADER, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_safe
    )  # fmt: skip
    made.filters |= {"visible": visible, "plural": plural, "size": size, "prose": prose, "moment": _moment, "query": _query}
    made.filters |= {"duration": lambda nanoseconds: duration(nanoseconds / 1e9), "number": lambda value: f"{value:,}"}
    made.globals |= {"navigation": NAVIGATION, "verdicts": VERDICTS}
    made.globals["parts"] = made.get_template("parts.html.j2").module
    return made


def _safe(value: object) -> object:
    """What an expression puts into a page: text without control characters but line breaks, whatever name it is."""
    if not isinstance(value, str) or value.isprintable():
        return value
    text = "\n".join(visible(line, len(line) + 1) for line in value.split("\n"))
    return Markup(text) if isinstance(value, Markup) else text  # noqa: S704 - it was markup before


def _moment(seconds: float | str | None) -> str:
    """A time in UTC, from seconds since 1970 or from ISO 8601."""
    if not seconds:
        return "-"
    try:
        at = datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, (int, float)) else datetime.fromisoformat(seconds)
    except ValueError:
        return visible(str(seconds), 40)
    return at.strftime("%Y-%m-%d %H:%M")


def _query(values: dict[str, object]) -> str:
    return urlencode({name: value for name, value in values.items() if value})


@functools.cache
def _mark(word: str) -> Markup:
    """The mark of a verdict."""
    return Markup('<span class="s-{}"></span>').format(word.replace(" ", "-"))


def _strip(case: catalogue.CaseEntry, runs: tuple[catalogue.RunEntry, ...]) -> Markup:
    """The marks of a case's runs; a template's loop over 3,000 of them takes 30 ms."""
    verdicts = {night.run: night.verdict for night in case.nights}
    words = [verdicts.get(run.id, "not run") for run in runs]
    marks = Markup().join(map(_mark, words))
    return Markup('<span class="strip" role="img" aria-label="{}">{}</span>').format(", ".join(words), marks)


def render(template: str, path: str, who: Principal | None, status: int = 200, **values: object) -> Response[bytes]:
    """A page. ``path`` is the entry of the navigation that it belongs to."""
    page = _environment().get_template(template).render(path=path, who=who, **values).encode("utf-8", "backslashreplace")
    return Response(page, media_type=MediaType.HTML, status_code=status)


def problem_page(problem: Problem) -> Response[bytes]:
    """An error as a page; without a login, the form for one."""
    template = "login.html.j2" if problem.status == 401 else "problem.html.j2"  # noqa: PLR2004 - the status
    return render(template, "", None, problem.status, problem=problem, next="/")


@get("/", sync_to_thread=True)
def overview(connection: Connection, who: Principal) -> Response[bytes]:
    """The last runs, what changed, the queue."""
    values: dict[str, Any] = {
        "runs": catalogue.runs(connection, limit=12).items,
        "changes": catalogue.findings(connection, limit=12).items,
        "findings": catalogue.counts(connection, "findings"),
        "jobs": catalogue.counts(connection, "jobs"),
        "waiting": catalogue.waiting(connection),
        "schedule": connection.execute("SELECT name, due, last FROM schedule ORDER BY due").fetchall(),
        "builds": catalogue.builds(connection, limit=1).items,
    }
    return render("overview.html.j2", "/", who, **values)


@get("/findings", sync_to_thread=True)
def findings(
    connection: Connection, who: Principal, finding_state: State = "", subject: Query = "", search: catalogue.Search = "",
    cursor: catalogue.Cursor = None,
) -> Response[bytes]:  # fmt: skip
    """One row a cause; the filters are in the address."""
    found = catalogue.findings(connection, cast("catalogue.FindingState", finding_state), subject, search, cursor, _PER_PAGE)
    counts = catalogue.counts(connection, "findings")
    engines = {each.subject for each in catalogue.subjects(connection)}
    filters = {"state": finding_state, "subject": subject, "q": search}
    return render("findings.html.j2", "/findings", who, found=found, counts=counts, subjects=sorted(engines), filters=filters)


@get("/findings/{number:int}", sync_to_thread=True)
def finding(folder: DataFolder, connection: Connection, who: Principal, number: catalogue.Number) -> Response[bytes] | Redirect:
    """A finding: where, who said what, the reduced program, files, history."""
    found = catalogue.finding(connection, number)
    if found.finding.id != number:
        return Redirect(f"/findings/{found.finding.id}")
    texts = {}
    for name, digest in found.attachments.items():
        if name.endswith(_TEXTS) and folder.store.exists(digest):
            with folder.store.path(digest).open("rb") as file:
                texts[name] = api.printable(file.read(_TEXT_SHOWN))
    return render("finding.html.j2", "/findings", who, found=found, texts=texts)


@post("/findings/{number:int}", sync_to_thread=True, opt=_OPERATE)
def change_finding(folder: DataFolder, who: Principal, number: catalogue.Number, data: Form) -> Redirect:
    """Link an issue, mark as known, reopen, or note."""
    state = {"known": "known", "reopen": "new"}.get(str(data.get("action", "")))
    asked = {"state": state, **{name: str(data.get(name, "")).strip() for name in ("issue", "note")}}
    change = _checked(asked, FindingChange, "the issue must be a web address (https://...)")
    api.change_finding(folder, who, number, change)
    return Redirect(f"/findings/{number}", status_code=303)


@post("/findings/{number:int}/examine", sync_to_thread=True, opt=_SUBMIT)
def examine(folder: DataFolder, who: Principal, number: catalogue.Number, data: Form) -> Redirect:
    """Queue a triage or a bisection of a finding; once a day it may be asked for again."""
    kind: JobKind = "bisect" if data.get("kind") == "bisect" else "triage"
    asked = JobRequest(kind, finding=number, budget_seconds=600, again=f"{datetime.now(UTC):%Y-%m-%d}")
    return Redirect(f"/jobs/{api.submit(folder, who, asked).id}", status_code=303)


@get("/cases", sync_to_thread=True)
def cases(
    connection: Connection, who: Principal, suite: Query = "", verdict: Query = "", search: catalogue.Search = "",
    cursor: catalogue.Cursor = None,
) -> Response[bytes]:  # fmt: skip
    """The grid of cases and runs of a suite."""
    suites = catalogue.suites(connection)
    suite = suite or next(iter(suites), "")
    found = catalogue.cases(connection, suite, cast("Verdict", verdict), search, cursor, _PER_PAGE)
    runs = tuple(reversed(catalogue.runs(connection, suite, limit=NIGHTS).items))
    filters = {"suite": suite, "verdict": verdict, "q": search}
    grid = [(case, _strip(case, runs)) for case in found.items]
    return render("cases.html.j2", "/cases", who, grid=grid, runs=runs, suites=suites, filters=filters, next=found.next)


@get("/cases/{number:int}", sync_to_thread=True)
def case(connection: Connection, who: Principal, number: catalogue.Number, cursor: catalogue.Cursor = None) -> Response[bytes]:
    """The history of a case."""
    found = catalogue.case(connection, number)
    history = catalogue.case_results(connection, number, cursor, _PER_PAGE)
    return render("case.html.j2", "/cases", who, case=found, history=history)


@get("/map", sync_to_thread=True)
def instruction_map(
    connection: Connection, who: Principal, subject: Query = "", family: Query = "", cursor: catalogue.Cursor = None
) -> Response[bytes]:
    """The instructions that were checked."""
    subjects = catalogue.swept_subjects(connection)
    subject = subject or next(iter(subjects), "")
    families = catalogue.families(connection, subject)
    cells = catalogue.cells(connection, subject, family or next(iter(families), ""), cursor, _PER_PAGE)
    filters = {"subject": subject, "family": family or next(iter(families), "")}
    return render("map.html.j2", "/map", who, subjects=subjects, families=families, cells=cells, filters=filters)


@get("/builds", sync_to_thread=True)
def builds(connection: Connection, who: Principal, first: Query = "", second: Query = "") -> Response[bytes]:
    """Builds, and two of them compared."""
    found = catalogue.builds(connection, limit=_PER_PAGE).items
    subjects = catalogue.subjects(connection)
    comparison = catalogue.compare(connection, first, second) if first and second else None
    filters = {"first": first, "second": second}
    return render("builds.html.j2", "/builds", who, builds=found, subjects=subjects, comparison=comparison, filters=filters)


@get("/jobs", sync_to_thread=True)
def jobs(connection: Connection, who: Principal, job_state: State = "", cursor: catalogue.Cursor = None) -> Response[bytes]:
    """The queue and what ended."""
    found = catalogue.jobs(connection, cast("JobState", job_state), cursor, _PER_PAGE)
    counts = catalogue.counts(connection, "jobs")
    return render("jobs.html.j2", "/jobs", who, found=found, counts=counts, filters={"state": job_state})


@get("/jobs/{number:int}", sync_to_thread=True)
def job(folder: DataFolder, connection: Connection, who: Principal, number: catalogue.Number) -> Response[bytes]:
    """A job with its log, which grows while it runs, and its results."""
    found = catalogue.job(connection, number)
    results = [(run, catalogue.run_findings(connection, run.id)) for run in catalogue.job_runs(connection, number).items[:10]]
    log = api.printable(folder.log_end(number, _LOG_SHOWN))
    took = (found.ended or time.time()) - (found.started or time.time())
    return render("job.html.j2", "/jobs", who, job=found, results=results, log=log, took=duration(took))


@post("/jobs/{number:int}/cancel", sync_to_thread=True, opt=_OPERATE)
def cancel(folder: DataFolder, who: Principal, number: catalogue.Number) -> Redirect:
    """Cancel a job."""
    api.cancel(folder, who, number)
    return Redirect(f"/jobs/{number}", status_code=303)


@get("/submit", sync_to_thread=True, opt=_SUBMIT)
def submit_form(folder: DataFolder, who: Principal) -> Response[bytes]:
    """The form for jobs. Its number makes a form that is sent twice one job."""
    engines, corpora, limit = folder.planner.engines(), tuple(folder.settings.corpora), folder.store.upload_bytes
    again = secrets.token_hex(8)
    return render("submit.html.j2", "/submit", who, engines=engines, corpora=corpora, limit=limit, again=again)


@post("/submit", opt=_SUBMIT)
async def submit(request: Request[Principal, None, Any], folder: DataFolder, who: Principal) -> Redirect:
    """Store the form's files and queue the job."""
    form = await request.form()
    uploads = [each for each in form.getall("files", []) if not isinstance(each, str) and each.filename]
    names = [{"name": each.filename, "sha256": (await api.store(folder, _chunks(each))).sha256} for each in uploads]
    fields = {name: str(form.get(name, "")) for name in ("kind", "engine", "against", "again")}
    asked: dict[str, Any] = {**fields, "files": names, "auto_rows": "auto_rows" in form}
    if fields["kind"] in ("run", "gate") and not names:
        asked["corpus"] = str(form.get("corpus", ""))
    checked = _checked(asked, JobRequest, "names of files have letters, digits, . _ - and +")
    return Redirect(f"/jobs/{api.submit(folder, who, checked).id}", status_code=303)


def _checked(asked: dict[str, Any], kind: type[T], hint: str) -> T:
    """What a form asks; raises ``RequestError``."""
    try:
        return msgspec.convert(asked, kind)
    except msgspec.ValidationError as error:
        raise RequestError(f"the form has a mistake: {error}", hint=hint) from error


async def _chunks(upload: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await upload.read(1 << 20):
        yield chunk


@get("/login", sync_to_thread=False, opt={"scope": None, "page": True})
def login_form(folder: DataFolder) -> Response[bytes]:  # noqa: ARG001 - the application gives it to every page
    """The form for a token."""
    return render("login.html.j2", "", None, problem=None, next="/")


@post("/login", sync_to_thread=True, opt={"scope": None, "page": True})
def login(request: Request[Principal, None, Any], folder: DataFolder, data: Form) -> Redirect:
    """Exchange a token for a cookie."""
    text = access.log_in(folder.database, str(data.get("token", "")).strip())
    if text is None:
        raise access.UnauthenticatedError("the token is not valid", hint="make one with `diffcheck serve token`")
    secure = access_visit(request).is_secure(folder.settings)
    cookie = Cookie(access.COOKIE, value=text, httponly=True, samesite="strict", secure=secure, max_age=int(access.LOGIN_S))
    return Redirect("/", status_code=303, cookies=[cookie])


@post("/logout", sync_to_thread=True, opt={"scope": None, "page": True})
def logout(request: Request[Principal, None, Any], folder: DataFolder) -> Redirect:
    """End the login."""
    access.log_out(folder.database, request.cookies.get(access.COOKIE, ""))
    return Redirect("/", status_code=303, cookies=[Cookie(access.COOKIE, value="", max_age=0, httponly=True, samesite="strict")])


@get("/assets/{name:str}", sync_to_thread=False, opt={"scope": None, "page": True})
def asset(name: str) -> Response[bytes]:
    """A style sheet, the script or the icon."""
    if name not in ASSETS:
        raise catalogue.NotFoundError("there is no such file")
    source, _, _ = _LOADER.get_source(_environment(), name)
    return Response(source.encode(), media_type=f"{ASSETS[name]}; charset=utf-8", headers={"Cache-Control": "max-age=300"})


def access_visit(request: Any) -> access.Visit:  # noqa: ANN401 - a connection of the framework, of any kind
    """The parts of a request that decide about access."""
    peer = request.client.host if request.client else ""
    headers = dict(request.headers.items())
    return access.Visit(request.scope["method"], peer, headers, request.cookies.get(access.COOKIE, ""))


HANDLERS: Final = (
    overview, findings, finding, change_finding, examine, cases, case, instruction_map, builds, jobs, job, cancel, submit_form,
    submit, login_form, login, logout, asset,
)  # fmt: skip
