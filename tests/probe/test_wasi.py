"""Asking an engine about its host functions: each verdict is given for what it says, and each of kilnd's was seen by hand once."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
import wasmtime

from diffcheck import process
from diffcheck.backend.contract import Host, HostResult, HostWorld, RunLimits
from diffcheck.capsule import stubs
from diffcheck.probe import wasi, wasi_checks
from diffcheck.probe.wasi_module import ImportCollector
from diffcheck_backends.kilnd_host import KilndHost

ENGINE = Path(__file__).parents[1] / "doubles" / "host_engine.py"
FUNCTIONS = Path(__file__).parents[1] / "capsule" / "wasi02_functions.txt"
ASKED = ("wasi:cli", "wasi:io", "wasi:clocks", "wasi:random", "wasi:filesystem", "wasi:sockets")
WRITE = "[method]output-stream.blocking-write-and-flush"


class Double:
    """The stand-in as ``HostEngine``."""

    label = "double"

    def __init__(self, *faults: str) -> None:
        self._faults = faults

    def host_command(self, module: Path, export: str, world: HostWorld) -> tuple[str, ...]:
        return (sys.executable, str(ENGINE), *self._faults, "--", str(module), export, *world.args)

    def host_result(self, ended: process.ProcessResult) -> HostResult:
        return msgspec.json.decode(ended.stderr, type=HostResult) if ended.stderr else HostResult()


@pytest.fixture
def ask(tmp_path):
    """The verdicts of an engine with these faults for functions of these names, each as (call, call_indirect)."""
    with process.Reactor() as reactor:

        def asked(names, *faults, engine=None, keep=None, deadline_s=20.0):
            limits = RunLimits(deadline_s=deadline_s)
            entries = [each for each in wasi.all_entries() if each.probe.function.name in names]
            prober = wasi.Prober(engine or Double(*faults), Host(reactor, tmp_path), limits, keep)
            assert prober.control() == ""
            return {f"{each.interface} {each.name}": each for each in prober.probe(entries)}

        yield asked


def verdicts(found):
    return {name.partition(" ")[2]: (each.verdict, each.indirect) for name, each in found.items()}


def test_every_function_of_six_packages_is_asked_about():
    lines = (line.split() for line in FUNCTIONS.read_text().splitlines() if not line.startswith("#"))
    wanted = {(interface, name) for interface, name, *_ in lines if interface.startswith(ASKED)}
    asked = {stubs.canonical(each.probe.function.module, each.probe.function.name) for each in wasi.all_entries(preview1=False)}
    assert asked == wanted
    assert len(asked) >= 120


def test_every_probe_is_a_valid_module_with_an_export_for_each_way():
    engine = wasmtime.Engine()
    texts, data = wasi_checks.texts()
    for entry in wasi.all_entries():
        module = wasmtime.Module(engine, ImportCollector(entry.probe, texts).build(data))
        names = {each.name for each in module.exports}
        assert {"run", "indirect", "memory", "cabi_realloc"} <= names
        assert ("again" in names) is entry.probe.traps_again
        own = entry.probe.function
        assert (module.imports[0].module, module.imports[0].name) == (own.module, own.name)


def test_what_works_is_real_and_what_is_not_there_is_absent(ask):
    found = ask(("get-stdout", WRITE, "[resource-drop]output-stream", "get-random-u64", "get-random-bytes", "get-arguments",
                 "exit", "exit-with-code", "utc-offset"))  # fmt: skip
    assert verdicts(found) == {
        **dict.fromkeys(("get-stdout", WRITE, "[resource-drop]output-stream", "get-random-u64", "get-random-bytes", "get-arguments",
                         "exit"), ("real", "real")),
        **dict.fromkeys(("exit-with-code", "utc-offset"), ("absent", "absent")),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fault", "verdict", "why"),
    [
        (WRITE, "silent", "stub", "stdout is empty"),
        (WRITE, "untouched", "stub", "it returns no result"),
        (WRITE, "errs", "broken", "it fails with error code 1"),
        (WRITE, "reversed", "broken", "the arguments arrive in reverse"),
        ("get-stdout", "same", "stub", "each time"),
        ("get-random-u64", "constant", "stub", "it returns 0x7 each time"),
        ("get-random-bytes", "constant", "stub", "the same bytes each time"),
        ("get-random-bytes", "astray", "broken", "it writes 16 bytes to 0x408"),
        ("get-arguments", "other", "broken", "it returns"),
        ("exit", "stays", "stub", "the program continues"),
        ("exit", "wrong code", "broken", "ended with 0, not 1"),
        ("[resource-drop]output-stream", "keeps", "stub", "dropping the same handle again"),
        ("get-terminal-stdout", "none", "stub", "it returns none"),
    ],
)
def test_each_fault_has_its_verdict(ask, name, fault, verdict, why):
    (found,) = ask((name,), fault).values()
    assert (found.verdict, found.indirect) == (verdict, verdict)
    assert why in found.why


def test_a_clock_that_stands_still_is_a_stub_and_one_that_is_unknown_is_absent(ask):
    found = ask(("now",), "constant")
    assert found["wasi:clocks/monotonic-clock now"].verdict == "stub"
    assert found["wasi:clocks/wall-clock now"].verdict == "absent"


def test_a_function_that_does_not_return_is_broken(ask):
    (found,) = ask(("get-random-u64",), "hangs", deadline_s=2.0).values()
    assert (found.verdict, found.why) == ("broken", "it does not return")


def test_what_was_kept_backs_the_verdict(ask, tmp_path):
    (found,) = ask((WRITE,), keep=tmp_path / "kept").values()
    (folder,) = (tmp_path / "kept").iterdir()
    engine = wasmtime.Engine()
    assert wasmtime.Module(engine, (folder / "module.wasm").read_bytes()).imports[0].name == WRITE
    text = (folder / "ran.txt").read_text()
    assert found.verdict == "real"
    assert "verdict of call: real" in text
    assert "verdict of call_indirect: real" in text
    assert "word-on-stdout" in text


def test_an_artifacts_own_versions_and_numbers_are_asked_for():
    entries = wasi.all_entries()
    (entry,) = wasi.at_versions(entries, [("wasi:random/random@0.2.9", "get-random-u64$1"), ("env", "mine")])
    assert (entry.probe.function.module, entry.probe.function.name) == ("wasi:random/random@0.2.9", "get-random-u64$1")


# kilnd: its own words, and a few verdicts that were checked by hand with modules in the text format (2026-11-25).


@pytest.mark.kilnd
def test_verdicts_that_were_seen_by_hand(ask, real_kilnd):
    found = ask((WRITE, "get-random-u64", "get-random-bytes", "exit", "subscribe-duration", "get-environment", "get-terminal-stdout"),
                engine=KilndHost(Path(real_kilnd)))  # fmt: skip
    assert verdicts(found) == {
        WRITE: ("broken", "real"),
        "get-random-u64": ("real", "real"),
        "get-random-bytes": ("broken", "broken"),
        "exit": ("real", "real"),
        "subscribe-duration": ("absent", "absent"),
        "get-environment": ("broken", "broken"),
        "get-terminal-stdout": ("stub", "stub"),
    }
    assert "the arguments arrive in reverse" in found[f"wasi:io/streams {WRITE}"].why
