"""What happens during a run, in order; reports and the progress display read these and nothing else."""

from __future__ import annotations

import msgspec

from diffcheck.observation import Identity
from diffcheck.verdict import CaseReport, EngineFinding


class RunStarted(msgspec.Struct, frozen=True, tag="run-started"):
    """The run begins: engines are known, so many cases are to be done. ``notice`` is a warning that every report repeats.

    ``started`` is when, in UTC; of a run that goes on it is when it began first, and ``resumed`` of its cases are done.
    ``division`` is the digest of how cases are divided among shards, empty for a run that is whole.
    """

    total: int
    jobs: int
    subject: Identity
    oracle: Identity
    notice: str
    started: str = ""
    resumed: int = 0
    division: str = ""
    places: tuple[str, ...] = ("",)
    root: str = ""
    notes: tuple[str, ...] = ()


class EngineProbed(msgspec.Struct, frozen=True, tag="engine-probed"):
    """What the probes found out about the subject; comes once, at any time after the start."""

    engine_findings: tuple[EngineFinding, ...]


class CaseStarted(msgspec.Struct, frozen=True, tag="case-started"):
    """A worker took up a case."""

    case: str


class CaseFinished(msgspec.Struct, frozen=True, tag="case-finished"):
    """A case has its verdict."""

    report: CaseReport


class RunFinished(msgspec.Struct, frozen=True, tag="run-finished"):
    """All is over; ``interrupted`` where cases were left out."""

    interrupted: bool
    elapsed_ns: int


Event = RunStarted | EngineProbed | CaseStarted | CaseFinished | RunFinished
