"""Who changed a component's results: the first artifact of the chain in which they differ from those of the artifact before.

Component, fused module, instrumented module and capsule run under the oracle with the same calls. Witness's counters are compared with
counts of the same branches in the fused module. If nothing differs up to the capsule, a divergence of it is the engine's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.cases import prepare
from diffcheck.cases.wit_rows.wit_rows import with_callers
from diffcheck.observation import sentence
from diffcheck.runner import plan as plans
from diffcheck.text import visible
from diffcheck.triage.blame.artifact_run import Chain
from diffcheck.triage.blame.branch_counts import counted
from diffcheck.witness.formats import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.cases.prepare import PreparedArtifact
    from diffcheck.runner.plan import CapsulePlan
    from diffcheck.triage.blame.artifact_run import ArtifactRun
    from diffcheck.triage.reduce.symptom import Symptom
    from diffcheck.triage.session import Session

Culprit = Literal["meld", "witness", "the capsule", "the engine", ""]
"""Who changed the results; empty if nobody did."""

_SAME_WORLD: Final = re.compile("wasi:(cli|io)/|wasi:filesystem/preopens")
"""The interfaces that answer a component in wasmtime and in a capsule alike."""
_MOST_NOTES: Final = 3


class Blame(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who changed the results, and how; ``notes`` are what was not compared, and further changes."""

    culprit: Culprit
    what: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.culprit}: {self.what}" if self.culprit else self.what


class _Change(msgspec.Struct, frozen=True):
    """A difference between neighbours in the chain; ``row`` is empty if it is in no row."""

    culprit: Culprit
    row: str
    what: str


def blame(session: Session, symptom: Symptom | None) -> Blame | None:
    """The blame for a divergence, or without one for a change between artifacts; None if the case is not a component."""
    if not session.component:
        return None
    plan, request = getattr(session.plan, "whole", None) or session.plan, session.request
    prepared = prepare.on_the_fly(session.component, Path(plan.case.artifact).stem, request.options, session.reactor)
    if not isinstance(plan, plans.CapsulePlan):
        return _of_refused(session, prepared.fused)
    world = plans.world(plan.case, program_name=request.program_name, stub_imports=request.stub_imports)
    chain = Chain(plan, session.component, world, session.oracle, session.host)
    notes: list[str] = []
    changes = tuple(_changes(chain, prepared, plan, notes))
    row = symptom.row if symptom is not None else ""
    chosen = next((each for each in changes if not row or (each.row and chain.calls[each.row].name == row)), None)
    notes += [f"also {each.culprit}: {each.what}" for each in changes if each is not chosen][:_MOST_NOTES]
    if chosen is not None:
        return Blame(chosen.culprit, chosen.what, tuple(notes))
    names = session.engines.oracle_identity.name, session.engines.subject_identity.name
    agree = f"component, fused module, instrumented module and capsule have the same results with {names[0]}"
    return (
        Blame("the engine", f"{agree}; {names[1]} differs", tuple(notes)) if symptom is not None else Blame("", agree, tuple(notes))
    )


def _of_refused(session: Session, fused: bytes) -> Blame | None:
    """The blame for an artifact that the oracle refuses."""
    limits = session.plan.limits if isinstance(session.plan, plans.RefusedPlan) else None
    if limits is None:
        return None
    refusal = session.oracle.validate(fused, limits, session.host)
    if refusal is not None:
        return Blame("meld", f"the fused module is invalid: {sentence(refusal)}")
    return Blame("witness", "the instrumented module is invalid, and the fused module is valid")


def _changes(chain: Chain, prepared: PreparedArtifact, plan: CapsulePlan, notes: list[str]) -> Iterator[_Change]:
    """The differences between neighbours in the chain, the earliest artifacts first."""
    capsule = chain.capsule()
    callers = tuple(chain.wit.values())
    fused = chain.module("fused module", with_callers(prepared.fused, callers))
    instrumented = chain.module("instrumented module", plan.artifact)
    if foreign := sorted(each for each in chain.called if not _SAME_WORLD.match(each)):
        notes.append(
            f"the component was not compared: its rows call {visible(', '.join(foreign), 200)}, which have other values there"
        )
    else:
        component = chain.component()
        if left := [each for each in chain.calls if each not in component.rows and not component.error]:
            notes.append(f"not compared with the component: {visible(', '.join(left), 200)}; write the row in WIT values")
        yield from _between("meld", component, fused)
    yield from _between("witness", fused, instrumented)
    yield from _wrong_counters(chain, prepared, instrumented)
    yield from _between("the capsule", instrumented, capsule)
    if instrumented.counters is not None and not instrumented.error and instrumented.counters != capsule.counters:
        yield _Change("the capsule", "", "witness's counters differ from those of the instrumented module")


def _between(culprit: Culprit, one: ArtifactRun, two: ArtifactRun) -> Iterator[_Change]:
    """The rows whose results differ."""
    if two.error and not one.error:
        yield _Change(culprit, "", f"the {two.name} did not run: {two.error}")
    for row, result in one.rows.items():
        other = two.rows.get(row)
        if other is not None and result.differs(other):
            what = f"row {visible(row)}: {one.name} {result.shown(other)}, {two.name} {other.shown(result)}"
            yield _Change(culprit, row, what)


def _wrong_counters(chain: Chain, prepared: PreparedArtifact, instrumented: ArtifactRun) -> Iterator[_Change]:
    """The branches whose counters are not their counts in the fused module."""
    manifest = read_manifest(prepared.manifest) if prepared.manifest else None
    wasm = counted(prepared.fused, manifest) if manifest is not None else None
    if wasm is None or manifest is None or instrumented.error:
        return
    counts = chain.module("fused module", with_callers(wasm, tuple(chain.wit.values()))).counters or {}
    counters = instrumented.counters or {}
    wrong = [each for each in manifest.branches if counts.get(each.id) != counters.get(each.id)]
    for each in wrong[:1]:
        place = f"branch {each.id}, {each.kind} in {visible(each.function_name or f'function {each.function_index}')}"
        more = f"; {len(wrong) - 1} more" if len(wrong) > 1 else ""
        yield _Change("witness", "", f"{place}: taken {counts.get(each.id)} times, its counter is {counters.get(each.id)}{more}")
