"""One fault of a generated program: planted in the subject's copy, run as ``diffcheck run`` runs a case, and judged by the twin."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import msgspec
import wasmtime

from diffcheck import process
from diffcheck.backend import contract, registry
from diffcheck.cases.discovery import Case
from diffcheck.faults import module_edit
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner import case_run as cases
from diffcheck.runner import slicing
from diffcheck.runner.request import Request, Slice
from diffcheck.verdict import CaseReport, Divergence
from diffcheck.wasm import module as wasm
from diffcheck.wasm.leb import s
from diffcheck.wasm.module import Module
from tests.campaigns import proof
from tests.campaigns.program import BEGIN, END, Place, Program

BEGIN_MARK, END_MARK = (b"\x42" + s(value) + b"\x1a" for value in (BEGIN, END))
KINDS = {
    "outcome": ("outcome", "exception"),
    "calls": ("stub calls", "calls", "output"),
    "exception": ("outcome", "exception", "tag", "payload"),
    "memory": ("memory", "memory size"),
    "table": ("table", "table size", "table element", "element"),
    "global": ("global",),
    "result": ("result",),
    "sharing": ("result",),
}
"""What a difference at a place may be called in a report, by the first word of the place's item."""


class Trial(msgspec.Struct, frozen=True):
    """What came of a fault. ``right`` is whether the first divergence reported is one of those that come first by the twin."""

    kind: str
    instruction: str
    wrong: str
    where: tuple[Place, ...]
    verdict: str
    reported: str
    right: bool


class Bench:
    """Engines for trials: wasmtime against an edited copy of wasmtime or its interpreter."""

    def __init__(self, reactor: process.Reactor, folder: Path, subject: str = "wasmtime") -> None:
        self.host = contract.Host(reactor, folder)
        self.oracle = registry.create("wasmtime", {})
        self.inner = registry.create(subject, {})
        self.request = Request((), subject=subject, deadline_s=20.0, hangs=False)
        self.target = "pulley64" if subject == "wasmtime-pulley" else ""
        self.number = 0

    def close(self) -> None:
        self.oracle.close()
        self.inner.close()

    def run(self, program: Program, *, marked: int | None = None, fault: int | None = None, words: bool = False) -> CaseReport:
        """The report on a program whose subject has the fault, or none."""
        artifact = wasmtime.wat2wasm(program.artifact(marked))
        edited = None
        if marked is not None and fault is not None:
            edited = Edit(artifact, wasmtime.wat2wasm(program.artifact(marked, fault)))
        return self.report(artifact, tuple(program.rows), edited, words=words)

    def report(self, artifact: bytes, rows: tuple[str, ...], edited: Edit | None, *, words: bool = False) -> CaseReport:
        fault = Fault("", "", Expected(), edit=edited)
        return self.compared(artifact, rows, FaultyBackend(self.inner, fault, words=words))

    def compared(
        self, artifact: bytes, rows: tuple[str, ...], subject: contract.Backend, when_sliced: Slice = "never"
    ) -> CaseReport:  # fmt: skip
        """The report on an artifact whose subject is that one; ``when_sliced`` as in ``Request``."""
        self.number += 1
        path = Path(self.host.folder) / f"program_{self.number}.wasm"
        path.write_bytes(artifact)
        request = msgspec.structs.replace(self.request, slice=when_sliced)
        try:
            plan = slicing.make(Case("program", str(path), rows=rows), request, self.oracle, subject, self.host)
            return cases.run(plan, request.max_passes, self.oracle, subject, self.host, "subject", request)
        finally:
            path.unlink()


class Edit:
    """Puts the wrong sequence in the place of each marked instruction, in the artifact and in whatever is built from it."""

    def __init__(self, right: bytes, wrong: bytes) -> None:
        begin = wrong.index(BEGIN_MARK) + len(BEGIN_MARK)
        self.sequence = wrong[begin : wrong.index(END_MARK, begin)]
        module = wasm.read(right)
        body = next(each for each in _bodies(module, right).values() if BEGIN_MARK in each)
        found = next(each for each in module_edit.listing(body) if each.offset >= body.index(BEGIN_MARK) + len(BEGIN_MARK))
        self.instruction = body[found.offset : found.end]

    def __call__(self, data: bytes) -> bytes:
        if BEGIN_MARK not in data:
            return data  # a program that is not built from the artifact
        module = wasm.read(data)
        changed = {at: self._changed(body) for at, body in _bodies(module, data).items() if BEGIN_MARK in body}
        return module_edit.rewrite(module, data, changed)

    def _changed(self, body: bytes) -> bytes:
        """A body with the sequence behind each mark in the place of the instruction; what was put between stays."""
        parts, done, marked = [], 0, False
        for each in module_edit.listing(body):
            own = body[each.offset : each.end]
            if own + body[each.end : each.end + 1] == BEGIN_MARK:
                marked = True
            elif marked and own == self.instruction:
                parts += [body[done : each.offset], self.sequence]
                done, marked = each.end, False
        return b"".join([*parts, body[done:]])


def _bodies(module: Module, data: bytes) -> dict[int, bytes]:
    return {at: module_edit.body(module, data, at) for at in range(len(module.bodies))}


class Drawn(msgspec.Struct, frozen=True):
    """A fault that the twin proves to be observable, with the places that differ first."""

    marked: int
    fault: int
    first: tuple[Place, ...]


def draw(
    program: Program, chance: Random, kind: str, *, tries: int = 12, words: bool = False, target: str = ""
) -> tuple[Drawn | None, int]:
    """An observable fault of a class, None where none was found, and how many were planted. ``words`` hides state at traps."""
    sites = program.of_kind(kind)
    if not sites:
        return None, 0
    right = proof.behaviour(program)
    for planted in range(1, tries + 1):
        marked = chance.choice(sites)
        fault = chance.randrange(len(program.sites[marked].wrong))
        try:
            every = proof.observable(program, marked, fault, right, target)
        except proof.UnprovedError:
            continue
        found = [each for each in every if not (words and each.at_trap)]
        if found:
            head = found[0]
            first = [each for each in found if (each.instance, each.place.row) == (head.instance, head.place.row)]
            return Drawn(marked, fault, _places(program, kind, first)), planted
    return None, tries


def _places(program: Program, kind: str, first: list[proof.Difference]) -> tuple[Place, ...]:
    """Where a report may put it; that two results share an object, or do not, is true of either."""
    row = first[0].place.row
    if kind == "identity":
        return tuple(each for each in program.places if each.row == row)
    places = tuple(each.place for each in first)
    return tuple(each for each in places if each.item != "sharing") or places


def judge(program: Program, drawn: Drawn, report: CaseReport) -> Trial:
    """Whether the report says what the twin does."""
    site = program.sites[drawn.marked]
    found = [each for one in report.passes for each in one.divergences]
    head = found[0] if found else None
    return Trial(
        kind=site.kind,
        instruction=site.instruction,
        wrong=" ".join(site.wrong[drawn.fault].split()),
        where=drawn.first,
        verdict=report.verdict,
        reported=f"{head.kind}, {head.where.row}: {head.where.item}: {head.oracle} / {head.subject}" if head else report.reason,
        right=head is not None and report.verdict == "diverge" and any(names(place, head) for place in drawn.first),
    )


def names(place: Place, divergence: Divergence) -> bool:
    """Whether a divergence is reported at this place: at its item, or at a part of it (``field 0 of the struct in result 0``)."""
    item, _, number = place.item.partition(" ")
    at = divergence.where
    if divergence.kind not in KINDS[item] or at.row != (place.row or at.row):
        return False
    return not number or item == "exception" or re.search(rf"(^|in ){re.escape(place.item)}( |$)", at.item) is not None
