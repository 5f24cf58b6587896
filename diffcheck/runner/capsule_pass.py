"""The capsule pass over a case: the same capsule under both engines, group after group, until every row was compared.

One run of the subject is enough where its stream's digest is the oracle's. The oracle's stream says where traps are. A subject
that reports nothing at a trap has the rows before it observed by a run that stops there, and an unexpected trap is found by
bisection over the rows.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import mcdc
from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import left_open, swallowed
from diffcheck.capsule.decode import rows as decode_rows
from diffcheck.capsule.decode import state as decode_state
from diffcheck.compare import allowances as allow
from diffcheck.compare import outcomes
from diffcheck.compare import rows as compare_rows
from diffcheck.compare import state as compare_state
from diffcheck.compare.findings import Findings
from diffcheck.errors import StreamError
from diffcheck.observation import Crashed, Exited, OutOfMemory, Refused, Returned, RowSeen, TimedOut, Trapped, sentence, tag
from diffcheck.runner.hang import CONFIRM, should_have_ended
from diffcheck.runner.images import Images, whole_state
from diffcheck.runner.locate import Budget, local, locate
from diffcheck.text import decode
from diffcheck.verdict import PassReport, Printed, StubUse
from diffcheck.verdict import Side as SideReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffcheck.backend import Limits
    from diffcheck.capsule.decode import Image
    from diffcheck.observation import FinalState, Outcome
    from diffcheck.runner.locate import Window
    from diffcheck.runner.side import Ran, Side
    from diffcheck.verdict import McdcImpact
    from diffcheck.witness import Manifest, Place

MAX_GROUPS: Final = 64
_PAGES_SHOWN: Final = 4
_PRINTED_KEPT: Final = 32
_PRINTED_BYTES: Final = 4096
_STACK: Final = "call stack exhausted"
_CUT: Final = "the recorder's memory could not grow, so the stream is cut"


class _Over(Exception):  # noqa: N818 - it ends the pass, which is no error
    """The pass is over: nothing more can be compared."""


class Seen(msgspec.Struct, frozen=True):
    """One side of a group, decoded: its rows with their trap kinds, its state, and the record that did not return."""

    rows: tuple[RowSeen, ...]
    state: FinalState
    stop: int | None


class CapsulePass:
    """Runs one case's capsule under both sides; ``report`` gives what came out."""

    def __init__(
        self, oracle: Side, subject: Side, places: dict[int, Place], max_passes: int, functions: int,
        *, manifest: Manifest | None = None, unit: str = "",
    ) -> None:  # fmt: skip
        self.oracle, self.subject = oracle, subject
        self.layout = oracle.capsule.layout
        self.findings = Findings(places, unit)
        self.budget = Budget(max_passes)
        self.functions = functions
        self.rows_total = len(self.layout.rows) - self.layout.n_init
        self.flags = 0
        self.inconclusive = ""
        self.unlocated = 0
        self.outcomes: dict[str, Outcome] = {}
        self.logs: dict[str, str] = {}
        self.digests: dict[str, list[str]] = {"oracle": [], "subject": []}
        self.calls: tuple[int, ...] = (0,) * len(self.layout.stubs)
        self.changed = False
        self.printed: list[Printed] = []
        self.not_done: list[str] = []
        self.manifest = manifest
        self.shown = mcdc.Seen(), mcdc.Seen()

    def report(self) -> PassReport:
        """Run everything and say what came out."""
        with contextlib.suppress(_Over):
            self._groups()
        findings = self.findings
        verdict = "diverge" if findings.total else "inconclusive" if self.inconclusive else "agree"
        agreed = findings.agreement
        return PassReport(
            mode="capsule",
            applicable=True,
            verdict="diverge" if findings.total else "inconclusive" if self.inconclusive else "agree",
            reason=self._reason(verdict),
            oracle=self._side("oracle", self.oracle),
            subject=self._side("subject", self.subject),
            divergences=tuple(findings.divergences),
            divergences_total=findings.total,
            allowances=findings.allowances,
            agreement=agreed,
            stubs=self._stubs(),
            printed=tuple(self.printed),
            vacuous=verdict == "agree" and not self.changed and not self._differs_from_instantiation(),
            mcdc=self._impact() if findings.total else (),
        )

    def _impact(self) -> tuple[McdcImpact, ...]:
        """What the two runs would conclude differently about the artifact's decisions."""
        if self.manifest is None or not self.manifest.decisions:
            return ()
        return mcdc.Decisions(self.manifest, self.layout.branches).impact(*self.shown)

    def _show(self, oracle: Seen, subject: Seen) -> None:
        for shown, seen in zip(self.shown, (oracle, subject), strict=True):
            shown.add(seen.rows, seen.state.counters)

    def _reason(self, verdict: str) -> str:
        if verdict == "inconclusive":
            return self.inconclusive
        if verdict == "diverge":
            first = self.findings.divergences[0]
            row = f"row {first.where.row}: " if first.where.row else ""
            return f"{row}{first.where.item}: {first.oracle} against {first.subject}"
        return ""

    def _side(self, name: str, side: Side) -> SideReport:
        outcome = self.outcomes.get(name, Returned())
        return SideReport(outcome, sentence(outcome), side.cost, "-".join(self.digests[name][:4]), self.logs.get(name, ""))

    def _stubs(self) -> tuple[StubUse, ...]:
        return tuple(
            StubUse(stub.module, stub.name, stub.kind, calls)
            for stub, calls in zip(self.layout.stubs, self.calls, strict=True)
            if calls
        )

    # Groups.

    def _groups(self) -> None:
        first, groups = 0, 0
        while first < self.rows_total or groups == 0:
            if groups == MAX_GROUPS:
                self.not_done.append(f"{self.rows_total - first} rows after the first {MAX_GROUPS} instances")
                self.findings.not_compared(self.not_done[-1])
                return
            first = self._group(first)
            groups += 1

    def _parameters(self, first: int, last: int) -> lo.Parameters:
        return lo.Parameters(first, last, self.flags)

    def _group(self, first: int) -> int:
        """Compare the rows from ``first`` on that share an instance; gives the row after the last of them."""
        last = self.rows_total
        self.findings.begin_group()
        pending = self.subject.start(self._parameters(first, last))
        oracle = self.oracle.run(self._parameters(first, last))
        subject = pending.wait()
        if isinstance(oracle.outcome, Trapped) and oracle.image is None and not oracle.damage:
            return self._search(first, last, oracle, subject)
        image = self._oracle_image(oracle, subject)
        if not self.flags and swallowed(image, self.layout):
            self.flags = lo.EXIT_TRAPS
            return self._group(first)
        seen = self._seen(image, oracle.outcome)
        self._note(seen, oracle, subject)
        return self._compare(first, last, image, seen, subject)

    def _oracle_image(self, oracle: Ran, subject: Ran) -> Image:
        """The oracle's stream; ends the pass where there is none."""
        if oracle.image is not None:
            return oracle.image
        self.outcomes.update(oracle=oracle.outcome, subject=subject.outcome)
        if oracle.damage:
            self.inconclusive = f"the oracle's stream is damaged: {oracle.damage}"
        elif isinstance(oracle.outcome, Refused):
            if not isinstance(subject.outcome, Refused):
                outcomes.compare(oracle.outcome, subject.outcome, self.findings)
            else:
                self.changed = True
                self.findings.compared(1, 1)
                if "unknown" in (oracle.outcome.stage, subject.outcome.stage) or not subject.outcome.reason:
                    self.findings.not_compared("why the module was refused: the subject does not say")
        elif isinstance(oracle.outcome, TimedOut) and isinstance(subject.outcome, TimedOut):
            self.inconclusive = f"both timed out ({oracle.outcome.deadline_s:g} s)"
        else:
            self.inconclusive = f"the oracle {sentence(oracle.outcome)}; the subject {sentence(subject.outcome)}"
        raise _Over

    def _seen(self, image: Image, outcome: Outcome) -> Seen:
        rows = decode_rows(image, self.layout)
        stop = next((at for at, row in enumerate(rows) if not isinstance(row.outcome, Returned)), None)
        if stop is not None and isinstance(rows[stop].outcome, Trapped) and isinstance(outcome, Trapped):
            entered = rows[stop].outcome == Trapped("unknown")
            if entered:
                rows = (*rows[:stop], msgspec.structs.replace(rows[stop], outcome=outcome), *rows[stop + 1 :])
        return Seen(rows, decode_state(image, self.layout), stop)

    def _note(self, seen: Seen, oracle: Ran, subject: Ran) -> None:
        """Keep for the report what this group did."""
        if seen.stop is not None and (outcome := seen.rows[seen.stop].outcome) is not None:
            self.outcomes.setdefault("oracle", outcome)
        if not isinstance(subject.outcome, Returned):
            self.outcomes.setdefault("subject", subject.outcome)
        elif seen.stop is not None and oracle.header and subject.header and _lanes(oracle.header) == _lanes(subject.header):
            self.outcomes.setdefault("subject", self.outcomes["oracle"])
        for name, ran in (("oracle", oracle), ("subject", subject)):
            if ran.header is not None:
                self.digests[name].append(f"{ran.header.lane_a:016x}{ran.header.lane_b:016x}")
            if ran.log:
                self.logs[name] = ran.log
        for row in seen.rows:
            self._keep_output(row)
        called = [row.stub_calls for row in seen.rows if row.stub_calls]
        if called:
            self.calls = tuple(a + b for a, b in zip(self.calls, called[-1], strict=True))
        self.changed = (
            self.changed
            or any(seen.state.counters.values())
            or any(
                row.results
                or (row.stdout and row.stdout.total)
                or (row.stderr and row.stderr.total)
                or (row.outcome is not None and not isinstance(row.outcome, Returned))
                for row in seen.rows
            )
        )

    def _keep_output(self, row: RowSeen) -> None:
        if row.stdout is not None and row.stdout.total and len(self.printed) < _PRINTED_KEPT:
            self.printed.append(Printed(row.name, "stdout", decode(row.stdout.captured[:_PRINTED_BYTES]), row.stdout.total))
        if row.stderr is not None and row.stderr.total and len(self.printed) < _PRINTED_KEPT:
            self.printed.append(Printed(row.name, "stderr", decode(row.stderr.captured[:_PRINTED_BYTES]), row.stderr.total))

    def _compare(self, first: int, last: int, image: Image, seen: Seen, subject: Ran) -> int:
        """Compare a group by what the subject's run gave; gives the next group's first row."""
        after = last if seen.stop is None else self._row_of(first, seen.stop) + 1
        if subject.damage:
            self.findings.diverge("stream", "observation stream", "whole", subject.damage, shape=subject.damage[:40])
            return after
        if subject.header is not None:
            self._compare_streams(first, last, image, seen, subject)
            return after
        if isinstance(subject.outcome, Trapped | Crashed):
            return self._compare_trap(first, last, seen, subject)
        self._failed(subject, first, last)
        raise _Over

    def _row_of(self, first: int, record: int) -> int:
        """The row that a record is of; a trap in an init row is before any of this group's rows, and ends them all."""
        return first + record - self.layout.n_init if record >= self.layout.n_init else self.rows_total

    def _failed(self, subject: Ran, first: int, last: int) -> None:
        """The subject came to no answer at all where the oracle did."""
        outcome = subject.outcome
        if isinstance(outcome, TimedOut):
            limits = msgspec.structs.replace(self.oracle.limits, count_fuel=True)
            fuel = self.oracle.run(self._parameters(first, last), limits).fuel
            if not should_have_ended(fuel, self.functions, self.subject.backend.capabilities, outcome.deadline_s):
                self.inconclusive = f"slow: the subject {sentence(outcome)}, the oracle returned"
                return
            longer = msgspec.structs.replace(self.subject.limits, deadline_s=CONFIRM * outcome.deadline_s)
            again = self.subject.run(self._parameters(first, last), longer)
            if not isinstance(again.outcome, TimedOut):
                self.inconclusive = (
                    f"slow: the subject {sentence(outcome)}, and with {CONFIRM} times the deadline {sentence(again.outcome)}"
                )
                return
            self.findings.diverge(
                "outcome", "outcome", "returned", f"hangs ({sentence(again.outcome)})", shape="hang",
                detail=f"the oracle took {fuel} units of fuel, for which even a subject a hundred times slower has time",
            )  # fmt: skip
        elif isinstance(outcome, OutOfMemory):
            self.inconclusive = f"the subject is {sentence(outcome)}; give --memory-limit more"
        else:
            outcomes.compare(Returned(), outcome, self.findings)

    # Streams.

    def _compare_streams(self, first: int, last: int, image: Image, seen: Seen, subject: Ran) -> None:
        """The subject's stream is there: compare digests, and on a mismatch all that it holds."""
        header = subject.header
        assert header is not None, "the caller looked"  # noqa: S101
        kind_differs = isinstance(subject.outcome, Trapped) and not _same_trap(seen, subject.outcome)
        exhausted = seen.stop is not None and _is(seen.rows[seen.stop].outcome, _STACK)
        if _lanes(header) == _lanes(image.header) and not kind_differs:
            self._same_digest(image, seen, subject, exhausted=exhausted)
            return
        if lo.FLAG_CUT & (header.flags | image.header.flags):
            self.inconclusive = f"{_CUT}; give --memory-limit more"
            raise _Over
        others = self._others(first, last, seen)
        images = Images(self.layout, image, self.budget)
        try:
            theirs = images.subject(subject, partial(self._view, self.subject, first, last))
            other = self._seen(theirs, subject.outcome)
        except StreamError as error:
            self.findings.diverge("stream", "observation stream", "whole", str(error), shape="damaged")
            return
        self.unlocated += images.unlocated
        before = self.findings.total, len(self.findings.allowances)
        self._show(seen, other)
        pages = self._compare_seen(seen, other, others, exhausted=exhausted)
        self._pages(first, last, pages)
        found = (self.findings.total, len(self.findings.allowances)) != before
        if images.unlocated:
            self.findings.diverge(
                "not located", f"{images.unlocated} bytes of the stream", "known", "differ, place not found", shape="not located"
            )
        elif not found and kind_differs:  # it trapped after the last row
            outcomes.compare(Returned(), subject.outcome, self.findings)
        elif not images.whole(theirs) or (not found and not exhausted):
            self.findings.diverge(
                "stream", "digest", f"{image.header.lane_a:016x}", f"{header.lane_a:016x}", shape="digest over equal bytes",
                detail="the digest differs over equal bytes: the engine digests wrong, or its stream changes from run to run",
            )  # fmt: skip

    def _same_digest(self, image: Image, seen: Seen, subject: Ran, *, exhausted: bool) -> None:
        """The digests are equal: so are the streams, where what was carried is what was digested."""
        stopped = seen.rows[seen.stop] if seen.stop is not None and left_open(image, self.layout, seen.stop) else None
        if stopped is not None and stopped.outcome is not None and isinstance(subject.outcome, Returned):
            outcomes.compare(stopped.outcome, subject.outcome, self.findings, stopped.name)
        elif subject.header != image.header or (subject.image is None and subject.view != local(image.stream)(0, 0, 0)):
            self.findings.diverge(
                "stream", "observation stream", "whole", "damaged: its digest is right, the words carried with it are not",
                shape="damaged",
            )  # fmt: skip
        else:
            if lo.FLAG_CUT & image.header.flags:
                self.findings.not_compared(_CUT)
            self._agreed(seen, exhausted=exhausted)

    def _agreed(self, seen: Seen, *, exhausted: bool) -> None:
        """Count what an equal digest says is equal."""
        self._show(seen, seen)
        for row in seen.rows:
            if row.outcome is not None:
                compare_rows.compare(row, row, (), self.layout, self.findings)
        if not exhausted:
            compare_state.compare(seen.state, seen.state, (), self.layout, self.findings)

    def _compare_seen(self, seen: Seen, other: Seen, others: Sequence[Seen], *, exhausted: bool) -> list[tuple[int, int]]:
        """Compare rows up to the first whose outcomes differ, then the state if there was none."""
        for at, (one, two) in enumerate(zip(seen.rows, other.rows, strict=True)):
            if one.outcome is None and two.outcome is None:
                continue
            if self._stack_differs(one, two):
                return []
            compare_rows.compare(one, two, [each.rows[at] for each in others], self.layout, self.findings)
            if one.outcome is None or two.outcome is None or not outcomes.same(one.outcome, two.outcome):
                return []
        if exhausted:
            return []
        return compare_state.compare(seen.state, other.state, [each.state for each in others], self.layout, self.findings)

    def _stack_differs(self, one: RowSeen, two: RowSeen) -> bool:
        """The oracle's stack ended where the subject's did not: how deep calls may go is open."""
        ran_on = isinstance(two.outcome, Returned | Exited | Trapped) and not _is(two.outcome, _STACK)
        if _is(one.outcome, _STACK) and two.outcome is not None and ran_on:
            self._open_stack(one.name, "call stack exhausted", sentence(two.outcome))
            return True
        return False

    def _open_stack(self, row: str, oracle: str, subject: str) -> None:
        self.findings.allow(allow.STACK_RULE, allow.STACK_SECTION, "outcome", oracle, subject, row=row)
        self.inconclusive = f"stack: row {row}: {oracle} against {subject}; how deep calls may go is open"

    def _others(self, first: int, last: int, seen: Seen) -> list[Seen]:
        """The same rows in the oracle's other allowed ways, in the order of ``_variants``; only asked for where something differs.

        A way in which the oracle came to no answer allows nothing: it is taken as ``seen``.
        """
        runs = [self.oracle.run(self._parameters(first, last), limits) for limits in self._variants()]
        return [self._seen(ran.image, ran.outcome) if ran.image is not None else seen for ran in runs]

    def _variants(self) -> list[Limits]:
        limits = self.oracle.limits
        return [
            msgspec.structs.replace(limits, canonical_nans=True),
            msgspec.structs.replace(limits, deterministic_relaxed_simd=True),
        ]

    def _view(  # noqa: PLR0913 - the parameters of a view
        self, side: Side, first: int, last: int, mode: int, offset: int, step: int, *, space: int = 0, page: int = 0,
        limits: Limits | None = None,
    ) -> bytes | None:  # fmt: skip
        parameters = lo.Parameters(first, last, self.flags, mode, space, page, offset, step)
        ran = side.run(parameters, limits)
        return ran.view if ran.header is not None else None

    def _pages(self, first: int, last: int, differing: list[tuple[int, int]]) -> None:
        """Find the words in which pages differ; of many pages only the first few are looked into while no word is wrong."""
        if not differing:
            return
        looked = 0
        for position, page in differing:
            index = self.layout.memories[position].index
            one, two = (partial(self._view, side, first, last, space=index + 1, page=page) for side in (self.oracle, self.subject))
            found = locate(one, two, 0, lo.PAGE, self.budget)
            words = [word for each in found.windows for word in allow.words(each.offset, each.oracle, each.subject)]
            others = [_words(partial(one, limits=limits), found.windows) for limits in self._variants()] if words else []
            wrong = compare_state.compare_page(index, page, words, others, self.findings)
            if not wrong and (found.unlocated or not words):
                self.findings.diverge(
                    "not located", f"memory {index}, page {page}", "known", "differs, place not found", shape=f"memory {index}"
                )
            looked += 1
            if looked == _PAGES_SHOWN and self.findings.total:
                break
        if looked < len(differing):
            self.findings.not_compared(f"{len(differing) - looked} more pages that differ")

    # Traps that report nothing.

    def _compare_trap(self, first: int, last: int, seen: Seen, subject: Ran) -> int:
        """The subject trapped or crashed without a stream; gives the next group's first row."""
        row = None if seen.stop is None else self._row_of(first, seen.stop)
        expected = seen.stop is not None and isinstance(seen.rows[seen.stop].outcome, Trapped)
        if expected and seen.stop is not None and seen.stop < self.layout.n_init:
            self._trapped_row(first, seen.rows[seen.stop], subject.outcome)
            return self.rows_total
        if expected and row is not None:
            if self._before(first, row):
                # It may have come through this row and ended in a later one, for the same reason.
                ended = subject.outcome if row + 1 >= last else self._again(self.subject, first, row + 1).outcome
                self._trapped_row(first, seen.rows[seen.stop or 0], ended)
                return row + 1
            last = row
        return self._trapped_early(first, last, subject)

    def _trapped_early(self, first: int, last: int, subject: Ran) -> int:
        """The subject ended in one of the rows [first, last) that the oracle came through."""
        found = self._bisect(self.subject, first, last)
        if found is None:
            name = ", ".join(each.name for each in self.layout.rows[: self.layout.n_init]) or "the recorder"
            self.findings.diverge(
                "outcome", "outcome", "returned", sentence(subject.outcome), row=name,
                shape=outcomes.shape(Returned(), subject.outcome),
            )  # fmt: skip
            return self.rows_total
        at, outcome = found
        if at > first or self.layout.n_init:
            self._before(first, at)
        self._trapped_row(first, self._oracle_row(first, at), outcome)
        return at + 1

    def _search(self, first: int, last: int, oracle: Ran, subject: Ran) -> int:
        """An oracle that reports nothing at a trap: its trap is found as a subject's is, and its state there not compared."""
        self.outcomes.setdefault("oracle", oracle.outcome)
        self.outcomes.setdefault("subject", subject.outcome)
        self.changed = True
        found = self._bisect(self.oracle, first, last)
        if found is None:
            name = ", ".join(each.name for each in self.layout.rows[: self.layout.n_init])
            self._trapped_row(first, RowSeen(name, oracle.outcome), subject.outcome)
            return self.rows_total
        at, outcome = found
        if not self._before(first, at):
            return self._trapped_early(first, at, subject)
        row = RowSeen(self.layout.rows[self.layout.n_init + at].name, outcome)
        self._trapped_row(first, row, self._again(self.subject, first, at + 1).outcome)
        return at + 1

    def _before(self, first: int, row: int) -> bool:
        """Compare the rows before ``row`` by runs that stop there; gives whether the subject came through."""
        parameters = self._parameters(first, row)
        pending = self.subject.start(parameters)
        oracle = self.oracle.run(parameters)
        subject = pending.wait()
        if oracle.image is None:
            self.inconclusive = f"the oracle {sentence(oracle.outcome)} when it was run again"
            return True
        if subject.damage:
            self.findings.diverge("stream", "observation stream", "whole", subject.damage, shape=subject.damage[:40])
            return True
        if subject.header is None:
            return False
        self._compare_streams(first, row, oracle.image, self._seen(oracle.image, oracle.outcome), subject)
        self.findings.not_compared("the state at a trap: the subject reports none")
        return True

    def _bisect(self, side: Side, first: int, last: int) -> tuple[int, Outcome] | None:
        """The first row in [first, last) that fails, and how; None where it fails before any row."""
        if not self._fails(side, first, first):
            low, high = first, last
            outcome: Outcome | None = None
            while high - low > 1:
                middle = (low + high) // 2
                failed = self._fails(side, first, middle)
                if failed is None:
                    low = middle
                else:
                    high, outcome = middle, failed
            if outcome is None and high > first:
                outcome = self._fails(side, first, high)
            if outcome is not None:
                return high - 1, outcome
            self.inconclusive = f"{side.backend.identity().name} failed and then came through the same rows"
            raise _Over
        return None

    def _again(self, side: Side, first: int, last: int) -> Ran:
        """Some of the rows once more; ends the pass where memory ran out, which says nothing of them."""
        ran = side.run(self._parameters(first, last))
        if isinstance(ran.outcome, OutOfMemory):
            self.inconclusive = f"{side.backend.identity().name} is {sentence(ran.outcome)}; give --memory-limit more"
            raise _Over
        return ran

    def _fails(self, side: Side, first: int, last: int) -> Outcome | None:
        ran = self._again(side, first, last)
        return None if ran.header is not None or ran.damage else ran.outcome

    def _oracle_row(self, first: int, row: int) -> RowSeen:
        ran = self.oracle.run(self._parameters(first, row + 1))
        if ran.image is None:
            self.inconclusive = f"the oracle {sentence(ran.outcome)} when it was run again"
            raise _Over
        return self._seen(ran.image, ran.outcome).rows[self.layout.n_init + row - first]

    def _trapped_row(self, first: int, oracle: RowSeen, outcome: Outcome) -> None:
        """Compare the row in which the subject ended; its state is not there to be compared."""
        subject = RowSeen(oracle.name, outcome)
        if self._stack_differs(oracle, subject):
            return
        if _is(outcome, _STACK) and oracle.outcome is not None and not _is(oracle.outcome, _STACK):
            small = msgspec.structs.replace(self.oracle.limits, stack_bytes=allow.STACK_BYTES)
            ran = self.oracle.run(self._parameters(first, self.rows_total), small)
            if _is(ran.outcome, _STACK):
                self._open_stack(oracle.name, sentence(oracle.outcome), _STACK)
                return
        if isinstance(oracle.outcome, Returned):
            self.shown[0].add((oracle,), {})  # the subject's run has no record of the row
        compare_rows.compare(oracle, subject, (), self.layout, self.findings, state=False)

    # Vacuity.

    def _differs_from_instantiation(self) -> bool:
        """Whether a global, a size or a page differs from its state at instantiation; asks the oracle for that state."""
        inert = self.oracle.run(lo.Parameters(0, self.rows_total, lo.INERT))
        whole = self.oracle.run(self._parameters(0, self.rows_total))
        if inert.image is None or whole.image is None:
            return False
        return whole_state(inert.image, self.layout) != whole_state(whole.image, self.layout)


def _words(read: Callable[[int, int, int], bytes | None], windows: Sequence[Window]) -> dict[int, int]:
    """The words of a page in those windows, by offset."""
    words: dict[int, int] = {}
    for each in windows:
        data = read(0, each.offset, 0) or b""
        for at in range(0, min(len(each.oracle), len(data)), 8):
            words[each.offset + at] = int.from_bytes(data[at : at + 8], "little")
    return words


def _lanes(header: lo.Header) -> tuple[int, int, int]:
    return header.length, header.lane_a, header.lane_b


def _is(outcome: Outcome | None, kind: str) -> bool:
    return isinstance(outcome, Trapped) and outcome.kind == kind


def _same_trap(seen: Seen, outcome: Trapped) -> bool:
    """Whether a subject that carries its stream out of a trap trapped as the oracle did, or finished before it trapped."""
    if seen.stop is None:
        return False
    expected = seen.rows[seen.stop].outcome
    return outcomes.same(expected, outcome) if isinstance(expected, Trapped) else tag(expected or outcome) != "returned"
