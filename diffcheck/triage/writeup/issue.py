"""The text of an issue for an engine's tracker, in the form that engine projects ask for."""

from __future__ import annotations

import base64
import platform
import re
import shlex
from typing import TYPE_CHECKING, Final

from diffcheck.config.version import __version__
from diffcheck.text import visible
from diffcheck.triage.localise.spec_sections import section
from diffcheck.triage.writeup import wast
from diffcheck.triage.writeup.reproducer import file_of
from diffcheck.triage.writeup.shell_script import SCRIPT
from diffcheck.triage.writeup.standalone import OBSERVED
from diffcheck.triage.writeup.title import instruction_title, symptom_title

if TYPE_CHECKING:
    from diffcheck.observation import Identity
    from diffcheck.triage.localise.location import Localisation
    from diffcheck.triage.reduce.symptom import Symptom
    from diffcheck.triage.session import Session
    from diffcheck.triage.triage_folder import State
    from diffcheck.triage.writeup.reproducer import Reproduction

_TEXT_LINES: Final = 150
_BASE64_BYTES: Final = 3000
_HEX: Final = 16
_LOG_LINES: Final = 6
_LINE: Final = 2000
_PROGRAM: Final = re.compile(r'"\$\{ENGINE:-([^"\\$`}]*)\}"')
"""A script's choice of the program; an issue has its file name."""


def title(state: State) -> str:
    """The bug in one line: by its instruction if that is known."""
    found = [each for each in (state.localised_reduced, state.localised) if each is not None]
    return next(filter(None, map(instruction_title, found)), "") or symptom_title(_symptom(state))


def issue(session: Session, state: State, made: Reproduction, text: str, plain: bytes) -> str:
    """The issue in Markdown. ``text`` is the test case (a .wast script, or a module in text form if there is none), ``plain`` the
    module's bytes.
    """
    subject, oracle = session.engines.subject_identity, session.engines.oracle_identity
    parts = [
        f"# {_escaped(title(state))}",
        "",
        _summary(state, made, subject, oracle),
        "",
        "### Test case",
        "",
        *_test_case(made, text, plain, file_of(session)),
        "### Steps to reproduce",
        "",
        *_steps(session, made),
        "### Expected",
        "",
        *_expected(session, state, made, oracle),
        "### Actual",
        "",
        *_actual(made, state, subject),
        "### Versions and environment",
        "",
        f"- {_engine(subject)}",
        f"- {_engine(oracle)}",
        f"- {platform.system()} {platform.release()} on {platform.machine()}; diffcheck {__version__}",
        "",
        *_more(state, made),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _md(text: str, limit: int = 400) -> str:
    """Text within backticks: nothing in it can end them or begin anything else."""
    return "`" + visible(text, limit).replace("`", "'") + "`"


def _escaped(text: str) -> str:
    """Text outside of backticks: no character in it is markup."""
    return re.sub(r"([\\`*_<>\[\]&#|~])", r"\\\1", text)


def _symptom(state: State) -> Symptom:
    assert state.symptom is not None, "it was found"  # noqa: S101
    return state.symptom


def _localised(state: State) -> Localisation | None:
    return state.localised_reduced or state.localised


def _summary(state: State, made: Reproduction, subject: Identity, oracle: Identity) -> str:
    found, symptom = _localised(state), made.symptom or _symptom(state)
    lines = []
    if found is not None and found.depth == "instruction":
        of = f" of {', '.join(map(_md, found.operands))}" if found.operands else ""
        effects = [f"{_md(each.removeprefix('gave '))} with" for each in (found.oracle, found.subject)]
        lines.append(f"{_md(found.instruction)}{of}: {effects[0]} {oracle.name}, {effects[1]} {subject.name}.")
    elif found is not None and instruction_title(found):
        lines.append(f"{visible(found.why, 400)[:1].upper()}{visible(found.why, 400)[1:]}.")
    row = f"of the call {_md(symptom.row)} " if symptom.row else ""
    lines.append(
        f"In the test case, {_md(symptom.item)} {row}is {_md(symptom.oracle)} with {oracle.name} and {_md(symptom.subject)} with {subject.name}."
    )
    if made.why:
        lines.append(f"Plain commands do not reproduce the difference: {visible(made.why, 400)}.")
    return " ".join(lines)


def _test_case(made: Reproduction, text: str, plain: bytes, file: str) -> list[str]:
    lines = text.rstrip().splitlines()
    parts: list[str] = []
    if lines:
        cut = lines[:_TEXT_LINES]
        more = [f";; ... {len(lines) - len(cut):,} more lines"] if len(cut) < len(lines) else []
        shown = [visible(each, _LINE) for each in (*cut, *more)]
        fence = "`" * max(3, 1 + max((len(run) for each in shown for run in re.findall("`+", each)), default=0))
        name = "" if made.why else f"`{wast.FILE}`, with the values that the specification requires:"
        parts += [*([name, ""] if name else []), f"{fence}{'wat' if made.why else 'wast'}", *shown, fence, ""]
    if len(plain) <= _BASE64_BYTES:
        coded = base64.b64encode(plain).decode()
        lines = [coded[at : at + 76] for at in range(0, len(coded), 76)]
        what = "The module" if made.why else "The module with these calls in its `_start`" if made.source else "The module"
        summary = f"{what}, {len(plain):,} bytes, for <code>base64 -d &gt; {file}</code>"
        parts += [f"<details><summary>{summary}</summary>", "", "```", *lines, "```", "", "</details>", ""]
    return parts


def _steps(session: Session, made: Reproduction) -> list[str]:
    if made.why:
        return [f"`{SCRIPT}` runs both engines with `diffcheck run`.", ""]
    file = file_of(session)
    lines = [
        _PROGRAM.sub(lambda match: match[1].rpartition("/")[2], each).removesuffix(" || exit")
        for each in session.subject.shell_commands(file, made.entry)
        if not each.startswith(("rm ", "if ["))
    ]
    export = OBSERVED if made.source else made.entry
    reference = session.oracle.invocation(file, export)
    return [
        "```sh",
        *lines,
        *([f"{reference}  # the reference"] if reference else []),
        "```",
        "",
        f"`./{SCRIPT} ENGINE` exits with 1 while the bug is there, 0 when it is gone and 125 if the engine cannot be run (`git bisect run`).",
        "",
    ]


def _expected(session: Session, state: State, made: Reproduction, oracle: Identity) -> list[str]:
    symptom, found = _symptom(state), _localised(state)
    parts = [_md(symptom.oracle) if made.why else _result(made, made.oracle, "oracle")]
    parts += [f"- {_md(f'__witness_counter_{each.number}', 60)}: {_md(each.what, 200)}" for each in made.shown]
    known = [each.spec for each in session.target.case.findings if each.spec]
    where = visible(known[0], 400) if known else section(found.instruction if found else "", symptom)
    if where.startswith("core specification"):
        where = f"WebAssembly {where}"
    return [*parts, "", f"See the {where}.", _others(state, oracle), ""]


def _others(state: State, oracle: Identity) -> str:
    agreeing = [each.engine for each in state.engines if each.agrees]
    other = [f"{each.engine}: {visible(each.says, 200)}" for each in state.engines if not each.agrees]
    text = " and ".join((oracle.name, *agreeing)) + (" agree" if agreeing else " behaves as expected") + "."
    return text + (f" Other engines: {'; '.join(other)}." if other else "")


def _actual(made: Reproduction, state: State, subject: Identity) -> list[str]:
    if made.why:
        return [_md(_symptom(state).subject), ""]
    parts = [_result(made, made.subject, "subject")]
    printed = made.log.replace("\\x0a", "\n").strip().splitlines()  # stored as one line
    if printed:
        parts += ["", f"Output of {subject.name}:", "", "```", *(visible(each, 400) for each in printed[-_LOG_LINES:]), "```"]
    return [*parts, ""]


def _result(made: Reproduction, outcome: str, side: str) -> str:
    """The outcome of a run, and the counters that differ."""
    values = [f"{each.item}: {getattr(each, side)}" for each in made.differs if each.item.startswith("counter ")]
    return _md(outcome) + (f", with {', '.join(map(_md, values))}" if values else "")


def _engine(identity: Identity) -> str:
    return " ".join(filter(None, (visible(identity.name), visible(identity.version)))) + (
        f" (sha256 {shlex.quote(identity.sha256[:_HEX])}...)" if identity.sha256 else ""
    )


def _more(state: State, made: Reproduction) -> list[str]:
    reduced = ""
    if state.before is not None and state.after is not None:
        reduced = f", reduced from {state.before.code:,} to {state.after.code:,} bytes of code"
    lines = [f"Found in {_md(state.artifact.rpartition('/')[2])} (sha256 {state.sha256[:_HEX]}...){reduced}."]
    if state.localised is not None:
        lines.append(f"In the artifact: {_place(state.localised)}.")
    if made.earlier:
        lines.append("The module is from an earlier reduction stage: later ones show the difference in diffcheck's capsule only.")
    if made.closed:
        lines.append(f"The module's imports ({_md(', '.join(made.closed), 200)}) are replaced by stubs that return zeros.")
    found = [each for each in (state.judgement, state.blame) if each is not None]
    notes = [*map(str, found), *(state.blame.notes if state.blame is not None else ()), *state.notes]
    lines += [f"{visible(each, 400)[:1].upper()}{visible(each, 400)[1:]}." for each in notes]
    return ["### Additional information", "", *(f"- {each}" for each in lines), ""]


def _place(found: Localisation) -> str:
    """Where the instruction is, with its offset in the file as ``wasm-tools print --print-offsets`` prints it."""
    if found.depth != "instruction" or found.file_offset < 0:
        return visible(str(found), 600)
    source = f", {visible(found.source, 200)}" if found.source else ""
    return f"{_md(found.instruction)} in function {_md(found.function)} at offset 0x{found.file_offset:x} of the file{source}"
