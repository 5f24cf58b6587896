"""What every backend must do, whatever its engine."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import pytest
import wasmtime

from diffcheck.backend import Backend, Execution, Host, Limits, Oracle, Program
from diffcheck.capsule.layout import FINISHED, HEADER_ADDRESS, SLOTS, Parameters, read_header
from diffcheck.observation import HarnessFailed, OutOfMemory, Refused, Returned, TimedOut, Trapped
from tests.contract import programs

LIMITS = Limits(deadline_s=20.0)
THREADS_NEEDED = {"atomic-unaligned"}


@cache
def assembled(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def run(backend: Backend, host: Host, program: str | bytes, limits: Limits = LIMITS) -> Execution:
    """A plain module: as a direct program, or as a capsule that carries nothing where there is only that."""
    wasm = assembled(program) if isinstance(program, str) else program
    return backend.execute(Program("direct" if backend.capabilities.direct else "capsule", wasm), limits, host)


def only_direct(backend: Backend) -> None:
    if not backend.capabilities.direct:
        pytest.skip("runs capsules only")


def children() -> list[str]:
    return [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def test_counters_are_told_as_unsigned_64_bit_numbers(backend: Backend, host: Host) -> None:
    only_direct(backend)
    execution = run(backend, host, programs.COUNTERS)
    assert execution.outcome == Returned()
    assert execution.counters == programs.COUNTED


@pytest.mark.parametrize("name", programs.TRAPS)
def test_a_trap_is_told_by_its_kind(backend: Backend, host: Host, name: str) -> None:
    kind, text = programs.TRAPS[name]
    if name in THREADS_NEEDED and backend.identity().name == "wasmtime-pulley":
        pytest.skip("Pulley has no threads")
    outcome = run(backend, host, text).outcome
    assert isinstance(outcome, Trapped)
    assert outcome.kind == kind


def test_a_broken_module_is_refused_at_load(backend: Backend, host: Host) -> None:
    outcome = run(backend, host, programs.INVALID).outcome
    assert isinstance(outcome, Refused)
    assert outcome.stage == "load"


def test_text_is_no_module(backend: Backend, host: Host) -> None:
    outcome = run(backend, host, b'(module (func (export "_start")))').outcome
    assert isinstance(outcome, Refused)


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
def test_a_counter_that_is_none_fails_the_whole_run(backend: Backend, host: Host, text: str) -> None:
    only_direct(backend)
    assert isinstance(run(backend, host, text).outcome, HarnessFailed)


def test_an_endless_loop_is_ended_at_its_deadline_and_the_next_program_runs(backend: Backend, host: Host) -> None:
    execution = run(backend, host, programs.LOOP, Limits(deadline_s=1.0))
    assert isinstance(execution.outcome, TimedOut)
    assert execution.outcome.deadline_s == 1.0
    assert 0.9e9 < execution.cost.elapsed_ns < 2.5e9
    assert isinstance(run(backend, host, programs.TRAPS["unreachable"][1]).outcome, Trapped)


def test_a_memory_over_the_limit_is_out_of_memory(backend: Backend, host: Host) -> None:
    limits = Limits(deadline_s=20.0, memory_bytes=512 << 20)
    assert isinstance(run(backend, host, programs.MANY_PAGES, limits).outcome, OutOfMemory)


def test_the_stream_of_a_capsule_comes_out(backend: Backend, host: Host) -> None:
    first = 5
    transport = backend.capabilities.transport
    text = {"memory": programs.capsule, "words": programs.words_capsule, "print": programs.printing_capsule}[transport]
    wasm, parameters = assembled(text(first)), Parameters(first, 9).encode()
    program = Program("capsule", wasm, template_sha256="ab" * 32, parameters=parameters)
    execution = backend.execute(program, LIMITS, host)
    assert execution.outcome == Returned()
    if transport == "words":
        assert len(execution.carried) == SLOTS * 8
        header = read_header(execution.carried)
    else:
        header = read_header(execution.carried[HEADER_ADDRESS:])
        stream = execution.carried[header.address :]
        assert struct.unpack("<QQQ", stream) == (1000 + first, 0, 0x0123456789ABCDEF)
    assert (header.status, header.address, header.length) == (FINISHED, programs.STREAM_ADDRESS, programs.STREAM_BYTES)


def test_identity_is_filled(backend: Backend) -> None:
    identity = backend.identity()
    assert identity.name
    assert Path(identity.path).is_file()
    assert len(identity.sha256) == 64


def test_cost_is_told(backend: Backend, host: Host) -> None:
    cost = run(backend, host, start_only()).cost
    assert cost.executions == 1
    assert cost.elapsed_ns > 0
    assert cost.cpu_ns > 0
    assert cost.peak_bytes > 1 << 20


def start_only() -> str:
    return programs.start("")


def test_programs_may_be_under_way_at_the_same_time(backend: Backend, host: Host) -> None:
    kinds = ["unreachable", "div_s-by-zero", "div_s-overflow"]
    kind = "direct" if backend.capabilities.direct else "capsule"
    pending = [backend.start(Program(kind, assembled(programs.TRAPS[name][1])), LIMITS, host) for name in kinds]
    outcomes = [each.wait().outcome for each in reversed(pending)][::-1]
    assert [outcome.kind for outcome in outcomes if isinstance(outcome, Trapped)] == [programs.TRAPS[name][0] for name in kinds]


def test_nothing_is_left_running(backend: Backend, host: Host) -> None:
    before = set(children())
    run(backend, host, start_only())
    run(backend, host, programs.LOOP, Limits(deadline_s=0.5))
    backend.close()
    assert set(children()) <= before


def test_no_file_is_left_behind(backend: Backend, host: Host) -> None:
    run(backend, host, start_only())
    run(backend, host, programs.LOOP, Limits(deadline_s=0.5))
    assert list(host.folder.iterdir()) == []


def test_an_oracle_judges_modules(backend: Backend, host: Host) -> None:
    if not isinstance(backend, Oracle):
        pytest.skip("no oracle")
    assert backend.validate(assembled(programs.COUNTERS), LIMITS, host) is None
    for wasm in (programs.INVALID, b"", b"(module)", assembled(programs.COUNTERS)[:-1]):
        outcome = backend.validate(wasm, LIMITS, host)
        assert isinstance(outcome, Refused)
        assert outcome.stage == "load"
        assert outcome.reason
