"""Test an engine: whether it fulfils diffcheck's requirements, and its limitations, independent of artifacts."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Program, RunLimits
from diffcheck.capsule import layout as lo
from diffcheck.capsule.build import build
from diffcheck.capsule.decode import check_header, decode_image, rows
from diffcheck.capsule.driver import Call
from diffcheck.capsule.forms import Form
from diffcheck.capsule.recorder.digest import digest
from diffcheck.capsule.seal import World
from diffcheck.errors import StreamError
from diffcheck.observation import Exited, Refused, Returned, TimedOut, Trapped, sentence
from diffcheck.probe import programs
from diffcheck.verdict import EngineFinding
from diffcheck.wasm import module as wasm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.backend.contract import Backend, Host
    from diffcheck.capsule.forms import Capsule
    from diffcheck.observation import Execution, Outcome

_MANY_EXPORTS: Final = 257
_ANSWER: Final = 42
_LIMITS: Final = "core specification, implementation limitations"
_REPORT: Final = "this engine cannot be compared: check its path, or report this to the authors of the engine or of its adapter"


class KnownAnswerResult(msgspec.Struct, frozen=True):
    """The result of the smoke test: the number of correct known answers, the first problem in one line, and a hint."""

    checks: int
    problem: str = ""
    hint: str = ""


def smoke(backend: Backend, host: Host, limits: RunLimits | None = None) -> KnownAnswerResult:
    """Test known answers of ``backend``: results, globals, memory, traps, and a capsule's stream with its digest."""
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
        return "the engine must support multi-memory: check its options"
    if "timed out" in problem:
        return "increase --deadline"
    if "out of memory" in problem:
        return "increase --memory-limit"
    return _REPORT


def _answers(backend: Backend, host: Host, limits: RunLimits) -> Iterator[str]:
    execution = backend.execute(Program(kind="direct", wasm=programs.answers()), limits, host)
    if not isinstance(execution.outcome, Returned):
        yield f"the first program: {sentence(execution.outcome)}"
        return
    counters = execution.counters or {}
    for at, answer in enumerate(programs.ANSWERS):
        value = counters.get(at)
        actual = "nothing" if value is None else f"{value:#x}"
        yield "" if value == answer.value else f"{answer.what}: expected {answer.value:#x}, got {actual}"


def _traps(backend: Backend, host: Host, limits: RunLimits) -> Iterator[str]:
    for kind in programs.TRAPS:
        outcome = backend.execute(Program(kind="direct", wasm=programs.trap(kind)), limits, host).outcome
        correct = isinstance(outcome, Trapped) and outcome.kind == kind
        yield "" if correct else f"a program that must trap ({kind}): {sentence(outcome)}"


def _capsule(backend: Backend, host: Host, limits: RunLimits) -> Iterator[str]:
    known = backend.capabilities
    form = Form(unwinds=bool(known.exceptions), prints=known.transport == "print")
    capsule, program, parameters = capsule_program(form, programs.artifact())
    execution = backend.execute(program, limits, host)
    if not isinstance(execution.outcome, Returned):
        yield f"a capsule: {sentence(execution.outcome)}"
        return
    try:
        yield ""
        yield _stream(execution, capsule, parameters, words=backend.capabilities.transport == "words")
    except StreamError as error:
        yield f"a capsule's stream: {error}"


def capsule_program(form: Form, data: bytes) -> tuple[Capsule, Program, lo.Parameters]:
    """Return a capsule of an artifact whose first own function is the row, the program that runs it, and its parameters."""
    module = wasm.read(data)
    row = module.n_imported("func")
    calls = (Call("answer", row, module.function_type(row)),)
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
    """Return the fault of the stream, empty if it is correct; ``StreamError`` if it is damaged."""
    memory = execution.carried
    if words:
        # The view contains the whole stream of this capsule, so header and view can be rearranged to a memory.
        header = check_header(memory[: lo.HEADER.size], capsule.layout, parameters.first, parameters.last)
        stream = memory[lo.HEADER.size : lo.HEADER.size + header.length]
        if header.length > lo.VIEW_BYTES or digest(stream) != (header.lane_a, header.lane_b):
            return "a capsule's stream: its digest does not match its bytes"
        memory = bytes(lo.HEADER_ADDRESS) + memory[: lo.HEADER.size].ljust(header.address - lo.HEADER_ADDRESS, b"\0") + stream
    row = rows(decode_image(memory, capsule.layout, parameters.first, parameters.last), capsule.layout)[-1]
    result = row.results[0].bits if row.results else None
    return "" if result == _ANSWER else f"a capsule's row: expected {_ANSWER}, got {result}"


def engine_findings(backend: Backend, host: Host, limits: RunLimits | None = None) -> tuple[EngineFinding, ...]:
    """Return the limitations of an engine, independent of artifacts; none if it cannot run artifacts directly."""
    if not backend.capabilities.direct:
        return ()
    chosen = limits or RunLimits()

    def outcome(program: bytes) -> Outcome:
        return backend.execute(Program(kind="direct", wasm=program), chosen, host).outcome

    findings = []
    for each in programs.WEAKNESSES:
        result = outcome(each.wasm)
        if isinstance(result, TimedOut) and not isinstance(outcome(programs.exports(1)), Returned):
            return ()  # no program terminates, so each test would only take its deadline
        if isinstance(result, Returned | Exited | Trapped) or (isinstance(result, Refused) and result.stage == "entry"):
            trap = f", and {sentence(result)}" if isinstance(result, Trapped) else ""
            findings.append(EngineFinding(each.name, each.what + trap, each.section))
        elif not isinstance(result, Refused):
            findings.append(EngineFinding(each.name, f"unknown whether {each.what}: the engine {sentence(result)}", each.section))
    result = outcome(programs.exports(_MANY_EXPORTS))
    if not isinstance(result, Returned):
        fewer = outcome(programs.exports(_MANY_EXPORTS - 1))
        limit = f", but one with {_MANY_EXPORTS - 1} is accepted" if isinstance(fewer, Returned) else ""
        findings.append(EngineFinding("export limit", f"a module with {_MANY_EXPORTS} exports: {sentence(result)}{limit}", _LIMITS))
    return tuple(findings)
