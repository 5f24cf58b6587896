"""One known answer, asked of a program before it is taken for an engine: else whatever it does would count as a divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend import Limits, Program
from diffcheck.capsule.build import Form
from diffcheck.errors import EngineUnusableError
from diffcheck.observation import HALF_ANSWER, HarnessFailed, OutOfMemory, Refused, Returned, TimedOut, sentence
from diffcheck.probe import programs
from diffcheck.probe.ask import capsule_program
from diffcheck.text import visible

if TYPE_CHECKING:
    from diffcheck.backend import Backend, Host

_PATIENCE_S: Final = 20.0
"""The deadline of a second attempt: a loaded machine may be late with the first."""
_HINT = "check the command that names the engine; `diffcheck doctor` asks it for more answers"


def require(engine: Backend, spec: str, host: Host, limits: Limits | None = None) -> None:
    """Raises ``EngineUnusableError`` with what came back where the engine that ``spec`` names does not run a program that returns.

    A wrong value is accepted, and so are a memory limit that was reached and half an answer: an engine can have all of these, and
    the cases show them.
    """
    capabilities = engine.capabilities
    if capabilities.direct:
        program = Program(kind="direct", wasm=programs.returning())
    else:
        program = capsule_program(Form(unwinds=capabilities.exceptions, prints=capabilities.transport == "print"))[1]
    limits = limits or Limits()
    execution = engine.execute(program, limits, host)
    if isinstance(execution.outcome, TimedOut) and limits.deadline_s < _PATIENCE_S:
        execution = engine.execute(program, msgspec.structs.replace(limits, deadline_s=_PATIENCE_S), host)
    outcome = execution.outcome
    # A capsule needs more of an engine than a program does, several memories first of all.
    if isinstance(outcome, Returned | OutOfMemory) or (isinstance(outcome, Refused) and not capabilities.direct):
        return
    if isinstance(outcome, HarnessFailed) and outcome.what == HALF_ANSWER:
        return
    files = engine.files()
    name = f"{spec} ({files[-1]})" if files and ":" not in spec else spec
    last = execution.log.strip().rpartition("\n")[2]
    said = f"; it said: {last}" if last and last not in sentence(outcome) else ""
    what = sentence(outcome) + visible(said, 400)
    raise EngineUnusableError(f"{visible(name, 300)} does not answer as an engine: {what}", hint=_HINT)


__all__ = ["require"]
