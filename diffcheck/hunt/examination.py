"""From a report with divergences to finds: localised, compared with the known causes, triaged if new."""

from __future__ import annotations

import shutil
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.cases.discovery import item_at, load_case, read_artifact
from diffcheck.errors import DiffcheckError
from diffcheck.hunt.finds import PROGRAM, Find
from diffcheck.hunt.program_features import essence, ingredients
from diffcheck.runner.sweep.padding import padded_module
from diffcheck.triage.causes import FirstOccurrence, cause_name, find_causes
from diffcheck.triage.reduce.interestingness import TimeBudget
from diffcheck.triage.session import Session
from diffcheck.triage.target import Target
from diffcheck.triage.triage_folder import TriageFolder
from diffcheck.triage.workflow import TriageWorkflow
from diffcheck.triage.writeup.issue import title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from diffcheck.hunt.finds import FindsFolder
    from diffcheck.runner.request import Request
    from diffcheck.triage.triage_folder import State
    from diffcheck.verdict import CaseReport, Cause

_LOCALISING_S: Final = 60.0
_TRIAGE_S: Final = 120.0
ENCODING: Final = "refused at load for the encoding of integers"
"""The cause of programs that ``depends_on_encoding``."""
_MOST_KNOWN: Final = 2
"""Divergences in programs with instructions that have a find that are localised after each run."""
_MOST_UNLOCATED: Final = 3
"""Divergences without a known instruction that are reduced after each run: each takes a whole triage to recognise."""


class Examiner:
    """Turns divergences into finds. ``engine`` names the subject; ``say`` receives a line for each find, ``stopped`` is whether
    the user ended the hunt.
    """

    def __init__(
        self, request: Request, finds: FindsFolder, folder: Path, engine: str,
        say: Callable[[str], None], stopped: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._request, self._finds, self._folder, self._engine = request, finds, folder, engine
        self._say, self._stopped = say, stopped

    def examine(self, reports: Iterable[CaseReport], seed: Callable[[str], str], until: float) -> list[str]:
        """The names of the finds that are new; ``seed`` gives that of an artifact. Ends soon after ``until`` (monotonic clock)."""
        diverging = [each for each in reports if each.verdict == "diverge"]
        every = [place for each in diverging if (place := first_place(each)) is not None]
        places = self._promising(every)
        causes, tried = self._causes(places, until)
        located = {signature for each in causes for signature in each.signatures}
        explained = located | {each.signature for each in every} - {each.signature for each in places[:tried]}
        new = [name for each in causes for name in self._located(each, places, seed, until)]
        rest = [each for each in diverging if (place := first_place(each)) is None or place.signature not in explained]
        return [*new, *self._unlocated(rest, seed, until)]

    def _promising(self, places: list[FirstOccurrence]) -> list[FirstOccurrence]:
        """Programs without instructions that have a find, and few others: these mostly show the same again."""
        known = self._finds.instructions
        count = {each.signature: len(ingredients(read_artifact(each.artifact)) & known) for each in places}
        ordered = sorted(places, key=lambda each: count[each.signature])
        return ordered[: sum(not each for each in count.values()) + _MOST_KNOWN]

    def _causes(self, places: list[FirstOccurrence], until: float) -> tuple[tuple[Cause, ...], int]:
        """The causes of these divergences, and how many of them were localised in time."""
        limit_s = min(_LOCALISING_S, max(1.0, until - time.monotonic()))
        try:
            return find_causes(self._request, places, limit_s) if places else ((), 0)
        except Exception:  # noqa: BLE001 - a defect in one program must not end the night
            self._defect("not localised")
            return (), len(places)

    def _located(self, cause: Cause, places: list[FirstOccurrence], seed: Callable[[str], str], until: float) -> Iterator[str]:
        if self._finds.with_cause(cause.name) or time.monotonic() > until or self._stopped():
            return
        place = next(each for each in places if each.signature == cause.signatures[0])
        yield from self._triage(place.artifact, place.row, seed(place.artifact), cause, until)

    def _unlocated(self, reports: list[CaseReport], seed: Callable[[str], str], until: float) -> Iterator[str]:
        """Reduce some programs that no find explains."""
        tried = 0
        for each in reports:
            if tried == _MOST_UNLOCATED or time.monotonic() > until or self._stopped():
                return
            if not self._finds.explains(ingredients(read_artifact(each.artifact))):
                tried += 1
                yield from self._triage(each.artifact, "", seed(each.artifact), None, until)

    def _triage(self, artifact: str, row: str, seed: str, cause: Cause | None, until: float) -> Iterator[str]:
        """Triage a program; yields the name of its find, unless its cause is known."""
        folder, copy = self._finds.triage, self._copied(artifact)
        budget = TimeBudget(min(_TRIAGE_S, max(10.0, until - time.monotonic())), self._stopped)
        try:
            with Session(self._request, Target(load_case(item_at(copy)), row), budget, lambda _: None) as session:
                encoding = cause is None and depends_on_encoding(session)
                if encoding and self._finds.with_cause(ENCODING):
                    return
                steps = TriageWorkflow(session, TriageFolder(folder), lambda _: None, row)
                ending = steps.run()
                if ending == "nothing" or self._stopped():  # an interrupted one is triaged again
                    return
                find = self._find(steps.state, folder, seed, cause, flaky=ending == "flaky", encoding=encoding)
        except DiffcheckError as error:
            self._say(f"not triaged: {error.line}")
            return
        except Exception:  # noqa: BLE001 - a defect in one program must not end the night
            self._defect(f"the program of seed {seed} was not triaged")
            return
        if find is None:
            self._say(f"no wrong instruction was found, and the program of seed {seed} was not reduced in time")
        if find is None or self._finds.with_cause(find.cause):
            return
        name = self._finds.add(find, folder)
        self._say(f"new: {find.title}")
        yield name

    def _defect(self, what: str) -> None:
        self._say(f"{what}, by a defect of diffcheck, not a result:\n{traceback.format_exc()}")

    def _copied(self, artifact: str) -> Path:
        """A copy of the artifact with its case file, named as programs of finds are."""
        folder = self._folder / "examined"
        process.make_folder(folder, "choose another folder with --reports")
        copy = folder / PROGRAM
        for suffix in (".wasm", ".toml"):
            shutil.copyfile(Path(artifact).with_suffix(suffix), copy.with_suffix(suffix))
        return copy

    def _find(self, state: State, folder: Path, seed: str, cause: Cause | None, *, flaky: bool, encoding: bool) -> Find | None:
        """The find of a triage. Without a wrong instruction the cause is what the reduced program consists of, None if it is not
        reduced.
        """
        localised = [each for each in (state.localised_reduced, state.localised) if each is not None]
        name = cause.name if cause is not None else next(filter(None, map(cause_name, localised)), ENCODING * encoding)
        program = folder / PROGRAM
        needs: tuple[str, ...] = ()
        if not name and program.is_file() and state.symptom is not None and "reduce" in state.done:
            needs = essence(ingredients(program.read_bytes()))
            name = f"{state.symptom.subject.partition(':')[0]} {', '.join(needs)}"[:200]
        if not name:
            return None
        heading = cause.title if cause is not None and cause.title else title(state)
        found = Find(name, heading, self._engine, seed, datetime.now(UTC).date().isoformat(), needs=needs)
        alone = state.judgement.alone if state.judgement is not None else ""
        found = msgspec.structs.replace(found, section=cause.section if cause is not None else "", alone=alone)
        return msgspec.structs.replace(found, state="flaky") if flaky else found


def depends_on_encoding(session: Session) -> bool:
    """Whether a program is refused, but not if all integers of its code have their longest encoding.

    Then the engine misreads an immediate, and every program in which it does so has this one cause.
    """
    data = read_artifact(session.case.artifact)
    plain, padded = (session.run(each, session.case.rows) for each in (data, padded_module(data)))
    return is_refused(plain) and not is_refused(padded)


def is_refused(report: CaseReport) -> bool:
    """Whether the subject refuses a program that the oracle runs."""
    return any(one.subject.startswith("refused") for each in report.passes for one in each.divergences)


def first_place(report: CaseReport) -> FirstOccurrence | None:
    """Where a program diverges first, in the order of its rows; None if it was refused."""
    for each in report.passes:
        for one in each.divergences if each.mode == "capsule" else ():
            if not one.subject.startswith("refused"):
                return FirstOccurrence(one.signature, report.case, report.artifact, one.where.row)
    return None
