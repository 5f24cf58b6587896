"""``--judge``: further engines that are asked where oracle and subject differ, with stand-ins for engines."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import msgspec
import pytest
import wasmtime
from click.testing import CliRunner

from diffcheck.backend import registry
from diffcheck.backend.contract import RowCall, RunLimits
from diffcheck.cases import scripts
from diffcheck.cli.command_group import cli
from diffcheck.compare.outcomes import FAILURES
from diffcheck.report import json_file
from diffcheck_backends import rows

PROGRAM = """(module
  (func (export "bits") (param i32) (result i32) (i32.popcnt (local.get 0)))
  (func (export "one") (result i32) (i32.const 1)))"""
COUNTS_TRAILING_ZEROS = ("200069", "200068")


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bits.wasm").write_bytes(wasmtime.wat2wasm(PROGRAM))
    (tmp_path / "bits.toml").write_text('rows = ["bits=6", "one"]')
    return "bits.wasm"


def run(*arguments: str):
    """The exit code, the output, and the report of the only case."""
    ended = CliRunner(env={"COLUMNS": "200"}).invoke(cli, ["run", *arguments], prog_name="diffcheck", standalone_mode=False)
    assert ended.exception is None, ended.exception
    report = json_file.read(Path("reports/report.json"))
    return ended.return_value, ended.output, report


def judgement(report) -> str:
    (found,) = {str(each.judgement) for one in report.cases[0].passes for each in one.divergences}
    return found


@pytest.fixture
def engines(standin_kilnd, standin_wasi, patched):
    """A right engine, a wrong one of the same kind, and a right one of another kind."""
    good = standin_kilnd()
    return {"good": f"kilnd:{good}", "bad": f"kilnd:{patched(good, *COUNTS_TRAILING_ZEROS)}", "other": f"wasi:{standin_wasi()}"}


def test_the_subject_stands_alone_where_a_judge_agrees_with_the_oracle(artifact, engines) -> None:
    code, output, report = run(artifact, "--subject", engines["bad"], "--judge", engines["other"])
    assert (code, judgement(report)) == (1, "wasi-engine agrees with the oracle: the subject stands alone")
    assert "wasi-engine agrees with the oracle" in " ".join(output.split())
    assert [each.name for each in report.judges] == ["wasi"]


def test_where_the_oracle_stands_alone_the_run_does_not_fail(artifact, engines) -> None:
    arguments = ("--oracle", engines["bad"], "--subject", "wasmtime", "--judge", engines["other"])
    code, output, report = run(artifact, *arguments)
    assert (code, report.cases[0].verdict) == (0, "oracle"), output
    assert report.cases[0].reason == "capsule: the oracle stands alone: row bits=6: result 0: oracle 1, subject 2"
    assert judgement(report) == "wasi-engine agrees with the subject: the oracle stands alone"
    code, _, report = run(artifact, *arguments, "--judge", engines["bad"])
    assert (code, report.cases[0].verdict) == (0, "oracle")  # it is the oracle's own engine: no further voice


@pytest.mark.whole
def test_judges_that_split_are_undecided_and_the_run_fails(artifact, engines) -> None:
    command = f"harness:{engines['bad'].partition(':')[2]}"
    code, _, report = run(artifact, "--subject", engines["bad"], "--judge", engines["other"], "--judge", command)
    assert registry.engine(command) == registry.engine(engines["bad"]) == "kiln"
    assert (code, report.cases[0].passes[0].divergences[0].judgement.alone) == (1, "subject")  # the same engine twice
    independent = Path("independent")
    independent.symlink_to(engines["bad"].partition(":")[2])
    code, _, report = run(artifact, "--subject", engines["bad"], "--judge", engines["other"], "--judge", "harness:./independent")
    assert (code, judgement(report)) == (1, "wasi-engine agrees with the oracle, independent agrees with the subject: undecided")


def test_judges_are_asked_only_where_the_engines_differ_and_their_executions_are_cached(
    artifact, engines, tmp_path, monkeypatch
) -> None:
    monkeypatch.delenv("DIFFCHECK_NO_CACHE")
    log = tmp_path / "log"
    counting = tmp_path / "counting"
    counting.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {engines["other"].partition(":")[2]} "$@"\n')
    counting.chmod(0o755)

    def times(subject: str) -> int:
        log.unlink(missing_ok=True)
        run(artifact, "--subject", subject, "--judge", f"wasi:{counting}", "--cache", str(tmp_path / "cache"))
        lines = log.read_text().splitlines() if log.exists() else []
        return sum("--version" not in each for each in lines)

    known_answer = times(engines["good"])
    assert times(engines["good"]) == 0 < known_answer
    assert times(engines["bad"]) > 0
    assert times(engines["bad"]) == 0


def test_a_judge_that_is_missing_or_no_engine_is_an_error(artifact, engines) -> None:
    for judge in ("wasi:/bin/ls", "wasi:not-there"):
        ended = CliRunner().invoke(cli, ["run", artifact, "--subject", engines["bad"], "--judge", judge], prog_name="diffcheck")
        assert ended.exit_code != 0
        assert ended.exception is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("wasmtime", "wasmtime-pulley"),
        ("wasi:node a.mjs", "wasi:/usr/bin/node b.mjs"),
        ("wasi:node a", "harness:deno b"),
        ("kilnd", "kilnd:/x/y"),
        ("wasi:bun a", "wasi:/node_modules/bun/bin/bun.exe a"),
        ("wasi:node a", "wasi:'/a folder/node' b"),
        ('harness:"unbalanced a', 'harness:"unbalanced b'),
    ],
)
def test_backends_of_one_engine_are_one_voice(one: str, other: str) -> None:
    assert registry.engine(one) == registry.engine(other)


def test_commands_of_several_programs_are_several_voices() -> None:
    specs = ("wasmtime", "kilnd", "wasi:node a", "wasi:bun a", "wasi:wasmi", "harness:/opt/engine")
    assert len({registry.engine(each) for each in specs}) == len(specs)


@pytest.mark.whole
@pytest.mark.skipif(scripts.converter() is None, reason="wasm-tools is not installed")
def test_a_script_is_a_judge_too(tmp_path, monkeypatch, engines) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bits.wast").write_text(f'{PROGRAM}\n(assert_return (invoke "bits" (i32.const 6)) (i32.const 2))\n')
    code, _, report = run("bits.wast", "--subject", engines["bad"])
    assert (code, judgement(report)) == (1, "expected 2: the subject stands alone")
    code, _, report = run("bits.wast", "--oracle", engines["bad"], "--subject", "wasmtime")
    assert (code, judgement(report), report.totals["oracle"]) == (0, "expected 2: the oracle stands alone", 1)
    Path("bits.wast").write_text(Path("bits.wast").read_text().replace("(i32.const 2)", "(i32.const 1)"))
    code, _, report = run("bits.wast", "--subject", engines["bad"], "--judge", engines["other"])
    words = "expected 1, wasi-engine agrees with the oracle: undecided"
    assert (code, judgement(report)) == (1, words)
    assert msgspec.json.encode(report)


# Judges that only call exports.


@pytest.fixture
def caller(tmp_path):
    """Makes the command of a program that only calls exports."""
    path = Path(__file__).parents[1] / "doubles" / "row_engine.py"

    def command(name: str, *arguments: str) -> str:
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(path), *arguments])} "$@"\n')
        script.chmod(0o755)
        return f"rows:{script}"

    return command


@pytest.mark.whole
def test_a_program_that_only_calls_exports_is_a_judge_of_results_and_traps(artifact, engines, caller) -> None:
    code, _, report = run(artifact, "--subject", engines["bad"], "--judge", caller("caller"))
    assert (code, judgement(report)) == (1, "caller agrees with the oracle: the subject stands alone")
    code, _, report = run(artifact, "--subject", engines["bad"], "--judge", caller("other", "--wrong"))
    assert (code, judgement(report)) == (1, "other gives 3: undecided")
    Path("bits.wasm").write_bytes(wasmtime.wat2wasm(f'(module (memory (export "m") 1){PROGRAM[7:]}'))
    code, _, report = run("bits.wasm", "--oracle", engines["bad"], "--subject", "wasmtime", "--judge", caller("caller"))
    assert (code, report.cases[0].verdict) == (0, "oracle")


@pytest.mark.whole
def test_such_a_program_that_is_killed_or_has_its_own_words_for_a_trap_gives_no_other_value(artifact, engines, caller) -> None:
    Path("bits.toml").write_text('rows = ["bits=5"]')
    Path("bits.wasm").write_bytes(wasmtime.wat2wasm(PROGRAM))
    _, _, report = run(artifact, "--subject", engines["bad"], "--judge", caller("killed", "--killed"))
    assert judgement(report).startswith("killed cannot say (out of memory (limit ")
    traps = '(module (func (export "bits") (param i32) (if (i32.eq (i32.const 2) (i32.popcnt (local.get 0))) (then unreachable))))'
    Path("bits.wasm").write_bytes(wasmtime.wat2wasm(traps))
    _, _, report = run(artifact, "--subject", engines["bad"], "--judge", caller("words", "--own-words"))
    assert judgement(report) == "words agrees with the oracle: the subject stands alone"
    kinds = traps.replace("(then unreachable)", "(then unreachable) (else (drop (i32.div_u (i32.const 1) (i32.const 0))))")
    Path("bits.wasm").write_bytes(wasmtime.wat2wasm(kinds))
    _, _, report = run(artifact, "--subject", engines["bad"], "--judge", caller("words", "--own-words"))
    assert judgement(report) == "words cannot say (the kind of its trap is not known: trapped: it failed): undecided"


def test_a_judge_that_refuses_the_program_is_named_and_not_called_the_subject(artifact, engines) -> None:
    Path("bits.wasm").write_bytes(wasmtime.wat2wasm(f"(module (memory 1 1 shared){PROGRAM[7:]}"))
    _, _, report = run(artifact, "--subject", engines["bad"], "--judge", "wasmtime-pulley")
    said = judgement(report)
    assert said.startswith("wasmtime-pulley cannot say ("), said
    assert "wasmtime-pulley does not support what the artifact uses" in said or "wasmtime-pulley refused" in said, said
    assert "the subject r" not in said


@pytest.mark.parametrize(
    "lines, end",
    [
        ('{"results": ["4"], "trap": "unreachable"}', ""),
        ('{"results": ["27"], "results": ["4"]}', ""),
        ('{"results": [" 4"]}', ""),
        ('{"results": ["2_7"]}', ""),
        ('{"results": ["\u0662"]}', ""),
        ('{"results": ["+4"]}', ""),
        ('{"results": [4]}', ""),
        ('{"results": "4"}', ""),
        ("[4]", ""),
        ("{}", ""),
        ('{"results": ["4"]}\n{"results": ["27"]}', ""),
        ("", ""),
        ('{"results": ["4"]}', "exit 1"),
        ('{"results": ["4"]}', "kill -9 $$"),
        ('{"results": ["4"]}', "kill -SEGV $$"),
        ('{"results": ["4"]}', "sleep 9"),
    ],
)
def test_an_answer_that_violates_the_protocol_is_no_opinion(tmp_path, host, lines, end) -> None:
    (tmp_path / "lines").write_text(f"{lines}\n" if lines else "")
    script = tmp_path / "program"
    script.write_text(f"#!/bin/sh\ncat > /dev/null\ncat {tmp_path}/lines\n{end}\n")
    script.chmod(0o755)
    (answer,) = rows.create(str(script), {}).call(b"", (RowCall("f"),), RunLimits(deadline_s=1.0), host)
    assert isinstance(answer.outcome, FAILURES), answer


@pytest.mark.parametrize(
    "results", ['"4294967296"', pytest.param('"4", "5"', marks=pytest.mark.whole), pytest.param("", marks=pytest.mark.whole)]
)
def test_results_that_are_not_of_the_functions_type_are_no_opinion(artifact, engines, tmp_path, results) -> None:
    (tmp_path / "known").write_text('{"results": ["2"]}\n{"trap": "unreachable"}\n{"results": ["2"]}\n')
    (tmp_path / "answers").write_text(f'{{"results": [{results}]}}\n{{"results": ["1"]}}\n')
    script = tmp_path / "judge"
    script.write_text(f"#!/bin/sh\nif grep -q trap; then cat {tmp_path}/known; else cat {tmp_path}/answers; fi\n")
    script.chmod(0o755)
    code, _, report = run(artifact, "--subject", engines["bad"], "--judge", f"rows:{script}")
    assert code == 1
    assert judgement(report).startswith("judge cannot say (harness failed: the protocol is violated"), judgement(report)


@pytest.mark.whole
def test_what_such_a_program_cannot_call_it_cannot_say(artifact, engines, caller) -> None:
    body = '(import "a" "b" (func))' + PROGRAM[PROGRAM.index("(func") :]
    Path("bits.wasm").write_bytes(wasmtime.wat2wasm(f"(module {body}"))
    code, _, report = run(artifact, "--subject", engines["bad"], "--judge", caller("caller"))
    assert (code, judgement(report)) == (1, "caller cannot say (it can only call modules without imports): undecided")
    many = '(module (memory 1) (func (export "bits") (param i32) (result i32) (i32.popcnt (local.get 0))) (func (export "one") unreachable))'
    Path("bits.wasm").write_bytes(wasmtime.wat2wasm(many))
    dies = Path("dies")
    dies.write_text("#!/bin/sh\nexec " + caller("caller").partition(":")[2] + " --dies\n")
    dies.chmod(0o755)
    Path("bits.toml").write_text('rows = ["bits=5", "bits=6"]')
    _, _, report = run(artifact, "--subject", engines["bad"], "--judge", f"rows:{dies.absolute()}")
    assert "dies cannot say (harness failed: exited 3" in judgement(report)
    silent = Path("silent")
    silent.write_text("#!/bin/sh\ncat > /dev/null\n")
    silent.chmod(0o755)
    for arguments in (("--judge", f"rows:{silent.absolute()}"), ("--oracle", "wasmtime", "--subject", caller("caller"))):
        ended = CliRunner().invoke(cli, ["run", artifact, "--subject", engines["bad"], *arguments], prog_name="diffcheck")
        assert ended.exit_code != 0, arguments
        assert "answer" in str(ended.exception) or "judge" in str(ended.exception)
