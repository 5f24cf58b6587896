"""``diffcheck imports``: what an artifact's imports are given, how often they were called, what an engine has of its own."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import wasmtime
from click.testing import CliRunner
from markdown_it import MarkdownIt

from diffcheck.cli.command_group import cli
from diffcheck.cli.main import run as command_line
from diffcheck.probe import wasi
from diffcheck.probe.wasi import CheckResult
from diffcheck.report import imports as report
from diffcheck.report import terminal_text
from diffcheck.runner.observe.import_survey import ArtifactImports, EngineResult, ImportResult, Survey, SurveyRequest, survey

CORPUS = Path(__file__).parents[3] / "corpus"
TWO_PRINTERS = CORPUS / "10-components" / "two_printers.wasm"
TOUR = CORPUS / "10-components" / "wasi_tour.wasm"
HOSTILE = "a|b](http://x) <script>\x1b[31m\n# `"
WRITE = "[method]output-stream.blocking-write-and-flush"


def artifact(folder, text, name="own.wasm"):
    path = folder / name
    path.write_bytes(wasmtime.wat2wasm(text))
    return path


def looked_at(*paths, **options):
    return survey(SurveyRequest(tuple(map(str, paths)), **options)).artifacts


def test_each_import_has_its_signature_its_stub_and_how_often_it_was_called():
    (found,) = looked_at(TWO_PRINTERS)
    assert found.sha256 == hashlib.sha256(TWO_PRINTERS.read_bytes()).hexdigest()
    writes = {each.function: each for each in found.imports if WRITE in each.function}
    assert set(writes) == {WRITE, f"{WRITE}$2"}, "each component has its own"
    for each in writes.values():
        assert (each.interface, each.signature, each.stub) == ("wasi:io/streams@0.2.0", "(param i32 i32 i32 i32)", "functional")
        assert each.calls
    assert not any(each.native for each in found.imports), "nothing was measured"


def test_the_tour_uses_every_function_of_cli_and_io_and_all_are_functional():
    (found,) = looked_at(TOUR)
    lines = (line.split() for line in (Path(__file__).parents[2] / "capsule" / "wasi02_functions.txt").read_text().splitlines())
    wanted = {(line[0], line[1]) for line in lines if line[0].startswith(("wasi:cli/", "wasi:io/"))}
    has = {(each.interface.rpartition(".")[0], each.function): each for each in found.imports}
    assert wanted <= set(has)
    assert {each.stub for each in found.imports} == {"functional"}
    assert {name for name in wanted if not has[name].calls} == {
        ("wasi:cli/terminal-input@0.2", "[resource-drop]terminal-input"),
        ("wasi:cli/terminal-output@0.2", "[resource-drop]terminal-output"),
    }, "there is no terminal to let go of"


def test_an_unknown_import_gets_zeros_and_other_kinds_are_counted(tmp_path):
    text = """(module (import "env" "now" (func (result i64))) (import "env" "memory" (memory 1)) (import "env" "g" (global i32))
      (func (export "run") call 0 call 0 drop drop))"""
    (found,) = looked_at(artifact(tmp_path, text))
    assert found.imports == (ImportResult("env", "now", "(result i64)", "zero", "", 2),)
    assert found.others == {"memory": 1, "global": 1}


def test_what_cannot_be_run_is_listed_all_the_same(tmp_path):
    text = '(module (import "env" "now" (func (param i32) (result i64))) (func (export "f") (param i32) local.get 0 call 0 drop))'
    (found,) = looked_at(artifact(tmp_path, text))
    assert "cannot be run" in found.not_run
    assert [(each.function, each.calls) for each in found.imports] == [("now", None)]


def test_what_is_no_module_is_a_problem_and_the_others_are_listed(tmp_path):
    (tmp_path / "bad.wasm").write_bytes(b"\0asm\x01\0\0\0\x01\x7f")
    artifact(tmp_path, "(module)")
    bad, good = looked_at(tmp_path)
    assert bad.problem
    assert (good.problem, good.imports) == ("", ())


def test_wasi_03_is_told_to_be_out_of_scope(tmp_path):
    text = '(module (import "wasi:cli/stdout@0.3.0" "write-via-stream" (func (param i32) (result i32))) (func (export "run")))'
    (found,) = looked_at(artifact(tmp_path, text))
    assert "0.3" in found.out_of_scope
    assert "out of scope: it imports wasi:cli/stdout@0.3.0 write-via-stream" in found.not_run


@pytest.mark.parametrize("format_", ["table", "json", "markdown"])
def test_every_format_has_every_import(format_):
    ended = CliRunner(env={"COLUMNS": "200"}).invoke(cli, ["imports", str(TWO_PRINTERS), "--format", format_])
    assert ended.exit_code == 0, ended.output
    for text in ("get-random-bytes", "get-stdout$2", "wasi:cli/stdout@0.2.0", "functional"):
        assert text in ended.stdout
    if format_ == "json":
        assert json.loads(ended.stdout)["schema"] == "diffcheck-imports-v1"


def test_hostile_names_do_nothing(capsys):
    given = (EngineResult("engine", CheckResult("stub", HOSTILE)),)
    found = Survey(
        (ArtifactImports(HOSTILE, imports=(ImportResult(HOSTILE, HOSTILE, "", "zero", HOSTILE, 3, given),)),), missing=HOSTILE
    )
    tokens = MarkdownIt("commonmark").enable("table").parse(report.as_markdown(found, _day()))
    inline = [child for token in tokens for child in token.children or ()]
    assert not [each for each in inline if each.type in ("link_open", "image")]
    assert {each.content for each in inline if each.type == "html_inline"} <= {"<code>", "</code>"}
    rows = [token for token in tokens if token.type == "tr_open"]
    assert len(rows) == 2, "a head and one import: no name makes a cell or a line"
    assert sum(token.type == "td_open" for token in tokens) == 6
    assert json.loads(report.as_json(found))["artifacts"][0]["path"] == HOSTILE
    report.show(found, terminal_text.console())
    assert "\x1b[31m" not in capsys.readouterr().out


def _day():
    import datetime as dt  # noqa: PLC0415

    return dt.date(2026, 11, 25)


def test_without_anything_to_look_at_it_says_so(capsys):
    assert command_line(["imports"]) == 2
    assert "no artifact was given" in capsys.readouterr().err


def test_an_engine_that_cannot_be_probed_is_an_error(standin_kilnd, capsys):
    assert command_line(["imports", "--probe", "--kilnd", str(standin_kilnd())]) == 2
    assert "cannot be probed: an empty module did not return" in capsys.readouterr().err


def test_an_engine_whose_host_functions_nothing_here_can_run_is_told():
    found = survey(SurveyRequest((str(TWO_PRINTERS),), probe=True, subject="wasmtime"))
    assert "does not support its own host functions" in found.missing
    assert all(
        each.how == "wasmtime" and each.call.verdict == "absent" for one in found.artifacts[0].imports for each in one.native
    )


@pytest.mark.kilnd
def test_the_page_of_a_real_kilnd_has_its_date_and_binary_and_keeps_the_modules(tmp_path, real_kilnd, monkeypatch):
    some = tuple(each for each in wasi.all_entries() if each.probe.function.name in (WRITE, "get-random-u64"))
    monkeypatch.setattr(wasi, "all_entries", lambda: some)
    options = ["--kilnd", real_kilnd, "--keep", str(tmp_path / "kept"), "--format", "markdown", "--engine-version", "1.2.3"]
    ended = CliRunner().invoke(cli, ["imports", str(TWO_PRINTERS), "--probe", *options])
    assert ended.exit_code == 0, ended.output
    assert "# WASI imports that kilnd 1.2.3 provides" in ended.stdout
    assert re.search(r"^Measured on \d{4}-\d\d-\d\d ", ended.stdout, re.MULTILINE)
    assert hashlib.sha256(Path(real_kilnd).read_bytes()).hexdigest() in ended.stdout
    assert "| `get-random-u64` | real | real |" in ended.stdout
    assert "| `wasi:io/streams` | 1 | 0 | 1 | some |" in ended.stdout
    assert "| `wasi:random/random` | 1 | 1 | 1 | none |" in ended.stdout
    assert "kilnd --wasi: broken (real by call_indirect); kilnd: absent; wasmtime: absent" in ended.stdout
    kept = {each.name: each for each in (tmp_path / "kept").iterdir()}
    assert len(kept) == 3, "the two, and the artifact's own numbered name of one"
    assert all((each / "module.wasm").exists() and (each / "ran.txt").exists() for each in kept.values())
