"""Reducing: the same divergence in far less code, whatever cuts it short, and never another one."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from diffcheck.triage.reduce.dead_code import without_dead_code
from diffcheck.triage.reduce.delta_debugging import UNLIMITED, Subsets
from diffcheck.triage.reduce.inlining import inlinings
from diffcheck.triage.reduce.segments import trimmed, without_nulls
from diffcheck.wasm.draft import draft
from diffcheck.wasm.module import read
from tests.triage.reduction_trials import planted, trial

CORPUS = Path(__file__).parents[2] / "corpus"


@pytest.mark.parametrize(
    ("program", "kind", "seed"),
    [
        ("03-arithmetic/float_edges", "conversion", 3),
        ("04-memory/growth", "memory.grow", 1),
    ],
)
def test_a_planted_fault_is_kept_in_a_twentieth_of_the_code(program: str, kind: str, seed: int) -> None:
    path = str(CORPUS / f"{program}.wasm")
    rng = random.Random(seed)
    for _ in range(20):
        fault = planted(rng, path, kind)
        done = trial(path, fault, budget_s=120.0) if fault is not None else None
        if done is not None:
            break
    assert done is not None, "no such fault shows"
    assert done.same
    assert done.valid
    assert len(done.rows) == 1
    assert done.share <= 0.05, done


def test_tidying_removes_what_never_does_anything() -> None:
    # (local i32 i64) i32.const 1, drop; local.get 0, local.tee 1, drop; return; i32.const 5, drop; end
    body = b"\x02\x01\x7f\x01\x7e" + b"\x41\x01\x1a" + b"\x20\x00\x22\x01\x1a" + b"\x0f" + b"\x41\x05\x1a" + b"\x0b"
    assert without_dead_code(body, 1) == b"\x00\x0f\x0b"


def test_tidying_keeps_the_code_behind_a_block_that_ends_by_a_jump() -> None:
    # block, br 0, i32.const 1, drop, end; i32.const 7; end
    body = b"\x00" + b"\x02\x40\x0c\x00\x41\x01\x1a\x0b" + b"\x41\x07\x0b"
    assert without_dead_code(body, 0) == b"\x00" + b"\x02\x40\x0c\x00\x0b" + b"\x41\x07\x0b"


def test_tidying_knows_blocks_in_dead_code() -> None:
    # block, br 0, block, end, i32.const 1, drop, end; end
    body = b"\x00" + b"\x02\x40\x0c\x00\x02\x40\x0b\x41\x01\x1a\x0b" + b"\x0b"
    assert without_dead_code(body, 0) == b"\x00" + b"\x02\x40\x0c\x00\x0b" + b"\x0b"


def test_tidying_takes_a_local_out_that_is_set_and_got_once() -> None:
    # (local i32) i32.const 7, local.tee 0, drop, local.get 0, end
    assert without_dead_code(b"\x01\x01\x7f" + b"\x41\x07\x22\x00\x1a\x20\x00" + b"\x0b", 0) == b"\x00" + b"\x41\x07" + b"\x0b"


def test_tidying_takes_a_local_out_that_only_carries_a_value() -> None:
    # (local i32) i32.const 7, local.set 0, local.get 0, end
    assert without_dead_code(b"\x01\x01\x7f" + b"\x41\x07\x21\x00\x20\x00" + b"\x0b", 0) == b"\x00" + b"\x41\x07" + b"\x0b"


CALLS = """
(module
  (func $twice (param i32) (result i32) (local i32)
    (local.set 1 (i32.add (local.get 1) (local.get 0)))
    (i32.add (local.get 1) (local.get 0)))
  (func (export "f") (param i32) (result i32) (local i32)
    (loop $again
      (local.set 1 (i32.add (local.get 1) (call $twice (local.get 0))))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1)))
"""


def test_an_inlined_call_begins_with_zeros_each_time() -> None:
    source = draft(bytes(wasmtime.wat2wasm(CALLS)))
    (inlined,) = [each.write() for each in inlinings(source)]
    store = wasmtime.Store()
    one, other = (wasmtime.Instance(store, wasmtime.Module(store.engine, each), []) for each in (source.write(), inlined))
    assert other.exports(store)["f"](store, 5) == one.exports(store)["f"](store, 5) == 30
    assert len(read(inlined).bodies) == 1


class _Asked:
    """A checker that says yes where nothing that is needed is gone, and no more than ``most``."""

    def __init__(self, needed: set[int], most: int = 1 << 30) -> None:
        self.needed, self.most, self.asked = needed, most, 0

    def shows(self, gone: list[int]) -> bool:
        self.asked += 1
        return not self.needed & set(gone) and len(gone) <= self.most

    def first(self, questions: Iterable[list[int]]) -> int | None:
        return next((at for at, gone in enumerate(questions) if self.shows(gone)), None)


@given(st.integers(0, 60).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(0, max(0, count - 1))))))
def test_all_goes_that_is_not_needed_and_nothing_else(drawn: tuple[int, set[int]]) -> None:
    count, needed = drawn
    needed &= set(range(count))
    asked = _Asked(needed)
    assert sorted(_largest(asked, count)) == sorted(set(range(count)) - needed)
    assert asked.asked <= 4 * count + 2


def test_where_patience_ends_what_was_found_counts() -> None:
    asked = _Asked(set(range(100)) - {3})
    found = _largest(asked, 100, 8)
    assert found == [3]
    assert asked.asked < 60


@pytest.mark.parametrize("count, limit", [(4104, 4093), (5000, 4096), (300, 290)])
def test_where_it_is_the_number_that_counts_as_many_go_as_may(count: int, limit: int) -> None:
    """An engine that takes no more than so many of something: any of them may go, until there is one more than that left."""
    asked = _Asked(set(), count - limit - 1)
    found = _largest(asked, count, 24)
    assert count - len(found) == limit + 1
    assert asked.asked < 160


def _largest(asked: _Asked, count: int, patience: int = UNLIMITED) -> list[int]:
    return Subsets(asked.first, lambda _: None).largest(range(count), patience)


@pytest.mark.parametrize("offset", ["(global.get $base)", "(i32.const 16)"])
def test_a_segment_begins_behind_its_zeros(offset: str) -> None:
    text = f'(module (memory (export "m") 1) (global $base i32 (i32.const 16)) (data {offset} "\\00\\00ab\\00c"))'
    source = draft(bytes(wasmtime.wat2wasm(text)))
    less = trimmed(source, 0)
    assert less is not None
    assert less.data[0] is not None
    assert less.data[0].content == b"ab\0c"
    assert trimmed(less, 0) is None
    store = wasmtime.Store()
    memory = wasmtime.Instance(store, wasmtime.Module(store.engine, less.write()), []).exports(store)["m"]
    assert bytes(memory.read(store, 0, 24)) == bytes(18) + b"ab\0c" + bytes(2)


def test_an_element_segment_begins_behind_its_nulls() -> None:
    text = """(module (table 4 funcref) (elem (i32.const 1) funcref (ref.null func) (ref.func $seven))
      (func $seven (result i32) (i32.const 7)) (func (export "f") (result i32) (call_indirect (result i32) (i32.const 2))))"""
    less = without_nulls(draft(bytes(wasmtime.wat2wasm(text))), 0)
    assert less is not None
    assert less.elements[0] is not None
    assert len(less.elements[0].items) == 1
    store = wasmtime.Store()
    assert wasmtime.Instance(store, wasmtime.Module(store.engine, less.write()), []).exports(store)["f"](store) == 7
