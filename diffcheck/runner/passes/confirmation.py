"""Running a pass again before anything is called new, and before anything known is called gone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Backend
from diffcheck.observation import Cost, TimedOut
from diffcheck.text import plural
from diffcheck.verdict import PassReport, Repeat

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from diffcheck.backend.contract import Host, Pending, Program, RunLimits
    from diffcheck.observation import Execution, Identity

GONE: Final = 4
"""So many times more often is a pass run again in which a known difference does not show up: a difference that comes in half of
all runs is then missed in one of 8,000 nights at the default, and only a fix costs these runs."""
LEAST: Final = 3
"""What is flaky already is run no more than so many times again."""
_KEPT_BYTES: Final = 64 << 20


class MemoizingBackend(Backend):
    """An engine whose executions are kept, so that a second run of the same program is the first one's answer at no cost.

    Kept are up to 64 MiB of what was carried out; what is beyond is run again.
    """

    def __init__(self, engine: Backend) -> None:
        self._engine = engine
        self.capabilities = engine.capabilities
        self._kept: dict[tuple[object, ...], Execution] = {}
        self._bytes = 0

    def identity(self) -> Identity:
        """The engine's own."""
        return self._engine.identity()

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """A kept execution, or a new one."""
        key = (program.kind, program.template_sha256 or program.wasm, program.parameters, program.entry, limits)
        if key in self._kept:
            return _Done(self._kept[key])
        return _UnderWay(self._engine.start(program, limits, host), self, key)

    def keep(self, key: tuple[object, ...], execution: Execution) -> None:
        """Keep an execution while there is room."""
        if self._bytes + len(execution.carried) <= _KEPT_BYTES:
            self._bytes += len(execution.carried)
            self._kept[key] = msgspec.structs.replace(execution, cost=Cost())


class _Done:
    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def wait(self) -> Execution:
        return self._execution


class _UnderWay:
    def __init__(self, pending: Pending, engine: MemoizingBackend, key: tuple[object, ...]) -> None:
        self._pending, self._engine, self._key = pending, engine, key

    def wait(self) -> Execution:
        execution = self._pending.wait()
        self._engine.keep(self._key, execution)
        return execution


def passes(
    run: tuple[Callable[[], PassReport], ...], times: int, known: Collection[str], expected: Collection[str]
) -> tuple[PassReport, ...]:
    """The passes of a case, each run again ``times`` times where it diverges by anything but ``known`` signatures.

    Where one of the ``expected`` signatures shows up in none of them, all are run again, and more often.
    """
    first = [each() for each in run]
    gone = set(expected) - {signature for each in first for signature in each.signatures} if times else set()
    told = []
    for seen, again in zip(first, run, strict=True):
        if not _hangs(seen) and gone and seen.verdict in ("agree", "diverge"):
            told.append(confirmed(seen, again, times * GONE, known))
        elif times and _in_doubt(seen, known):
            told.append(confirmed(seen, again, times, known))
        else:
            told.append(seen)
    return tuple(told)


def _hangs(seen: PassReport) -> bool:
    """Whether the subject ran into its deadline; that was confirmed already, with a longer one (see ``hang``)."""
    return seen.subject is not None and isinstance(seen.subject.outcome, TimedOut)


def _in_doubt(seen: PassReport, known: Collection[str]) -> bool:
    """Whether a pass says something new."""
    if seen.verdict != "diverge" or _hangs(seen):
        return False
    return not seen.signatures or not set(seen.signatures) <= set(known)


def confirmed(seen: PassReport, again: Callable[[], PassReport], times: int, known: Collection[str] = ()) -> PassReport:
    """The pass after ``times`` more runs, or fewer once one of them says something else: then it is flaky.

    It still diverges where something new shows up in every run beside what comes and goes.
    """
    repeats: list[Repeat] = []
    runs = [repeat(seen)]
    for _ in range(times):
        repeats.append(repeat(again()))
        runs.append(repeats[-1])
        if len(repeats) >= LEAST and not all(_same(runs[0], each) for each in repeats):
            break
    told = msgspec.structs.replace(seen, repeats=tuple(repeats))
    if all(_same(runs[0], each) for each in repeats):
        return told
    steady = set.intersection(*(set(each.signatures) for each in runs)) - set(known)
    reason = f"{seen.reason} (and in part not the same each time)" if steady else outcomes(tuple(runs))
    return msgspec.structs.replace(told, verdict="diverge" if steady else "flaky", reason=reason, vacuous=False)


def repeat(seen: PassReport) -> Repeat:
    """What a run of a pass came to."""
    return Repeat(seen.verdict, seen.signatures, seen.reason)


def _same(one: Repeat, other: Repeat) -> bool:
    return one.verdict == other.verdict and set(one.signatures) == set(other.signatures)


def outcomes(runs: tuple[Repeat, ...]) -> str:
    """What came out of several runs and how often: ``2 of 4 runs: agree; 2 of 4 runs: row f: result 0: 3 against 2``."""
    words = Counter("agree" if each.verdict == "agree" else each.reason or each.verdict for each in runs)
    return "; ".join(f"{count} of {plural(len(runs), 'run')}: {what}" for what, count in words.items())
