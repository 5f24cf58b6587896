"""Rows split over several slices: as few slices as the memory allows, and each row with the state that it has in the whole."""

from __future__ import annotations

import msgspec
import pytest

from diffcheck.backend import registry
from diffcheck.backend.contract import local_host
from diffcheck.cases.discovery import discover, load_case
from diffcheck.errors import RunFailedError
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.process import machine_memory_bytes
from diffcheck.runner import case_run, slicing
from diffcheck.runner.observe import observe_case
from diffcheck.runner.request import Request
from diffcheck.triage.localise.localiser import Localiser
from tests.runner.test_run import artifact

MB = 1_000_000
PLACES = "".join(f"(func $p{at} (param i64) (global.set $c (i64.add (global.get $c) (local.get 0))))" for at in range(8))
COUNTER = '(global $c (export "__witness_counter_0") (mut i64) (i64.const 0))'


def program(*rows: str) -> str:
    exports = "".join(f'(func (export "run_row_{at}") (result i64) {body} (global.get $c))' for at, body in enumerate(rows))
    return f"(module {COUNTER} {PLACES} {exports})"


def calls(*places: int) -> str:
    return " ".join(f"(call $p{at} (i64.const {10**at}))" for at in places)


THREE_INSTANCES = program(calls(0), calls(1) + "unreachable", calls(2), calls(3) + "unreachable", calls(4, 5), calls(6))
ONE_INSTANCE = program(calls(0), calls(1), calls(2), calls(0), calls(3, 4, 5), calls(0))


@pytest.fixture
def case(tmp_path):
    """Plans and runs a program under an engine that needs 100 MB for each function, 200 MB for the capsule and no more."""

    def run(text, room, edit=None, **options):
        path = artifact(tmp_path, "program", text)
        request = Request((str(path),), subject="wasmtime", oracle="wasmtime", mode="capsule", memory_bytes=room * MB, **options)
        run.engine = FaultyBackend(subject, Fault("", "", Expected(), edit=edit), words=False)
        run.request, run.plan = request, slicing.make(load_case(discover([path]).items[0]), request, oracle, run.engine, host)
        return case_run.run(run.plan, 50, oracle, run.engine, host, "wasmtime", request)

    with local_host() as host:
        oracle, subject = registry.create("wasmtime", {}), registry.create("wasmtime", {})
        subject.capabilities = msgspec.structs.replace(oracle.capabilities, base_bytes=0, function_bytes=100 * MB)
        run.oracle, run.host = oracle, host
        yield run
        oracle.close()
        subject.close()


def slices(plan):
    return [each.rows for each in (plan, *plan.others)]


def test_instances_are_split_over_slices_with_the_result_of_the_whole(case):
    whole = case(THREE_INSTANCES, 9000, slice="never")
    report = case(THREE_INSTANCES, 1730)
    first, second = slices(case.plan)
    assert first == ("run_row_0", "run_row_1", "run_row_2", "run_row_3")[: len(first)]
    assert first + second == report.rows == whole.rows
    assert (report.verdict, report.passes[0].agreement.rows) == (whole.verdict, whole.passes[0].agreement.rows) == ("agree", 6)
    assert report.passes[0].agreement.counters_nonzero == 1
    assert all(each.memory_bytes <= 1730 * MB for each in (case.plan, *case.plan.others))
    assert any(
        "the rows are split over 2 slices, each of at most 1.6 GB (90% of --memory-limit)" in each for each in report.not_done
    )


def test_a_slice_ends_only_between_instances(case):
    case(THREE_INSTANCES, 1390)
    assert slices(case.plan) == [("run_row_0", "run_row_1"), ("run_row_2", "run_row_3"), ("run_row_4", "run_row_5")]


def test_one_slice_is_enough_where_it_fits(case):
    assert case(ONE_INSTANCE, 2170, slice="always").verdict == "agree"
    assert case.plan.slice is not None
    assert case.plan.others == ()
    assert not any("split" in each or "expected to need" in each for each in case.plan.notes)


def test_rows_of_an_instance_that_does_not_fit_are_not_compared_from_the_first_that_does_not(case):
    report = case(ONE_INSTANCE, 1620)
    assert report.verdict == "agree"
    assert slices(case.plan) == [("run_row_0", "run_row_1", "run_row_2", "run_row_3")]
    (why,) = (each for each in report.not_done if "rows from" in each)
    assert why.startswith(
        "2 rows from run_row_4 on: expected to need 1.9 GB of memory even in a slice, more than 1.5 GB (90% of --memory-limit)"
    )


def test_an_instance_that_does_not_fit_leaves_the_next_ones(case):
    text = program(calls(0, 1, 2, 3, 4, 5, 6) + "unreachable", calls(1))
    report = case(text, 1060)
    assert report.verdict == "agree"
    assert slices(case.plan) == [("run_row_1",)]
    assert any(each.startswith("1 row from run_row_0 on") for each in report.not_done)


@pytest.mark.parametrize("room", [100, 500])
def test_what_does_not_fit_at_all_is_skipped_with_both_figures(case, room):
    report = case(ONE_INSTANCE, room)
    assert report.verdict == "skipped"
    assert report.reason.startswith("expected to need 1.")
    assert report.reason.endswith(f"of memory even in a slice, more than {room * 0.9:.1f} MB (90% of --memory-limit)")


def test_the_machine_bounds_the_room(case, monkeypatch):
    monkeypatch.setattr(slicing.process, "machine_memory_bytes", lambda: 500 * MB)
    report = case(ONE_INSTANCE, 9000, slice="always")
    assert report.reason.endswith("more than 400.0 MB (80% of this machine's memory)")


def test_a_divergence_in_another_slice_has_the_signature_of_the_whole_and_is_localised(case):
    wrong = b"\x42\xe4\x00"  # i64.const 100, the argument of p2

    def edit(wasm):
        return wasm.replace(wrong, b"\x42\xe5\x00")

    whole = case(THREE_INSTANCES, 9000, edit, slice="never").passes[0]
    report = case(THREE_INSTANCES, 1390, edit).passes[0]
    assert report.signatures == whole.signatures != ()
    assert [str(each) for each in report.divergences] == [str(each) for each in whole.divergences]
    part = slicing.part_with(case.plan, "run_row_2")
    answer = Localiser(part, case.request, case.oracle, case.engine, case.host).localise("run_row_2")
    assert (answer.row, answer.depth) == ("run_row_2", "instruction")


def test_a_snapshot_of_a_split_case_states_why_it_is_not_read(case, tmp_path, monkeypatch):
    case(THREE_INSTANCES, 1390)
    monkeypatch.setattr(observe_case.slicing, "make", lambda *_: case.plan)
    with pytest.raises(RunFailedError, match="the rows need 3 slices"):
        observe_case.read_case(observe_case.ObserveRequest(str(tmp_path / "program.wasm"), backend="wasmtime-pulley"))


def test_the_memory_of_the_machine_is_bounded_by_control_groups(tmp_path):
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (cgroup / "job").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 8000 kB\nMemAvailable: 5000 kB\n")
    (proc / "self" / "cgroup").write_text("0::/job\n")
    assert machine_memory_bytes(proc, cgroup) == 8000 * 1024
    (cgroup / "job" / "memory.max").write_text("1000000\n")
    (cgroup / "job" / "memory.current").write_text("900000\n")
    assert machine_memory_bytes(proc, cgroup) == 1_000_000
