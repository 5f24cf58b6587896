"""Memory pages whose digests differ: the words in which they do, fetched window by window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.compare import allowances as allow
from diffcheck.compare import state as compare_state
from diffcheck.runner.locate import locate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.backend import Limits
    from diffcheck.compare.findings import Findings
    from diffcheck.runner.locate import Budget, Read, Window
    from diffcheck.runner.side import Side

_PAGES_SHOWN: Final = 4


class Pages:
    """Compares pages of memories as they are after the rows that ``parameters`` name; ``memories`` are indices by position."""

    def __init__(
        self, oracle: Side, subject: Side, parameters: lo.Parameters, memories: Sequence[int], findings: Findings, budget: Budget
    ) -> None:
        self._oracle, self._subject, self._parameters = oracle, subject, parameters
        self._memories, self._findings, self._budget = memories, findings, budget

    def compare(self, differing: Sequence[tuple[int, int]]) -> None:
        """Compare pages, each a memory's position and a page number; of many only the first few while no word is wrong."""
        for looked, (position, page) in enumerate(differing):
            if looked >= _PAGES_SHOWN and self._findings.total:
                self._findings.not_compared(f"{len(differing) - looked} more pages that differ")
                return
            self._page(self._memories[position], page)

    def _page(self, memory: int, page: int) -> None:
        place = memory + 1, page
        one, two = (read_view(side, self._parameters, *place) for side in (self._oracle, self._subject))
        found = locate(one, two, 0, lo.PAGE, self._budget)
        words = [word for each in found.windows for word in allow.words(each.offset, each.oracle, each.subject)]
        ways = variants(self._oracle.limits) if words else ()
        others = [_words(read_view(self._oracle, self._parameters, *place, limits), found.windows) for limits in ways]
        wrong = compare_state.compare_page(memory, page, words, others, self._findings)
        if not wrong and (found.unlocated or not words):
            self._findings.diverge(
                "not located", f"memory {memory}, page {page}", "known", "differs, place not found", shape=f"memory {memory}"
            )


def read_view(side: Side, parameters: lo.Parameters, space: int = 0, page: int = 0, limits: Limits | None = None) -> Read:
    """Reads a range by runs of a side that carry it out: ``space`` 0 is the stream, else a memory's index plus one."""

    def read(mode: int, offset: int, step: int) -> bytes | None:
        ran = side.run(
            msgspec.structs.replace(
                parameters, view_mode=mode, view_space=space, view_page=page, view_offset=offset, view_step=step
            ),
            limits,
        )
        return ran.view if ran.header is not None else None

    return read


def variants(limits: Limits) -> tuple[Limits, ...]:
    """The oracle's other allowed ways: canonical NaNs, and relaxed SIMD in its deterministic mode."""
    return (
        msgspec.structs.replace(limits, canonical_nans=True),
        msgspec.structs.replace(limits, deterministic_relaxed_simd=True),
    )


def _words(read: Read, windows: Sequence[Window]) -> dict[int, int]:
    """The words of a page in those windows, by offset."""
    words: dict[int, int] = {}
    for each in windows:
        data = read(0, each.offset, 0) or b""
        for at in range(0, min(len(each.oracle), len(data)), 8):
            words[each.offset + at] = int.from_bytes(data[at : at + 8], "little")
    return words
