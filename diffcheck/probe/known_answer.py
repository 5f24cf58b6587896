"""Known answers: one asked of a program before it is taken for an engine, since else whatever it does would count as a divergence;
and those that show which proposals an engine has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Program, RunLimits
from diffcheck.capsule.build import Form
from diffcheck.errors import EngineUnusableError
from diffcheck.observation import HALF_ANSWER, HarnessFailed, OutOfMemory, Refused, Returned, TimedOut, sentence
from diffcheck.probe import programs
from diffcheck.probe.engine_findings import capsule_program
from diffcheck.text import printed_end, visible

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Capabilities, Host

_PATIENCE_S: Final = 20.0
"""The deadline of a second attempt: a loaded machine may be late with the first."""
_QUOTED: Final = 200
"""As many characters of the end of an engine's last line are in the sentence of an outcome that quotes it."""
_HINT = "check the command that names the engine; `diffcheck doctor` asks it for more answers"


def require(engine: Backend, spec: str, host: Host, limits: RunLimits | None = None) -> None:
    """Raises ``EngineUnusableError`` with what came back where the engine that ``spec`` names does not run a program that returns.

    A wrong value is accepted, and so are a memory limit that was reached and half an answer: an engine can have all of these, and
    the cases show them.
    """
    known = engine.capabilities
    if known.direct:
        program = Program(kind="direct", wasm=programs.returning())
    else:
        program = capsule_program(Form(unwinds=bool(known.exceptions), prints=known.transport == "print"))[1]
    limits = limits or RunLimits()
    execution = engine.execute(program, limits, host)
    if isinstance(execution.outcome, TimedOut) and limits.deadline_s < _PATIENCE_S:
        execution = engine.execute(program, msgspec.structs.replace(limits, deadline_s=_PATIENCE_S), host)
    outcome = execution.outcome
    # A capsule needs more of an engine than a program does, several memories first of all.
    accepted = isinstance(outcome, Returned | OutOfMemory) or (isinstance(outcome, Refused) and not known.direct)
    if accepted or (isinstance(outcome, HarnessFailed) and outcome.what == HALF_ANSWER):
        return
    files = engine.files()
    name = f"{spec} ({files[-1]})" if files and ":" not in spec else spec
    last = execution.log.strip().rpartition("\n")[2]
    what = sentence(outcome)
    if last[-_QUOTED:].strip() not in what:
        what += f"; it said: {printed_end(last)}"
    raise EngineUnusableError(f"{visible(name, 300)} does not answer as an engine: {what}", hint=_HINT)


def capabilities(engine: Backend, host: Host, limits: RunLimits | None = None) -> Capabilities:
    """The engine's capabilities; those that its adapter leaves open (None) are whether it runs a capsule that uses the proposal.

    What the capsule carries is not looked at: an engine that has a proposal and gets it wrong is to show that in the cases.
    """
    known = engine.capabilities
    prints = known.transport == "print"
    forms = {"exceptions": Form(references="nullness", prints=prints), "gc": Form(unwinds=False, prints=prints)}
    left_open = [name for name in forms if getattr(known, name) is None]
    programs_ = {name: capsule_program(forms[name], name)[1] for name in left_open}
    outcomes = {name: engine.execute(program, limits or RunLimits(), host).outcome for name, program in programs_.items()}
    return msgspec.structs.replace(known, **{name: isinstance(outcome, Returned) for name, outcome in outcomes.items()})


__all__ = ["capabilities", "require"]
