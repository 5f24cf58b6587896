"""From what a client asks to a plan: names are resolved here, and everything in a request is hostile until it is."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Annotated, Final

import msgspec

from diffcheck import process
from diffcheck.cases import case_file
from diffcheck.errors import CaseError, DiffcheckError
from diffcheck.service.content_store import ContentStore
from diffcheck.service.database import Database
from diffcheck.service.jobs.job_queue import FileName, Plan, Step
from diffcheck.service.settings import LATEST, JobKind, ServiceSettings
from diffcheck.text import plural, visible

_BUILD: Final = re.compile(r"build:([0-9]{1,12})\Z")
_ARTIFACTS: Final = (".wasm", ".wat", ".wast")
_BESIDE: Final = (".toml", ".json")
_SETTINGS: Final = ("diffcheck.toml", "pyproject.toml")
_MOST_DEADLINE_S: Final = 60.0
_MOST_MEMORY: Final = 4 << 30
_MOST_FILES: Final = 200
_TITLE: Final = 160


class RequestError(DiffcheckError):
    """A request that cannot be made a job: the reason, and what to do."""


class JobRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client asks. ``engine`` and ``against`` are names of the configuration, ``latest`` or ``build:ID``; ``files`` or
    ``corpus`` is what is run. ``finding`` is the one to triage, or to bisect from the build ``against`` (the first by default) to
    ``engine``. The same request is the same job, unless ``again`` differs.
    """

    kind: JobKind
    engine: Annotated[str, msgspec.Meta(max_length=60)] = ""
    against: Annotated[str, msgspec.Meta(max_length=60)] = ""
    corpus: Annotated[str, msgspec.Meta(max_length=60)] = ""
    files: Annotated[tuple[FileName, ...], msgspec.Meta(max_length=_MOST_FILES)] = ()
    finding: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] = 0
    auto_rows: bool = False
    budget_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60
    again: Annotated[str, msgspec.Meta(max_length=60)] = ""


class JobSubject(msgspec.Struct, frozen=True):
    """An engine of the configuration, or a build: as in ``--subject``, with the digest of its program."""

    name: str
    spec: str
    sha256: str
    build: int = 0


class Planner:
    """Makes plans of requests."""

    def __init__(self, settings: ServiceSettings, database: Database, store: ContentStore, folder: Path) -> None:
        self._settings, self._database, self._store = settings, database, store
        self._finds, self._jobs = folder / "finds", ("--jobs", str(settings.jobs))

    def engines(self) -> tuple[str, ...]:
        """The names that a request may use."""
        rows = self._database.rows("SELECT id FROM builds WHERE state = 'accepted' ORDER BY id DESC LIMIT 20")
        return (*([LATEST] if rows else ()), *self._settings.engines, *(f"build:{row['id']}" for row in rows))

    def plan(self, request: JobRequest) -> tuple[Plan, str]:
        """The plan and the title of a request; raises ``RequestError``."""
        if request.kind in ("triage", "bisect"):
            return self._examination(request)
        subject = self.subject(request.engine)
        identity = [subject.name, subject.sha256, request.again]
        paths, suite, folder, inputs = self._cases(request) if request.kind in ("run", "gate") else ((), "", "", ())
        budget = ("--budget", str(request.budget_seconds), *self._jobs)
        steps: tuple[Step, ...]
        if request.kind == "gate":
            against = self.subject(request.against)
            identity.append(against.sha256)
            steps = (Step(("gate", subject.spec, *paths, "--against", against.spec, *budget), ("", "sweep")),)
        elif request.kind == "check":
            steps = (Step(("doctor", subject.spec)),)
        elif request.kind == "sweep":
            steps = (Step(("sweep", "--subject", subject.spec, *budget), ("sweep",)),)
        elif request.kind == "hunt":
            steps, suite = self._hunt(request, subject), "finds"
        else:
            extra = ["--auto-rows"] if request.auto_rows else []
            executor = [] if inputs or self._settings.executor == "local" else ["--executor", self._settings.executor]
            arguments = ("run", *paths, "--subject", subject.spec, *extra, *executor, *self._jobs)
            steps = (Step(arguments, ("",), resumable=True),)
        limits = self._settings.limits
        plan = Plan(
            request.kind, steps, suite, subject.name, folder, inputs, tuple(identity), baseline=request.kind in ("run", "sweep"),
            build=subject.build, limit_s=limits.upload_seconds if inputs else limits.job_seconds,
        )  # fmt: skip
        what = plural(len(inputs), "file") if len(inputs) > 1 else inputs[0].name if inputs else request.corpus
        versus = f" against {request.against}" if request.kind == "gate" else ""
        return plan, visible(f"{request.kind} {what}{' with' if what else ''} {subject.name}{versus}".replace("  ", " "), _TITLE)

    def subject(self, name: str) -> JobSubject:
        """The engine with a name; the first of the configuration for an empty one. Raises ``RequestError``."""
        name = name or next(iter(self._settings.engines))
        match = _BUILD.match(name)
        if name == LATEST or match:
            return self._build(int(match[1]) if match else None)
        if name not in self._settings.engines:
            hint = f"there are {', '.join(self.engines())}"
            raise RequestError(f"there is no engine {visible(name, 60)!r}", hint=hint)
        spec = self._settings.engines[name]
        return JobSubject(name, spec, _program_digest(spec.partition(":")[2]))

    def _build(self, number: int | None) -> JobSubject:
        chosen = "id = ?1 OR ?1 IS NULL AND state = 'accepted'"
        row = self._database.row(f"SELECT id, sha256 FROM builds WHERE {chosen} ORDER BY id DESC LIMIT 1", number)  # noqa: S608 - above
        if row is None or self._settings.builds is None:
            raise RequestError("there is no such build", hint="the page of builds lists them")
        spec = f"{self._settings.builds.adapter}:{self._store.path(row['sha256'])}"
        return JobSubject(f"build:{row['id']}", spec, row["sha256"], row["id"])

    def _hunt(self, request: JobRequest, subject: JobSubject) -> tuple[Step, ...]:
        """A hunt with programs of its own, and a run of all finds if there are new ones, which makes them findings."""
        finds = str(self._finds / subject.name.replace(":", "-"))
        seed = str(int(hashlib.sha256(request.again.encode()).hexdigest()[:8], 16))
        hunt = ("hunt", "--subject", subject.spec, "--time", str(request.budget_seconds), "--seed", seed, "--finds", finds)
        return Step((*hunt, *self._jobs)), Step(("run", finds, "--subject", subject.spec, *self._jobs), ("",))

    def _cases(self, request: JobRequest) -> tuple[tuple[str, ...], str, str, tuple[FileName, ...]]:
        """The paths of a run in its folder, its suite, and the folder or the files."""
        if bool(request.corpus) == bool(request.files):
            raise RequestError("a run needs files or a corpus", hint="give files, or the name of a corpus")
        if request.corpus:
            if request.corpus not in self._settings.corpora:
                hint = f"there are {', '.join(self._settings.corpora) or 'none in the configuration'}"
                raise RequestError(f"there is no corpus {visible(request.corpus, 60)!r}", hint=hint)
            path = Path(self._settings.corpora[request.corpus])
            return (path.name,), request.corpus, str(path.parent), ()
        inputs = tuple(sorted(request.files, key=lambda each: each.name))
        digest = hashlib.sha256(msgspec.json.encode(inputs)).hexdigest()[:12]
        return self._checked(inputs), f"upload-{digest}", "", inputs

    def _checked(self, inputs: tuple[FileName, ...]) -> tuple[str, ...]:
        """The artifacts among uploaded files; raises ``RequestError`` for a file that a job cannot use."""
        names = [each.name for each in inputs]
        artifacts = tuple(name for name in names if name.endswith(_ARTIFACTS))
        if not artifacts or len(set(names)) < len(names):
            raise RequestError("the files need different names and at least one .wasm, .wat or .wast among them")
        for each in inputs:
            if not each.name.endswith((*_ARTIFACTS, *_BESIDE)) or each.name in _SETTINGS:
                raise RequestError(f"{each.name} is not an artifact, a case file or a manifest", hint="see docs/service.md")
            try:
                path = self._store.path(each.sha256)
            except FileNotFoundError as error:
                raise RequestError(f"the file {each.name} was not uploaded", hint="POST it to /api/v1/artifacts first") from error
            if each.name.endswith(".toml"):
                _check_case_file(path, each.name)
        return artifacts

    def _examination(self, request: JobRequest) -> tuple[Plan, str]:
        """A triage or a bisection runs where the finding was last seen: in the corpus, or with the same files."""
        row = self._database.row(
            "SELECT f.title, f.detail, r.report, j.plan FROM findings f JOIN runs r ON r.id = f.last_run "
            "JOIN jobs j ON j.id = r.job WHERE f.id = ? AND f.merged IS NULL",
            request.finding,
        )
        if row is None:
            raise RequestError("there is no such finding")
        of = msgspec.json.decode(row["plan"], type=Plan)
        subject = self.subject(request.engine or of.subject)
        case = msgspec.json.decode(row["detail"])["case"]
        builds: tuple[FileName, ...] = ()
        if request.kind == "bisect":
            spec, builds = self._between(request.against, subject)
            arguments: tuple[str, ...] = ("bisect", case, "--subject", spec)
        else:
            arguments = ("triage", case, "--subject", subject.spec, "--budget", str(request.budget_seconds), *self._jobs)
        plan = Plan(
            request.kind, (Step(arguments),), of.suite, subject.name, of.folder, of.inputs, (subject.sha256, request.again),
            report=row["report"], finding=request.finding, builds=builds, limit_s=self._settings.limits.job_seconds,
        )  # fmt: skip
        return plan, visible(f"{request.kind} {row['title']}", _TITLE)

    def _between(self, good: str, bad: JobSubject) -> tuple[str, tuple[FileName, ...]]:
        """The subject of a bisection with ``{}`` for the program, and the accepted builds from the good to the bad one."""
        first = self.subject(good).build if good else 1
        query = "SELECT id, sha256 FROM builds WHERE state = 'accepted' AND id BETWEEN ? AND ? ORDER BY id"
        builds = tuple(FileName(f"build-{row['id']}", row["sha256"]) for row in self._database.rows(query, first, bad.build))
        if self._settings.builds is None or not first or len(builds) < 2:  # noqa: PLR2004 - the good and the bad one
            raise RequestError("a bisection needs two accepted builds", hint="name the bad one as engine, the good one as against")
        return f"{self._settings.builds.adapter}:{{}}", builds


def _check_case_file(path: Path, name: str) -> None:
    """Raise ``RequestError`` for a case file that cannot be used, or whose limits exceed those of uploads."""
    try:
        limits = case_file.read_settings(str(path)).limits
    except CaseError as error:
        raise RequestError(str(error).replace(visible(str(path)), name), hint=error.hint) from error
    if (limits.deadline_s or 0) > _MOST_DEADLINE_S or (limits.memory_bytes or 0) > _MOST_MEMORY:
        raise RequestError(f"{name}: an upload may have 60 seconds and 4 GiB for an execution", hint="lower its limits")


def _program_digest(command: str) -> str:
    """The digest of an engine's program, so that a replaced one makes another job; empty where there is none to be found."""
    program = shutil.which(command.split(" ", 1)[0]) if command else None
    if program is None or not os.access(program, os.R_OK):
        return ""
    return process.file_digest(program).hex()
