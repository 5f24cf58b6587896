"""The means to see a divergence without diffcheck: a standalone module, and a script with plain commands of both engines."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.errors import ArtifactError
from diffcheck.runner.harness_entry import entry
from diffcheck.text import visible
from diffcheck.triage.writeup.standalone import Shown, standalone, why_not
from diffcheck.wasm import module as wasm

if TYPE_CHECKING:
    from diffcheck.observation import Identity
    from diffcheck.triage.reduce.symptom import Symptom
    from diffcheck.triage.session import Session
    from diffcheck.verdict import PassReport

SCRIPT: Final = "reproduce.sh"
NOT_TRIED: Final = "the time was over before they were tried"
_SHOWN: Final = 12
_NAMED: Final = 3


class Differs(msgspec.Struct, frozen=True):
    """One difference that plain commands show: what, and both values in words."""

    item: str
    oracle: str
    subject: str

    def __str__(self) -> str:
        return f"{self.item}: {self.oracle} against {self.subject}"


class Reproduction(msgspec.Struct, frozen=True, omit_defaults=True):
    """What plain commands show: ``oracle`` and ``subject`` are what each engine says of ``wasm``, the counters that differ in
    ``differs``. ``why`` says why plain commands do not show it; then the rest is empty but for ``driver``: whether it only needs the
    capsule's driver. ``closed`` are imports that are the module's own there; ``earlier`` is the stage of reducing that ``wasm`` is made
    of, where that is not the last one.
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


def file_of(session: Session) -> str:
    """What the standalone module's file is called: not as the reduced one, whose name is the artifact's."""
    return "standalone.wasm" if Path(session.target.case.artifact).stem != "standalone" else "standalone-plain.wasm"


def reproduction(session: Session, symptom: Symptom, wasm_: bytes, rows: tuple[str, ...]) -> Reproduction:
    """Make it and run it, in the way that the script does."""
    if not session.subject.shell_commands(file_of(session), "_start"):
        return Reproduction(why="the subject has no command of its own that runs a module as it is and tells what came out")
    if symptom.mode == "direct":
        name = entry(wasm.read(wasm_)) or "_start"
        return _run(session, Reproduction(wasm_, name))
    why = why_not(symptom)
    return Reproduction(why=why) if why else _from_within(session, symptom, wasm_, rows)


def _from_within(session: Session, symptom: Symptom, wasm_: bytes, rows: tuple[str, ...]) -> Reproduction:
    """The calls made from within a module that stands alone."""
    try:
        made = standalone(wasm_, rows, symptom)
    except ArtifactError as error:
        return Reproduction(why=str(error))
    refusal = session.oracle.validate(made.wasm, session.plan.limits, session.host)
    if refusal is not None:
        return Reproduction(why="the calls cannot be made from within the module")
    seen = _run(session, Reproduction(made.wasm, "_start", shown=made.shown, closed=made.closed))
    if seen.why and made.closed:
        named = ", ".join(made.closed[:_NAMED]) + (", ..." if len(made.closed) > _NAMED else "")
        return Reproduction(why=f"it cannot do without its imports ({named}): with zeros in their place, {seen.why}")
    return seen


def _run(session: Session, made: Reproduction) -> Reproduction:
    report = session.run(made.wasm, (), request=msgspec.structs.replace(session.request, mode="direct"))
    direct = next((each for each in report.passes if each.mode == "direct"), None)
    if direct is None or not direct.applicable or direct.oracle is None or direct.subject is None:
        return Reproduction(why=f"the module cannot be run as it is: {direct.why if direct else report.reason}")
    if not direct.divergences:
        return Reproduction(
            why=f"run as it is, the same calls do not show it ({_said(direct)}): it needs the capsule's driver around it",
            driver=True,
        )
    return msgspec.structs.replace(
        made,
        oracle=direct.oracle.words,
        subject=direct.subject.words,
        differs=tuple(Differs(each.where.item, each.oracle, each.subject) for each in direct.divergences[:_SHOWN]),
        log=direct.subject.log,
    )


def _said(direct: PassReport) -> str:
    return direct.reason or direct.verdict


def _titled(identity: Identity) -> str:
    name = visible(f"{identity.name} {identity.version}".strip())
    return f"echo {shlex.quote(f'== {name}')}"


def script(session: Session, made: Reproduction, name: str) -> str:
    """``reproduce.sh``: every name is quoted, nothing of ours is needed where plain commands show it."""
    subject, oracle = session.engines.subject_identity, session.engines.oracle_identity
    head = [
        "#!/bin/sh",
        f"# {visible(subject.name)} and {visible(oracle.name)} on one module; run it anywhere.",
        'cd "$(dirname "$0")" || exit 2',
    ]
    if made.why:
        reason = f"plain commands do not show this: {visible(made.why, 400)}"
        command = ["diffcheck", "run", f"./{name}.wasm", "--subject", session.request.subject]
        return "\n".join([*head, f"echo {shlex.quote(reason)}", "exec " + " ".join(map(shlex.quote, command)), ""])
    parts = [
        *head,
        "",
        _titled(subject),
        *session.subject.shell_commands(file_of(session), made.entry),
        "",
        _titled(oracle),
        *session.oracle.shell_commands(file_of(session), made.entry),
    ]
    return "\n".join([*parts, ""])
