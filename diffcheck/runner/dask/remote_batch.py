"""A batch of cases on another machine, run by the same pool with the same limits as locally.

A Dask worker calls ``run``, which starts this module as a separate program, since a Dask worker has threads and a pool must not.
Messages are msgpack of the structs below: cases, the bytes of their files, and reports; never code.
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
    """A case with the bytes of its artifact and manifest; ``no_manifest`` is why the manifest could not be read."""

    case: Case
    artifact: bytes
    manifest: bytes = b""
    no_manifest: str = ""


class RemoteBatch(msgspec.Struct, frozen=True):
    """One task: a request, its cases, and the required engines, each as an ``identity_key``."""

    version: str
    request: Request
    subject: tuple[str, ...]
    oracle: tuple[str, ...]
    cases: tuple[CarriedCase, ...]
    probe: bool = False


class BatchAnswer(msgspec.Struct, frozen=True):
    """The result of a batch. ``refused`` is why this machine cannot run it, ``lost`` why it did not complete."""

    reports: tuple[CaseReport, ...] = ()
    findings: tuple[EngineFinding, ...] | None = None
    refused: str = ""
    lost: str = ""


def identity_key(identity: Identity) -> tuple[str, ...]:
    """Engine identity, compared across machines: name, version and SHA-256."""
    return identity.name, identity.version, identity.sha256


def run(data: bytes) -> bytes:
    """The encoded answer to an encoded ``RemoteBatch``; an error of a case is in its report, never an exception."""
    try:
        batch = msgspec.msgpack.decode(data, type=RemoteBatch)
    except msgspec.MsgspecError as error:
        return _encoded(BatchAnswer(refused=f"it has diffcheck {__version__}, which cannot read the batch: {error}"))
    if batch.version != __version__:
        return _encoded(BatchAnswer(refused=f"it has diffcheck {__version__}, this is {batch.version}"))
    command, environment = process.own_program(_MODULE, str(os.getpid()))
    local = msgspec.msgpack.encode(msgspec.structs.replace(batch, request=_for_this_machine(batch.request)))
    # The pool in that program enforces limits and deadlines. It ends with this process.
    ended = subprocess.run(command, input=local, capture_output=True, env=environment, check=False)
    if ended.returncode or not ended.stdout:
        last_line = visible(decode(ended.stderr[-1000:]).strip().rpartition("\n")[2], 300)
        return _encoded(
            BatchAnswer(lost=f"the batch's program ended with {ended.returncode}{': ' + last_line if last_line else ''}")
        )
    return ended.stdout


def _for_this_machine(request: Request) -> Request:
    """The request with the engines, tools and cache of this machine."""
    options = registry.located({name: path for name, path in request.options.items() if Path(path).is_file()}, os.environ)
    folder = os.environ.get(_CACHE) or option_table.cache_folder(os.environ)
    cached = bool(request.cache) and os.environ.get(_NO_CACHE, "") in ("", "0")
    options[SEARCH_PATH] = os.environ.get("PATH", "")
    return msgspec.structs.replace(
        request, jobs=1, options={**prepare.tools(os.environ), **options}, cache=folder if cached else ""
    )


def answer(batch: RemoteBatch, parent: int | None = None) -> BatchAnswer:
    """Run a batch in this process, which must not have threads; ends with its ``parent``."""
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
        if wanted != identity_key(found):
            one, other = (f"{name} {version} ({sha256[:12]})" for name, version, sha256 in (wanted, identity_key(found)))
            return BatchAnswer(refused=f"its {role} is {visible(other, 200)}, this run needs {visible(one, 200)}")
    request = engines.request
    with process.Reactor() as reactor, process.private_folder() as folder:
        loaded = {f"{at}": (each.case, _write_files(folder / f"case-{at}", each)) for at, each in enumerate(batch.cases)}
        pool = Pool(request, reactor, str(folder), lambda: False, load=lambda item: loaded[item.id])
        events = list(pool.events([Item(name, "", "", "") for name in loaded], probe=batch.probe))
    if batch.probe and request.cache:  # once for each run
        Store(Path(request.cache)).trim(request.cache_bytes)
    findings = next((each.engine_findings for each in events if isinstance(each, EngineProbed)), None)
    return BatchAnswer(tuple(each.report for each in events if isinstance(each, CaseFinished)), findings)


def _write_files(folder: Path, carried: CarriedCase) -> Files:
    """Write the files of a case into their own folder, under fixed names."""
    folder.mkdir(mode=0o700)
    artifact, manifest = folder / "artifact", folder / "manifest"
    artifact.write_bytes(carried.artifact)
    manifest.write_bytes(carried.manifest)
    return Files(str(artifact), str(manifest), carried.no_manifest)


def main() -> None:
    """Answer the batch on stdin."""
    batch = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=RemoteBatch)
    try:
        result = answer(batch, int(sys.argv[1]))
    except DiffcheckError as error:
        result = BatchAnswer(refused=error.line)
    sys.stdout.buffer.write(_encoded(result))


__all__ = ["BatchAnswer", "CarriedCase", "RemoteBatch", "answer", "identity_key", "run"]

if __name__ == "__main__":
    main()
