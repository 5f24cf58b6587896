"""The differing words of memory pages with different digests, read window by window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.compare import allowances as allow
from diffcheck.compare import state as compare_state
from diffcheck.runner.passes.streams.window_search import locate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.compare.findings import Findings
    from diffcheck.runner.passes.capsule_run import CapsuleSide
    from diffcheck.runner.passes.streams.window_search import Read, RunBudget

_PAGES_SHOWN: Final = 4


class PageComparison:
    """Compares pages of memories after the rows of ``parameters``; ``memories`` are indices by position."""

    def __init__(
        self,
        oracle: CapsuleSide,
        subject: CapsuleSide,
        parameters: lo.Parameters,
        memories: Sequence[int],
        findings: Findings,
        budget: RunBudget,
    ) -> None:
        self._oracle, self._subject, self._parameters = oracle, subject, parameters
        self._memories, self._findings, self._budget = memories, findings, budget

    def compare(self, differing: Sequence[tuple[int, int]]) -> int:
        """Compare pages, each a memory's position and a page number; only the first few if any of them differs.

        Returns the number of bytes in which differences were not located.
        """
        unlocated = 0
        for looked, (position, page) in enumerate(differing):
            if looked >= _PAGES_SHOWN and self._findings.total:
                self._findings.not_compared(f"{len(differing) - looked} more pages that differ")
                break
            unlocated += self._page(self._memories[position], page)
        return unlocated

    def _page(self, memory: int, page: int) -> int:
        place = memory + 1, page
        one, two = (read_view(side, self._parameters, *place) for side in (self._oracle, self._subject))
        found = locate(one, two, 0, lo.PAGE, self._budget)
        words = [word for each in found.windows for word in allow.words(each.offset, each.oracle, each.subject)]
        if words:
            compare_state.compare_page(memory, page, words, self._findings)
        elif not found.unlocated:
            self._findings.diverge(
                "stream", f"digest of memory {memory}, page {page}", "of these bytes", "another one",
                shape="digest over equal bytes",
            )  # fmt: skip
        return found.unlocated


def read_view(side: CapsuleSide, parameters: lo.Parameters, space: int = 0, page: int = 0) -> Read:
    """A reader of a range by runs that carry it out; ``space`` 0 is the stream, else the index of a memory plus one."""

    def read(mode: int, offset: int, step: int) -> bytes | None:
        ran = side.run(
            msgspec.structs.replace(
                parameters, view_mode=mode, view_space=space, view_page=page, view_offset=offset, view_step=step
            )
        )
        return ran.view if ran.header is not None else None

    return read
