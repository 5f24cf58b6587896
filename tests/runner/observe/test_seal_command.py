"""``diffcheck seal``: no imports are left, and all else is as it was."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
import wasmtime
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings

from diffcheck.capsule import layout as lo
from diffcheck.capsule import memory_map
from diffcheck.capsule.seal import World
from diffcheck.capsule.sealed_artifact import close
from diffcheck.cli.command_group import cli
from diffcheck.cli.main import run as command_line
from diffcheck.errors import UnsealableError
from diffcheck.wasm.module import read
from tests.wasm import generate
from tests.wasm.oracle import refusal

CORPUS = Path(__file__).parents[3] / "corpus"
GREETING = CORPUS / "02-programs" / "greeting.wasm"
EXITS = CORPUS / "02-programs" / "exit_code.wasm"
FUSED = CORPUS / "02-programs" / "json_check_fused.wasm"
ARTIFACTS = sorted(path for path in CORPUS.glob("0[1-7]-*/*.wasm"))


def sealed(artifact, folder, *options):
    output = folder / "sealed.wasm"
    ended = CliRunner().invoke(cli, ["seal", str(artifact), "-o", str(output), *options], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return output, ended.output


@pytest.mark.parametrize("artifact", ARTIFACTS, ids=lambda path: path.stem)
def test_exports_indices_and_code_stay_and_imports_go(artifact):
    data = artifact.read_bytes()
    before = read(data)
    closed = close(before, World())
    after = read(closed.wasm)
    assert not after.imports
    assert [each for each in after.exports if each.name != lo.MEMORY_EXPORT] == list(before.exports)
    assert after.start == before.start
    assert after.all_functions[: len(before.all_functions)] == before.all_functions
    bodies = [closed.wasm[at : at + size] for at, size in after.bodies]
    first = before.n_imported("func")
    assert bodies[first : first + len(before.bodies)] == [data[at : at + size] for at, size in before.bodies]
    assert refusal(closed.wasm) == ""


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(generate.strategy())
def test_any_module_seals_to_a_valid_one_or_says_why_not(data):
    if refusal(data):
        return
    try:
        closed = close(read(data), World())
    except UnsealableError:
        return
    assert refusal(closed.wasm) == ""
    assert not read(closed.wasm).imports


def test_the_manifest_is_written_beside_it(tmp_path):
    _, said = sealed(GREETING, tmp_path)
    beside = tmp_path / "sealed.wasm.witness.json"
    assert beside.read_bytes() == GREETING.with_name("greeting.wasm.witness.json").read_bytes()
    assert "and sealed.wasm.witness.json" in said
    assert "0 zero, 0 trap" in said


def test_a_sealed_program_runs_anywhere_and_its_output_is_in_the_stubs_memory(tmp_path):
    output, _ = sealed(GREETING, tmp_path)
    store = wasmtime.Store()
    instance = wasmtime.Instance(store, wasmtime.Module(store.engine, output.read_bytes()), [])
    exports = instance.exports(store)
    exports["__witness_trace_reset"](store)
    exports["_start"](store)
    memory = exports[lo.MEMORY_EXPORT]
    total, _, captured, _ = memory_map.CAPTURE.unpack(
        bytes(memory.read(store, memory_map.CAPTURES, memory_map.CAPTURES + memory_map.CAPTURE.size))
    )
    buffers = close(read(GREETING.read_bytes()), World()).buffers
    assert total >= captured > 0
    assert buffers < memory.data_len(store)


def test_an_exit_leaves_its_code_and_traps(tmp_path):
    output, said = sealed(EXITS, tmp_path)
    assert "an exit stores its code" in said
    store = wasmtime.Store()
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, output.read_bytes()), []).exports(store)
    exports["__witness_trace_reset"](store)
    with pytest.raises(wasmtime.Trap):
        exports["_start"](store)
    left = exports[lo.MEMORY_EXPORT].read(store, memory_map.EXIT_FLAG, memory_map.EXIT_FLAG + 8)
    assert struct.unpack("<II", bytes(left)) == (1, 42)


def test_an_unknown_import_is_named_with_what_it_gets(tmp_path):
    artifact = tmp_path / "own.wasm"
    artifact.write_bytes(wasmtime.wat2wasm('(module (import "env" "now" (func (result i64))) (func (export "run") call 0 drop))'))
    assert "zero: env now" in sealed(artifact, tmp_path)[1]
    assert "trap: env now" in sealed(artifact, tmp_path, "--stub-imports", "trap")[1]


@pytest.mark.parametrize("data", [b"\0asm\x0d\0\x01\0", b"\0asm\x01\0\0\0\x01\x7f", b"text"])
def test_what_cannot_be_sealed_leaves_no_file(tmp_path, data, capsys):
    (tmp_path / "bad.wasm").write_bytes(data)
    assert command_line(["seal", str(tmp_path / "bad.wasm"), "-o", str(tmp_path / "out.wasm")]) != 0
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out.wasm").exists()


def test_witness_runs_a_sealed_component_that_needs_wasi_02(tmp_path):
    witness = shutil.which("witness")
    if not witness:
        pytest.skip("there is no witness here (PATH)")
    output, _ = sealed(FUSED, tmp_path)
    entry = next(each.name for each in read(FUSED.read_bytes()).exports if each.name.endswith("#run"))
    for path, works in ((FUSED, False), (output, True)):
        command = [witness, "run", str(path), "--invoke", entry, "-o", str(tmp_path / "run.json")]
        ended = subprocess.run(command, capture_output=True, check=False)
        assert (ended.returncode == 0) is works, ended.stderr.decode()[:400]
