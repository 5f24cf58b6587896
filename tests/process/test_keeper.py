"""diffcheck's own programs as children, forked and executed: their environment, their end, and the end of their descendants."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("keepers are for Linux", allow_module_level=True)

ROOT = Path(__file__).parents[2]
# The parent: without a second thread it forks, with one it starts a program.
PARENT = """
import json, signal, sys, threading
{thread}
from diffcheck import process
signal.signal(signal.SIGTERM, lambda *_: None)
held = open(sys.argv[1], "w")
with process.Reactor() as reactor:
    server = reactor.serve_own("tests.doubles.kept_program", with_keeper={with_keeper})
    for line in sys.stdin:
        server.send(line.encode(), 20)
        reply = server.receive()
        if isinstance(reply, process.Reply):
            print(json.dumps(reply.message.decode()), flush=True)
        else:
            print(json.dumps([reply.exit_code, reply.signal, reply.stderr.decode()[-300:], reply.lingering]), flush=True)
"""
THREAD = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
WAYS = pytest.mark.parametrize("thread", ["", THREAD], ids=["forked", "executed"])


class Parent:
    """A process with one program below a keeper."""

    def __init__(self, tmp_path: Path, thread: str, *, with_keeper: bool = True) -> None:
        code = PARENT.format(thread=thread, with_keeper=with_keeper)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "AWS_SECRET_ACCESS_KEY": "secret"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "held")],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, words: str) -> str | list[object]:
        """Return the program's answer, or its end: exit code, signal, stderr, lingering."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        return msgspec.json.decode(self.process.stdout.readline())

    def state(self) -> dict[str, object]:
        return msgspec.json.decode(self.ask("state"))

    def engine(self) -> list[int]:
        pids = [int(pid) for pid in self.ask("engine").split()]
        assert len(pids) == 3
        assert all(map(runs, pids))
        return pids


@pytest.fixture
def parent(tmp_path):
    made = []

    def make(thread: str, **options: bool) -> Parent:
        made.append(Parent(tmp_path, thread, **options))
        return made[-1]

    yield make
    for each in made:
        each.process.kill()
        each.process.communicate()


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def gone(pids: list[int], seconds: float = 2.0) -> bool:
    until = time.monotonic() + seconds
    while any(map(runs, pids)):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def ancestor(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


@WAYS
def test_a_program_below_a_keeper_starts_like_a_new_process(parent, thread):
    running = parent(thread)
    state = running.state()
    assert state["has_keeper"] is True
    assert "AWS_SECRET_ACCESS_KEY" not in state["environment"]
    assert state["open"] == ["anon_inode", "pipe", "pipe"]  # its selector and its channel, no file of its parent
    assert (state["sigint"], state["sigterm"], state["blocked"]) == (True, True, 0)
    assert state["name"] == "kept_program"
    assert ancestor(state["pid"]) != running.process.pid
    assert ancestor(ancestor(state["pid"])) == running.process.pid


def test_a_program_without_a_keeper_is_the_parents_own_child(parent):
    running = parent("", with_keeper=False)
    state = running.state()
    assert state["has_keeper"] is False
    assert ancestor(state["pid"]) == running.process.pid


@WAYS
@pytest.mark.parametrize("victim", ["program", "keeper", "parent"])
def test_descendants_end_whichever_process_is_killed(parent, thread, victim):
    running = parent(thread)
    program = running.state()["pid"]
    keeper = ancestor(program)
    pids = running.engine()
    os.kill({"program": program, "keeper": keeper, "parent": running.process.pid}[victim], signal.SIGKILL)
    assert gone([program, keeper])
    if victim != "parent":
        assert running.ask("state")[:2] == [None, signal.SIGKILL]
    assert gone(pids)


@WAYS
def test_a_keeper_ends_like_its_program(parent, thread):
    assert parent(thread).ask("exit 7")[:2] == [7, None]
    assert parent(thread).ask(f"signal {int(signal.SIGSEGV)}")[:2] == [None, signal.SIGSEGV]
    code, _, said, _ = parent(thread).ask("raise")
    assert code == 1
    assert said.strip().splitlines()[-1] == "ValueError: requested"


@WAYS
def test_a_limit_of_the_address_space_holds_below_a_keeper(parent, thread):
    assert "MemoryError" in parent(thread).ask("limit")


@WAYS
def test_a_program_that_ends_by_itself_leaves_nothing(parent, thread):
    running = parent(thread)
    keeper = ancestor(running.state()["pid"])
    pids = running.engine()
    assert running.ask("exit 0")[:2] == [0, None]
    assert gone([keeper, *pids])
