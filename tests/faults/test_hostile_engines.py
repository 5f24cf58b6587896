"""Each way of an engine to fail is an outcome of its own, in words; the run goes on and nothing of the engine stays."""

from __future__ import annotations

import resource
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.hostile import ENGINE, PARENT_BYTES, children, engines
from diffcheck.backend import Limits, Program
from diffcheck.runner.events import CaseFinished, RunFinished
from diffcheck.runner.request import Request
from diffcheck.runner.run import run
from tests.doubles import hostile

if TYPE_CHECKING:
    from diffcheck.verdict import CaseReport

DEADLINE_S = 1.0
WANTED = {
    "hang": ("timed-out", "timed out after"),
    "ignore-sigterm": ("timed-out", "timed out after"),
    "grandchild": ("returned", "returned"),
    "grandchild-and-hang": ("timed-out", "timed out after"),
    "print-a-gibibyte": ("harness-failed", "printed without end"),
    "print-to-stderr": ("harness-failed", "printed without end"),
    "allocate": ("out-of-memory", "out of memory"),
    "sigsegv": ("crashed", "crashed by signal 11 (SIGSEGV)"),
    "sigkill": ("out-of-memory", "killed by the system"),
    "write-after-the-deadline": ("timed-out", "timed out after"),
    "no-file": ("harness-failed", "no answer (the engine ended well and wrote no snapshot)"),
    "empty-file": ("harness-failed", "empty answer"),
    "half-a-file": ("harness-failed", "half an answer"),
    "duplicate-keys": ("harness-failed", "a name stands twice in the answer"),
    "nan": ("harness-failed", "a number is no integer"),
    "huge-number": ("harness-failed", "a number is out of range"),
    "huge-file": ("harness-failed", "wrote without end"),
    "symbolic-link": ("harness-failed", "a symbolic link"),
    "fifo": ("harness-failed", "not a regular file"),
    "folder": ("harness-failed", "not a regular file"),
    "control-characters": ("harness-failed", "exited 3 without an answer"),
    "good": ("returned", "returned"),
}


def test_every_way_has_its_class():
    assert WANTED.keys() == hostile.WAYS.keys()


@pytest.mark.parametrize("way", sorted(WANTED))
def test_a_hostile_engine_is_told_as_what_it_is_within_a_second_of_its_deadline(way, host):
    _, words = WANTED[way]
    longer = 5.0 if way in ("allocate", "print-a-gibibyte", "print-to-stderr", "huge-file") else 0.4
    for engine in engines(way, host.folder):
        begun = time.monotonic()
        execution = engine.execute(Program("direct", b"\0asm\1\0\0\0"), Limits(longer, memory_bytes=256 << 20), host)
        assert time.monotonic() - begun < longer + 1.0
        assert execution.outcome.__struct_config__.tag == WANTED[way][0]
        assert words in said(execution.outcome)
        assert said(execution.outcome).isprintable()
        assert children() == []


def said(outcome) -> str:
    from diffcheck.observation import sentence  # noqa: PLC0415

    return sentence(outcome)


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, CaseReport]:
    """One run over an artifact for each way, with good ones between, on an engine that fails as the artifact says."""
    import wasmtime  # noqa: PLC0415 - not for a collection

    folder = tmp_path_factory.mktemp("artifacts")
    counter = '(global (export "__witness_counter_0") (mut i64) (i64.const 3)) (func (export "run"))'
    for way in WANTED:
        (folder / f"{way}.wasm").write_bytes(wasmtime.wat2wasm(f'(module {counter} (func (export "way:{way}")))'))
        (folder / f"{way}-after.wasm").write_bytes(wasmtime.wat2wasm(f"(module {counter})"))
    engine = shlex.join([sys.executable, str(ENGINE), "by-module"])
    request = Request(
        (str(folder),), subject=f"harness:{engine}", mode="direct", jobs=2, deadline_s=DEADLINE_S, memory_bytes=1 << 30
    )
    events = list(run(request))
    assert isinstance(events[-1], RunFinished)
    assert not events[-1].interrupted
    return {event.report.case: event.report for event in events if isinstance(event, CaseFinished)}


@pytest.mark.parametrize("way", sorted(WANTED))
def test_the_run_goes_on_after_it(way, reports):
    assert reports[f"{way}-after"].verdict == "agree"


@pytest.mark.parametrize("way", sorted(WANTED.keys() - {"good", "allocate"}))  # 1 GiB may take longer than the deadline
def test_the_report_says_what_the_engine_did(way, reports):
    outcome, words = WANTED[way]
    (direct,) = (each for each in reports[way].passes if each.mode == "direct")
    assert direct.verdict in ("diverge", "inconclusive")
    assert direct.subject is not None
    assert direct.subject.outcome.__struct_config__.tag == outcome
    assert words in direct.subject.words
    assert reports[way].reason


def test_nothing_is_left_and_the_parent_stays_small(reports):
    assert children() == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < PARENT_BYTES + 200_000_000  # pytest and wasmtime are here
    for pid in Path("/proc").iterdir():
        if pid.name.isdigit() and (pid / "cmdline").exists():
            try:
                assert str(ENGINE) not in (pid / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
