"""``diffcheck harness``: what witness reads is the backend's own, whole or not there, and every bad environment is reported."""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from diffcheck import snapshot
from diffcheck.capsule.stubs import TABLES
from diffcheck.cli.main import run as command_line
from diffcheck.errors import DiffcheckError, EngineMissingError, RunFailedError
from diffcheck.runner.observe import witness_harness
from diffcheck.runner.observe.observe_case import ObserveRequest

CORPUS = Path(__file__).parents[3] / "corpus"
LEAP_YEAR = CORPUS / "01-decisions" / "leap_year.wasm"
POLICY = CORPUS / "01-decisions" / "access_policy.wasm"
HASHING = CORPUS / "02-programs" / "hashing.wasm"
TRANSFERS = CORPUS / "07-traps" / "assertion.wasm"
EXITS = CORPUS / "02-programs" / "exit_code.wasm"
COUNTER_BEGINS_WITH = ("7e0142000b", "7e0142050b")
CENTURIES_OF_101_YEARS = ("41e4006f", "41e5006f")


def environment(artifact, folder):
    return {
        "WITNESS_MODULE": str(artifact),
        "WITNESS_MANIFEST": f"{artifact}.witness.json",
        "WITNESS_OUTPUT": str(folder / "snapshot.json"),
    }


def written(artifact, folder, schema="auto", **wanted):
    """The snapshot that a run writes."""
    variables = environment(artifact, folder)
    witness_harness.run(ObserveRequest("", **wanted), schema, variables, print)
    return json.loads(Path(variables["WITNESS_OUTPUT"]).read_text())


def instrumented(folder, text, branches=()):
    """A module of one's own with a manifest."""
    artifact = folder / "own.wasm"
    artifact.write_bytes(wasmtime.wat2wasm(text))
    manifest = {"schema_version": "2", "branches": [{"id": each} for each in branches], "decisions": []}
    (folder / "own.wasm.witness.json").write_text(json.dumps(manifest))
    return artifact


def values(snapshot):
    return {key: value for key, value in snapshot.items() if key != "source"}


def test_a_module_with_row_state_gives_v2_with_every_row(tmp_path):
    found = written(LEAP_YEAR, tmp_path, backend="wasmtime")
    assert found["schema"] == "witness-harness-v2"
    assert [row["name"] for row in found["rows"]] == [f"run_row_{number}" for number in range(4)]
    assert [row["outcome"] for row in found["rows"]] == [0, 1, 0, 1]
    for row in found["rows"]:
        assert set(row) == {"name", "outcome", "brvals", "brcnts", "trace_b64"}
        assert set(row["brvals"]) == set(row["brcnts"]) == set(found["counters"]) == {"0", "1"}
        trace = base64.b64decode(row["trace_b64"])
        cursor, capacity, overflow, _ = struct.unpack_from("<IIII", trace)
        assert (cursor, capacity, overflow) == (len(trace), 16 * 65536 - 16, 0)
        assert len(trace) % 4 == 0


def test_rows_are_those_that_are_asked_for_in_their_order(tmp_path):
    found = written(LEAP_YEAR, tmp_path, backend="wasmtime", rows=("is_leap=2000", "run_row_1", "is_leap=1900"))
    assert [(row["name"], row["outcome"]) for row in found["rows"]] == [("is_leap=2000", 1), ("run_row_1", 1), ("is_leap=1900", 0)]


def test_initialize_is_called_first_once_and_is_a_row_where_it_is_asked_for(tmp_path):
    artifact = instrumented(
        tmp_path,
        """(module
             (global $c (export "__witness_counter_0") (mut i64) (i64.const 0))
             (global (export "__witness_brval_0") (mut i32) (i32.const 0))
             (global (export "__witness_brcnt_0") (mut i32) (i32.const 0))
             (func (export "_initialize") (global.set $c (i64.add (global.get $c) (i64.const 10))))
             (func (export "step") (result i64) (global.set $c (i64.add (global.get $c) (i64.const 1))) global.get $c))""",
        (0,),
    )
    for rows in (("step", "step"), ("_initialize", "step", "step")):
        found = written(artifact, tmp_path, backend="wasmtime", rows=rows)
        assert found["counters"] == {"0": 12}
        assert [(row["name"], row["outcome"]) for row in found["rows"]] == [(name, None) for name in rows]


def test_v1_has_counters_only(tmp_path):
    found = written(LEAP_YEAR, tmp_path, "v1", backend="wasmtime")
    assert set(found) == {"schema", "counters", "source"}
    assert found["schema"] == "witness-harness-v1"


def test_without_row_state_auto_is_v1_and_v2_is_refused(tmp_path):
    artifact = instrumented(
        tmp_path,
        """(module (global $c (export "__witness_counter_7") (mut i64) (i64.const 0))
             (func (export "run") (global.set $c (i64.const -1))))""",
        (7,),
    )
    found = written(artifact, tmp_path, backend="wasmtime")
    assert values(found) == {"schema": "witness-harness-v1", "counters": {"7": (1 << 64) - 1}}, "counters are unsigned"
    with pytest.raises(RunFailedError, match="no row state"):
        written(artifact, tmp_path, "v2", backend="wasmtime")


def test_a_subject_that_agrees_says_so_and_full_reads_the_same_values_from_it(tmp_path, standin_kilnd):
    backend = f"kilnd:{standin_kilnd()}"
    quick = written(POLICY, tmp_path, backend=backend)
    full = written(POLICY, tmp_path, backend=backend, full=True)
    assert values(quick) == values(full)
    assert (quick["source"]["values"], full["source"]["values"]) == ("digest", "full")
    assert quick["source"]["oracle"]["agrees"] is full["source"]["oracle"]["agrees"] is True
    assert full["source"]["executions"] > quick["source"]["executions"]


@pytest.mark.parametrize("full", [False, True])
def test_a_subject_that_differs_gives_its_own_values(tmp_path, standin_kilnd, patched, full):
    """A counter altered in the running subject arrives in the file, never the oracle's."""
    right = written(LEAP_YEAR, tmp_path, backend=f"kilnd:{standin_kilnd()}")
    wrong = written(LEAP_YEAR, tmp_path, backend=f"kilnd:{patched(standin_kilnd(), *COUNTER_BEGINS_WITH)}", full=full)
    assert wrong["counters"] == {**right["counters"], "0": right["counters"]["0"] + 5}
    assert wrong["rows"] == right["rows"]
    assert wrong["source"]["oracle"]["agrees"] is False
    assert wrong["source"]["values"] == ("full" if full else "differences")


def test_a_subject_that_computes_wrong_gives_its_own_rows(tmp_path, standin_kilnd, patched):
    wrong = written(LEAP_YEAR, tmp_path, backend=f"kilnd:{patched(standin_kilnd(), *CENTURIES_OF_101_YEARS)}")
    assert [row["outcome"] for row in wrong["rows"]] == [0, 1, 1, 1]


def test_a_trap_fails_and_names_the_row_and_the_trap(tmp_path, standin_kilnd):
    for backend in ("wasmtime", f"kilnd:{standin_kilnd()}"):
        with pytest.raises(RunFailedError, match=r"row transfer=4,0,1 trapped: unreachable") as failed:
            written(TRANSFERS, tmp_path, backend=backend)
        assert "--keep-going" in failed.value.hint
        assert not (tmp_path / "snapshot.json").exists()


def test_keep_going_sums_the_counters_of_all_instances(tmp_path, standin_kilnd):
    rows = ("good", "bad", "good", "good")
    artifact = instrumented(
        tmp_path,
        """(module (global $c (export "__witness_counter_0") (mut i64) (i64.const 0))
             (func (export "good") (global.set $c (i64.add (global.get $c) (i64.const 1))))
             (func (export "bad") (global.set $c (i64.add (global.get $c) (i64.const 100))) unreachable))""",
        (0,),
    )
    notes = []
    variables = environment(artifact, tmp_path)
    witness_harness.run(
        ObserveRequest("", rows=rows, keep_going=True, backend=f"kilnd:{standin_kilnd()}"), "auto", variables, notes.append
    )
    found = json.loads((tmp_path / "snapshot.json").read_text())
    assert found["counters"] == {"0": 3}, "a subject that reports nothing at a trap gives nothing of that row"
    assert found["source"]["not_returned"] == [{"row": "bad", "outcome": "trapped: unreachable", "state": "not reported"}]
    assert any("reports nothing for that row" in note for note in notes)
    # An engine whose state can be read after a trap gives that row's part as well.
    assert written(artifact, tmp_path, backend="wasmtime", rows=rows, keep_going=True)["counters"] == {"0": 103}


BETWEEN = """(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (global $turn (mut i32) (i32.const 0))
  (global (export "__witness_counter_0") (mut i64) (i64.const 0))
  (global $value (export "__witness_brval_0") (mut i32) (i32.const 0))
  (global $count (export "__witness_brcnt_0") (mut i32) (i32.const 0))
  (func (export "__witness_row_reset")
    (global.set $turn (i32.add (global.get $turn) (i32.const 1)))
    (if (i32.eq (global.get $turn) (i32.const 2)) (then unreachable)))
  (func (export "run_row_0") (drop (call $yield)) (global.set $value (i32.const 5)) (global.set $count (i32.const 1)))
  (func (export "run_row_1")))"""
"""Its second row is not entered: what resets witness's state before it traps."""


def test_a_row_that_is_not_entered_since_its_reset_traps_is_told_and_the_ones_before_are_kept(tmp_path):
    artifact = instrumented(tmp_path, BETWEEN, (0,))
    found = written(artifact, tmp_path, backend="wasmtime", keep_going=True)
    assert [(row["name"], row["brvals"], row["brcnts"]) for row in found["rows"]] == [("run_row_0", {"0": 5}, {"0": 1})]
    assert found["source"]["not_returned"] == [{"row": "run_row_1", "outcome": "trapped: unreachable", "state": "reported"}]
    assert [each["calls"] for each in found["source"]["stubs"]] == [1]
    values = snapshot(artifact, backend="wasmtime", prefix="__witness_br").values
    assert values == {"__witness_brval_0": 5, "__witness_brcnt_0": 1}


def test_an_exit_with_another_code_than_0_fails_as_under_witness(tmp_path):
    with pytest.raises(RunFailedError, match="row _start exited with 42"):
        written(EXITS, tmp_path, backend="wasmtime")
    found = written(EXITS, tmp_path, backend="wasmtime", keep_going=True)
    assert sum(found["counters"].values())
    assert found["source"]["not_returned"][0]["state"] == "reported"


def test_an_import_without_a_stub_that_traps_is_named(tmp_path):
    table = TABLES["wasi:http/types@0.2"]
    name, spec = next((name, spec) for name, spec in table.items() if spec.traps)
    type_ = f"(param {' '.join(spec.params)}) (result {' '.join(spec.results)})"
    arguments = " ".join(f"{param}.const 0" for param in spec.params)
    text = f"""(module (import "wasi:http/types@0.2.1" "{name}" (func {type_}))
      (func (export "run") {arguments} call 0 {"drop " * len(spec.results)}))"""
    with pytest.raises(RunFailedError, match="row run trapped: unreachable") as failed:
        written(instrumented(tmp_path, text), tmp_path, backend="wasmtime")
    assert f"it called the import wasi:http/types@0.2.1 {name}" in str(failed.value)


def test_an_unknown_import_traps_where_that_is_asked_for_and_is_named(tmp_path):
    text = """(module (import "env" "sensor" (func $sensor (result i32))) (func (export "run") (result i32) call $sensor))"""
    artifact = instrumented(tmp_path, text)
    found = written(artifact, tmp_path, backend="wasmtime")
    assert found["source"]["stubs"] == [{"module": "env", "name": "sensor", "kind": "zero", "calls": 1}]
    with pytest.raises(RunFailedError, match="row run trapped: unreachable; it called the import env sensor"):
        written(artifact, tmp_path, backend="wasmtime", stub_imports="trap")


def test_a_manifest_of_another_module_is_told(tmp_path):
    variables = {**environment(LEAP_YEAR, tmp_path), "WITNESS_MANIFEST": f"{CORPUS}/01-decisions/triangle.wasm.witness.json"}
    with pytest.raises(DiffcheckError, match="without a counter in the module"):
        witness_harness.run(ObserveRequest("", backend="wasmtime"), "auto", variables, print)


def test_without_kilnd_nothing_stands_in_for_it(tmp_path, monkeypatch):
    monkeypatch.delenv("DIFFCHECK_KILND", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissingError):
        written(LEAP_YEAR, tmp_path)
    assert not (tmp_path / "snapshot.json").exists()


# Bad environments: non-zero, one clear line, no file.


def bad(tmp_path, capsys, monkeypatch, **changes):
    """Run the command with an environment that has these changes; gives the line on stderr."""
    for name, value in {**environment(LEAP_YEAR, tmp_path), **changes}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, str(value))
    before = sorted(tmp_path.rglob("*"))
    code = command_line(["harness", "--backend", "wasmtime"])
    assert code not in (0, None)
    assert sorted(tmp_path.rglob("*")) == before, "a file was left behind"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("error: ")
    return said[0]


@pytest.mark.parametrize("name", ["WITNESS_MODULE", "WITNESS_MANIFEST", "WITNESS_OUTPUT"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_unset(tmp_path, capsys, monkeypatch, name, value):
    assert f"{name} is not set" in bad(tmp_path, capsys, monkeypatch, **{name: value})


def test_a_module_that_is_missing(tmp_path, capsys, monkeypatch):
    assert "cannot be read: No such file" in bad(tmp_path, capsys, monkeypatch, WITNESS_MODULE=tmp_path / "none.wasm")


@pytest.mark.parametrize("data", [b"", b"\0asm", b"hello, world", b"\x7fELF" + bytes(100)])
def test_a_module_that_is_not_wasm(tmp_path, capsys, monkeypatch, data):
    (tmp_path / "m.wasm").write_bytes(data)
    assert "is not a WebAssembly module" in bad(tmp_path, capsys, monkeypatch, WITNESS_MODULE=tmp_path / "m.wasm")


def test_a_module_that_is_not_valid(tmp_path, capsys, monkeypatch):
    (tmp_path / "m.wasm").write_bytes(b"\0asm\x01\0\0\0\x01\x7f")
    assert "cannot be run" in bad(tmp_path, capsys, monkeypatch, WITNESS_MODULE=tmp_path / "m.wasm")


def test_a_component(tmp_path, capsys, monkeypatch):
    (tmp_path / "c.wasm").write_bytes(b"\0asm\x0d\0\x01\0")
    assert "is a component" in bad(tmp_path, capsys, monkeypatch, WITNESS_MODULE=tmp_path / "c.wasm")


def test_no_manifest(tmp_path, capsys, monkeypatch):
    assert "there is no manifest" in bad(tmp_path, capsys, monkeypatch, WITNESS_MANIFEST=tmp_path / "none.json")


def test_a_manifest_that_is_none(tmp_path, capsys, monkeypatch):
    (tmp_path / "m.json").write_text("[1, 2")
    assert "the manifest cannot be read" in bad(tmp_path, capsys, monkeypatch, WITNESS_MANIFEST=tmp_path / "m.json")


def test_an_output_folder_that_is_missing(tmp_path, capsys, monkeypatch):
    assert "there is no folder" in bad(tmp_path, capsys, monkeypatch, WITNESS_OUTPUT=tmp_path / "none" / "out.json")


def test_an_output_that_is_a_folder(tmp_path, capsys, monkeypatch):
    assert "is a folder" in bad(tmp_path, capsys, monkeypatch, WITNESS_OUTPUT=tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_that_cannot_be_written_to(tmp_path, capsys, monkeypatch):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "cannot be written" in bad(tmp_path, capsys, monkeypatch, WITNESS_OUTPUT=tmp_path / "locked" / "out.json")


def test_an_output_folder_that_is_a_file(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    assert "there is no folder" in bad(tmp_path, capsys, monkeypatch, WITNESS_OUTPUT=tmp_path / "file" / "out.json")


@pytest.fixture
def mounted(tmp_path):
    """Mounts a file system of 16 KiB with these options; skips where that is not allowed."""
    folder = tmp_path.parent / f"{tmp_path.name}-mounted"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", f"size=16k,{options}", "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no file system may be mounted here")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def test_an_output_folder_on_a_read_only_file_system(tmp_path, capsys, monkeypatch, mounted):
    folder = mounted("ro")
    assert "cannot be written to" in bad(tmp_path, capsys, monkeypatch, WITNESS_OUTPUT=folder / "out.json")


@pytest.mark.parametrize("free", [0, 4096])
def test_a_file_system_that_is_full_or_fills_up(tmp_path, capsys, monkeypatch, mounted, free):
    folder = mounted("mode=700")
    (folder / "fill").write_bytes(bytes(16384 - free))
    changes = {"WITNESS_MODULE": HASHING, "WITNESS_MANIFEST": f"{HASHING}.witness.json", "WITNESS_OUTPUT": folder / "out.json"}
    assert "the disk is full" in bad(tmp_path, capsys, monkeypatch, **changes)
    assert [each.name for each in folder.iterdir()] == ["fill"]


def test_a_fifo_that_nobody_reads_from(tmp_path, capsys, monkeypatch):
    os.mkfifo(tmp_path / "fifo")
    assert "it is a FIFO without a reader" in bad(tmp_path, capsys, monkeypatch, WITNESS_OUTPUT=tmp_path / "fifo")


def test_a_failing_run_says_why_in_one_line_and_exits_1(tmp_path, capsys, monkeypatch):
    changes = {"WITNESS_MODULE": TRANSFERS, "WITNESS_MANIFEST": f"{TRANSFERS}.witness.json"}
    assert "row transfer=4,0,1 trapped: unreachable; leave that row out" in bad(tmp_path, capsys, monkeypatch, **changes)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_an_output_folder_that_takes_no_files(tmp_path, capsys, monkeypatch):
    assert "cannot be written to" in bad(tmp_path, capsys, monkeypatch, WITNESS_OUTPUT="/proc/self/out.json")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk(tmp_path, capsys, monkeypatch):
    assert "the disk is full" in bad(tmp_path, capsys, monkeypatch, WITNESS_OUTPUT="/dev/full")


# With the real witness.


@pytest.fixture
def witness():
    found = shutil.which("witness")
    if not found:
        pytest.skip("there is no witness here (PATH)")
    return found


def record(witness, artifact, output, *arguments, **variables):
    ended = subprocess.run(
        [witness, "run", str(artifact), "-o", str(output), *arguments],
        capture_output=True, text=True, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found = json.loads(output.read_text())
    found["trace_health"] = {key: value for key, value in found["trace_health"].items() if key not in ("rows", "pages_allocated")}
    return found


def command(*arguments):
    return f"{sys.executable} -m diffcheck harness {' '.join(arguments)}"


def test_witness_makes_the_same_record_of_it_as_of_its_own_run(tmp_path, witness):
    """All but ``rows`` (witness counts ``--invoke`` alone) and ``pages_allocated`` (which no snapshot carries) of its trace's health."""
    theirs = record(witness, LEAP_YEAR, tmp_path / "a.json", "--invoke-all")
    assert record(witness, LEAP_YEAR, tmp_path / "b.json", "--harness", command("--backend", "wasmtime-pulley")) == theirs
    assert theirs["decisions"][0]["rows"]


@pytest.mark.kilnd
def test_witness_makes_the_same_record_of_kilnds_run(tmp_path, witness, real_kilnd):
    theirs = record(witness, LEAP_YEAR, tmp_path / "a.json", "--invoke-all")
    ours = record(witness, LEAP_YEAR, tmp_path / "b.json", "--harness", command("--full"), DIFFCHECK_KILND=real_kilnd)
    assert ours == theirs


@pytest.mark.kilnd
def test_cross_check_sees_a_fault_in_the_running_subject(tmp_path, witness, real_kilnd, patched):
    def cross_check(kilnd):
        record(witness, LEAP_YEAR, tmp_path / "a.json", "--invoke-all")
        record(witness, LEAP_YEAR, tmp_path / "b.json", "--harness", command(), DIFFCHECK_KILND=str(kilnd))
        return subprocess.run([witness, "cross-check", "a.json", "b.json"], cwd=tmp_path, capture_output=True, check=False)

    assert cross_check(real_kilnd).returncode == 0
    assert cross_check(patched(real_kilnd, *COUNTER_BEGINS_WITH)).returncode != 0
