"""Known-answer programs that check that a command is a working engine, and that detect its proposals.

Without the check, any behaviour of a wrong command would count as a divergence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Program, RunLimits
from diffcheck.capsule.forms import Form
from diffcheck.errors import EngineUnusableError
from diffcheck.observation import HALF_ANSWER, HarnessFailed, OutOfMemory, Refused, Returned, TimedOut, sentence
from diffcheck.probe import programs
from diffcheck.probe.engine_findings import capsule_program
from diffcheck.probe.instructions import program as program_of
from diffcheck.text import printed_end, visible

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Capabilities, Host

_PATIENCE_S: Final = 20.0
"""The deadline of a second attempt, since the first may be slow on a loaded machine."""
_QUOTED: Final = 200
"""The length of the end of an engine's last line that an outcome's sentence quotes."""
_HINT = "check the command of the engine; `diffcheck doctor` runs more known-answer tests"


def require(engine: Backend, spec: str, host: Host, limits: RunLimits | None = None) -> None:
    """Raise ``EngineUnusableError`` if the engine named ``spec`` cannot run a program that returns.

    A wrong value, an exceeded memory limit and an incomplete answer are accepted, since cases reveal these faults of an engine.
    So is a failure of the capsule, if a program without the recorder returns.
    """
    known = engine.capabilities
    if known.direct:
        program = Program(kind="direct", wasm=programs.returning())
    else:
        form = Form(unwinds=bool(known.exceptions), prints=known.transport == "print")
        program = capsule_program(form, programs.artifact())[1]
    limits = limits or RunLimits()
    execution = engine.execute(program, limits, host)
    if isinstance(execution.outcome, TimedOut) and limits.deadline_s < _PATIENCE_S:
        execution = engine.execute(program, msgspec.structs.replace(limits, deadline_s=_PATIENCE_S), host)
    outcome = execution.outcome
    # A capsule requires more of an engine than a program does, above all multi-memory.
    accepted = isinstance(outcome, Returned | OutOfMemory) or (isinstance(outcome, Refused) and not known.direct)
    if accepted or (isinstance(outcome, HarnessFailed) and outcome.what == HALF_ANSWER):
        return
    if not known.direct and _runs_programs(engine, host, limits):
        return
    files = engine.files()
    name = f"{spec} ({files[-1]})" if files and ":" not in spec else spec
    last = execution.log.strip().rpartition("\n")[2]
    what = sentence(outcome)
    if last[-_QUOTED:].strip() not in what:
        what += f"; it printed: {printed_end(last)}"
    raise EngineUnusableError(f"{visible(name, 300)} does not behave like an engine: {what}", hint=_HINT)


def _runs_programs(engine: Backend, host: Host, limits: RunLimits) -> bool:
    """Whether a program without the recorder returns and one that traps does not.

    An engine that executes an instruction of the recorder wrongly may do so and fail in every capsule.
    """

    def returns(wasm: bytes) -> bool:
        return isinstance(engine.execute(Program(kind="direct", wasm=wasm), limits, host).outcome, Returned)

    return returns(program_of(())) and not returns(programs.trap("unreachable"))


def prints_exits(engine: Backend, host: Host, limits: RunLimits) -> bool:
    """Whether an engine that prints carries the stream of a capsule that traps on an exit."""
    program = capsule_program(Form(unwinds=False, prints=True), programs.exiting())[1]
    return bool(engine.execute(program, limits, host).carried)


def capabilities(engine: Backend, host: Host, limits: RunLimits | None = None) -> Capabilities:
    """Return the engine's capabilities. Those that its adapter does not know (None) are tested by running a capsule.

    The capsule's stream is not checked: cases reveal a wrong implementation of a proposal.
    """
    known = engine.capabilities
    prints = known.transport == "print"
    forms = {"exceptions": Form(references="nullness", prints=prints), "gc": Form(unwinds=False, prints=prints)}
    unknown = [name for name in forms if getattr(known, name) is None]
    programs_ = {name: capsule_program(forms[name], programs.artifact(name))[1] for name in unknown}
    outcomes = {name: engine.execute(program, limits or RunLimits(), host).outcome for name, program in programs_.items()}
    return msgspec.structs.replace(known, **{name: isinstance(outcome, Returned) for name, outcome in outcomes.items()})
