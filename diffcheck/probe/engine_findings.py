"""Puts the probe's programs to an engine: whether it works as diffcheck needs it, and what it gets wrong whatever it runs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Program, RunLimits
from diffcheck.capsule import layout as lo
from diffcheck.capsule.build import Form, World, build
from diffcheck.capsule.decode import check_header, decode_image, rows
from diffcheck.capsule.digest import digest
from diffcheck.capsule.driver import Call
from diffcheck.errors import StreamError
from diffcheck.observation import Exited, Refused, Returned, TimedOut, Trapped, sentence
from diffcheck.probe import programs
from diffcheck.verdict import EngineFinding
from diffcheck.wasm import module as wasm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.backend.contract import Backend, Host
    from diffcheck.capsule.build import Capsule
    from diffcheck.observation import Execution, Outcome

_MANY_EXPORTS: Final = 257
_ANSWER: Final = 42
_LIMITS: Final = "core specification, implementation limitations"
_ROUNDS: Final = "run `diffcheck doctor` again; if it stays so, this engine cannot be compared: report it to its authors"


class KnownAnswerResult(msgspec.Struct, frozen=True):
    """What the smoke test came to: how many known answers were right; the first problem in one line, and what to do."""

    checks: int
    problem: str = ""
    hint: str = ""


def smoke(backend: Backend, host: Host, limits: RunLimits | None = None) -> KnownAnswerResult:
    """Whether ``backend`` gives the known answers: results, globals, memory, traps, and a capsule's stream with its digest."""
    chosen = limits or RunLimits()
    checks = 0
    tests: list[Callable[[Backend, Host, RunLimits], Iterator[str]]] = [_answers, _traps] if backend.capabilities.direct else []
    for test in (*tests, _capsule):
        for problem in test(backend, host, chosen):
            if problem:
                return KnownAnswerResult(checks, problem, _hint(problem))
            checks += 1
    return KnownAnswerResult(checks)


def _hint(problem: str) -> str:
    if "multi" in problem and "memor" in problem:
        return "the engine has to have multi-memory: look for its option to enable it"
    if "timed out" in problem:
        return "give it more time by --deadline"
    if "out of memory" in problem:
        return "give it more memory by --memory-limit"
    return _ROUNDS


def _answers(backend: Backend, host: Host, limits: RunLimits) -> Iterator[str]:
    execution = backend.execute(Program(kind="direct", wasm=programs.answers()), limits, host)
    if not isinstance(execution.outcome, Returned):
        yield f"the first program: {sentence(execution.outcome)}"
        return
    counters = execution.counters or {}
    for at, answer in enumerate(programs.ANSWERS):
        seen = counters.get(at)
        if seen == answer.value:
            yield ""
        else:
            yield f"{answer.what}: {answer.value:#x} is right, it says {'nothing' if seen is None else f'{seen:#x}'}"


def _traps(backend: Backend, host: Host, limits: RunLimits) -> Iterator[str]:
    for kind in programs.TRAPS:
        outcome = backend.execute(Program(kind="direct", wasm=programs.trap(kind)), limits, host).outcome
        right = isinstance(outcome, Trapped) and outcome.kind == kind
        yield "" if right else f"a program that has to trap ({kind}): {sentence(outcome)}"


def _capsule(backend: Backend, host: Host, limits: RunLimits) -> Iterator[str]:
    known = backend.capabilities
    capsule, program, parameters = capsule_program(Form(unwinds=bool(known.exceptions), prints=known.transport == "print"))
    execution = backend.execute(program, limits, host)
    if not isinstance(execution.outcome, Returned):
        yield f"a capsule: {sentence(execution.outcome)}"
        return
    try:
        yield ""
        yield _stream(execution, capsule, parameters, words=backend.capabilities.transport == "words")
    except StreamError as error:
        yield f"a capsule's stream: {error}"


def capsule_program(form: Form, proposal: str = "") -> tuple[Capsule, Program, lo.Parameters]:
    """A small capsule whose row returns ``_ANSWER``, the program that runs it, and the parameters in that; ``proposal`` as in
    ``programs.artifact``.
    """
    data = programs.artifact(proposal)
    module = wasm.read(data)
    calls = (Call("answer", 0, module.function_type(0)),)
    capsule = build(module, hashlib.sha256(data).hexdigest(), calls, World(), form)
    parameters = lo.Parameters(first=0, last=1)
    encoded = parameters.encode()
    program = Program(
        kind="capsule",
        wasm=capsule.with_parameters(parameters),
        entry=lo.ENTRY,
        template_sha256=capsule.sha256,
        parameters=encoded,
        parameters_offset=capsule.parameters_offset,
        parameters_address=lo.PARAMETERS_ADDRESS,
    )
    return capsule, program, parameters


def _stream(execution: Execution, capsule: Capsule, parameters: lo.Parameters, *, words: bool) -> str:
    """What is wrong with the stream, empty if nothing is; raises ``StreamError`` for a damaged one."""
    memory = execution.carried
    if words:
        # The words are header and view; the whole stream of this capsule is in the view, so a memory can be made of them.
        header = check_header(memory[: lo.HEADER.size], capsule.layout, parameters.first, parameters.last)
        stream = memory[lo.HEADER.size : lo.HEADER.size + header.length]
        if header.length > lo.VIEW_BYTES or digest(stream) != (header.lane_a, header.lane_b):
            return "a capsule's stream: its digest is not that of its bytes"
        memory = bytes(lo.HEADER_ADDRESS) + memory[: lo.HEADER.size].ljust(header.address - lo.HEADER_ADDRESS, b"\0") + stream
    seen = rows(decode_image(memory, capsule.layout, parameters.first, parameters.last), capsule.layout)[-1]
    result = seen.results[0].bits if seen.results else None
    return "" if result == _ANSWER else f"a capsule's row returned {result}, {_ANSWER} is right"


def engine_findings(backend: Backend, host: Host, limits: RunLimits | None = None) -> tuple[EngineFinding, ...]:
    """The weaknesses that an engine has whatever it runs; none are looked for where it cannot run artifacts as they are."""
    if not backend.capabilities.direct:
        return ()
    chosen = limits or RunLimits()

    def outcome(program: bytes) -> Outcome:
        return backend.execute(Program(kind="direct", wasm=program), chosen, host).outcome

    found = []
    for each in programs.WEAKNESSES:
        ended = outcome(each.wasm)
        if isinstance(ended, TimedOut) and not isinstance(outcome(programs.exports(1)), Returned):
            return ()  # it ends for no program: nothing to be learnt, and each question would cost its deadline
        if isinstance(ended, Returned | Exited | Trapped) or (isinstance(ended, Refused) and ended.stage == "entry"):
            found.append(EngineFinding(each.name, each.what + _how(ended), each.section))
        elif not isinstance(ended, Refused):
            found.append(EngineFinding(each.name, f"unknown whether {each.what}: the engine {sentence(ended)}", each.section))
    ended = outcome(programs.exports(_MANY_EXPORTS))
    if not isinstance(ended, Returned):
        fewer = outcome(programs.exports(_MANY_EXPORTS - 1))
        limit = f", one with {_MANY_EXPORTS - 1} is taken" if isinstance(fewer, Returned) else ""
        found.append(EngineFinding("export limit", f"a module with {_MANY_EXPORTS} exports: {sentence(ended)}{limit}", _LIMITS))
    return tuple(found)


def _how(outcome: Outcome) -> str:
    """How it went on, where it did not simply return."""
    return f", and {sentence(outcome)}" if isinstance(outcome, Trapped) else ""
