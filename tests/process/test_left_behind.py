"""What a child leaves behind, and what is left of it when the process that started it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diffcheck.process import Reactor, orphans

if TYPE_CHECKING:
    pass

from .children import ECHO_SERVER, ENV, ROOT, is_gone, python, run, shell, until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and orphans are the Linux kernel's")


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
