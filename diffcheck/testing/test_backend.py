"""The contract of a backend as tests: ``pytest --pyargs diffcheck.testing --backend MODULE:FACTORY``.

An adapter's own test file may instead define a fixture ``backend`` and import everything from here.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import wasmtime

from diffcheck.backend.command import ANSWER_BYTES, CommandBackend
from diffcheck.backend.contract import Backend, Host, Oracle, Program, RunLimits
from diffcheck.capsule.layout import (
    FINISHED,
    HEADER_ADDRESS,
    HEADER_WORDS,
    RUNNING,
    SLOTS,
    VIEW_ADDRESS,
    Header,
    Parameters,
    read_header,
)
from diffcheck.observation import Execution, HarnessFailed, OutOfMemory, Refused, Returned, TimedOut, Trapped, sentence
from diffcheck.process import ProcessResult, Reactor
from diffcheck.testing import programs

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = RunLimits(deadline_s=20.0)
SUCCESS = ProcessResult(
    exit_code=0, signal=None, timed_out=False, over_memory=False, stdout=b"", stderr=b"", stdout_total=0, stderr_total=0,
    flooded=False, lingering=False, elapsed_ns=1, cpu_ns=1, peak_bytes=1,
)  # fmt: skip
"""A process that prints nothing and exits with 0."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """The environment of backends: a reactor and a private folder; all children are ended afterwards."""
    with Reactor() as reactor:
        yield Host(reactor, tmp_path)


@cache
def assembled(text: str) -> bytes:
    """The binary of a module in text form."""
    return bytes(wasmtime.wat2wasm(text))


def run(backend: Backend, host: Host, program: str | bytes, limits: RunLimits = LIMITS) -> Execution:
    """Run a plain module; a backend without counters (``direct``) still reports the outcome."""
    wasm = assembled(program) if isinstance(program, str) else program
    return backend.execute(Program("direct", wasm), limits, host)


def run_capsule(
    backend: Backend, host: Host, first: int = 0, *, body: str = "", end: str = "", fields: str = "", name: str = "",
    limits: RunLimits = LIMITS,
) -> Execution:  # fmt: skip
    """Run a capsule for the row ``first`` with the backend's transport; ``name`` is the digest of its template."""
    wasm = assembled(programs.CAPSULES[backend.capabilities.transport](first, body=body, end=end, fields=fields))
    program = Program("capsule", wasm, template_sha256=name, parameters=Parameters(first, first + 1).encode())
    return backend.execute(program, limits, host)


def header_of(backend: Backend, execution: Execution) -> Header:
    """The header of the carried stream."""
    return read_header(execution.carried[HEADER_ADDRESS if backend.capabilities.transport != "words" else 0 :])


def lacking(capability: str, execution: Execution) -> str:
    """The message for an engine that lacks a capability that its adapter declares."""
    return f"{sentence(execution.outcome)}: if the engine lacks this, declare {capability}=False, or None to let diffcheck test it"


def only_direct(backend: Backend) -> None:
    """Skip the test for a backend without counters."""
    if not backend.capabilities.direct:
        pytest.skip("no counters are reported")


def children() -> list[str]:
    """The process ids of this process's children (Linux)."""
    return [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def test_counters_are_unsigned_64_bit_numbers(backend: Backend, host: Host) -> None:
    only_direct(backend)
    execution = run(backend, host, programs.COUNTERS)
    assert execution.outcome == Returned()
    assert execution.counters == programs.COUNTED, "if the adapter cannot report counters, declare direct=False"


@pytest.mark.parametrize("name", programs.TRAPS)
def test_a_trap_has_its_kind(backend: Backend, host: Host, name: str) -> None:
    kind, text = programs.TRAPS[name]
    outcome = run(backend, host, text).outcome
    if isinstance(outcome, Refused) and outcome.kind == "unsupported":
        pytest.skip(f"the engine lacks a proposal: {outcome.reason}")
    assert isinstance(outcome, Trapped)
    if outcome.kind == "unstated":
        pytest.skip(f"the engine has the same message for several kinds: {outcome.detail}")
    assert outcome.kind == kind


def test_a_broken_module_is_refused_at_load(backend: Backend, host: Host) -> None:
    outcome = run(backend, host, programs.INVALID).outcome
    assert isinstance(outcome, Refused)
    assert outcome.stage == "load"


def test_text_is_not_a_module(backend: Backend, host: Host) -> None:
    outcome = run(backend, host, b'(module (func (export "_start")))').outcome
    assert isinstance(outcome, Refused), "if the engine accepts text, the adapter refuses a module without the bytes 00 61 73 6d"
    assert outcome.stage == "load"


@pytest.mark.parametrize("text", [programs.NO_ENTRY, programs.ENTRY_WITH_PARAMETERS])
def test_an_entry_that_cannot_be_called_is_a_refusal(backend: Backend, host: Host, text: str) -> None:
    only_direct(backend)
    outcome = run(backend, host, text).outcome
    assert isinstance(outcome, Refused)
    assert outcome.stage == "entry"


@pytest.mark.parametrize("text", [programs.TRAP_IN_START, programs.TRAP_IN_DATA])
def test_a_trap_before_the_entry_is_a_refusal_at_instantiation(backend: Backend, host: Host, text: str) -> None:
    only_direct(backend)
    outcome = run(backend, host, text).outcome
    assert isinstance(outcome, Refused)
    assert outcome.stage == "instantiate"


@pytest.mark.parametrize("text", [programs.FLOAT_COUNTER, programs.NAMED_COUNTER])
def test_a_counter_of_another_type_or_name_fails_the_whole_run(backend: Backend, host: Host, text: str) -> None:
    only_direct(backend)
    assert isinstance(run(backend, host, text).outcome, HarnessFailed)


def test_an_endless_loop_is_ended_at_its_deadline_and_the_next_program_runs(backend: Backend, host: Host) -> None:
    execution = run(backend, host, programs.LOOP, RunLimits(deadline_s=1.0))
    assert isinstance(execution.outcome, TimedOut)
    assert execution.outcome.deadline_s == 1.0
    cost = execution.cost
    assert cost.elapsed_ns > 0.9e9
    # On a busy machine the engine waits for a processor, for up to four times its deadline; several threads use more than one.
    late = min(cost.elapsed_ns, cost.cpu_ns or cost.elapsed_ns) > 2.5e9 or cost.elapsed_ns > 6e9
    assert not late, "the engine was not ended at its deadline"
    assert isinstance(run(backend, host, programs.TRAPS["unreachable"][1]).outcome, Trapped)


def test_a_memory_over_the_limit_is_out_of_memory(backend: Backend, host: Host) -> None:
    limits = RunLimits(deadline_s=20.0, memory_bytes=512 << 20)
    assert isinstance(run(backend, host, programs.MANY_PAGES, limits).outcome, OutOfMemory)


@pytest.mark.parametrize("fields", ["", "(memory 1) (memory 1)"], ids=["one memory", "three memories"])
def test_the_stream_of_a_capsule_is_carried(backend: Backend, host: Host, fields: str) -> None:
    execution = run_capsule(backend, host, 5, fields=fields)
    assert execution.outcome == Returned()
    header = header_of(backend, execution)
    assert (header.status, header.address, header.length) == (FINISHED, programs.STREAM_ADDRESS, programs.STREAM_BYTES)
    if backend.capabilities.transport == "words":
        assert len(execution.carried) == SLOTS * 8
    else:
        assert struct.unpack("<QQQ", execution.carried[header.address :]) == (1005, 0, 0x0123456789ABCDEF)


def test_each_pass_has_its_own_parameters(backend: Backend, host: Host) -> None:
    view = HEADER_WORDS * 8 if backend.capabilities.transport == "words" else VIEW_ADDRESS
    for first in (3, 4, 3):
        carried = run_capsule(backend, host, first, name="cd" * 32).carried
        assert struct.unpack_from("<Q", carried, view) == (1000 + first,)


def test_a_long_stream_is_carried_whole(backend: Backend, host: Host) -> None:
    if backend.capabilities.transport != "memory":
        pytest.skip("one memory of a fixed size is carried")
    length = 40 * 65536
    body = f"(drop (memory.grow (i32.const 64))) (i64.store (i32.const 96) (i64.const {length}))"
    body += f"(i32.store (i32.const {programs.STREAM_ADDRESS + length - 4}) (i32.const 0x12345678))"
    execution = run_capsule(backend, host, body=body)
    assert len(execution.carried) == programs.STREAM_ADDRESS + length
    assert execution.carried[-4:] == bytes.fromhex("78563412")


@pytest.mark.parametrize("body", ["(i64.store (i32.const 96) (i64.const -1))", "(i32.store (i32.const 120) (i32.const -1))"])
def test_a_header_that_points_outside_of_the_memory_carries_no_more_than_there_is(backend: Backend, host: Host, body: str) -> None:
    execution = run_capsule(backend, host, body=body)
    assert isinstance(execution.outcome, Returned | HarnessFailed)
    assert len(execution.carried) <= 2 * 65536


def test_a_capsule_without_its_memory_is_a_failure_of_the_harness(backend: Backend, host: Host) -> None:
    if backend.capabilities.transport == "words":
        pytest.skip("counters are carried")
    program = Program("capsule", assembled(programs.start("")))
    assert isinstance(backend.execute(program, LIMITS, host).outcome, HarnessFailed)


@pytest.mark.parametrize("size", [None, ANSWER_BYTES + 1], ids=["missing", "too large"])
def test_success_without_a_usable_answer_is_a_failure_of_the_harness(backend: Backend, tmp_path: Path, size: int | None) -> None:
    if not isinstance(backend, CommandBackend):
        pytest.skip("not a process for each run")
    module, answer = tmp_path / "module.wasm", tmp_path / "answer"
    program = Program("capsule", assembled(programs.CAPSULES[backend.capabilities.transport]()))
    backend.command(program, module, answer)
    if size is not None:
        with answer.open("wb") as file:
            file.truncate(size)
    outcome = backend.read(program, SUCCESS, answer, LIMITS).outcome
    assert isinstance(outcome, HarnessFailed), "with exit code 0 and no readable answer, return HarnessFailed"


def test_a_trap_in_a_capsule_is_reported_with_the_state_or_without_any(backend: Backend, host: Host) -> None:
    execution = run_capsule(backend, host, body="unreachable")
    assert isinstance(execution.outcome, Trapped)
    if not backend.capabilities.state_at_trap:
        assert not execution.carried, "declare state_at_trap=True, or carry nothing after this trap"
        return
    assert execution.carried, "if the engine cannot report the memory after a trap, declare state_at_trap=False"
    assert header_of(backend, execution).status == FINISHED
    assert struct.unpack_from("<Q", execution.carried, programs.STREAM_ADDRESS + 8) == (99,)


def test_a_stream_that_was_finished_before_a_trap_is_carried_and_not_finished_again(backend: Backend, host: Host) -> None:
    known = backend.capabilities
    if known.transport != "print" and not known.state_at_trap:
        pytest.skip("no state at a trap")
    execution = run_capsule(backend, host, end="unreachable")  # as a capsule without exceptions ends on an exit
    assert isinstance(execution.outcome, Trapped)
    assert execution.carried, "carry the image on stdout also if the engine reports a trap"
    assert header_of(backend, execution).status == FINISHED
    assert struct.unpack_from("<Q", execution.carried, programs.STREAM_ADDRESS + 8) == (0,)


def test_a_capsule_that_is_ended_at_its_deadline_is_not_finished(backend: Backend, host: Host) -> None:
    execution = run_capsule(backend, host, body="(loop (br 0))", limits=RunLimits(deadline_s=1.0))
    assert isinstance(execution.outcome, TimedOut)
    assert not execution.carried or header_of(backend, execution).status == RUNNING


def test_a_capsule_may_catch_exceptions(backend: Backend, host: Host) -> None:
    if not backend.capabilities.exceptions:
        pytest.skip("no exceptions in capsules")
    execution = run_capsule(backend, host, body="(block $h (try_table (catch_all $h) (throw $e)))", fields="(tag $e)")
    assert execution.outcome == Returned(), lacking("exceptions", execution)
    assert header_of(backend, execution).status == FINISHED


def test_an_uncaught_exception_ends_a_capsule_as_a_trap_does(backend: Backend, host: Host) -> None:
    if not backend.capabilities.exceptions:
        pytest.skip("no exceptions in capsules")
    execution = run_capsule(backend, host, body="(throw $e)", fields="(tag $e)")
    assert isinstance(execution.outcome, Trapped), lacking("exceptions", execution)
    assert execution.outcome.kind == "uncaught exception"
    if backend.capabilities.state_at_trap:
        assert header_of(backend, execution).status == FINISHED


def test_a_capsule_may_use_gc_instructions(backend: Backend, host: Host) -> None:
    if not backend.capabilities.gc:
        pytest.skip("no GC instructions in capsules")
    execution = run_capsule(backend, host, body="(drop (struct.new_default $s))", fields="(type $s (struct (field i32)))")
    assert execution.outcome == Returned(), lacking("gc", execution)


def test_identity_is_filled(backend: Backend) -> None:
    identity = backend.identity()
    assert identity.name
    assert Path(identity.path).is_file()
    assert len(identity.sha256) == 64


def test_cost_is_measured(backend: Backend, host: Host) -> None:
    cost = run(backend, host, programs.start("")).cost
    assert cost.executions == 1
    assert cost.elapsed_ns > 0
    assert cost.cpu_ns > 0
    assert cost.peak_bytes > 1 << 20


def test_programs_may_be_under_way_at_the_same_time(backend: Backend, host: Host) -> None:
    kinds = ["unreachable", "div_s-by-zero", "div_s-overflow"]
    pending = [backend.start(Program("direct", assembled(programs.TRAPS[name][1])), LIMITS, host) for name in kinds]
    outcomes = [each.wait().outcome for each in reversed(pending)][::-1]
    assert [outcome.kind for outcome in outcomes if isinstance(outcome, Trapped)] == [programs.TRAPS[name][0] for name in kinds]


def test_nothing_is_left_running(backend: Backend, host: Host) -> None:
    before = set(children())
    run(backend, host, programs.start(""))
    run(backend, host, programs.LOOP, RunLimits(deadline_s=0.5))
    backend.close()
    assert set(children()) <= before


def test_no_file_is_left_behind(backend: Backend, host: Host) -> None:
    run(backend, host, programs.start(""))
    run(backend, host, programs.LOOP, RunLimits(deadline_s=0.5))
    assert list(host.folder.iterdir()) == []


def test_an_oracle_judges_modules(backend: Backend, host: Host) -> None:
    if not isinstance(backend, Oracle):
        pytest.skip("not an oracle")
    assert backend.validate(assembled(programs.COUNTERS), LIMITS, host) is None
    for wasm in (programs.INVALID, b"", b"(module)", assembled(programs.COUNTERS)[:-1]):
        outcome = backend.validate(wasm, LIMITS, host)
        assert isinstance(outcome, Refused)
        assert outcome.stage == "load"
        assert outcome.reason
