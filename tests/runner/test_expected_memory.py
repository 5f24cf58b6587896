"""The memory that an execution is expected to take, and what happens if it takes more."""

from types import SimpleNamespace

import msgspec
import pytest
import wasmtime

from diffcheck.backend.contract import Capabilities, RunLimits
from diffcheck.capsule import layout as lo
from diffcheck.cases.discovery import Case
from diffcheck.observation import OutOfMemory
from diffcheck.process import Reply
from diffcheck.runner import memory_retry
from diffcheck.runner.expected_memory import expected_memory
from diffcheck.runner.pool import Pool, _encode, _Slot
from diffcheck.runner.request import PlanLine, Request
from diffcheck.runner.worker import MoreMemory, PreparedPlan, RunPlanRequest
from diffcheck.verdict import PassReport, SideReport
from diffcheck.wasm.module import read
from tests.runner.test_run import artifact, reports

KNOWN = Capabilities("words", base_bytes=0, function_bytes=10, code_bytes=100, vector_bytes=1_000_000, segment_bytes=2_000_000)
BR_TABLE = "(block (br_table 0 0 (i32.const 0)))"
SELECT = "(drop (select (result i32) (i32.const 1) (i32.const 2) (i32.const 0)))"
TRY = "(block (try_table (catch_all 0)))"


def expected(fields):
    return expected_memory(read(wasmtime.wat2wasm(f"(module {fields})")), 1, KNOWN)


def test_code_is_counted_as_well_as_functions():
    assert expected("(func " + "(drop (i32.const 1))" * 20 + ")") - expected("(func)") == 60 * 100


@pytest.mark.parametrize("instruction", [BR_TABLE, SELECT, TRY])
def test_each_instruction_with_a_vector_is_counted(instruction):
    many, one = (expected(f"(func {instruction * times})") for times in (4, 1))
    assert (many - one) // 1_000_000 == 3


def test_active_segments_elements_and_pages_are_counted():
    table = "(table 8 funcref) (func $f)"
    assert expected(f"{table} (elem (i32.const 0) $f) (elem (i32.const 1) $f) (elem func $f)") - expected(table) == 2 * 2_000_000
    assert expected("(func) (table 1000 funcref)") - expected("(func)") == 1000 * 24
    assert expected("(func) (memory 3)") - expected("(func)") == 3 * 2 * lo.PAGE


def test_an_artifact_with_an_unknown_instruction_is_still_estimated():
    wasm = bytearray(wasmtime.wat2wasm("(module (func nop))"))
    wasm[wasm.rindex(b"\x01")] = 0xFE  # nop
    assert expected_memory(read(bytes(wasm)), 1, KNOWN)


# More memory than expected.

PAGES = """(module (memory 1000) (func (export "run_row_0") (result i32)
  (i32.store (i32.const 65000000) (i32.const 7)) (i32.load (i32.const 65000000))))"""


def report(path, **options):
    (found,) = reports(path, slice="never", memory_bytes=48 << 20, **options).values()
    return found


@pytest.mark.parametrize("verbose", [False, True])
def test_a_case_that_needs_more_memory_than_expected_is_run_again_with_more(tmp_path, verbose):
    found = report(artifact(tmp_path, "pages", PAGES), verbose=verbose)  # 62.5 MiB of memory, which Wasmtime limits
    assert found.verdict == "agree"
    assert "run again alone with 100.7 MB of memory, since 50.3 MB were not enough" in found.not_done


def test_it_is_run_again_once(tmp_path):
    found = report(artifact(tmp_path, "pages", PAGES.replace("1000", "4000")))
    assert found.verdict == "inconclusive"
    assert found.passes[0].subject.outcome.limit_bytes == 96 << 20
    assert sum("run again" in each for each in found.not_done) == 1


def test_a_machine_without_more_memory_runs_it_once(tmp_path, monkeypatch):
    path = artifact(tmp_path, "pages", PAGES)
    monkeypatch.setattr(memory_retry.process, "machine_memory_bytes", lambda: 60 << 20)
    found = report(path, verbose=True)  # in this process
    assert found.verdict == "inconclusive"
    assert not any("run again" in each for each in found.not_done)


def test_only_a_plan_near_the_limit_is_the_reason():
    side = SideReport(OutOfMemory(1000), "")
    over = SimpleNamespace(passes=(PassReport("capsule", applicable=True, verdict="inconclusive", subject=side),))
    for expected, again in ((900, 2000), (100, 0)):
        plan = SimpleNamespace(limits=RunLimits(memory_bytes=1000), memory_bytes=expected)
        assert memory_retry.needed(plan, over) == again
    other = msgspec.structs.replace(over.passes[0], in_recorder=True)
    assert memory_retry.needed(plan, SimpleNamespace(passes=(other,))) == 0


def test_while_a_case_is_run_alone_no_other_is_started(monkeypatch):
    pool = Pool(Request(("x",), jobs=2), None, "", lambda: False)
    one, other = pool._slots = [_Slot(), _Slot()]
    started = []
    monkeypatch.setattr(
        pool, "_send", lambda slot, doing, message, _: started.append((slot, message)) or setattr(slot, "doing", doing)
    )
    for slot in pool._slots:
        slot.case, slot.server = Case("x", "x.wasm"), SimpleNamespace(receive=lambda: Reply(_encode(MoreMemory(1000)), 0))
        assert list(pool._answered(slot)) == []
    assert started == [(one, RunPlanRequest(memory_bytes=1000))]
    one.doing = "idle"
    pool._admit()
    assert started[1:] == [(other, RunPlanRequest(memory_bytes=1000))]


def test_a_case_has_its_own_chance_of_a_second_run(monkeypatch):
    pool = Pool(Request(("x",)), None, "", lambda: False)
    (slot,) = pool._slots = [_Slot()]
    started = []
    monkeypatch.setattr(pool, "_send", lambda *given: started.append(given[2]))
    slot.case, slot.memory_bytes = Case("x", "x.wasm"), 1000  # of the case before
    slot.server = SimpleNamespace(receive=lambda: Reply(_encode(PreparedPlan(10, PlanLine("x"))), 0))
    assert list(pool._answered(slot)) == []
    assert started == [RunPlanRequest(again=True)]
