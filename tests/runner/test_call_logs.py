"""Faults before a call of an import and at a throw, planted in the program that an engine is given: what a capsule pass reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from diffcheck.backend.contract import Backend, Host, RunLimits
from diffcheck.compare.findings import Findings
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner.passes.capsule_pass import CapsulePass
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.passes.streams.window_search import RunBudget
from diffcheck.verdict import Divergence, PassReport
from diffcheck_backends import wasmtime
from tests.capsule.helpers import capsule

LOG = """(module (import "env" "log" (func $log (param i32 f64))) (import "env" "flush" (func $flush))
  (func (export "twice") (call $log (i32.const 1) (f64.const 0.5)) (call $flush)
    (call $log (i32.add (i32.const 7) (i32.const 5)) (f64.const -0)))
  (func (export "none")))"""
FLUSHED = """(module (import "env" "a" (func $a)) (import "env" "b" (func $b (param i64)))
  (func (export "r") (call $a) (call $b (i64.const -1)) (call $a)))"""
ONE_MORE = """(module (import "env" "a" (func $a (param i32)))
  (func (export "r") (local $n i32) (loop $l (call $a (local.get $n))
    (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3))))))"""
PATH = """(module
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 64) "the quick brown fox.txt")
  (func (export "r") (i32.store8 (i32.const 84) (i32.add (i32.const 60) (i32.const 5)))
    (drop (call $unlink (i32.const 3) (i32.const 64) (i32.const 23))) (i32.store8 (i32.const 84) (i32.const 0))))"""
THROW = """(module (tag $a (export "a") (param i32)) (tag $b (export "b") (param i32))
  (func (export "r") (throw $a (i32.add (i32.const 60) (i32.const 5)))))"""
LONG = """(module (import "env" "a" (func $a (param i32)))
  (func (export "r") (local $n i32) (loop $l (call $a (i32.add (i32.const 0) (select (i32.const 1) (i32.const 0) (i32.eq (local.get $n) (i32.const {at})))))
    (br_if $l (i32.lt_u (local.tee $n (i32.sub (local.get $n) (i32.const -1))) (i32.const {n}))))))"""


@pytest.fixture
def engine() -> Iterator[Backend]:
    backend = wasmtime.create(None, {})
    yield backend
    backend.close()


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """An edit of the one place in a program where ``old`` stands."""

    def edit(wasm: bytes) -> bytes:
        assert wasm.count(old) == 1
        return wasm.replace(old, new)

    return edit


def report(engine: Backend, host: Host, text: str, edit: Callable[[bytes], bytes] | None, *, words: bool) -> PassReport:
    made = capsule(text)
    subject = FaultyBackend(engine, Fault("", "", Expected(), edit=edit), words=words)
    oracle = CapsuleSide(engine, made, RunLimits(), host, whole=True)
    return CapsulePass(oracle, CapsuleSide(subject, made, RunLimits(), host), Findings(), RunBudget(24), 9).report()


def first(engine: Backend, host: Host, text: str, edit: Callable[[bytes], bytes], *, words: bool) -> Divergence:
    found = report(engine, host, text, edit, words=words)
    assert found.verdict == "diverge"
    return found.divergences[0]


SEEN = [
    (LOG, "4107 4105 6a", "4107 4105 6b", "call 3 of an import", "env.log(12, -0.0)", "env.log(2, -0.0)"),
    (FLUSHED, "1000 427f 1001", "427f 1001 1000", "call 1 of an import", "env.a()", "env.b(-1)"),
    (ONE_MORE, "4103 49 0d00", "4104 49 0d00", "call 4 of an import", "no call", "env.a(3)"),
    (
        PATH, "413c 4105 6a", "413c 4105 6b", "call 1 of an import",
        'wasi_snapshot_preview1.path_unlink_file(3, 64, 23) with "quick brown fox.Axt" from byte 4',
        'wasi_snapshot_preview1.path_unlink_file(3, 64, 23) with "quick brown fox.7xt" from byte 4',
    ),
]  # fmt: skip


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize(("text", "old", "new", "item", "oracle", "subject"), SEEN, ids=["argument", "order", "one more", "path"])
def test_the_first_call_that_differs_is_shown(
    engine: Backend, host: Host, text: str, old: str, new: str, item: str, oracle: str, subject: str, *, words: bool
) -> None:
    found = first(engine, host, text, replaced(bytes.fromhex(old), bytes.fromhex(new)), words=words)
    assert (found.kind, found.where.item, found.oracle, found.subject) == ("stub calls", item, oracle, subject)


OBJECT = """(module (type $s (struct (field i32) (field (ref null $s)))) (import "env" "f" (func $f (param i32 anyref)))
  (func (export "r") (call $f (i32.const 9) (struct.new $s (i32.const 1)
    (struct.new $s (i32.add (i32.const 60) (i32.const 5)) (ref.null $s))))))"""


@pytest.mark.parametrize("words", [False, True])
def test_an_object_passed_with_other_contents_diverges(engine: Backend, host: Host, *, words: bool) -> None:
    found = first(engine, host, OBJECT, replaced(bytes.fromhex("413c 4105 6a"), bytes.fromhex("413c 4105 6b")), words=words)
    assert (found.kind, found.where.row, found.where.item) == ("stub calls", "r", "call 1 of an import")
    assert found.oracle.startswith("env.f(9, an object with the contents 0x")
    assert found.oracle != found.subject


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("at", [119, 5_000, 60_000])
def test_a_call_far_into_a_row_is_found(engine: Backend, host: Host, at: int, *, words: bool) -> None:
    text = LONG.format(at=at, n=60_001)
    found = first(engine, host, text, replaced(b"\x1b\x6a", b"\x1b\x6b"), words=words)
    assert (found.where.item, found.oracle, found.subject) == (f"call {at + 1} of an import", "env.a(1)", "env.a(-1)")


def test_a_call_behind_the_end_of_the_log_is_a_divergence_without_arguments(engine: Backend, host: Host) -> None:
    text = LONG.format(at=100_000, n=100_001)
    found = first(engine, host, text, replaced(b"\x1b\x6a", b"\x1b\x6b"), words=False)
    assert (found.kind, found.where.item) == ("stub calls", "calls of imports after the first 65535")
    assert found.oracle.startswith("digest ")
    assert found.oracle != found.subject


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize(
    ("old", "new", "oracle", "subject"),
    [
        ("6a 0800", "6a 0801", "threw tag 0 a (i32 65)", "threw tag 1 b (i32 65)"),
        ("6a 0800", "6b 0800", "threw tag 0 a (i32 65)", "threw tag 0 a (i32 55)"),
    ],
    ids=["tag", "payload"],
)
def test_an_exception_with_another_tag_or_payload_diverges(
    engine: Backend, host: Host, old: str, new: str, oracle: str, subject: str, *, words: bool
) -> None:
    found = first(engine, host, THROW, replaced(bytes.fromhex(old), bytes.fromhex(new)), words=words)
    assert (found.kind, found.where.row, found.oracle, found.subject) == ("outcome", "r", oracle, subject)


POINTED: Final = "memory that the arguments of imports without a functional stub may point to"


@pytest.mark.parametrize(("text", "listed"), [(LOG, (POINTED,)), (FLUSHED, ()), (ONE_MORE, (POINTED,)), (PATH, ()), (THROW, ())])
def test_without_a_fault_all_agree_and_no_second_run_is_needed(
    engine: Backend, host: Host, text: str, listed: tuple[str, ...]
) -> None:
    found = report(engine, host, text, None, words=True)
    assert (found.verdict, found.agreement.not_compared) == ("agree", listed)
    assert found.subject is not None
    assert found.subject.cost.executions == 1


LENGTH = """(module (import "wasi_snapshot_preview1" "path_unlink_file" (func $f (param i32 i32 i32) (result i32)))
  (memory (export "memory") 2) (func (export "r") (drop (call $f (i32.const 3) (i32.const 0) (i32.const {})))))"""
GIVEN = """(module (import "env" "f" (func $f (param anyref))) (func (export "r") (call $f (ref.null any))))"""


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (LENGTH.format(65_528), ()),
        (LENGTH.format(65_529), ("of the bytes passed to an import in one call, those after the first 65,528",)),
        (GIVEN, ()),
    ],
    ids=["all bytes", "more bytes", "reference"],
)
def test_what_of_a_call_is_not_compared_is_listed(engine: Backend, host: Host, text: str, what: tuple[str, ...]) -> None:
    found = report(engine, host, text, None, words=False)
    assert (found.verdict, found.agreement.not_compared) == ("agree", what)
