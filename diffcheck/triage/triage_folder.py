"""The folder of a triage and its state, which is saved after every step so that an interrupted triage can be resumed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck import process
from diffcheck.text import file_name, visible
from diffcheck.triage.blame.blame import Blame
from diffcheck.triage.localise.location import Localisation
from diffcheck.triage.reduce.reduction import ModuleSize
from diffcheck.triage.reduce.symptom import Symptom
from diffcheck.verdict import Judgement

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE: Final = "triage.json"
LOG: Final = "log.txt"
_SCHEMA: Final = "diffcheck-triage-v1"

Plain = Literal["calls", "known answer"]
"""A module without a recorder: it makes the artifact's calls itself, or contains only a known answer."""
Step = Literal["confirm", "blame", "minimise", "reduce", "localise", "write"]
STEPS: Final[tuple[Step, ...]] = ("confirm", "blame", "minimise", "reduce", "localise", "write")


class ConfirmedOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of another engine for the case."""

    engine: str
    says: str
    agrees: bool = False


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """The results of the finished steps.

    ``about`` is the digest of artifact, engines, divergence and rows; a triage with another one starts over. ``done`` are the
    finished steps. ``without_recorder`` is the module that is triaged if the subject executes an instruction wrongly that the
    recorder uses; ``known_answer`` names that instruction. ``judgement`` is None without judges,
    ``blame`` if the case is not a component.
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
    judgement: Judgement | None = None
    blame: Blame | None = None
    notes: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    rows_before: int = 0
    before: ModuleSize | None = None
    after: ModuleSize | None = None
    localised: Localisation | None = None
    localised_reduced: Localisation | None = None
    not_localised: str = ""
    stripped: bool = False
    without_recorder: Plain | Literal[""] = ""
    known_answer: str = ""
    standalone: str = ""

    def finished(self, step: Step) -> State:
        """The state with a finished step."""
        return msgspec.structs.replace(self, done=tuple(each for each in STEPS if each in (*self.done, step)))


class TriageFolder:
    """The folder of a triage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        process.make_folder(path, "choose another folder with -o")

    def read(self) -> State | None:
        """The saved state; None if there is none or it cannot be decoded."""
        try:
            return msgspec.json.decode((self.path / FILE).read_bytes(), type=State)
        except (OSError, msgspec.MsgspecError):
            return None

    def save(self, state: State) -> State:
        """Write the state and return it."""
        self.write(FILE, msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
        return state

    def write(self, name: str, data: bytes | str) -> None:
        """Write a file atomically."""
        process.write_atomically(self.path / name, data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)

    def log(self, line: str) -> None:
        """Append a line to the log."""
        process.refuse_links(self.path / LOG)
        with (self.path / LOG).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(visible(line, 4000) + "\n")

    def bytes(self, name: str) -> bytes | None:
        """A file's bytes; None if there is no such file."""
        try:
            return (self.path / name).read_bytes()
        except OSError:
            return None


def about(parts: Iterable[str]) -> str:
    """A digest that identifies what is triaged: 16 hex digits."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def default_folder(reports: str, name: str) -> Path:
    """The folder of a triage with that name."""
    return Path(reports) / "triage" / file_name(name)
