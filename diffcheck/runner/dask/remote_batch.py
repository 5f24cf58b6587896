"""A batch of cases on another machine: data in, data out, and between them the same pool and the same limits as at home.

``run`` is what a Dask worker calls; it starts this module as a program of its own, since a Dask worker has threads and a pool
must not. What comes and goes is msgpack of the structs below: cases, their files' bytes, and reports; never code.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.backend import registry
from diffcheck.backend.contract import SEARCH_PATH
from diffcheck.cases import prepare
from diffcheck.cases.discovery import Case, Item
from diffcheck.config import option_table
from diffcheck.config.version import __version__
from diffcheck.errors import DiffcheckError
from diffcheck.runner.engines import choose
from diffcheck.runner.events import CaseFinished, EngineProbed
from diffcheck.runner.persist.cache_files import Store
from diffcheck.runner.plan import Files
from diffcheck.runner.pool import Pool
from diffcheck.runner.request import Request
from diffcheck.text import decode, visible
from diffcheck.verdict import CaseReport, EngineFinding

if TYPE_CHECKING:
    from diffcheck.observation import Identity

_MODULE: Final = "diffcheck.runner.dask.remote_batch"
_CACHE: Final = option_table.BY_NAME["cache"].env
_NO_CACHE: Final = option_table.BY_NAME["no-cache"].env
_encoded = msgspec.msgpack.Encoder().encode


class CarriedCase(msgspec.Struct, frozen=True):
    """A case with its artifact's bytes and its manifest's; ``no_manifest`` says why it could not be read where there is one."""

    case: Case
    artifact: bytes
    manifest: bytes = b""
    no_manifest: str = ""


class Batch(msgspec.Struct, frozen=True):
    """What one task is: a request, cases, and which engines have to be found, each by its name, version and SHA-256."""

    version: str
    request: Request
    subject: tuple[str, ...]
    oracle: tuple[str, ...]
    cases: tuple[CarriedCase, ...]
    probe: bool = False


class BatchAnswer(msgspec.Struct, frozen=True):
    """What came of a batch. ``refused`` is why this machine cannot run it, ``lost`` that it was not run to its end."""

    reports: tuple[CaseReport, ...] = ()
    findings: tuple[EngineFinding, ...] | None = None
    refused: str = ""
    lost: str = ""


def known(identity: Identity) -> tuple[str, ...]:
    """What an engine is told by from machine to machine."""
    return identity.name, identity.version, identity.sha256


def run(data: bytes) -> bytes:
    """The answer to an encoded ``Batch``, encoded; raises nothing that says something of a case."""
    try:
        batch = msgspec.msgpack.decode(data, type=Batch)
    except msgspec.MsgspecError as error:
        return _encoded(BatchAnswer(refused=f"the batch cannot be read, so it is of another diffcheck than {__version__}: {error}"))
    if batch.version != __version__:
        return _encoded(BatchAnswer(refused=f"diffcheck {__version__} is there, and {batch.version} here"))
    command, environment = process.own_program(_MODULE, str(os.getpid()))
    settled = msgspec.msgpack.encode(msgspec.structs.replace(batch, request=_settled(batch.request)))
    # The limits and deadlines are the pool's, in that program; it ends with this one.
    ended = subprocess.run(command, input=settled, capture_output=True, env=environment, check=False)
    if ended.returncode or not ended.stdout:
        said = visible(decode(ended.stderr[-1000:]).strip().rpartition("\n")[2], 300)
        return _encoded(BatchAnswer(lost=f"the batch's program ended with {ended.returncode}{': ' + said if said else ''}"))
    return ended.stdout


def _settled(request: Request) -> Request:
    """The request with what this machine has: where its engine and tools are, and its own cache."""
    options = registry.located({name: path for name, path in request.options.items() if Path(path).is_file()}, os.environ)
    folder = os.environ.get(_CACHE) or option_table.cache_folder(os.environ)
    cached = bool(request.cache) and os.environ.get(_NO_CACHE, "") in ("", "0")
    options[SEARCH_PATH] = os.environ.get("PATH", "")
    return msgspec.structs.replace(
        request, jobs=1, options={**prepare.tools(os.environ), **options}, cache=folder if cached else ""
    )


def answer(batch: Batch, parent: int | None = None) -> BatchAnswer:
    """Run a batch in this process, which has to be without threads; ends with its ``parent``."""
    if parent is not None:
        process.die_with_parent(parent)
    try:
        engines = choose(batch.request)
    except DiffcheckError as error:
        return BatchAnswer(refused=error.line)
    for role, wanted, found in (
        ("subject", batch.subject, engines.subject_identity),
        ("oracle", batch.oracle, engines.oracle_identity),
    ):
        if wanted != known(found):
            one, other = (f"{name} {version} ({sha256[:12]})" for name, version, sha256 in (wanted, known(found)))
            return BatchAnswer(refused=f"its {role} is {visible(other, 200)}, and {visible(one, 200)} is wanted")
    request = engines.request
    with process.Reactor() as reactor, process.private_folder() as folder:
        loaded = {f"{at}": (each.case, _written(folder / f"case-{at}", each)) for at, each in enumerate(batch.cases)}
        pool = Pool(request, reactor, str(folder), lambda: False, load=lambda item: loaded[item.id])
        events = list(pool.events([Item(name, "", "", "") for name in loaded], probe=batch.probe))
    if batch.probe and request.cache:  # once a run
        Store(Path(request.cache)).trim(request.cache_bytes)
    findings = next((each.engine_findings for each in events if isinstance(each, EngineProbed)), None)
    return BatchAnswer(tuple(each.report for each in events if isinstance(each, CaseFinished)), findings)


def _written(folder: Path, carried: CarriedCase) -> Files:
    """The case's files as they were sent, in a folder of their own; nothing of their names is used."""
    folder.mkdir(mode=0o700)
    artifact, manifest = folder / "artifact", folder / "manifest"
    artifact.write_bytes(carried.artifact)
    manifest.write_bytes(carried.manifest)
    return Files(str(artifact), str(manifest), carried.no_manifest)


def main() -> None:
    """Answer the batch on stdin."""
    batch = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Batch)
    try:
        told = answer(batch, int(sys.argv[1]))
    except DiffcheckError as error:
        told = BatchAnswer(refused=error.line)
    sys.stdout.buffer.write(_encoded(told))


__all__ = ["Batch", "BatchAnswer", "CarriedCase", "answer", "known", "run"]

if __name__ == "__main__":
    main()
