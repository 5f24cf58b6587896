"""``diffcheck snapshot``: exported globals by name after a run, the backend's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime
from click.testing import CliRunner

import diffcheck
from diffcheck.cli.command_group import cli
from diffcheck.errors import RunFailedError
from diffcheck.wasm.values import Value

LEAP_YEAR = Path(__file__).parents[3] / "corpus" / "01-decisions" / "leap_year.wasm"
COUNTER_BEGINS_WITH = ("7e0142000b", "7e0142050b")
MODULE = """(module
  (global $c (export "__witness_counter_0") (mut i64) (i64.const 0))
  (global $h (export "height") (mut i32) (i32.const 0))
  (global (export "half") f32 (f32.const 0.5))
  (global $n (export "strange") (mut f64) (f64.const 0))
  (global (export "lanes") v128 (v128.const i64x2 1 2))
  (global (export "nobody") funcref (ref.null func))
  (func (export "run") (global.set $c (i64.const -1)) (global.set $h (i32.const -3)) (global.set $n (f64.const nan:0x8000000000001)))
  (func (export "deeper") (global.set $h (i32.sub (global.get $h) (i32.const 10))))
  (func (export "stop") unreachable))"""


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "own.wasm"
    path.write_bytes(wasmtime.wat2wasm(MODULE))
    return path


def test_values_are_by_name_as_integers_counters_unsigned(artifact):
    found = diffcheck.snapshot(artifact, backend="wasmtime", prefix="")
    assert found.values == {"__witness_counter_0": (1 << 64) - 1, "height": -3}
    assert found.globals["strange"] == Value("f64", 0x7FF8_0000_0000_0001)
    assert {name: found.words(name) for name in found.globals} == {
        "__witness_counter_0": "18446744073709551615", "height": "-3", "half": "0.5", "strange": "nan:0x8000000000001",
        "lanes": "0x00000000000000020000000000000001", "nobody": "null",
    }  # fmt: skip
    assert found.pattern("height") == "0xfffffffd"


def test_only_names_with_the_prefix(artifact):
    assert list(diffcheck.snapshot(artifact, backend="wasmtime").globals) == ["__witness_counter_0"]
    assert list(diffcheck.snapshot(artifact, backend="wasmtime", prefix="h").globals) == ["height", "half"]


def test_rows_are_called_in_order(artifact):
    rows = ("deeper", "run", "deeper", "deeper")
    assert diffcheck.snapshot(artifact, backend="wasmtime", prefix="height", rows=rows).values == {"height": -23}


def test_branch_values_are_those_of_the_last_row():
    found = diffcheck.snapshot(LEAP_YEAR, backend="wasmtime", prefix="__witness_br")
    assert set(found.values) == {f"__witness_br{what}_{branch}" for what in ("val", "cnt") for branch in (0, 1)}


@pytest.mark.parametrize("full", [False, True])
def test_a_subject_that_differs_gives_its_own_values(standin_kilnd, patched, full):
    right = diffcheck.snapshot(LEAP_YEAR, backend=f"kilnd:{standin_kilnd()}", full=full)
    wrong = diffcheck.snapshot(LEAP_YEAR, backend=f"kilnd:{patched(standin_kilnd(), *COUNTER_BEGINS_WITH)}", full=full)
    assert right.source["oracle"]["agrees"] is True
    assert wrong.source["oracle"]["agrees"] is False
    assert wrong.values["__witness_counter_0"] == right.values["__witness_counter_0"] + 5
    assert (right.source["values"], wrong.source["values"]) == (("full", "full") if full else ("digest", "differences"))


def test_a_trap_leaves_no_snapshot(artifact, standin_kilnd):
    with pytest.raises(RunFailedError, match="row stop trapped: unreachable"):
        diffcheck.snapshot(artifact, backend=f"kilnd:{standin_kilnd()}", rows=("run", "stop"))


def test_the_command_prints_a_table_and_says_where_values_come_from(artifact):
    ended = CliRunner(env={"COLUMNS": "120"}).invoke(cli, ["snapshot", str(artifact), "--backend", "wasmtime", "--prefix", ""])
    assert ended.exit_code == 0, ended.output
    assert "18446744073709551615" in ended.output
    assert "every value was read from the backend" in ended.stderr


def test_json_has_numbers_and_hex_text(artifact):
    ended = CliRunner().invoke(cli, ["snapshot", str(artifact), "--backend", "wasmtime", "--prefix", "", "--format", "json"])
    found = json.loads(ended.stdout)
    assert found["values"] == {"__witness_counter_0": (1 << 64) - 1, "height": -3}
    assert found["globals"]["strange"] == {"type": "f64", "bits": "0x7ff8000000000001", "value": "nan:0x8000000000001"}
    assert found["source"]["backend"]["name"] == "wasmtime"


def test_importing_diffcheck_imports_nothing_until_snapshot_is_asked_for():
    code = "import sys, diffcheck; assert 'msgspec' not in sys.modules; assert callable(diffcheck.snapshot)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="snapshott"):
        diffcheck.snapshott  # noqa: B018 - the access is the test


@pytest.mark.kilnd
def test_kilnds_values_read_in_full_are_those_known_by_digest(real_kilnd):
    quick = diffcheck.snapshot(LEAP_YEAR, backend=f"kilnd:{real_kilnd}", prefix="")
    full = diffcheck.snapshot(LEAP_YEAR, backend=f"kilnd:{real_kilnd}", prefix="", full=True)
    assert quick.globals == full.globals
    assert sum(quick.values.values())
