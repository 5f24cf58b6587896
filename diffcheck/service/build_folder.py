"""The watched folder: a build is a program with ``<name>.json`` beside it, with its version and revision, which is written last."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.config.input_files import read_regular
from diffcheck.errors import ConfigError, DiffcheckError
from diffcheck.service.content_store import StorageFullError
from diffcheck.service.jobs.job_request import JobRequest
from diffcheck.text import encodable, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.service.data_folder import DataFolder

_CAP_BYTES: Final = 1 << 16
_PRIORITY: Final = 10


class BuildMetadata(msgspec.Struct, frozen=True):
    """The file beside a build."""

    version: str
    commit: str = ""


def watch(data: DataFolder, seen: set[object]) -> None:
    """Take in what is new in the folder, check it by known answers, and gate what was accepted against the build before.

    ``seen`` has the files that were taken in, so that a folder of large builds is not read at every step.
    """
    builds = data.settings.builds
    if builds is None:
        return
    for program, about in _complete(Path(builds.folder)):
        state = tuple((each.name, each.stat().st_mtime_ns, each.stat().st_size) for each in (program, about))
        if state not in seen:
            _take(data, program, about)
            seen.add(state)
    for row in data.database.rows("SELECT id FROM builds WHERE state = 'arrived'"):
        _submit(data, JobRequest("check", engine=f"build:{row['id']}"))
        data.database.change("UPDATE builds SET state = 'checking' WHERE id = ? AND state = 'arrived'", row["id"])
    for row in data.database.rows(
        "SELECT id FROM builds WHERE state = 'accepted' AND gate IS NULL AND ? != '' ORDER BY id", builds.corpus
    ):
        _gate(data, row["id"], builds.corpus)


def _gate(data: DataFolder, number: int, corpus: str) -> None:
    """Queue the gate of a build against the accepted one before it; the first one is run alone."""
    if not corpus:
        return
    before = data.database.row("SELECT id FROM builds WHERE state = 'accepted' AND id < ? ORDER BY id DESC LIMIT 1", number)
    engine = f"build:{number}"
    request = JobRequest("run", engine, corpus=corpus)
    if before is not None:
        request = JobRequest("gate", engine, against=f"build:{before['id']}", corpus=corpus)
    data.database.change("UPDATE builds SET gate = ? WHERE id = ?", _submit(data, request), number)


def _submit(data: DataFolder, request: JobRequest) -> int:
    plan, title = data.planner.plan(request)
    number, _ = data.queue.submit(plan, title, priority=_PRIORITY, owner="builds")
    return number


def _complete(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Programs whose file beside them exists."""
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    except OSError:
        return
    for path in entries:
        about = path.with_name(f"{path.name}.json")
        if path.suffix != ".json" and path.is_file() and not path.is_symlink() and about.is_file():
            yield path, about


def _take(data: DataFolder, program: Path, about: Path) -> None:
    """Store a build that is new. What cannot be read is refused with the reason. Raises ``StorageFullError``."""
    state, reason, found = "arrived", "", BuildMetadata("")
    try:
        found = msgspec.json.decode(read_regular(str(about), _CAP_BYTES, about.name, ConfigError), type=BuildMetadata)
        if not os.access(program, os.X_OK):
            raise ConfigError("the program is not executable")
        digest = data.store.add_file(program)
        data.store.path(digest).chmod(0o500)
    except StorageFullError:
        raise
    except (DiffcheckError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        state, reason = "refused", visible(str(error), 300)
        digest = process.file_digest(str(program)).hex()
    values = (digest, encodable(program.name), encodable(found.version), encodable(found.commit), time.time(), state, reason)
    enter = "INSERT OR IGNORE INTO builds (sha256, name, version, revision, arrived, state, reason) VALUES (?, ?, ?, ?, ?, ?, ?)"
    data.database.change(enter, *values)
