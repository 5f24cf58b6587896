"""What a triage has come to, in its folder: written whole after every step, so that one that was stopped goes on from there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck import process
from diffcheck.errors import ReportError
from diffcheck.text import visible
from diffcheck.triage.localise.location import Localisation
from diffcheck.triage.reduce.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE: Final = "triage.json"
LOG: Final = "log.txt"
_SCHEMA: Final = "diffcheck-triage-v1"

Plain = Literal["calls", "known answer"]
"""A module that needs no recorder: it makes the artifact's calls itself, or has a known answer alone."""
Step = Literal["confirm", "minimise", "reduce", "localise", "write"]
STEPS: Final[tuple[Step, ...]] = ("confirm", "minimise", "reduce", "localise", "write")


class ConfirmedOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an engine said of the case when the divergence was confirmed."""

    engine: str
    says: str
    agrees: bool = False


class Size(msgspec.Struct, frozen=True):
    """A module's code bytes, file bytes and functions."""

    code: int
    file: int
    functions: int


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """``about`` is the digest of what is triaged: another artifact, engine or divergence begins anew. ``done`` are finished steps.

    ``without_recorder`` is which module is worked on where the subject is wrong in an instruction that the recorder uses, as
    ``known_answer`` shows.
    """

    about: str
    artifact: str
    sha256: str
    subject: str
    oracle: str
    schema: str = _SCHEMA
    symptom: Symptom | None = None
    done: tuple[Step, ...] = ()
    flaky: str = ""
    engines: tuple[ConfirmedOutcome, ...] = ()
    notes: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    rows_before: int = 0
    before: Size | None = None
    after: Size | None = None
    localised: Localisation | None = None
    localised_reduced: Localisation | None = None
    not_localised: str = ""
    stripped: bool = False
    without_recorder: Plain | Literal[""] = ""
    known_answer: str = ""
    standalone: str = ""
    printer: str = ""

    def finished(self, step: Step) -> State:
        """With a step done."""
        return msgspec.structs.replace(self, done=tuple(each for each in STEPS if each in (*self.done, step)))


class Folder:
    """The folder of a triage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReportError(
                f"{visible(str(path))} cannot be made: {error.strerror}", hint="choose another folder with -o"
            ) from error

    def read(self) -> State | None:
        """What stands there; None where there is nothing, or nothing that can be read."""
        try:
            return msgspec.json.decode((self.path / FILE).read_bytes(), type=State)
        except (OSError, msgspec.MsgspecError):
            return None

    def save(self, state: State) -> State:
        """Write it down."""
        self.write(FILE, msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
        return state

    def write(self, name: str, data: bytes | str) -> None:
        """Write a file, whole or not at all."""
        process.write_atomically(self.path / name, data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)

    def log(self, line: str) -> None:
        """Add a line to the log."""
        process.refuse_links(self.path / LOG)
        with (self.path / LOG).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(visible(line, 4000) + "\n")

    def bytes(self, name: str) -> bytes | None:
        """A file's bytes; None where it is not there."""
        try:
            return (self.path / name).read_bytes()
        except OSError:
            return None


def about(parts: Iterable[str]) -> str:
    """The digest of what is triaged."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def default_folder(reports: str, name: str) -> Path:
    """Where a triage of that name is written."""
    return Path(reports) / "triage" / (visible(name).replace("/", "_").replace("\\", "_").strip(".") or "case")
