"""Servers that answer messages, and those that hang, die or lie; the messages themselves."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diffcheck import process
from diffcheck.process import ProcessResult, Reactor, Reply

if TYPE_CHECKING:
    pass

from .children import ECHO_SERVER, ENV, MIB, python, run, until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and orphans are the Linux kernel's")


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
    assert isinstance(ended, ProcessResult)
    assert ended.timed_out
    server.send(b"next", 1)
    assert server.receive() is ended


def test_a_server_that_dies_tells_how(reactor: Reactor) -> None:
    server = reactor.serve(ECHO_SERVER, env=ENV)
    server.send(b"die", 10)
    ended = server.receive()
    assert isinstance(ended, ProcessResult)
    assert (ended.exit_code, ended.garbage) == (7, "")


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (rb"\xff\xff\xff\xff", "exceeds the limit of 1000"),
        (rb"\1\0\0\0xMORE", "more than one message"),
        (rb"\1\0\0\0x", "unrequested"),
    ],
)
def test_a_server_that_talks_garbage_is_killed_for_it(reactor: Reactor, output: bytes, reason: str) -> None:
    code = f"import os, time; os.write(1, b'{output.decode()}'); time.sleep(60)"
    server = reactor.serve(python(code), env=ENV, frame_bytes=1000)
    assert until(lambda: not server.alive, 5)
    ended = server.receive()
    assert isinstance(ended, ProcessResult)
    assert reason in ended.garbage


def test_a_server_that_closes_its_output_is_not_waited_for(reactor: Reactor) -> None:
    server = reactor.serve(python("import os, time; os.close(1); time.sleep(60)"), env=ENV)
    server.send(b"hello", 30)
    ended = server.receive()
    assert isinstance(ended, ProcessResult)
    assert ended.garbage == "it closed its output"
    assert ended.elapsed_ns < 5e9


def test_a_server_over_its_resident_size_is_killed(reactor: Reactor) -> None:
    server = reactor.serve(python("import time; x = bytearray(200 << 20); time.sleep(60)"), env=ENV, resident_bytes=100 * MIB)
    server.send(b"hello", 30)
    ended = server.receive()
    assert isinstance(ended, ProcessResult)
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
    assert all(isinstance(ended, ProcessResult) and ended.timed_out for ended in ends)
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


@pytest.mark.parametrize("message", [b"", b"x", os.urandom(65532), os.urandom(65533)], ids=len)  # the workers of a run agree on ids
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
