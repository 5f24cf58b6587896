"""Mutants of given programs: constants at boundaries, other instructions of the same type, bodies of other functions, segments and
limits moved. The oracle screens them: a mutant is valid, and its rows end.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.backend.contract import RunLimits
from diffcheck.capsule import layout as lo
from diffcheck.cases.discovery import Case, Item, load_case
from diffcheck.cases.rows import declarable
from diffcheck.errors import ArtifactError, DiffcheckError
from diffcheck.hunt.generate.program import Generated
from diffcheck.runner import planning
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.plan import CapsulePlan
from diffcheck.runner.row_plans.row_choice import TOTAL_FUEL
from diffcheck.runner.sweep.operands import operands
from diffcheck.triage.writeup.case_text import case_text
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.draft import Draft, draft
from diffcheck.wasm.encode import plain
from diffcheck.wasm.opcodes import BY_NAME, END, OPS
from diffcheck.wasm.types import MemoryType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from diffcheck.backend.contract import Host, Oracle
    from diffcheck.runner.request import Request
    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.opcodes import Op

_MOST_CHANGES: Final = 3
_MOST_ROWS: Final = 100
_DEADLINE_S: Final = 2.0
_SCREENING_LIMITS: Final = RunLimits(deadline_s=_DEADLINE_S, count_fuel=True)
_PAGE: Final = 1 << 16


def mutated(data: bytes, chance: Random) -> bytes:
    """The module with some changes; it may be invalid. ``ArtifactError`` if it cannot be read."""
    source = draft(data)
    for _ in range(chance.randint(1, _MOST_CHANGES)):
        source = chance.choice(MUTATIONS)(source, chance)
    return source.write()


def _constant(source: Draft, chance: Random) -> Draft:
    """A constant at a boundary."""

    def change(each: Instruction) -> bytes | None:
        type_ = each.name.partition(".")[0]
        if each.name not in ("i32.const", "i64.const"):
            return None
        value, bits = int(chance.choice(operands(type_).values)), int(type_[1:])
        return plain(each.name, value - (1 << bits) * (value >> (bits - 1)))

    return _one(source, chance, change)


def _instruction(source: Draft, chance: Random) -> Draft:
    """Another instruction with the same operands, results and immediates."""

    def change(each: Instruction) -> bytes | None:
        others = [op for op in _ALIKE.get(_kind(BY_NAME[each.name]), ()) if op.name != each.name]
        return plain(chance.choice(others).name, *each.immediates) if others else None

    return _one(source, chance, change)


def _kind(op: Op) -> tuple[object, ...]:
    return op.params, op.results, op.immediates, op.width, op.proposal


_ALIKE: Final[dict[tuple[object, ...], list[Op]]] = {
    _kind(op): [each for each in OPS if _kind(each) == _kind(op)] for op in OPS if op.params is not None and op.name != "nop"
}


def _one(source: Draft, chance: Random, change: Callable[[Instruction], bytes | None]) -> Draft:
    """The draft with one instruction changed, of those in a random function that can be."""
    index = chance.choice(sorted(source.bodies)) if source.bodies else -1
    body = source.bodies.get(index, b"")
    found = [(each, code) for each in (instructions(body, start=read_locals(body).end) if body else ()) if (code := change(each))]
    if not found:
        return source
    each, code = chance.choice(found)
    return source.with_bodies({index: body[: each.offset] + code + body[each.end :]})


def _body(source: Draft, chance: Random) -> Draft:
    """The body of another function of the same type."""
    index = chance.choice(sorted(source.bodies)) if source.bodies else -1
    types = source.module.all_functions
    others = [other for other in sorted(source.bodies) if other != index and types[other] == types[index]]
    return source.with_bodies({index: source.bodies[chance.choice(others)]}) if others else source


def _segment(source: Draft, chance: Random) -> Draft:
    """An active data segment at another place, at most at the end of its memory."""
    active = [at for at, each in enumerate(source.data) if each is not None and each.memory is not None]
    if not active:
        return source
    at = chance.choice(active)
    segment = source.data[at]
    assert segment is not None, "as chosen"  # noqa: S101
    limits = source.module.all_memories[segment.memory or 0].limits
    place = chance.choice((0, 1, 255, _PAGE - 1, max(0, limits.minimum * _PAGE - len(segment.content))))
    offset = plain("i64.const" if limits.is64 else "i32.const", place) + END
    moved = msgspec.structs.replace(segment, offset=offset)
    return msgspec.structs.replace(source, data=(*source.data[:at], moved, *source.data[at + 1 :]))


def _limits(source: Draft, chance: Random) -> Draft:
    """A memory of another size, which may not grow."""
    memories = source.module.all_memories
    if not memories:
        return source
    index = chance.randrange(len(memories))
    limits = memories[index].limits
    minimum = max(0, limits.minimum + chance.choice((-1, 0, 1)))
    changed = msgspec.structs.replace(limits, minimum=minimum, maximum=minimum + chance.choice((0, 0, 1)))
    return msgspec.structs.replace(source, memories={**source.memories, index: MemoryType(changed)})


MUTATIONS: Final[tuple[Callable[[Draft, Random], Draft], ...]] = (
    _constant,
    _constant,
    _instruction,
    _instruction,
    _body,
    _segment,
    _limits,
)


class MutantSource:
    """Makes mutants of some cases, without their stdin. ``oracle`` screens them."""

    def __init__(self, items: Sequence[Item], request: Request, oracle: Oracle, host: Host) -> None:
        self._items = list(items)
        self._request = msgspec.structs.replace(request, mode="capsule", slice="never", rows="declared")
        self._oracle, self._host = oracle, host

    def written(self, folder: Path, seed: int, number: int, count: int) -> dict[str, Generated]:
        """Write the mutants of a round, by stem: at most ``count``, those that pass."""
        process.make_folder(folder, "choose another folder with --reports")
        found = {}
        for at in range(count if self._items else 0):
            name = f"{seed} {number} mutant {at}"
            stem = f"r{number}m{at}"
            made = self._mutant(Random(name), folder / f"{stem}.wasm", stem)  # noqa: S311 - reproducible, not secret
            if made is not None:
                text = case_text(made, made.rows, f"mutant of {made.purpose}, seed {name}")
                process.write_atomically(folder / f"{stem}.toml", [text.encode()])
                found[stem] = Generated(name, "", made.rows, {}, (), ())
        return found

    def _mutant(self, chance: Random, path: Path, stem: str) -> Case | None:
        """The case of a mutant that passes, whose artifact is written; None if it does not pass."""
        item = chance.choice(self._items)
        try:
            plan = self._plan(load_case(item))
            if plan is None:
                return None
            data = mutated(plan.artifact, chance)
        except DiffcheckError:
            return None
        process.write_atomically(path, [data])
        rows = declarable(plan.case_calls)[:_MOST_ROWS]
        case = Case(stem, str(path), rows=rows, args=plan.case.args, env=plan.case.env, purpose=item.id)
        if self._ends(case):
            return case
        path.unlink()
        return None

    def _plan(self, case: Case) -> CapsulePlan | None:
        plan = planning.make(case, self._request, self._oracle, self._oracle, self._oracle, self._host)
        return plan if isinstance(plan, CapsulePlan) else None

    def _ends(self, case: Case) -> bool:
        """Whether the oracle accepts the mutant and its rows end soon; the first that traps ends the run."""
        try:
            plan = self._plan(case)
        except (ArtifactError, ValueError):
            return False
        if plan is None:
            return False
        side = CapsuleSide(self._oracle, plan.capsules.oracle, _SCREENING_LIMITS, self._host)
        ran = side.run(lo.Parameters(0, len(plan.layout.rows) - plan.layout.n_init))
        return ran.image is not None and (ran.fuel or 0) <= TOTAL_FUEL
