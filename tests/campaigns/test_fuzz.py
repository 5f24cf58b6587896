"""A bounded part of ``python -m tests.campaigns.fuzz`` with a fixed seed, and what no mutation of bytes makes: links, names, sizes, changes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

import pytest

from diffcheck.cases.discovery import discover, load_case, read_artifact
from diffcheck.errors import ArtifactError, DiffcheckError
from diffcheck.runner.events import CaseFinished
from diffcheck.runner.request import Request
from diffcheck.runner.run import run
from diffcheck.text import visible
from tests.campaigns import fuzz, fuzzed

SEED = 20
INPUTS = [1000, pytest.param(4000, marks=pytest.mark.whole)]
STREAMS = [100, pytest.param(400, marks=pytest.mark.whole)]
EMPTY = b"\0asm\1\0\0\0"


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> fuzzed.World:
    return fuzzed.World(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("inputs", INPUTS)
def test_mutated_artifacts_manifests_case_files_and_answers_are_errors_in_words_at_most(world, inputs):
    with fuzz.watched():
        assert fuzz.run("input", SEED, range(inputs), world.reading) == []
    assert world.said["sealed"] > inputs // 20


@pytest.mark.parametrize("count", STREAMS)
def test_a_changed_stream_is_never_called_agreement(world, count):
    streams = fuzzed.Streams(world)
    with fuzz.watched():
        assert fuzz.run("stream", SEED, range(count), streams.decode) == []


def test_the_fuzzer_finds_what_it_looks_for(world):
    def hang(_chance):
        while True:
            pass

    def fail(_chance):
        raise KeyError("a bug")

    with fuzz.watched():
        assert "over 1 s" in fuzz.run("input", 0, range(1), hang)[0].what
        assert "KeyError" in fuzz.run("input", 0, range(1), fail)[0].what


NAMES = [
    "\x1b[2Jclear",
    "\u202ereversed",
    "new\nline",
    "tab\t",
    "a" * 200,
    "<b>&",
    "-v",
    "ünï",
    "nul\x01",
    "'; rm -rf $(pwd)",
    "%s{0}",
]


def test_names_with_control_characters_are_cases_like_any_other_and_shown_as_escapes(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.wasm").write_bytes(EMPTY)
    (tmp_path / os.fsdecode(b"\xff.wasm")).write_bytes(EMPTY)
    found = discover([tmp_path])
    assert len(found.items) == len(NAMES)
    assert len(found.notes) == 1
    for item in found.items:
        load_case(item)
        assert visible(item.id).isprintable()


def test_ten_thousand_files_are_listed_in_about_a_second(tmp_path):
    for number in range(10_000):
        (tmp_path / f"{number}.wasm").write_bytes(EMPTY)
    begun = time.process_time()
    assert len(discover([tmp_path]).items) == 10_000
    assert time.process_time() - begun < 2


def test_links_that_lead_out_or_nowhere_or_in_circles_end_no_run(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.wasm").write_bytes(EMPTY)
    (root / "good.wasm").write_bytes(EMPTY)
    (root / "out.wasm").symlink_to(tmp_path / "secret.wasm")
    (root / "nowhere.wasm").symlink_to("missing")
    (root / "self.wasm").symlink_to("self.wasm")
    (root / "up").symlink_to("..")
    (root / "good.toml").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo.wasm")
    found = discover([root])
    assert [item.id for item in found.items] == ["good"]
    with pytest.raises(DiffcheckError, match="leads outside"):
        load_case(found.items[0])


def test_a_file_that_changes_while_it_is_read_is_read_whole_or_told_of(tmp_path):
    path = tmp_path / "changing.wasm"
    sizes = (1 << 20, 3 << 20)
    path.write_bytes(EMPTY + bytes(sizes[0]))
    stop = threading.Event()

    def change():
        while not stop.is_set():
            for size in sizes:
                path.write_bytes(EMPTY + bytes([size >> 20]) * size)

    thread = threading.Thread(target=change)
    thread.start()
    seen = set()
    try:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            try:
                data = read_artifact(path)
            except ArtifactError as error:
                seen.add("changed" if "changed" in str(error) else str(error))
            else:
                seen.add(len(set(data[8:])) <= 1)
    finally:
        stop.set()
        thread.join()
    assert seen <= {True, "changed"}
    assert "changed" in seen


def test_a_run_over_files_that_vanish_or_grow_has_a_report_for_each(tmp_path):
    for number in range(12):
        (tmp_path / f"{number:02}.wasm").write_bytes(EMPTY)
    reports = []
    for event in run(Request((str(tmp_path),), subject="wasmtime-pulley", jobs=2)):
        if isinstance(event, CaseFinished):
            reports.append(event.report)
            with contextlib.suppress(FileNotFoundError):
                (tmp_path / "11.wasm").unlink()
            Path(tmp_path / "10.wasm").write_bytes(EMPTY + b"\xff" * 100)
    assert len(reports) == 12
    assert all(report.reason for report in reports if report.verdict == "skipped")
