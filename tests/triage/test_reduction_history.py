"""ReductionHistory of a reduction: the latest one that shows something is found, whatever had to be dropped."""

from __future__ import annotations

import pytest

from diffcheck.triage.reduce import reduction_history
from diffcheck.triage.reduce.reduction_history import ReductionHistory


@pytest.mark.parametrize("last", [0, 1, 36, 98])
def test_the_last_stage_that_shows_it_comes_last(last: int) -> None:
    made = ReductionHistory(bytes([at]) for at in range(100))
    made.add(bytes([99]))  # the same again is no other stage
    asked: list[int] = []

    def show(wasm: bytes) -> int | None:
        asked.append(wasm[0])
        return wasm[0] if wasm[0] <= last else None

    assert list(made.search(show))[-1] == last
    assert len(asked) <= 8
    assert 99 not in asked, "the smallest one was asked before"


def test_nothing_comes_where_the_first_stage_does_not_show_it() -> None:
    assert list(ReductionHistory([b"a", b"b", b"c"]).search(lambda _: None)) == []
    assert list(ReductionHistory([b"a"]).search(lambda wasm: wasm)) == []


def test_the_first_and_the_last_are_kept_however_large_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction_history, "_BYTES", 1000)
    made = ReductionHistory()
    for at in range(200):
        made.add(bytes([at]) * 100)
    assert made.modules[0][0] == 0
    assert made.modules[-1][0] == 199
    assert sum(map(len, made.modules)) <= 1000
    assert len(made.modules) > 3
