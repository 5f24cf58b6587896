"""Child processes: real ones that end, hang, flood, crash and do not start, and their limits."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diffcheck import process
from diffcheck.process import Reactor
from diffcheck.process import child as child_module

if TYPE_CHECKING:
    pass

from .children import ENV, MIB, own_peak_bytes, python, run, shell

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and orphans are the Linux kernel's")


# How children end.


def test_a_child_tells_its_exit_code_output_and_cost(reactor: Reactor) -> None:
    ended = run(reactor, shell("echo out; echo err >&2; exit 3"))
    assert (ended.exit_code, ended.signal, ended.stdout, ended.stderr) == (3, None, b"out\n", b"err\n")
    assert (ended.stdout_total, ended.stderr_total) == (4, 4)
    assert not any((ended.timed_out, ended.flooded, ended.over_memory, ended.lingering, ended.garbage))
    assert 0 < ended.cpu_ns < 2e9
    assert ended.peak_bytes > 100_000
    assert ended.elapsed_ns < 5e9


def test_a_child_gets_its_stdin_whole_and_the_end_of_it(reactor: Reactor) -> None:
    data = os.urandom(MIB)
    ended = run(reactor, ["/bin/cat"], stdin=data, output_bytes=2 * MIB)
    assert ended.stdout == data


def test_a_child_that_does_not_read_its_stdin_ends_as_it_likes(reactor: Reactor) -> None:
    assert run(reactor, ["/bin/true"], stdin=b"x" * MIB).exit_code == 0


def test_without_stdin_a_child_reads_the_end_of_file(reactor: Reactor) -> None:
    assert run(reactor, shell("cat; echo done")).stdout == b"done\n"


def test_a_hung_child_is_killed_at_its_deadline(reactor: Reactor) -> None:
    began = time.monotonic()
    ended = run(reactor, shell("echo before; exec sleep 60"), deadline_s=0.3)
    assert 0.3 <= time.monotonic() - began < 1.3
    assert ended.timed_out
    assert ended.signal == signal.SIGKILL
    assert ended.stdout == b"before\n"


def test_a_child_that_ignores_sigterm_costs_no_more_time(reactor: Reactor) -> None:
    began = time.monotonic()
    ended = run(reactor, shell("trap '' TERM INT HUP; while :; do sleep 0.05; done"), deadline_s=0.3)
    assert ended.timed_out
    assert not ended.lingering, "what died with its group was not left over"
    assert time.monotonic() - began < 1.3


def test_time_in_which_a_child_waits_for_a_processor_does_not_count(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = iter((0.2, 0.3))  # at the first deadline, and at the second one
    monkeypatch.setattr(child_module, "_waited_s", lambda _pid: next(waits, 0.3))
    began = time.monotonic()
    assert run(reactor, ["/bin/sleep", "60"], deadline_s=0.2).timed_out
    assert 0.5 <= time.monotonic() - began < 1.5


def test_a_child_that_always_waits_is_killed_at_four_times_its_limit(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_waited_s", lambda _pid: 60.0)
    began = time.monotonic()
    assert run(reactor, ["/bin/sleep", "60"], deadline_s=0.2).timed_out
    assert 0.8 <= time.monotonic() - began < 1.8


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not count the time")
@pytest.mark.parametrize(
    "program", ["while 1: pass", "import threading; threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()"]
)
def test_busy_children_that_share_the_processors_get_more_time(reactor: Reactor, program: str) -> None:
    """Three times as many busy children as processors share them, in whichever thread they are busy."""
    command = [sys.executable, "-c", program]
    busy = [reactor.start(command, env=ENV, deadline_s=0.5) for _ in range(3 * (os.cpu_count() or 1))]
    ended = [reactor.wait(each) for each in busy]
    assert all(each.timed_out for each in ended)
    assert min(each.elapsed_ns for each in ended) > 0.75e9


def test_a_stopped_child_is_killed_at_its_deadline(reactor: Reactor) -> None:
    assert run(reactor, shell("kill -STOP $$"), deadline_s=0.2).timed_out


def test_a_child_that_ended_in_time_did_not_time_out_however_late_it_is_looked_at(reactor: Reactor) -> None:
    child = reactor.start(["/bin/true"], env=ENV, deadline_s=0.2)
    time.sleep(0.4)
    assert not reactor.wait(child).timed_out


def test_a_crash_is_told_as_its_signal(reactor: Reactor) -> None:
    ended = run(reactor, shell("kill -SEGV $$"))
    assert (ended.exit_code, ended.signal) == (None, signal.SIGSEGV)


def test_killing_a_child_ends_it(reactor: Reactor) -> None:
    child = reactor.start(["/bin/sleep", "60"], env=ENV, deadline_s=60)
    assert child.poll() is None
    child.kill()
    ended = reactor.wait(child)
    assert ended.signal == signal.SIGKILL
    assert not ended.timed_out
    assert child.poll() is ended


def test_children_are_polled_where_there_is_no_pidfd(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_open_pidfd", lambda _pid: None)
    assert run(reactor, shell("echo hi; exit 4")).exit_code == 4
    assert run(reactor, ["/bin/sleep", "60"], deadline_s=0.2).timed_out


# Output.


def test_the_head_and_the_tail_of_long_output_are_kept(reactor: Reactor) -> None:
    ended = run(reactor, shell("printf HEAD; head -c 100000 /dev/zero; printf TAIL"), output_bytes=8)
    assert ended.stdout == b"HEADTAIL"
    assert ended.stdout_total == 100_008
    assert not ended.flooded


@pytest.mark.parametrize("cap", [0, 1, 2, 3, 10, 11, 12, 100])
def test_output_within_the_cap_is_complete_and_never_longer_than_it(cap: int) -> None:
    for chunk in (1, 3, 7, 50):
        kept = child_module.HeadAndTail(cap)
        data = bytes(range(11))
        for start in range(0, len(data), chunk):
            kept.feed(data[start : start + chunk])
        assert kept.output() == (data if cap >= 11 else data[: cap - cap // 2] + data[len(data) - cap // 2 :])
        assert kept.total == 11


def test_a_flood_is_stopped(reactor: Reactor) -> None:
    ended = run(reactor, ["/usr/bin/yes"], output_bytes=1000)
    assert ended.flooded
    assert ended.signal == signal.SIGKILL
    assert len(ended.stdout) == 1000
    assert ended.stdout_total < 80 * MIB


def test_a_gigabyte_of_output_costs_no_memory(reactor: Reactor) -> None:
    before = own_peak_bytes()
    ended = run(reactor, shell("head -c 1073741824 /dev/zero"), deadline_s=30, output_bytes=MIB, output_stop_bytes=2 << 30)
    assert ended.stdout_total == 1 << 30
    assert not ended.flooded
    assert own_peak_bytes() - before < 16 * MIB


# Limits.


def test_an_address_space_limit_is_the_child_s_own_failure(reactor: Reactor) -> None:
    ended = run(reactor, python("b'x' * (1 << 30)"), memory_bytes=512 * MIB)
    assert ended.exit_code == 1
    assert b"MemoryError" in ended.stderr


def test_a_child_over_its_resident_size_is_killed(reactor: Reactor) -> None:
    ended = run(reactor, python("import time; x = bytearray(200 << 20); time.sleep(60)"), resident_bytes=100 * MIB)
    assert ended.over_memory
    assert not ended.timed_out
    assert ended.elapsed_ns < 5e9


def test_a_file_over_its_limit_ends_the_child(reactor: Reactor, tmp_path: Path) -> None:
    ended = run(reactor, shell("exec head -c 100000 /dev/zero > out"), file_bytes=4096, cwd=tmp_path)
    assert (tmp_path / "out").stat().st_size == 4096
    assert ended.signal == signal.SIGXFSZ


def test_no_core_is_written_and_no_descriptor_inherited(reactor: Reactor) -> None:
    secret = os.open("/", os.O_RDONLY)
    os.set_inheritable(secret, True)
    code = (
        "import os, resource; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1], resource.getrlimit(resource.RLIMIT_CORE))"
    )
    ended = run(reactor, python(code))
    os.close(secret)
    assert ended.stdout == b"[0, 1, 2] (0, 0)\n"


def test_a_child_leads_a_session_of_its_own(reactor: Reactor) -> None:
    ended = run(reactor, python("import os; print(os.getpid() == os.getsid(0) == os.getpgid(0))"))
    assert ended.stdout == b"True\n"


def test_the_environment_is_scrubbed(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    monkeypatch.setenv("WITNESS_STRAY", "inherited")
    environment = process.scrubbed_environment({"WITNESS_MODULE": "a.wasm"}, home="/nowhere")
    child = reactor.start(["/usr/bin/env"], env=environment, deadline_s=10)
    lines = set(reactor.wait(child).stdout.decode().split())
    assert lines == {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/nowhere", "WITNESS_MODULE=a.wasm"}


def test_only_witness_variables_and_settings_of_malloc_may_be_added() -> None:
    assert process.scrubbed_environment({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"})["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    with pytest.raises(ValueError, match="LD_PRELOAD"):
        process.scrubbed_environment({"LD_PRELOAD": "x"})


def test_our_own_programs_find_our_modules_and_no_secret(reactor: Reactor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    command, env = process.own_program("diffcheck.process")
    assert "AWS_SECRET_ACCESS_KEY" not in env
    code = "import diffcheck.process, msgspec; print('found')"
    child = reactor.start([*command[:2], "-c", code], env=env, cwd=tmp_path, deadline_s=20)
    assert reactor.wait(child).stdout == b"found\n"


# Failing to start.


def test_a_missing_program_is_a_sentence_with_a_hint(reactor: Reactor) -> None:
    with pytest.raises(process.SpawnError, match="it was not found") as caught:
        run(reactor, ["/nonexistent/kilnd"])
    assert caught.value.hint


def test_a_program_without_permission_or_format_is_told(reactor: Reactor, tmp_path: Path) -> None:
    program = tmp_path / "kilnd"
    program.write_bytes(b"\x00not a program")
    program.chmod(0o644)
    with pytest.raises(process.SpawnError, match="is not executable"):
        run(reactor, [str(program)])
    program.chmod(0o755)
    with pytest.raises(process.SpawnError, match="not a program for this machine"):
        run(reactor, [str(program)])


def test_a_missing_working_folder_and_too_long_arguments_are_reported(reactor: Reactor, tmp_path: Path) -> None:
    with pytest.raises(process.SpawnError, match="working folder no longer exists"):
        run(reactor, ["/bin/true"], cwd=tmp_path / "none")
    with pytest.raises(process.SpawnError, match="too long"):
        run(reactor, ["/bin/true", "x" * (1 << 20)])
    with pytest.raises(process.SpawnError, match="null byte"):
        run(reactor, ["/bin/true", "\0"])


def test_a_failed_start_leaks_no_descriptor(reactor: Reactor) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(3):
        with pytest.raises(process.SpawnError):
            run(reactor, ["/nonexistent"], stdin=b"x")
        run(reactor, ["/bin/true"], stdin=b"x")
    assert count() == before


def test_what_is_echoed_cannot_act_in_a_terminal(reactor: Reactor) -> None:
    reading, writing = os.pipe()
    code = r"printf 'a\033[31m\tb\n\303'; sleep 0.05; printf '\244\302\233x\377\n'"
    run(reactor, shell(code), echo=(writing, writing))
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read().decode() == "a\\x1b[31m\tb\n\u00e4\\x9bx\\xff\n"
