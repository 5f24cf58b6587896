"""A harness's answer may be anything: each way of being wrong is reported as one, and none is an exception."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from diffcheck.backend.contract import Execution, Host, Program, RunLimits
from diffcheck.capsule.layout import FIRST_SLOT, SLOTS
from diffcheck.observation import Crashed, HarnessFailed, OutOfMemory, Returned, TimedOut
from diffcheck.testing import programs
from diffcheck.testing.test_backend import assembled, children
from diffcheck_backends import harness, harness_protocol, kilnd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

V1 = '{"schema":"witness-harness-v1","counters":'
LIMITS = RunLimits(deadline_s=10.0)

HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty answer"),
    "spaces": (b" \n\t ", "empty answer"),
    "half": (b'{"schema":"witness-harness-v1","counters":{"0":1', "incomplete answer"),
    "half a text": (b'{"schema":"witness-harn', "incomplete answer"),
    "half, ending in a brace": (b'{"schema":"witness-harness-v1","counters":{"0":1}', "incomplete answer"),
    "no JSON": (b"{counters}", "answer is not JSON"),
    "two documents": (b"{} {}", "answer is not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "answer is not JSON"),
    "not UTF-8": (V1.encode() + b'{"\xff":1}}', "answer is not UTF-8"),
    "NUL": (b"\0" * 100, "answer is not JSON"),
    "too deep": (b"[" * 200_000 + b"]" * 200_000, "answer nested too deep"),
    "deep within": (b'{"schema":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "answer nested too deep"),
    "a list": (b"[]", "answer has a different schema"),
    "null": (b"null", "answer has a different schema"),
    "no schema": (b'{"counters":{}}', "answer has a different schema"),
    "version 3": (b'{"schema":"witness-harness-v3","counters":{}}', "answer has a different schema"),
    "schema is a number": (b'{"schema":1,"counters":{}}', "answer has a different schema"),
    "schema is a list": (b'{"schema":[],"counters":{}}', "answer has a different schema"),
    "no counters": (b'{"schema":"witness-harness-v1"}', "answer without counters"),
    "counters are a list": (V1.encode() + b"[]}", "answer without counters"),
    "counters twice": (V1.encode() + b'{},"counters":{}}', "duplicate name in the answer"),
    "an id twice": (V1.encode() + b'{"1":1,"1":2}}', "duplicate name in the answer"),
    "NaN": (V1.encode() + b'{"1":NaN}}', "a number is not an integer"),
    "Infinity": (V1.encode() + b'{"1":-Infinity}}', "a number is not an integer"),
    "a float": (V1.encode() + b'{"1":1.0}}', "a number is not an integer"),
    "an exponent": (V1.encode() + b'{"1":1e3}}', "a number is not an integer"),
    "10^400": (V1.encode() + b'{"1":1' + b"0" * 400 + b"}}", "a number is out of range"),
    "10^9999": (V1.encode() + b'{"1":1' + b"0" * 9999 + b"}}", "a number is out of range"),
    "u64 + 1": (V1.encode() + b'{"1":18446744073709551616}}', "a number is out of range"),
    "i64 - 1": (V1.encode() + b'{"1":-9223372036854775809}}', "a number is out of range"),
    "true": (V1.encode() + b'{"1":true}}', "a counter is not an integer"),
    "null value": (V1.encode() + b'{"1":null}}', "a counter is not an integer"),
    "text value": (V1.encode() + b'{"1":"7"}}', "a counter is not an integer"),
    "object value": (V1.encode() + b'{"1":{}}}', "a counter is not an integer"),
    "a name": (V1.encode() + b'{"x":1}}', "a counter's name is not a u32"),
    "an empty name": (V1.encode() + b'{"":1}}', "a counter's name is not a u32"),
    "a negative name": (V1.encode() + b'{"-1":1}}', "a counter's name is not a u32"),
    "u32 + 1": (V1.encode() + b'{"4294967296":1}}', "a counter's name is not a u32"),
    "a padded name": (V1.encode() + b'{"01":1}}', "a counter's name is not a u32"),
    "a name with a line break": (V1.encode() + b'{"1\\n":1}}', "a counter's name is not a u32"),
    "Arabic digits": (V1.encode() + b'{"\\u0661":1}}', "a counter's name is not a u32"),
    "a surrogate": (V1.encode() + b'{"\\ud800":1}}', "a counter's name is not a u32"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_is_a_class_of_failure_with_words_that_can_be_shown(name: str) -> None:
    data, what = HOSTILE[name]
    with pytest.raises(harness_protocol.AnswerError) as raised:
        harness_protocol.parse(data)
    assert raised.value.outcome.what == what
    assert raised.value.outcome.detail.isprintable()
    assert len(raised.value.outcome.detail) <= 200
    raised.value.outcome.detail.encode()


@pytest.mark.parametrize("version", ["1", "2"])
def test_both_versions_are_taken_with_signed_and_unsigned_values(version: str) -> None:
    text = f'{{"rows":[],"schema":"witness-harness-v{version}","counters":{{"0":-1,"4294967295":18446744073709551615,"7":0}}}}'
    assert harness_protocol.parse(text.encode()) == {0: (1 << 64) - 1, 4294967295: (1 << 64) - 1, 7: 0}


def scripted(tmp_path: Path, body: str) -> harness.Harness:
    """An engine that does what ``body`` says with ``out``, the path of its answer."""
    script = tmp_path.parent / f"{tmp_path.name}-engine.py"
    script.write_text(f"import os, sys, time\nout = os.environ['WITNESS_OUTPUT']\n{body}\n")
    return harness.create(shlex.join([sys.executable, str(script)]), {})


def execute(engine: harness.Harness, host: Host, kind: str = "direct", limits: RunLimits = LIMITS) -> Execution:
    return engine.execute(Program(kind, b"\0asm\1\0\0\0"), limits, host)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body, what",
    [
        ("pass", "no answer"),
        ("os.mkdir(out)", "answer cannot be read"),
        ("os.symlink('/dev/null', out)", "answer cannot be read"),
        ("os.mkfifo(out)", "answer cannot be read"),
        ("os.truncate(os.open(out, os.O_CREAT | os.O_WRONLY), 60 << 20)", "answer is not JSON"),
        ("sys.exit(3)", "exited 3 without an answer"),
        ("open(out, 'w').write('{}'); sys.exit(3)", "exited 3 with an answer"),
        ("while True: os.write(1, b'x' * 65536)", "printed too much"),
    ],
)
def test_an_engine_that_does_not_answer_is_told_how(tmp_path: Path, host: Host, body: str, what: str) -> None:
    outcome = execute(scripted(tmp_path, body), host).outcome
    assert isinstance(outcome, HarnessFailed)
    assert outcome.what == what


def test_a_file_over_the_cap_cannot_be_written(tmp_path: Path, host: Host) -> None:
    outcome = execute(scripted(tmp_path, "os.truncate(os.open(out, os.O_CREAT | os.O_WRONLY), 1 << 32)"), host).outcome
    assert isinstance(outcome, HarnessFailed | Crashed)


def slots(count: int, first: int = FIRST_SLOT) -> str:
    return f"open(out, 'w').write('{V1}{{' + ','.join(f'\"{{{first} + k}}\":{{k}}' for k in range({count})) + '}}}}')"


def test_a_capsules_slots_come_out_in_order(tmp_path: Path, host: Host) -> None:
    execution = execute(scripted(tmp_path, slots(SLOTS)), host, "capsule")
    assert execution.outcome == Returned()
    assert execution.carried == b"".join(k.to_bytes(8, "little") for k in range(SLOTS))


@pytest.mark.parametrize(
    "body, what",
    [
        (slots(SLOTS - 1), "slots are missing"),
        (slots(SLOTS + 1), "counters that the capsule does not have"),
        (slots(SLOTS, FIRST_SLOT - 1), "slots are missing"),
        (slots(0), "slots are missing"),
    ],
)
def test_a_slot_too_few_or_too_many_is_a_failure(tmp_path: Path, host: Host, body: str, what: str) -> None:
    outcome = execute(scripted(tmp_path, body), host, "capsule").outcome
    assert isinstance(outcome, HarnessFailed)
    assert outcome.what == what


@pytest.mark.parametrize(
    "fault, outcome",
    [
        ("panic", Crashed),
        ("oom", OutOfMemory),
        ("crash", Crashed),
        ("no-answer", HarnessFailed),
        ("half", HarnessFailed),
        ("empty", HarnessFailed),
        ("link", HarnessFailed),
        ("flood", HarnessFailed),
        ("hang", TimedOut),
        ("fork", Returned),
    ],
)
def test_each_fault_of_the_stand_in_is_told_alike_by_both_adapters(
    standin_kilnd: Callable[..., Path], host: Host, fault: str, outcome: type
) -> None:
    path = standin_kilnd("--fault", fault, "--chatter")
    program, limits = Program("direct", assembled(programs.COUNTERS)), RunLimits(deadline_s=3.0)
    by_name = kilnd.create(str(path), {}).execute(program, limits, host)
    by_command = harness.create(shlex.quote(str(path)), {}).execute(program, limits, host)
    assert isinstance(by_name.outcome, outcome)
    if fault != "flood":  # how much was printed is not the same twice
        assert by_command.outcome == by_name.outcome
    assert children() == []


def test_a_lie_is_an_answer_like_any_other(standin_kilnd: Callable[..., Path], host: Host) -> None:
    program = Program("direct", assembled(programs.COUNTERS))
    counters = kilnd.create(str(standin_kilnd("--fault", "lie")), {}).execute(program, LIMITS, host).counters
    assert counters == {**programs.COUNTED, 0: 6}
