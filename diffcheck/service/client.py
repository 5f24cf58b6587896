"""The client of a service's API, for ``diffcheck submit``. HTTP is the standard library's."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from diffcheck.cases import discovery
from diffcheck.errors import ConfigError, NothingToDoError, ReportError
from diffcheck.report import json_file
from diffcheck.text import visible
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diffcheck.verdict import Report

T = TypeVar("T")
_POLL_S: Final = 0.3
_CAP_BYTES: Final = 1 << 30
_TIMEOUT_S: Final = 60.0


class Submission(msgspec.Struct, frozen=True):
    """A job of the service, as far as the client needs it."""

    id: int
    state: str
    reason: str = ""


class _File(msgspec.Struct):
    sha256: str


class _Run(msgspec.Struct):
    id: int


class _Runs(msgspec.Struct):
    items: tuple[_Run, ...]


class _Problem(msgspec.Struct):
    detail: str
    hint: str = ""


class Client:
    """A service. All methods raise ``ConfigError`` if it does not answer, or refuses."""

    def __init__(self, server: str, token: str | None) -> None:
        if urlsplit(server).scheme not in ("http", "https"):
            raise ConfigError(f"{visible(server, 100)!r} is not the address of a service", hint="write http://HOST:PORT")
        self._base = f"{server.rstrip('/')}/api/v1"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def submit(self, paths: Sequence[str], engine: str, *, auto_rows: bool) -> Submission:
        """Upload artifacts with what lies beside them, and queue their run."""
        files = _files(paths)
        uploaded = [
            {"name": name, "sha256": self._ask(_File, "/artifacts", path.read_bytes(), "application/octet-stream").sha256}
            for name, path in files.items()
        ]
        asked = {"kind": "run", "engine": engine, "files": uploaded, "auto_rows": auto_rows}
        return self._ask(Submission, "/jobs", msgspec.json.encode(asked), "application/json")

    def report(self, job: Submission) -> Report:
        """The report of a job, waited for; raises ``ReportError`` if the job ends without one."""
        while job.state in ("queued", "running"):
            time.sleep(_POLL_S)
            job = self._ask(Submission, f"/jobs/{job.id}")
        runs = self._ask(_Runs, f"/jobs/{job.id}/runs").items
        if not runs:
            raise ReportError(f"job {job.id} is {job.state}: {visible(job.reason, 1000)}", hint="the job's page has its log")
        return json_file.decode(self._call(f"/runs/{runs[0].id}/report"), f"the report of job {job.id}")

    def _ask(self, answer: type[T], path: str, body: bytes | None = None, kind: str = "") -> T:
        try:
            return msgspec.json.decode(self._call(path, body, kind), type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(f"{visible(self._base, 100)} is not a diffcheck service", hint="check --server") from error

    def _call(self, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        headers = {**self._headers, **({"Content-Type": kind} if kind else {})}
        request = urllib.request.Request(self._base + path, body, headers)  # noqa: S310 - checked to be http or https
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - as above
                return bytes(answer.read(_CAP_BYTES))
        except urllib.error.HTTPError as error:
            raise _refusal(error) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            hint, why = "start it with `diffcheck serve`, or name it with --server", visible(str(error))
            raise ConfigError(f"the service at {visible(self._base, 100)} does not answer: {why}", hint=hint) from error


def _refusal(error: urllib.error.HTTPError) -> ConfigError:
    """The problem that the service reports."""
    try:
        problem = msgspec.json.decode(error.read(1 << 16), type=_Problem)
    except (OSError, ValueError, msgspec.MsgspecError, http.client.HTTPException):
        return ConfigError(f"the service answers with status {error.code}", hint="check --server")
    return ConfigError(f"the service refuses: {visible(problem.detail, 500)}", hint=visible(problem.hint, 500))


def _files(paths: Sequence[str]) -> dict[str, Path]:
    """The artifacts under the paths with their case files and manifests, by the names that the job gives them."""
    found: dict[str, Path] = {}
    for path in (each for given in paths for each in _artifacts(Path(given))):
        for each in (path, path.with_suffix(".toml"), formats.manifest_path(path)):
            if not each.is_file():
                continue
            if found.setdefault(each.name, each) != each:
                raise ConfigError(f"two files are named {visible(each.name)}", hint="submit them one after the other")
    if not found:
        raise NothingToDoError("there is no artifact under the given paths", hint="name .wasm, .wat or .wast files")
    return found


def _artifacts(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(each for each in path.rglob("*") if each.suffix in discovery.SUFFIXES and each.is_file())
    elif path.is_file():
        yield path
    else:
        raise NothingToDoError(f"there is no file {visible(str(path))}", hint="check the path")
