"""Reproducing a divergence without diffcheck: a standalone module that plain commands of both engines run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Program
from diffcheck.errors import ArtifactError
from diffcheck.observation import sentence
from diffcheck.runner.harness_entry import entry
from diffcheck.text import is_digits, listed
from diffcheck.triage.reduce.symptom import Symptom, symptoms
from diffcheck.triage.writeup.single_instruction import nan_masks, single_instruction
from diffcheck.triage.writeup.standalone import Shown, standalone, why_not
from diffcheck.wasm import module as wasm

if TYPE_CHECKING:
    from diffcheck.triage.localise.location import Localisation
    from diffcheck.triage.session import Session

NOT_TRIED: Final = "the work was stopped before they were tried"
_SHOWN: Final = 12
_NAMED: Final = 3


class Differs(msgspec.Struct, frozen=True):
    """One difference that reproduces without diffcheck: the item and both values as text."""

    item: str
    oracle: str
    subject: str

    def __str__(self) -> str:
        return f"{self.item}: {self.oracle} under the oracle, {self.subject} under the subject"


class Reproduction(msgspec.Struct, frozen=True, omit_defaults=True):
    """The standalone module ``wasm`` and the results of calling its ``entry``.

    ``oracle`` and ``subject`` are the outcomes as text, ``differs`` the counters that differ, ``counters`` the oracle's counters by
    number, as unsigned 64-bit numbers, ``shown`` their descriptions, ``log`` what the subject printed. ``source`` is the module without
    driver and counters, ``rows`` are its calls; ``masks`` are the bits to compare of float results, by type. ``why`` is the reason why
    plain commands do not show the difference; then only ``driver`` is set, if the difference needs the capsule's driver. ``closed`` are
    the imports replaced by stubs. ``earlier`` is the reduction stage that the module was made from, unless it is the last one.
    """

    wasm: bytes = b""
    entry: str = ""
    oracle: str = ""
    subject: str = ""
    differs: tuple[Differs, ...] = ()
    shown: tuple[Shown, ...] = ()
    log: str = ""
    why: str = ""
    closed: tuple[str, ...] = ()
    driver: bool = False
    earlier: bytes = b""
    counters: dict[int, int] = {}
    source: bytes = b""
    rows: tuple[str, ...] = ()
    masks: dict[str, int] = {}
    symptom: Symptom | None = None

    @property
    def differing(self) -> frozenset[int]:
        """The numbers of the counters that differ."""
        numbers = (each.item.removeprefix("counter ") for each in self.differs)
        return frozenset(int(each) for each in numbers if is_digits(each))


def file_of(session: Session) -> str:
    """The standalone module's file name, which differs from that of the reduced module."""
    return "standalone.wasm" if Path(session.target.case.artifact).stem != "standalone" else "standalone-plain.wasm"


def reproduction(
    session: Session, symptom: Symptom, wasm_: bytes, rows: tuple[str, ...], found: Localisation | None = None
) -> Reproduction:
    """Make the standalone module of a symptom and run it as the script does; ``found`` is where the symptom was localised."""
    if not session.subject.shell_commands(file_of(session), "_start"):
        return Reproduction(why="the subject has no command line that runs a module and prints the result")
    if symptom.mode == "direct":
        name = entry(wasm.read(wasm_)) or "_start"
        return _run(session, Reproduction(wasm_, name, symptom=symptom))
    why = why_not(symptom)
    return Reproduction(why=why) if why else _from_within(session, symptom, wasm_, rows, nan_masks(found, symptom.oracle))


def of_instruction(session: Session, found: Localisation | None) -> Reproduction | None:
    """The wrong instruction alone, if a module of only that instruction shows a difference."""
    text, row = single_instruction(found) if found is not None and found.depth == "instruction" else ("", "")
    if not text:
        return None
    try:
        module = session.oracle.assemble(text.encode(), session.plan.limits, session.host)
    except ArtifactError:
        return None
    shown = [each for each in symptoms(session.run(module, (row,))) if each.kind in ("result", "outcome")]
    made = reproduction(session, shown[0], module, (row,), found) if shown else None
    return None if made is None or made.why else made


def _from_within(session: Session, symptom: Symptom, wasm_: bytes, rows: tuple[str, ...], masks: dict[str, int]) -> Reproduction:
    """The module that makes the calls itself."""
    try:
        made = standalone(wasm_, rows, symptom, masks if symptom.kind == "result" else {})
    except ArtifactError as error:
        return Reproduction(why=str(error))
    refusal = session.oracle.validate(made.wasm, session.plan.limits, session.host)
    if refusal is not None:
        return Reproduction(why="no module can make these calls itself")
    wanted = Reproduction(
        made.wasm, "_start", shown=made.shown, closed=made.closed, source=made.source, rows=rows, masks=masks, symptom=symptom
    )
    result = _run(session, wanted)
    if result.why and made.closed:
        return Reproduction(why=f"it needs its imports ({listed(made.closed, _NAMED)}); with stubs that return zeros, {result.why}")
    return result


def _run(session: Session, made: Reproduction) -> Reproduction:
    report = session.run(made.wasm, (), request=msgspec.structs.replace(session.request, mode="direct"))
    direct = next((each for each in report.passes if each.mode == "direct"), None)
    if direct is None or not direct.applicable or direct.oracle is None or direct.subject is None:
        return Reproduction(why=f"the module cannot be run as it is: {direct.why if direct else report.reason}")
    if not direct.divergences:
        ended = direct.reason or direct.verdict
        return Reproduction(
            why=f"the same calls in a plain module do not reproduce it ({ended}): it needs the capsule's driver", driver=True
        )
    execution = session.oracle.execute(Program("direct", made.wasm, made.entry), session.plan.limits, session.host)
    return msgspec.structs.replace(
        made,
        oracle=sentence(execution.outcome),
        subject=direct.subject.words,
        counters=execution.counters or {},
        differs=tuple(Differs(each.where.item, each.oracle, each.subject) for each in direct.divergences[:_SHOWN]),
        log=direct.subject.log,
    )
