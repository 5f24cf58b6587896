"""Reruns of a pass before a difference is reported as new or a known difference as gone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Backend, StoredExecution
from diffcheck.compare.validity import loads_invalid
from diffcheck.observation import Cost, TimedOut
from diffcheck.text import plural
from diffcheck.verdict import PassReport, Repeat

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from diffcheck.backend.contract import Host, Pending, Program, RunLimits
    from diffcheck.observation import Execution, Identity

GONE_FACTOR: Final = 4
"""The factor of reruns if a known difference is missing. A difference in half of all runs is then missed in one of 8,000 nights at
the default; only a fixed difference costs these reruns."""
FLAKY_RERUNS: Final = 3
"""Reruns after which a flaky pass is not repeated any more."""
_MEMO_BYTES: Final = 64 << 20


class MemoizingBackend(Backend):
    """An engine whose executions are memoized, up to 64 MiB of carried bytes; a repeated program returns the first execution."""

    def __init__(self, engine: Backend) -> None:
        self._engine = engine
        self.capabilities = engine.capabilities
        self._memo: dict[tuple[object, ...], Execution] = {}
        self._bytes = 0

    def identity(self) -> Identity:
        """The identity of the memoized engine."""
        return self._engine.identity()

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """A memoized execution, or a new one."""
        key = (program.kind, program.template_sha256 or program.wasm, program.parameters, program.entry, limits)
        if key in self._memo:
            return StoredExecution(self._memo[key])
        return _Memoizing(self._engine.start(program, limits, host), self, key)

    def memoize(self, key: tuple[object, ...], execution: Execution) -> None:
        """Memoize an execution while there is room."""
        if self._bytes + len(execution.carried) <= _MEMO_BYTES:
            self._bytes += len(execution.carried)
            self._memo[key] = msgspec.structs.replace(execution, cost=Cost())


class _Memoizing:
    def __init__(self, pending: Pending, engine: MemoizingBackend, key: tuple[object, ...]) -> None:
        self._pending, self._engine, self._key = pending, engine, key

    def wait(self) -> Execution:
        execution = self._pending.wait()
        self._engine.memoize(self._key, execution)
        return execution


def passes(
    run: tuple[Callable[[], PassReport], ...], times: int, known: Collection[str], expected: Collection[str]
) -> tuple[PassReport, ...]:
    """The passes of a case, each rerun ``times`` times if it diverges with other than ``known`` signatures.

    If one of the ``expected`` signatures is in none of them, all are rerun, and more often.
    """
    first = [each() for each in run]
    gone = set(expected) - {signature for each in first for signature in each.signatures} if times else set()
    reports = []
    for report, again in zip(first, run, strict=True):
        if not _hangs(report) and gone and report.verdict in ("agree", "diverge"):
            reports.append(confirmed(report, again, times * GONE_FACTOR, known))
        elif times and _needs_confirmation(report, known):
            reports.append(confirmed(report, again, times, known))
        else:
            reports.append(report)
    return tuple(reports)


def _hangs(report: PassReport) -> bool:
    """Whether the subject timed out, which a longer deadline has confirmed (see ``hang_check``)."""
    return report.subject is not None and isinstance(report.subject.outcome, TimedOut)


def _needs_confirmation(report: PassReport, known: Collection[str]) -> bool:
    """Whether a pass has a new signature. That an engine loads an invalid module is shown by one run."""
    if report.verdict != "diverge" or _hangs(report) or all(map(loads_invalid, report.divergences)):
        return False
    return not report.signatures or not set(report.signatures) <= set(known)


def confirmed(report: PassReport, again: Callable[[], PassReport], times: int, known: Collection[str] = ()) -> PassReport:
    """The pass after ``times`` reruns, or fewer once one of them differs: then it is flaky.

    It still diverges if a new signature is in every run.
    """
    repeats: list[Repeat] = []
    runs = [repeat(report)]
    for _ in range(times):
        repeats.append(repeat(again()))
        runs.append(repeats[-1])
        if len(repeats) >= FLAKY_RERUNS and not all(_same(runs[0], each) for each in repeats):
            break
    reports = msgspec.structs.replace(report, repeats=tuple(repeats))
    if all(_same(runs[0], each) for each in repeats):
        return reports
    steady = set.intersection(*(set(each.signatures) for each in runs)) - set(known)
    reason = f"{report.reason} (other differences vary between runs)" if steady else outcomes(tuple(runs))
    return msgspec.structs.replace(reports, verdict="diverge" if steady else "flaky", reason=reason, vacuous=False)


def repeat(report: PassReport) -> Repeat:
    """The result of a pass, for comparing reruns."""
    return Repeat(report.verdict, report.signatures, report.reason)


def _same(one: Repeat, other: Repeat) -> bool:
    return one.verdict == other.verdict and set(one.signatures) == set(other.signatures)


def outcomes(runs: tuple[Repeat, ...]) -> str:
    """Results of several runs by frequency: ``2 of 4 runs: agree; 2 of 4 runs: row f: result 0: oracle 3, subject 2``."""
    words = Counter("agree" if each.verdict == "agree" else each.reason or each.verdict for each in runs)
    return "; ".join(f"{count} of {plural(len(runs), 'run')}: {what}" for what, count in words.items())
