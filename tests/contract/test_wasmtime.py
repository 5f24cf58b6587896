"""What only wasmtime's adapter does: the memory transport, variants, and a server that may die."""

from __future__ import annotations

import os
import signal
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diffcheck.backend.contract import Execution, Host, Program, RunLimits
from diffcheck.capsule.layout import FINISHED, HEADER_ADDRESS, RUNNING, VARIABLES_ADDRESS, read_header
from diffcheck.errors import ArtifactError
from diffcheck.observation import Crashed, HarnessFailed, Refused, Returned, TimedOut, Trapped
from diffcheck.runner.persist.cache_files import Store
from diffcheck.testing import programs
from diffcheck.testing.test_backend import assembled, children
from diffcheck_backends import wasmtime as adapter
from diffcheck_backends import wasmtime_machine as machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck_backends.wasmtime import Wasmtime

LIMITS = RunLimits(deadline_s=20.0)


@pytest.fixture(params=[adapter.create, adapter.create_pulley], ids=["native", "pulley"])
def oracle(request: pytest.FixtureRequest) -> Iterator[Wasmtime]:
    made = request.param(None, {})
    yield made
    made.close()


def capsule(text: str, first: int = 0, name: str = "") -> Program:
    return Program("capsule", assembled(text), template_sha256=name, parameters=struct.pack("<I", first))


def server_pid() -> int:
    (pid,) = children()
    return int(pid)


def test_a_template_that_the_server_has_forgotten_is_sent_again(oracle: Wasmtime, host: Host) -> None:
    for _ in range(2):
        for number in range(10):
            program = capsule(programs.capsule(number), number, f"{number:064x}")
            assert oracle.execute(program, LIMITS, host).outcome == Returned()


def test_after_a_trap_the_capsule_closes_its_stream(oracle: Wasmtime, host: Host) -> None:
    execution = oracle.execute(capsule(programs.capsule(body="unreachable")), LIMITS, host)
    assert execution.outcome == Trapped("unreachable", "wasm trap: wasm `unreachable` instruction executed", ("unreachable",))
    header = read_header(execution.carried[HEADER_ADDRESS:])
    assert header.status == FINISHED
    assert struct.unpack_from("<Q", execution.carried, programs.STREAM_ADDRESS + 8) == (99,)


def test_a_run_that_was_interrupted_is_not_continued(oracle: Wasmtime, host: Host) -> None:
    execution = oracle.execute(capsule(programs.capsule(body="(loop (br 0))")), RunLimits(deadline_s=0.5), host)
    assert isinstance(execution.outcome, TimedOut)
    assert read_header(execution.carried[HEADER_ADDRESS:]).status == RUNNING


@pytest.mark.parametrize(
    "body",
    [
        "(i64.store (i32.const 96) (i64.const -1))",
        "(i32.store (i32.const 120) (i32.const -1))",
        "(i32.store (i32.const 120) (i32.const 8))",
        "(i32.store (i32.const 64) (i32.const 0))",
        "(i64.store (i32.const 96) (i64.const 131072))",
    ],
)
def test_a_header_that_points_anywhere_gives_the_beginning_of_the_memory(oracle: Wasmtime, host: Host, body: str) -> None:
    execution = oracle.execute(capsule(programs.capsule(body=body)), LIMITS, host)
    assert len(execution.carried) == VARIABLES_ADDRESS


def test_a_capsule_without_its_memory_is_a_failure_of_the_harness(oracle: Wasmtime, host: Host) -> None:
    for text in (programs.start(""), '(module (memory (export "diffcheck:memory") 0) (func (export "_start")))'):
        assert isinstance(oracle.execute(capsule(text), LIMITS, host).outcome, HarnessFailed)


def test_fuel_is_counted_only_where_it_was_asked_for(oracle: Wasmtime, host: Host) -> None:
    program = Program("direct", assembled(programs.COUNTERS))
    assert oracle.execute(program, LIMITS, host).fuel is None
    fuel = oracle.execute(program, RunLimits(count_fuel=True), host).fuel
    assert fuel is not None
    assert 0 < fuel < 100


def depth(oracle: Wasmtime, host: Host, limits: RunLimits) -> Execution:
    text = """(module (global $d (mut i32) (i32.const 0)) (memory (export "diffcheck:memory") 1)
      (func $f (export "_start") (i32.store (i32.const 8) (global.get $d))
        (global.set $d (i32.add (global.get $d) (i32.const 1))) (call $f)))"""
    return oracle.execute(capsule(text), limits, host)


def test_the_stack_is_as_large_as_was_asked_for(oracle: Wasmtime, host: Host) -> None:
    seen = {}
    for stack_bytes in (128 << 10, 1 << 20, None, 1 << 40, 0):
        execution = depth(oracle, host, RunLimits(stack_bytes=stack_bytes))
        assert isinstance(execution.outcome, Trapped)
        assert execution.outcome.kind == "call stack exhausted"
        (seen[stack_bytes],) = struct.unpack_from("<I", execution.carried, 8)
    assert seen[0] < seen[128 << 10] < seen[None] < seen[1 << 20] < seen[1 << 40]


@pytest.mark.parametrize("result", ["v128", "anyref", "exnref", "externref", "funcref", "(ref null $s)", "f32"])
def test_results_of_any_type_are_dropped(oracle: Wasmtime, host: Host, result: str) -> None:
    value = {
        "v128": "(v128.const i64x2 1 2)",
        "anyref": "(ref.i31 (i32.const 1))",
        "exnref": "(ref.null exn)",
        "externref": "(ref.null extern)",
        "funcref": "(ref.null func)",
        "(ref null $s)": "(struct.new $s)",
        "f32": "(f32.const nan)",
    }[result]
    text = f'(module (type $s (struct)) (func (export "_start") (result {result}) {value}))'
    assert oracle.execute(Program("direct", assembled(text)), LIMITS, host).outcome == Returned()


@pytest.mark.parametrize("held", ["v128 (v128.const i64x2 1 2)", "anyref (ref.i31 (i32.const 1))", "funcref (ref.null func)"])
def test_globals_of_any_type_do_not_end_the_server(oracle: Wasmtime, host: Host, held: str) -> None:
    plain = f'(module (global (export "g") {held}) (func (export "_start")))'
    assert oracle.execute(Program("direct", assembled(plain)), LIMITS, host).counters == {}
    counter = f'(module (global (export "__witness_counter_0") {held}) (func (export "_start")))'
    assert isinstance(oracle.execute(Program("direct", assembled(counter)), LIMITS, host).outcome, HarnessFailed)


def test_thousands_of_counters_are_read_in_milliseconds(oracle: Wasmtime, host: Host) -> None:
    fields = "".join(f'(global (export "__witness_counter_{k}") (mut i64) (i64.const {k}))' for k in range(3000))
    execution = oracle.execute(Program("direct", assembled(programs.start("", fields))), LIMITS, host)
    assert execution.counters == {k: k for k in range(3000)}
    assert execution.cost.elapsed_ns < 1e9


def test_imports_that_are_missing_are_named(oracle: Wasmtime, host: Host) -> None:
    text = '(module (import "wasi:x/y@0.2.0" "[method]a.b" (func)) (func (export "_start")))'
    outcome = oracle.execute(Program("direct", assembled(text)), LIMITS, host).outcome
    assert isinstance(outcome, Refused)
    assert outcome.stage == "instantiate"
    assert "[method]a.b" in outcome.reason


def test_an_endless_start_function_is_ended(oracle: Wasmtime, host: Host) -> None:
    text = '(module (func $f (loop (br 0))) (start $f) (func (export "_start")))'
    outcome = oracle.execute(Program("direct", assembled(text)), RunLimits(deadline_s=0.5), host).outcome
    assert outcome == TimedOut(0.5)


def test_a_server_that_died_between_two_programs_is_replaced(oracle: Wasmtime, host: Host) -> None:
    program = Program("direct", assembled(programs.COUNTERS))
    oracle.execute(program, LIMITS, host)
    os.kill(server_pid(), signal.SIGKILL)
    time.sleep(0.1)
    assert oracle.execute(program, LIMITS, host).counters == programs.COUNTED


def test_a_server_that_dies_in_a_program_is_a_crash_and_the_next_program_runs(oracle: Wasmtime, host: Host) -> None:
    program = Program("direct", assembled(programs.COUNTERS))
    oracle.execute(program, LIMITS, host)
    pending = oracle.start(Program("direct", assembled(programs.LOOP)), LIMITS, host)
    os.kill(server_pid(), signal.SIGABRT)
    outcome = pending.wait().outcome
    assert isinstance(outcome, Crashed)
    assert outcome.signal == signal.SIGABRT
    assert oracle.execute(program, LIMITS, host).counters == programs.COUNTED


def large(size: int) -> bytes:
    """A program of ``size`` times ten bytes of code, which takes longer to compile than to run."""
    body = "(i64.store (i32.const 0) (i64.mul (i64.load (i32.const 8)) (i64.load (i32.const 16))))" * size
    return assembled(programs.start(body, "(memory 1)"))


def test_a_compilation_that_takes_too_long_is_ended_and_reported_as_such(
    oracle: Wasmtime, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "COMPILING_S", 0.0)
    monkeypatch.setattr(adapter, "COMPILING_S_PER_BYTE", 0.0)
    outcome = oracle.execute(Program("direct", large(300_000)), RunLimits(deadline_s=0.3), host).outcome
    assert outcome == TimedOut(0.3, adapter.COMPILING)
    assert oracle.execute(Program("direct", assembled(programs.COUNTERS)), LIMITS, host).counters == programs.COUNTED


def test_compiling_is_not_part_of_the_deadline(oracle: Wasmtime, host: Host) -> None:
    execution = oracle.execute(Program("direct", large(50_000)), RunLimits(deadline_s=0.2), host)
    assert isinstance(execution.outcome, Returned)
    assert execution.cost.elapsed_ns > 0.2e9


def test_the_limit_of_a_compilation_grows_with_the_module() -> None:
    assert adapter.compile_limits(0, RunLimits(deadline_s=5.0)).deadline_s == 10.0
    assert adapter.compile_limits(0, RunLimits(deadline_s=15.0)).deadline_s == 15.0
    assert adapter.compile_limits(16 << 20, RunLimits()).deadline_s > 16 * 1.7 * 5


def test_a_compiled_module_is_cached_in_a_private_folder_and_cleared_with_the_cache(host: Host, tmp_path: Path) -> None:
    program, times = Program("direct", large(50_000)), []
    for _ in range(2):
        made = adapter.create(None, {"cache": str(tmp_path)})
        times.append(made.execute(program, LIMITS, host).cost.elapsed_ns)
        made.execute(Program("direct", assembled(programs.COUNTERS)), LIMITS, host)
        made.close()
    assert times[1] < times[0] / 2
    assert (tmp_path / "compiled").stat().st_mode & 0o077 == 0
    store = Store(tmp_path)
    (usage,) = store.kept()
    assert (usage.engine, usage.entries) == ("compiled modules", 2)  # the module and Wasmtime's figures about it
    assert store.clear() == 2
    assert not [each for each in (tmp_path / "compiled").rglob("*") if each.is_dir()]


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o755])
def test_compiled_modules_are_not_read_where_others_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    folder = tmp_path / "compiled"
    folder.mkdir()
    folder.chmod(mode)
    monkeypatch.chdir(tmp_path)
    assert bool(machine._cache_settings(folder)) == (mode == 0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert not machine._cache_settings(folder)


def test_text_is_assembled_or_the_reason_is_told(oracle: Wasmtime, host: Host) -> None:
    assert oracle.assemble(b"(module)", LIMITS, host) == b"\0asm\1\0\0\0"
    with pytest.raises(ArtifactError, match="expected"):
        oracle.assemble(b"(module (fun))", LIMITS, host)
    with pytest.raises(ArtifactError):
        oracle.assemble(b"\xff\xfe", LIMITS, host)


def test_servers_end_with_the_backend(host: Host) -> None:
    made = adapter.create(None, {})
    made.execute(Program("direct", assembled(programs.COUNTERS)), LIMITS, host)
    assert len(children()) == 1
    made.close()
    assert children() == []
