"""Large files, messages and answers: what they cost is bounded, and what is valid is run."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffcheck.cases.case_file import ARTIFACT_CAP
from diffcheck.cases.discovery import Case, Item
from diffcheck.observation import Refused
from diffcheck.process import FRAME_CAP_BYTES
from diffcheck.runner import planning
from diffcheck.runner.events import CaseFinished
from diffcheck.runner.persist import journal
from diffcheck.runner.request import Request
from diffcheck.runner.run import run
from diffcheck.wasm.leb import u
from diffcheck_backends import harness_protocol

LARGE_BYTES = 256 << 20
MILLIONS = 3_000_000
V1 = b'{"schema":"witness-harness-v1","counters":{'


def padded(data: bytes, size: int) -> bytes:
    """A module with a custom section of that many bytes behind it."""
    payload = b"\x03pad" + bytes(size)
    return b"".join((data, b"\0", u(len(payload)), payload))


def test_messages_are_as_large_as_an_artifact_and_its_capsule_may_be():
    assert ARTIFACT_CAP < FRAME_CAP_BYTES < 1 << 32  # a frame's length has four bytes


@pytest.mark.parametrize("size", [40_000_000, pytest.param(280_000_000, marks=pytest.mark.whole)])
def test_a_large_valid_module_is_run(tmp_path, size):
    import wasmtime  # noqa: PLC0415 - not for a collection

    small = bytes(wasmtime.wat2wasm('(module (func (export "run") (result i32) (i32.const 7)))'))
    path = tmp_path / "large.wasm"
    path.write_bytes(padded(small, size))
    request = Request((str(path),), subject="wasmtime-pulley", mode="capsule", deadline_s=60.0)
    (report,) = (event.report for event in run(request) if isinstance(event, CaseFinished))
    assert report.verdict == "agree", report.reason


class Limited:
    """A judge for which every artifact exceeds a limit of the implementation."""

    def validate(self, _artifact, _limits, _host):
        return Refused("load", "globals count exceeds limit of 1000000", "limit")


def test_three_million_counters_beyond_the_oracles_limit_are_not_decoded(tmp_path):
    path = tmp_path / "counters.wasm"
    payload = u(MILLIONS) + b"\x7e\x01\x42\x00\x0b" * MILLIONS
    path.write_bytes(b"\0asm\x01\0\0\0\x06" + u(len(payload)) + payload)
    begun = time.process_time()
    plan = planning.make(Case("counters", str(path)), Request((str(path),)), Limited(), None, None, None)
    assert time.process_time() - begun < 1
    assert plan.refusal.kind == "limit"


SOURCE = """
import resource, sys
from diffcheck.cases.discovery import Item
from diffcheck.runner.persist import journal
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
digest = journal.source(Item("a", sys.argv[1], "", ""))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_file_is_never_in_the_parents_memory(tmp_path):
    path = tmp_path / "hole.wasm"
    with path.open("wb") as file:
        file.truncate(LARGE_BYTES)
    words = [sys.executable, "-c", SOURCE, str(path)]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 32 << 10, "KiB more than before"


def test_sources_are_compared_by_content_and_a_fifo_is_not_waited_for(tmp_path):
    def source(name):
        return journal.source(Item("a", str(tmp_path / "a.wasm"), str(tmp_path / name), ""))

    (tmp_path / "a.wasm").write_bytes(b"one")
    (tmp_path / "case.toml").write_bytes(b"")
    first = source("case.toml")
    (tmp_path / "a.wasm").write_bytes(b"two")
    assert source("case.toml") != first
    os.mkfifo(tmp_path / "fifo.toml")
    assert source("fifo.toml") == source("fifo.toml") != source("missing.toml")


def members(template):
    """Three million members of a JSON object or list, numbered where the template has a place for it."""
    return b",".join(template % at if b"%" in template else template for at in range(MILLIONS))


ANSWERS = {
    "counters": lambda: V1 + members(b'"%d":1') + b"}}",
    "one name twice": lambda: V1 + members(b'"7":%d') + b"}}",
    "other names": lambda: V1 + members(b'"0x%d":1') + b"}}",
    "cut": lambda: V1 + members(b'"%d":1'),
    "none after all": lambda: V1 + members(b'"%d":1') + b'},"counters":{}}',
    "another member": lambda: V1 + b'},"more":[' + members(b'{"a":1}') + b"]}",
    "a list": lambda: b"[" + members(b"1") + b"]",
}
"""Made by the test: workers of pytest that hold them take longer to fork."""


WORDS = ("more counters than the program has", "incomplete answer", "answer is not a snapshot", "answer has a different schema")


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=() if each in ("counters", "one name twice", "a list") else pytest.mark.whole) for each in ANSWERS],
)
def test_an_answer_of_three_million_members_is_refused_quickly(name):
    answer = ANSWERS[name]()
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(harness_protocol.AnswerError) as raised:
        harness_protocol.parse(answer)
    assert time.process_time() - begun < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10
    assert raised.value.outcome.what in WORDS


def test_a_snapshot_of_version_2_with_many_rows_is_read():
    rows = b",".join(b'{"name":"r%d","outcome":1}' % at for at in range(100_000))
    data = b'{"schema":"witness-harness-v2","counters":{"0":1,"5":-1},"rows":[' + rows + b"]}"
    assert harness_protocol.parse(data) == {0: 1, 5: (1 << 64) - 1}


def test_as_many_counters_as_a_program_can_export_are_read():
    most = 100_000
    data = V1 + b",".join(b'"%d":%d' % (at, at) for at in range(most)) + b"}}"
    assert len(harness_protocol.parse(data, most)) == most
    with pytest.raises(harness_protocol.AnswerError, match="more counters"):
        harness_protocol.parse(data, most - 1)
