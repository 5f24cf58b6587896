"""Finding where two byte ranges differ through windows of 242 words, against every way of differing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffcheck.capsule.layout import VIEW_BYTES, VIEW_WORDS
from diffcheck.runner.passes.streams.window_search import Read, RunBudget, local, locate

LENGTHS = (8, 64, VIEW_BYTES - 8, VIEW_BYTES, VIEW_BYTES + 8, 65536, VIEW_WORDS * VIEW_BYTES, VIEW_WORDS * VIEW_BYTES + 8, 1 << 20)


class Counted:
    """A reader that counts its runs, and may fail from one of them on."""

    def __init__(self, data: bytes, fails_at: int = 1 << 30) -> None:
        self.read, self.runs, self.fails_at = local(data), 0, fails_at

    def __call__(self, mode: int, offset: int, step: int) -> bytes | None:
        self.runs += 1
        return None if self.runs > self.fails_at else self.read(mode, offset, step)


def changed(data: bytes, places: list[int]) -> bytes:
    other = bytearray(data)
    for place in places:
        other[place] ^= 0xFF
    return bytes(other)


def found(one: bytes, other: bytes, budget: int, offset: int = 0, length: int | None = None) -> tuple[bytes, int]:
    """The oracle's bytes with every window written over them, and what stays unlocated; windows are checked."""
    length = len(one) - offset if length is None else length
    subject = Counted(other)
    spent = RunBudget(budget)
    result = locate(local(one), subject, offset, length, spent)
    assert subject.runs <= budget
    made = bytearray(one)
    for window in result.windows:
        end = window.offset + len(window.subject)
        assert offset <= window.offset < end <= offset + length
        assert len(window.oracle) == len(window.subject) <= VIEW_BYTES
        assert window.oracle == one[window.offset : end]
        assert window.subject == other[window.offset : end]
        made[window.offset : end] = window.subject
    return bytes(made), result.unlocated


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(LENGTHS), st.integers(0, 1 << 30), st.integers(1, 5))
def test_every_differing_byte_is_found_within_the_budget(length: int, seed: int, n_places: int) -> None:
    rng = random.Random(seed)
    one = rng.randbytes(length)
    other = changed(one, [rng.randrange(length) for _ in range(n_places)])
    assert found(one, other, 24) == (other, 0)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("place", [0, -1])
def test_the_first_and_the_last_byte_are_found(length: int, place: int) -> None:
    one = bytes(length)
    other = changed(one, [place])
    assert found(one, other, 4) == (other, 0)


def test_a_page_takes_one_run_of_digests_and_one_of_bytes() -> None:
    one = bytes(65536)
    subject = Counted(changed(one, [40_000]))
    assert len(locate(local(one), subject, 0, len(one), RunBudget(24)).windows) == 1
    assert subject.runs == 2


@pytest.mark.parametrize("length", LENGTHS)
def test_equal_ranges_have_no_differing_window(length: int) -> None:
    one = random.Random(length).randbytes(length)
    assert found(one, one, 24) == (one, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(0, 6))
def test_what_the_budget_does_not_reach_is_unlocated(seed: int, budget: int) -> None:
    rng = random.Random(seed)
    one = rng.randbytes(1 << 18)
    other = changed(one, [rng.randrange(len(one)) for _ in range(12)])
    made, unlocated = found(one, other, budget)
    assert made == other or unlocated > 0


def test_ranges_that_differ_everywhere_are_unlocated_but_for_the_budget() -> None:
    one = bytes(1 << 18)
    made, unlocated = found(one, b"\xff" * len(one), 10)
    assert unlocated == len(one) - made.count(b"\xff")


@pytest.mark.parametrize("fails_at", [0, 1])
def test_a_run_that_fails_leaves_its_range_unlocated(fails_at: int) -> None:
    one = bytes(65536)
    subject: Read = Counted(changed(one, [9]), fails_at)
    result = locate(local(one), subject, 0, len(one), RunBudget(24))
    assert result.windows == ()
    assert result.unlocated > 0


@pytest.mark.parametrize("offset, length", [(0, 0), (16, -8), (800, 4096), (8, 65536 - 16)])
def test_only_the_range_that_was_asked_for_is_looked_at(offset: int, length: int) -> None:
    one = bytes(65536)
    other = changed(one, list(range(0, 65536, 512)))
    made, _ = found(one, other, 1000, offset, length)
    end = offset + max(length, 0)
    assert made == one[:offset] + other[offset:end] + one[end:]


def test_a_budget_is_spent_run_by_run() -> None:
    budget = RunBudget(2)
    assert [budget.take() for _ in range(4)] == [True, True, False, False]
