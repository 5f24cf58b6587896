"""The first row that fails is found by runs of fewer rows, and no run is needed for what is known."""

from __future__ import annotations

import pytest

from diffcheck.runner.passes.trap_bisection import first_failing_row


@pytest.mark.parametrize("guesses", [(), (6, 7), (3, 4), (99, -1)])
@pytest.mark.parametrize("row", range(2, 10))
def test_the_first_row_that_fails_is_found_with_the_failure_of_the_shortest_run(row, guesses):
    ranges = []

    def fails(first, last):
        ranges.append((first, last))
        return f"row {row} in a run to {last}" if last > row else None

    expected = f"row {row} in a run to {row + 1}" if row < 9 else None  # of all rows it is known
    assert first_failing_row(fails, 2, 10, guesses) == (row, expected)
    assert len(set(ranges)) == len(ranges) <= 5
    assert all(2 == first < last < 10 for first, last in ranges)


def test_a_right_guess_takes_two_runs():
    ranges = []

    def fails(first, last):
        ranges.append(last)
        return last > 700

    assert first_failing_row(fails, 0, 1000, (700, 701)) == (700, True)
    assert ranges == [700, 701]
