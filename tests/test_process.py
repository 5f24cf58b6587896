"""Child processes and their files: real processes that hang, flood, fork, crash and lie."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diffcheck import process
from diffcheck.errors import ReportError
from diffcheck.process import Ended, Reactor, Reply, Unreadable, orphans
from diffcheck.process import child as child_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and orphans are the Linux kernel's")

MIB = 1024 * 1024
ENV = process.scrubbed_environment()
ROOT = str(Path(process.__file__).resolve().parents[2])

ECHO = f"""
import sys, time
sys.path.insert(0, {ROOT!r})
from diffcheck.process.framing import claim_channel, read_frame, write_frame
reader, writer = claim_channel()
print("a stray print")
while (message := read_frame(reader)) is not None:
    if message.startswith(b"sleep "):
        time.sleep(float(message[6:]))
    if message == b"die":
        sys.exit(7)
    write_frame(writer, message)
"""
ECHO_SERVER = [sys.executable, "-c", ECHO]


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    with Reactor() as one:
        yield one


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-E", "-c", code]


def shell(code: str) -> list[str]:
    return ["/bin/sh", "-c", code]


def run(reactor: Reactor, command: list[str], deadline_s: float = 10, **limits: object) -> Ended:
    return reactor.wait(reactor.start(command, env=ENV, deadline_s=deadline_s, **limits))  # type: ignore[arg-type]


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


def until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def own_peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


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
        assert kept.kept() == (data if cap >= 11 else data[: cap - cap // 2] + data[len(data) - cap // 2 :])
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
    environment = process.scrubbed_environment({"WITNESS_MODULE": "a.wasm"}, home="/tmp/x")
    child = reactor.start(["/usr/bin/env"], env=environment, deadline_s=10)
    lines = set(reactor.wait(child).stdout.decode().split())
    assert lines == {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/tmp/x", "WITNESS_MODULE=a.wasm"}


def test_only_witness_variables_may_be_added() -> None:
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
    with pytest.raises(process.SpawnError, match="may not be executed"):
        run(reactor, [str(program)])
    program.chmod(0o755)
    with pytest.raises(process.SpawnError, match="not a program for this machine"):
        run(reactor, [str(program)])


def test_a_missing_working_folder_and_too_long_arguments_are_told(reactor: Reactor, tmp_path: Path) -> None:
    with pytest.raises(process.SpawnError, match="working folder is gone"):
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


# What a child leaves behind.


def test_a_grandchild_that_holds_the_pipe_does_not_delay_the_end(reactor: Reactor) -> None:
    ended = run(reactor, shell("sleep 60 & echo $!"))
    assert ended.elapsed_ns < 1e9
    assert ended.exit_code == 0
    assert ended.lingering
    assert is_gone(int(ended.stdout))


@pytest.mark.parametrize("hold", ["", "> /dev/null 2>&1"])
def test_a_grandchild_with_a_session_of_its_own_is_killed(reactor: Reactor, hold: str, tmp_path: Path) -> None:
    ended = run(
        reactor,
        shell(f"setsid sh -c 'echo $$ > pid; exec sleep 60' {hold} & while ! [ -s pid ]; do :; done; cat pid"),
        cwd=tmp_path,
    )
    assert ended.lingering
    assert is_gone(int(ended.stdout))


def test_at_the_deadline_a_whole_tree_of_sessions_is_killed(reactor: Reactor, tmp_path: Path) -> None:
    code = "import os, time\nfor i in range(5):\n    if os.fork() == 0:\n        os.setsid()\n    open(f'{os.getpid()}', 'w')\ntime.sleep(60)"
    ended = run(reactor, python(code), cwd=tmp_path, deadline_s=1.0)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert ended.timed_out
    assert ended.lingering, "some had left its group"
    assert len(pids) == 32
    assert all(is_gone(pid) for pid in pids)


def test_orphans_are_found_by_scanning_where_the_kernel_lists_no_children(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "children", orphans._children_by_scan)
    ended = run(reactor, shell("setsid sleep 60 & echo $!"))
    assert ended.lingering
    assert is_gone(int(ended.stdout))


def test_without_a_subreaper_the_group_is_killed_still(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reactor, "_subreaper", False)
    monkeypatch.setattr(orphans, "children", list)
    ended = run(reactor, shell("sleep 60 & echo $!"))
    assert ended.lingering
    assert until(lambda: is_gone(int(ended.stdout)), 2)


def test_a_child_that_cannot_be_killed_is_not_waited_for(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    child = reactor.start(["/bin/sleep", "60"], env=ENV, deadline_s=0.1)
    with monkeypatch.context() as patched:
        patched.setattr(orphans, "kill_leader", lambda _pid: None)
        ended = reactor.wait(child)
    assert ended.lingering
    assert ended.timed_out
    assert (ended.exit_code, ended.signal) == (None, None)
    assert ended.elapsed_ns < 2e9
    os.kill(child.pid, signal.SIGKILL)
    assert until(lambda: is_gone(child.pid), 2)
    assert not run(reactor, ["/bin/true"]).lingering, "it was reaped on the way"
    assert not Path(f"/proc/{child.pid}").exists()


def test_processes_that_other_code_started_are_left_alone(reactor: Reactor) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as other:
        run(reactor, shell("sleep 60 &"))
        assert other.poll() is None
        other.kill()


def test_a_running_child_s_own_children_are_left_alone(reactor: Reactor) -> None:
    # The inner shell ends, so that its background process is an orphan while the child still waits for its result.
    second = reactor.start(shell("sh -c '(sleep 0.6; echo late) &'; exec sleep 1"), env=ENV, deadline_s=10)
    time.sleep(0.2)
    run(reactor, shell("sleep 60 &"))
    assert reactor.wait(second).stdout == b"late\n"


def test_closing_kills_everything_and_may_be_repeated() -> None:
    reactor = Reactor()
    child = reactor.start(["/bin/sleep", "60"], env=ENV, deadline_s=60)
    server = reactor.serve(ECHO_SERVER, env=ENV)
    reactor.close()
    reactor.close()
    assert is_gone(child.pid)
    assert is_gone(server.pid)
    with pytest.raises(RuntimeError, match="closed"):
        reactor.start(["/bin/true"], env=ENV, deadline_s=1)


def test_when_a_worker_is_killed_its_engine_and_its_server_are_gone(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {ROOT!r})
from diffcheck.process import Reactor
with Reactor() as reactor:
    server = reactor.serve(["/bin/sleep", "60"], env={{}})
    child = reactor.start(["/bin/sleep", "60"], env={{}}, deadline_s=60)
    print(server.pid, child.pid, flush=True)
    reactor.wait(child)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path) as worker:
        assert worker.stdout is not None
        pids = [int(word) for word in worker.stdout.readline().split()]
        assert len(pids) == 2
        assert not any(is_gone(pid) for pid in pids)
        worker.kill()
        assert until(lambda: all(is_gone(pid) for pid in pids), 2)


def test_a_process_exits_when_its_parent_is_already_gone() -> None:
    code = f"import sys; sys.path.insert(0, {ROOT!r}); from diffcheck.process import die_with_parent; die_with_parent(1 << 22); print('no')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 127
    assert done.stdout == b""


# Servers.


def test_a_server_answers_each_message(reactor: Reactor) -> None:
    server = reactor.serve(ECHO_SERVER, env=ENV)
    for message in (b"", b"hello", os.urandom(3 * MIB)):
        server.send(message, 10)
        reply = server.receive()
        assert isinstance(reply, Reply)
        assert reply.message == message
    assert server.alive
    ended = server.stop()
    assert ended.exit_code == 0
    assert ended.stderr == b"a stray print\n"
    assert not server.alive


def test_a_server_that_hangs_is_killed_at_its_message_s_deadline(reactor: Reactor) -> None:
    server = reactor.serve(ECHO_SERVER, env=ENV)
    server.send(b"ready?", 10)
    assert isinstance(server.receive(), Reply)
    server.send(b"sleep 60", 0.3)
    ended = server.receive()
    assert isinstance(ended, Ended)
    assert ended.timed_out
    server.send(b"next", 1)
    assert server.receive() is ended


def test_a_server_that_dies_tells_how(reactor: Reactor) -> None:
    server = reactor.serve(ECHO_SERVER, env=ENV)
    server.send(b"die", 10)
    ended = server.receive()
    assert isinstance(ended, Ended)
    assert (ended.exit_code, ended.garbage) == (7, "")


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (rb"\xff\xff\xff\xff", "more than the 1000"),
        (rb"\1\0\0\0xMORE", "more than one message"),
        (rb"\1\0\0\0x", "not asked for"),
    ],
)
def test_a_server_that_talks_garbage_is_killed_for_it(reactor: Reactor, output: bytes, reason: str) -> None:
    code = f"import os, time; os.write(1, b'{output.decode()}'); time.sleep(60)"
    server = reactor.serve(python(code), env=ENV, frame_bytes=1000)
    assert until(lambda: not server.alive, 5)
    ended = server.receive()
    assert isinstance(ended, Ended)
    assert reason in ended.garbage


def test_a_server_that_closes_its_output_is_not_waited_for(reactor: Reactor) -> None:
    server = reactor.serve(python("import os, time; os.close(1); time.sleep(60)"), env=ENV)
    server.send(b"hello", 30)
    ended = server.receive()
    assert isinstance(ended, Ended)
    assert ended.garbage == "it closed its output"
    assert ended.elapsed_ns < 5e9


def test_a_server_over_its_resident_size_is_killed(reactor: Reactor) -> None:
    server = reactor.serve(python("import time; x = bytearray(200 << 20); time.sleep(60)"), env=ENV, resident_bytes=100 * MIB)
    server.send(b"hello", 30)
    ended = server.receive()
    assert isinstance(ended, Ended)
    assert ended.over_memory


def test_a_server_that_does_not_stop_by_itself_is_killed(reactor: Reactor) -> None:
    server = reactor.serve(["/bin/sleep", "60"], env=ENV)
    assert server.stop(0.1).timed_out


def test_two_children_and_a_server_keep_their_own_deadlines(reactor: Reactor) -> None:
    server = reactor.serve(ECHO_SERVER, env=ENV)
    server.send(b"ready?", 10)
    assert isinstance(server.receive(), Reply)
    began = time.monotonic()
    server.send(b"sleep 60", 0.6)
    long = reactor.start(["/bin/sleep", "60"], env=ENV, deadline_s=0.9)
    short = reactor.start(["/bin/sleep", "60"], env=ENV, deadline_s=0.3)
    ends = [reactor.wait(long), server.receive(), reactor.wait(short)]
    assert time.monotonic() - began < 1.9
    assert all(isinstance(ended, Ended) and ended.timed_out for ended in ends)
    assert abs(ends[0].elapsed_ns / 1e9 - 0.9) < 0.25
    assert abs(ends[2].elapsed_ns / 1e9 - 0.3) < 0.25


def test_an_answer_that_came_in_time_is_taken_however_late_it_is_looked_at(reactor: Reactor) -> None:
    server = reactor.serve(ECHO_SERVER, env=ENV)
    server.send(b"hello", 2)
    run(reactor, ["/bin/sleep", "2.2"])
    assert isinstance(server.receive(), Reply)


def test_waiting_for_any_gives_what_is_ready(reactor: Reactor) -> None:
    slow = reactor.start(["/bin/sleep", "60"], env=ENV, deadline_s=60)
    quick = reactor.start(["/bin/true"], env=ENV, deadline_s=60)
    assert reactor.wait_any([slow, quick], 10) == [quick]
    assert reactor.wait_any([slow], 0.05) == []
    assert reactor.wait_any([], 10) == []


# Messages.


@pytest.mark.parametrize("message", [b"", b"x", os.urandom(65532), os.urandom(65533)])
def test_a_message_is_read_as_it_was_written(message: bytes, tmp_path: Path) -> None:
    with (tmp_path / "frames").open("w+b", buffering=0) as file:
        process.write_frame(file.fileno(), message)
        process.write_frame(file.fileno(), b"next")
        file.seek(0)
        assert process.read_frame(file.fileno()) == message
        assert process.read_frame(file.fileno()) == b"next"
        assert process.read_frame(file.fileno()) is None


@pytest.mark.parametrize("damaged", [b"\x05", b"\x05\0\0\0", b"\x05\0\0\0abc"])
def test_a_stream_that_ends_within_a_message_is_an_error(damaged: bytes, tmp_path: Path) -> None:
    (tmp_path / "frames").write_bytes(damaged)
    with (tmp_path / "frames").open("rb", buffering=0) as file, pytest.raises(EOFError):
        process.read_frame(file.fileno())


def test_a_message_over_the_cap_is_neither_written_nor_read(tmp_path: Path) -> None:
    (tmp_path / "frames").write_bytes(b"\xff\xff\xff\xff")
    with (tmp_path / "frames").open("r+b", buffering=0) as file:
        with pytest.raises(ValueError, match="4294967295"):
            process.read_frame(file.fileno())
        with pytest.raises(ValueError, match="11 bytes"):
            process.write_frame(file.fileno(), b"x" * 11, cap_bytes=10)


# Files and folders.


def test_a_private_folder_is_private_and_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"")
    with process.private_folder(tmp_path) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "link").symlink_to(outside)
        (folder / "loop").symlink_to("loop")
        os.mkfifo(folder / "fifo")
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "file").write_bytes(b"")
        (folder / "a" / "b" / "link").symlink_to(outside)
        (folder / "a" / "b").chmod(0)
        (folder / "a").chmod(0o500)
        folder.chmod(0o500)
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "precious").exists()


def test_a_private_folder_is_removed_however_deep_it_is(tmp_path: Path) -> None:
    with process.private_folder(tmp_path) as folder:
        at = os.open(folder, os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("d", dir_fd=at)
            at, before = os.open("d", os.O_RDONLY, dir_fd=at), at
            os.close(before)
        os.close(at)
    assert list(tmp_path.iterdir()) == []


def test_a_private_folder_that_was_replaced_by_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"")
    with process.private_folder(tmp_path) as folder:
        folder.rename(tmp_path / "moved")
        folder.symlink_to(outside)
    assert not folder.is_symlink()
    assert (outside / "precious").exists()


def test_a_private_folder_is_removed_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with process.private_folder(tmp_path) as folder:
            (folder / "file").write_bytes(b"")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_output_file_is_read_only_if_it_is_a_regular_one_within_the_cap(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("good")
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    assert process.read_output_file(tmp_path / "good", 5) == b"12345"
    assert process.read_output_file(tmp_path / "good", 4) == Unreadable("larger than 4 bytes")
    assert process.read_output_file(tmp_path / "sparse", 5) == Unreadable("larger than 5 bytes")
    assert process.read_output_file(tmp_path / "link", 5) == Unreadable("a symbolic link")
    assert process.read_output_file(tmp_path / "fifo", 5) == Unreadable("not a regular file")
    assert process.read_output_file(tmp_path, 5) == Unreadable("not a regular file")
    assert process.read_output_file(tmp_path / "none", 5) == Unreadable("missing")
    assert process.read_output_file("/dev/zero", 5) == Unreadable("not a regular file")
    # The kernel gives its files as empty and regular; the cap holds for what is read as well.
    assert process.read_output_file("/proc/self/environ", 5) == Unreadable("larger than 5 bytes")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 250)
    target.write_bytes(b"old")
    process.write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_writing_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    process.write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    process.write_atomically("/dev/null", b"new")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    (tmp_path / "null").symlink_to("/dev/null")
    process.write_atomically(tmp_path / "null", b"new")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.json"
    target.write_bytes(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportError, match="the disk is full") as caught:
        process.write_atomically(target, b"new")
    assert caught.value.hint
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_a_sentence_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no such folder"):
        process.write_atomically(tmp_path / "none" / "report.json", b"")
    with pytest.raises(ReportError, match="it is a folder"):
        process.write_atomically(tmp_path, b"")
    assert list(tmp_path.iterdir()) == []
    assert [path for path in tmp_path.parent.iterdir() if path.suffix == ".tmp"] == []


# Memory.


def test_available_memory_is_the_least_of_machine_and_groups(tmp_path: Path) -> None:
    proc, group = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert process.available_memory_bytes(proc, group) == 8000 * 1024
    (proc / "self" / "cgroup").write_text("4:cpu,memory:/job\n0::/outer/inner\n")
    inner = group / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("5\n")
    (group / "outer" / "memory.max").write_text("5000000\n")
    (group / "outer" / "memory.current").write_text("2000000\n")
    (group / "outer" / "memory.stat").write_text("anon 1\ninactive_file 500000\n")
    assert process.available_memory_bytes(proc, group) == 3_500_000
    # Version 1 in a container: the path is the host's, the limit at the mount's root.
    (group / "memory").mkdir()
    (group / "memory" / "memory.limit_in_bytes").write_text("1000\n")
    (group / "memory" / "memory.usage_in_bytes").write_text("4000\n")
    assert process.available_memory_bytes(proc, group) == 0


def test_this_machine_has_memory() -> None:
    assert process.available_memory_bytes() > MIB
