"""The events of a run, in order: all that reports and the progress display read."""

from __future__ import annotations

import msgspec

from diffcheck.observation import Identity
from diffcheck.verdict import CaseReport, EngineFinding


class RunStarted(msgspec.Struct, frozen=True, tag="run-started"):
    """The run begins with ``total`` cases. ``notice`` is a warning that every report repeats.

    ``started`` is the time in UTC. A resumed run has the time of its first start, and ``resumed`` counts its completed cases.
    ``division`` is the digest of the division among shards, empty without shards.
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
    judges: tuple[Identity, ...] = ()


class EngineProbed(msgspec.Struct, frozen=True, tag="engine-probed"):
    """The results of the probes of the subject; sent once, at any time after the start."""

    engine_findings: tuple[EngineFinding, ...]


class CaseStarted(msgspec.Struct, frozen=True, tag="case-started"):
    """A worker started a case."""

    case: str


class CaseFinished(msgspec.Struct, frozen=True, tag="case-finished"):
    """A case has its verdict."""

    report: CaseReport


class RunFinished(msgspec.Struct, frozen=True, tag="run-finished"):
    """The run is over; ``interrupted`` if cases were left out."""

    interrupted: bool
    elapsed_ns: int


Event = RunStarted | EngineProbed | CaseStarted | CaseFinished | RunFinished
