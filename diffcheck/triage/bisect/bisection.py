"""A bisection with its state in a file, so that an interrupted one is resumed without running a build again."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck import process
from diffcheck.backend import registry
from diffcheck.backend.command import file_sha256
from diffcheck.cases import scripts
from diffcheck.errors import NothingToDoError
from diffcheck.triage.bisect import trials
from diffcheck.triage.bisect.builds import NoBuildError
from diffcheck.triage.bisect.search import BisectResult, Trial, search

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.runner.request import Request
    from diffcheck.triage.bisect.builds import BuildRange
    from diffcheck.triage.target import Target

SCHEMA: Final = "diffcheck-bisect-v1"
PLACE: Final = "{}"
"""The place of the program in the spec of a subject."""


class BuildTrial(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trial with the SHA-256 of the build's program, empty if there is none."""

    trial: Trial
    sha256: str = ""


class Bisection(msgspec.Struct, frozen=True):
    """A bisection as stored: ``about`` identifies it (see ``about``), ``fault`` is what is searched, ``found`` the answer.

    ``runs`` is the number of builds under which the case was run, repetitions at the end included.
    """

    about: str
    case: str
    builds: tuple[str, ...]
    schema: Literal["diffcheck-bisect-v1"] = SCHEMA
    fault: trials.BisectFault | None = None
    trials: tuple[BuildTrial, ...] = ()
    found: BisectResult | None = None
    runs: int = 0


class Bisector:
    """Runs a bisection; its state is saved in ``file`` after each build. ``subject`` is a spec with ``{}`` for the program."""

    def __init__(
        self, builds: BuildRange, request: Request, subject: str, file: Path, about: str, case: str, say: Callable[[str], None]
    ) -> None:
        self._builds, self._request, self._subject, self._file, self._say = builds, request, subject, file, say
        self.state = Bisection(about, case, builds.names)
        earlier = _read(file)
        if earlier is not None and (earlier.about, earlier.builds) == (about, builds.names):
            self.state = msgspec.structs.replace(earlier, found=None)

    def run(self, signature: str = "", row: str = "") -> Bisection:
        """Search the build; raises ``NothingToDoError`` if the bad build does not show a difference."""
        if self.state.fault is None:
            self._first(signature, row)
        found = search(self._builds.names, self._trial, self._again, lambda: self.state.runs)
        self._save(found=found)
        return self.state

    def _first(self, signature: str, row: str) -> None:
        """Run the bad build, whose difference is the fault that is searched."""
        bad = self._builds.names[-1]
        try:
            request = self._with(bad)
        except NoBuildError as error:
            raise NothingToDoError(f"the bad build {bad} cannot be used: {error}", hint="check --bad") from error
        report = trials.report_of(request)
        fault = trials.fault_of(request, report, signature, row)
        if fault is None:
            raise NothingToDoError(
                f"{bad} does not diverge: {report.verdict}{': ' * bool(report.reason)}{report.reason}", hint="check --bad"
            )
        self._say(f"the fault: {fault}")
        self._save(fault=fault)
        self._add(Trial(bad, "bad", str(fault)))

    def _trial(self, build: str) -> Trial:
        known = next((each for each in self.state.trials if each.trial.build == build), None)
        if known is not None and known.sha256 == self._sha256(build):
            return known.trial
        return self._add(self._run(build))

    def _again(self, build: str) -> Trial:
        again = self._run(build)
        self._save(runs=self.state.runs + again.runs)
        return again

    def _run(self, build: str) -> Trial:
        assert self.state.fault is not None, "it is found first"  # noqa: S101
        try:
            result = trials.trial(build, self._with(build), self.state.fault)
        except NoBuildError as error:
            result = Trial(build, "unusable", str(error), runs=0)
        self._say(f"{build}: {result.answer}" + (f" ({result.why})" if result.why else ""))
        return result

    def _with(self, build: str) -> Request:
        """The request with a build as the subject; executions are not cached, since builds are run to see what they do now."""
        program = str(self._builds.path(build))  # built anew, since another build may have its path
        if self._subject.partition(":")[0] not in {each.name for each in registry.programs()}:
            program = shlex.quote(program)  # it is a word of a command
        return msgspec.structs.replace(self._request, subject=self._subject.replace(PLACE, program), cache="")

    def _sha256(self, build: str) -> str:
        """The digest of a build in a folder; empty for a revision, which its name identifies."""
        folder = self._builds.folder
        return file_sha256(folder / build) if folder is not None and (folder / build).is_file() else ""

    def _add(self, trial: Trial) -> Trial:
        others = tuple(each for each in self.state.trials if each.trial.build != trial.build)
        self._save(trials=(*others, BuildTrial(trial, self._sha256(trial.build))), runs=self.state.runs + trial.runs)
        return trial

    def _save(self, **changes: object) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)
        process.write_atomically(self._file, [msgspec.json.format(msgspec.json.encode(self.state), indent=2), b"\n"])


def about(target: Target, row: str, subject: str, request: Request) -> str:
    """A digest of what a bisection's answer depends on besides its builds: 16 hex digits."""
    artifact = file_sha256(Path(scripts.split(target.case.artifact)[0]))
    return hashlib.sha256(msgspec.msgpack.encode((artifact, target, row, subject, request))).hexdigest()[:16]


def _read(file: Path) -> Bisection | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Bisection)
    except (OSError, msgspec.MsgspecError):
        return None
