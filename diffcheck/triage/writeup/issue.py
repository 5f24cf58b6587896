"""The text to paste into an engine's issue tracker, in the shape that engine projects ask for."""

from __future__ import annotations

import base64
import platform
import re
from typing import TYPE_CHECKING, Final

from diffcheck.config.version import __version__
from diffcheck.text import visible
from diffcheck.triage.localise.spec_sections import section
from diffcheck.triage.writeup.reproducer import SCRIPT, file_of

if TYPE_CHECKING:
    from diffcheck.observation import Identity
    from diffcheck.triage.reduce.symptom import Symptom
    from diffcheck.triage.session import Session
    from diffcheck.triage.triage_folder import State
    from diffcheck.triage.writeup.reproducer import Reproduction

_TEXT_LINES: Final = 150
_BASE64_BYTES: Final = 3000
_HEX: Final = 16
_LOG_LINES: Final = 6
_LINE: Final = 2000
_SUBJECT: Final = re.compile(r'"\$\{SUBJECT:-([^"\\$`}]*)\}"')
"""A script's choice of the program, for which an issue has its name alone."""


def issue(session: Session, state: State, made: Reproduction, text: str, plain: bytes) -> str:
    """Markdown. ``text`` is the module in text form, ``plain`` the module's bytes."""
    subject, oracle = session.engines.subject_identity, session.engines.oracle_identity
    parts = [
        f"# {_title(state, subject)}",
        "",
        _summary(state, made, subject, oracle),
        "",
        "### Test case",
        "",
        *_test_case(text, plain, file_of(session)),
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


def _title(state: State, subject: Identity) -> str:
    symptom, name = _symptom(state), visible(subject.name)
    found = state.localised_reduced or state.localised
    if found is not None and found.instruction:
        right = found.oracle.removeprefix("gave ")
        return f"{name}: {_md(found.instruction, 80)}: {_md(found.subject, 120)} where it must be {_md(right, 120)}"
    if _is_refused(symptom):
        return f"{name}: a valid module is {_md(symptom.subject, 120)}"
    return f"{name}: {_md(symptom.item, 80)}: {_md(symptom.subject, 120)} where it must be {_md(symptom.oracle, 120)}"


def _is_refused(symptom: Symptom) -> bool:
    """Whether the subject does not even take the module."""
    return symptom.kind == "outcome" and symptom.subject.startswith("refused") and not symptom.oracle.startswith("refused")


def _summary(state: State, made: Reproduction, subject: Identity, oracle: Identity) -> str:
    symptom = _symptom(state)
    row = f"calling {_md(symptom.row)}, " if symptom.row else ""
    if _is_refused(symptom):
        row = "whatever is called in it, "
    lines = [
        f"In the module below, {row}{_md(symptom.item)}: {_md(symptom.oracle)} under {oracle.name}, {_md(symptom.subject)} under {subject.name}."
    ]
    found = state.localised_reduced or state.localised
    if found is not None and found.depth == "instruction":
        of = f" of {', '.join(map(_md, found.operands))}" if found.operands else ""
        lines.append(
            f"The first instruction that is executed otherwise is {_md(found.instruction)}{of}: {oracle.name} {_md(found.oracle)}, {subject.name} {_md(found.subject)}."
        )
    if made.why:
        lines.append(f"Plain commands do not show it: {visible(made.why, 400)}.")
    return " ".join(lines)


def _test_case(text: str, plain: bytes, file: str) -> list[str]:
    lines = text.rstrip().splitlines()
    parts: list[str] = []
    if lines:
        cut = lines[:_TEXT_LINES]
        more = [f";; ... {len(lines) - len(cut):,} more lines"] if len(cut) < len(lines) else []
        shown = [visible(each, _LINE) for each in (*cut, *more)]
        fence = "`" * max(3, 1 + max((len(run) for each in shown for run in re.findall("`+", each)), default=0))
        parts += [f"{fence}wat", *shown, fence, ""]
    if len(plain) <= _BASE64_BYTES:
        coded = base64.b64encode(plain).decode()
        parts += [
            f"The same as {len(plain):,} bytes, for `base64 -d > {file}`:",
            "",
            "```",
            *(coded[at : at + 76] for at in range(0, len(coded), 76)),
            "```",
            "",
        ]
    return parts


def _steps(session: Session, made: Reproduction) -> list[str]:
    if made.why:
        return [f"`{SCRIPT}` runs both engines by `diffcheck run`, since plain commands do not show it.", ""]
    lines = [
        _SUBJECT.sub(lambda match: match[1].rpartition("/")[2], each)
        for each in session.subject.shell_commands(file_of(session), made.entry)[1:]
    ]
    return ["```sh", *lines, "```", "", f"(`{SCRIPT}` does the same, and the oracle's part as well.)", ""]


def _expected(session: Session, state: State, made: Reproduction, oracle: Identity) -> list[str]:
    symptom = _symptom(state)
    found = state.localised_reduced or state.localised
    values = [f"{each.item}: {each.oracle}" for each in made.differs if each.item != "outcome"]
    parts = [_md(symptom.oracle) if made.why else _said(made.oracle, values)]
    parts += [f"- {_md(f'__witness_counter_{each.number}', 60)} is {_md(each.what, 200)}" for each in made.shown]
    known = [each.spec for each in session.target.case.findings if each.spec]
    where = visible(known[0], 400) if known else section(found.instruction if found else "", symptom)
    if where.startswith("core specification"):
        where = f"WebAssembly {where}"
    return [*parts, "", f"See the {where}.", _others(state, oracle), ""]


def _others(state: State, oracle: Identity) -> str:
    agreeing = [each.engine for each in state.engines if each.agrees]
    other = [f"{each.engine} {visible(each.says, 200)}" for each in state.engines if not each.agrees]
    text = f"This is what {oracle.name} does" + (f", and {', '.join(agreeing)} agrees with it." if agreeing else ".")
    return text + (f" Other engines: {'; '.join(other)}." if other else "")


def _actual(made: Reproduction, state: State, subject: Identity) -> list[str]:
    if made.why:
        return [_md(_symptom(state).subject), ""]
    parts = [_said(made.subject, [f"{each.item}: {each.subject}" for each in made.differs if each.item != "outcome"])]
    said = made.log.replace("\\x0a", "\n").strip().splitlines()  # it came escaped, as all that an engine prints
    if said:
        parts += ["", f"{subject.name} says:", "", "```", *(visible(each, 400) for each in said[-_LOG_LINES:]), "```"]
    return [*parts, ""]


def _said(outcome: str, values: list[str]) -> str:
    """How a run ended, and the counters that differ where it returned."""
    return _md(outcome) + (f", with {', '.join(map(_md, values))}" if values else "")


def _symptom(state: State) -> Symptom:
    assert state.symptom is not None, "it was found"  # noqa: S101
    return state.symptom


def _engine(identity: Identity) -> str:
    return " ".join(filter(None, (visible(identity.name), visible(identity.version)))) + (
        f" (sha256 {identity.sha256[:_HEX]}...)" if identity.sha256 else ""
    )


def _more(state: State, made: Reproduction) -> list[str]:
    parts = ["### Additional information", ""]
    lines = [f"Found in {_md(state.artifact.rpartition('/')[2])} (sha256 {state.sha256[:_HEX]}...)"]
    if state.before is not None and state.after is not None:
        lines[0] += f", reduced from {state.before.code:,} to {state.after.code:,} bytes of code"
    lines[0] += "."
    if state.localised is not None:
        lines.append(f"In the artifact itself: {visible(str(state.localised), 600)}.")
        if state.localised.source:
            lines.append(f"Source: {visible(state.localised.source, 200)}.")
    if made.earlier:
        lines.append("The module above is from an earlier stage of reducing: what came later shows it in diffcheck's capsule only.")
    if made.closed:
        lines.append(f"Its imports ({_md(', '.join(made.closed), 200)}) are functions that give zeros, in the module above.")
    lines += [f"{visible(each, 400)[:1].upper()}{visible(each, 400)[1:]}." for each in state.notes]
    return [*parts, *(f"- {each}" for each in lines), ""]
