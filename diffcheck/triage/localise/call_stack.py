"""The activations of functions at an event, from the oracle's events before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.triage.tracing.event_log import LogParameters
from diffcheck.wasm.opcodes import CALLS, TAIL_CALLS

if TYPE_CHECKING:
    from diffcheck.triage.localise.event_runs import EventRuns, FirstDifference
    from diffcheck.triage.tracing.event_log import Record
    from diffcheck.triage.tracing.instrument import Site

Frames = list[tuple[int, tuple[int, int] | None]]
"""Activations, outermost first: the function, and the caller with the position before its call (None: called by the driver)."""
_HISTORY: Final = 100_000


class CallStack:
    """Reconstructs activations in the runs of one search."""

    def __init__(self, runs: EventRuns) -> None:
        self._instrumentation, self._oracle, self._rows = runs.instrumentation, runs.oracle, runs.rows

    def acting_place(self, first: FirstDifference) -> tuple[int, int]:
        """The function and position that execute after the last common event; in the caller if a function returned without an event."""
        last = self._instrumentation.record_site(first.before[-1]) if first.before else None
        if last is None:
            return -1, -1
        function, position = last.function, last.position
        next_functions = {
            site.function
            for site in (self._instrumentation.record_site(first.oracle), self._instrumentation.record_site(first.subject))
            if site is not None
        }
        frames = None
        while (body := self._instrumentation.bodies_of.get(function)) is not None:
            at = self._instrumentation.acting(function, position)
            returned = at == len(body.code) - 1 or body.code[at].instruction.name == "return"
            if not returned or (next_functions and next_functions <= {function}):
                return function, at
            frames = self.frames(first.event) if frames is None else frames[:-1]
            if not frames or frames[-1][0] != function or frames[-1][1] is None:
                return function, at
            caller, called_behind = frames[-1][1]
            around = {caller, *(each for each, _ in frames[:-1])}
            if caller not in self._instrumentation.bodies_of or (next_functions and not next_functions & around):
                return function, at
            function, position = caller, self._instrumentation.acting(caller, called_behind)
        return function, -1

    def is_driver_return(self, function: int, position: int, event: int) -> bool:
        """Whether the place is the return of a function that the driver called."""
        code = self._instrumentation.bodies_of[function].code
        if position != len(code) - 1 and code[position].instruction.name != "return":
            return False
        frames = self.frames(event)
        return not frames or frames[-1][1] is None

    def frames(self, event: int) -> Frames:
        """The activations before an event, as far as the oracle's last events show them."""
        frames: Frames = []
        before: Site | None = None
        for record in self.history(event):
            site = self._instrumentation.record_site(record)
            if site is None:
                continue
            if site.role == "entry":
                self._enter(frames, site.function, before)
            elif site.name in CALLS and site.role == "result":
                while frames and not self._called_by(frames[-1][1], site):
                    frames.pop()
                frames = frames[:-1]
            while frames and frames[-1][0] != site.function:
                frames.pop()
            before = site
        return frames

    def entering_call(self, event: int) -> tuple[int, int] | None:
        """The call that entered the function whose arguments are logged at an event; None if it is not the program's."""
        before: Site | None = None
        caller: Site | None = None
        for record in self.history(event):
            site = self._instrumentation.record_site(record)
            caller = before if site is not None and site.role == "entry" else caller
            before = site or before
        body = self._instrumentation.bodies_of.get(caller.function) if caller is not None else None
        if caller is None or body is None:
            return None
        at = self._instrumentation.acting(caller.function, caller.position)
        return (caller.function, at) if body.code[at].instruction.name in {*CALLS, *TAIL_CALLS} else None

    def history(self, event: int) -> tuple[Record, ...]:
        """The oracle's last records before an event."""
        since = max(0, event - _HISTORY)
        log = self._oracle.logged(LogParameters(*self._rows.run, start=since, halt=event, limit=_HISTORY)).log
        return log.records(since) if log is not None else ()

    def _enter(self, frames: Frames, function: int, before: Site | None) -> None:
        """Push an activation. If no call of the program matches, the driver called the function, and it is the only frame."""
        if before is not None:
            caller, position = before.function, before.position
            while (body := self._instrumentation.bodies_of.get(caller)) is not None:
                at = self._instrumentation.acting(caller, position)
                call = body.code[at].instruction
                if call.name in TAIL_CALLS and frames:
                    frames[-1] = function, frames[-1][1]
                    return
                if call.name in CALLS and (call.name != "call" or call.immediates[0] == function):
                    frames.append((function, (caller, position)))
                    return
                if not frames or frames[-1][1] is None:
                    break
                caller, behind = frames.pop()[1] or (-1, -1)  # it returned without an event
                position = self._instrumentation.acting(caller, behind)
        frames[:] = [(function, None)]

    def _called_by(self, caller: tuple[int, int] | None, site: Site) -> bool:
        """Whether a frame belongs to the call whose result a site logs."""
        if caller is None or caller[0] != site.function:
            return False
        return self._instrumentation.acting(site.function, caller[1]) == site.position
