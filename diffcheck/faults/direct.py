"""Faults on the direct pass: the entry is put into another function, which does what it should not after the entry returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.faults import edit
from diffcheck.faults.counters import WIDTHS, add_to_counter, comparable, counting, counting_sites, pair_that_differs, set_counter
from diffcheck.faults.model import Expected, Fault, FaultTarget, Plant
from diffcheck.faults.traps import TRAPS, other_trap
from diffcheck.observation import Returned, Trapped, sentence
from diffcheck.values import Value, is_quiet_nan
from diffcheck.wasm.module import read
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from diffcheck.wasm.module import Export


def _after(artifact: FaultTarget, inserted: bytes, *, calls: bool = True) -> Callable[[bytes], bytes] | None:
    """The edit that exports, as the entry, a function that calls the entry and then does ``inserted``."""
    plan, module = artifact.direct, artifact.module
    assert plan is not None, "only for artifacts that have a direct pass"  # noqa: S101
    entry = next(each.index for each in module.exports if each.kind == "func" and each.name == plan.entry)
    zeros = edit.skipped((), module.function_type(entry).results)
    if zeros is None:
        return None
    inner = edit.called(entry) + inserted if calls else inserted + zeros
    added = (module.functions[entry], edit.function(inner))

    def change(wasm: bytes) -> bytes:
        given = read(wasm)
        exports = [
            msgspec.structs.replace(each, index=len(given.functions)) if each.kind == "func" and each.name == plan.entry else each
            for each in given.exports
        ]
        return edit.rewritten(given, wasm, added=added, exports=exports)

    return change


def _counters(artifact: FaultTarget) -> dict[int, int]:
    execution = artifact.execution
    return (execution.counters or {}) if execution is not None and isinstance(execution.outcome, Returned) else {}


def _globals(artifact: FaultTarget) -> dict[int, tuple[int, str]]:
    return formats.instrumentation(artifact.module).counters


def _counter(artifact: FaultTarget, chance: Random) -> tuple[int, int, str, int] | None:
    counters, found = _counters(artifact), _globals(artifact)
    ids = [id_ for id_ in comparable(counters) if id_ in found]
    if not ids:
        return None
    id_ = chance.choice(ids)
    return id_, *found[id_], counters[id_]


def _sign_extended(value: int, type_: str) -> int:
    width = WIDTHS[type_]
    value %= 1 << width
    return (value - (value >> width - 1 << width)) % (1 << 64)


def off_by_one(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """A counter one too high or too low."""
    if (chosen := _counter(artifact, chance)) is None:
        return None
    id_, index, type_, value = chosen
    change = chance.choice((1, -1))
    expected = Expected("counter", f"counter {id_}", "", str(value), str(_sign_extended(value + change, type_)))
    return Fault("", f"counter {id_} {change:+}", expected, _after(artifact, add_to_counter(index, type_, change)))


def greatest(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """A counter with all bits set."""
    if (chosen := _counter(artifact, chance)) is None:
        return None
    id_, index, type_, value = chosen
    expected = Expected("counter", f"counter {id_}", "", str(value), str((1 << 64) - 1))
    return Fault("", f"counter {id_}", expected, _after(artifact, set_counter(index, type_, -1)))


def two_top_bits(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """The top bits of two counters."""
    counters, found = _counters(artifact), _globals(artifact)
    ids = [id_ for id_ in comparable(counters) if id_ in found and found[id_][1] == "i64"]
    if len(ids) < 2:  # noqa: PLR2004 - a pair
        return None
    pair = sorted(chance.sample(ids, 2))
    inserted = b"".join(
        edit.instructions(f"global.get $g i64.const {-(1 << 63)} i64.xor global.set $g", g=found[id_][0]) for id_ in pair
    )
    one = counters[pair[0]]
    expected = Expected("counter", f"counter {pair[0]}", "", str(one), str(one ^ 1 << 63))
    return Fault("", f"counters {pair[0]} and {pair[1]}", expected, _after(artifact, inserted))


def swapped(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Two counters with each other's values."""
    counters, found = _counters(artifact), _globals(artifact)
    pair = pair_that_differs({id_: value for id_, value in counters.items() if id_ in found}, chance)
    if pair is None or found[pair[0]][1] != found[pair[1]][1]:
        return None
    text = edit.instructions("global.get $a global.get $b global.set $a global.set $b", a=found[pair[0]][0], b=found[pair[1]][0])
    values = [str(counters[id_]) for id_ in pair]
    return Fault(
        "", f"counters {pair[0]} and {pair[1]}", Expected("counter", f"counter {pair[0]}", "", *values), _after(artifact, text)
    )


def counted_twice(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """An instruction's constant changed: a branch that counts by two, or not at all."""
    plan, counters = artifact.direct, _counters(artifact)
    if plan is None:
        return None
    sites = counting_sites(artifact.module, plan.artifact, _globals(artifact))
    ids = sorted(id_ for id_ in sites if counters.get(id_))
    if not ids:
        return None
    id_, step = chance.choice(ids), chance.choice((0, 2))
    expected = Expected("counter", f"counter {id_}", "", str(counters[id_]), str(step * counters[id_]))
    return Fault("", f"counter {id_} counts by {step}", expected, counting(id_, _globals(artifact), step))


def nan_payload(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """The payload of a quiet NaN whose bits a counter shows, after the program's own instructions."""
    counters, found = _counters(artifact), _globals(artifact)
    ids = [id_ for id_, value in sorted(counters.items()) if id_ in found and is_quiet_nan(Value("f64", value))]
    if not ids:
        return None
    id_ = chance.choice(ids)
    text = edit.instructions(f"global.get $g i64.const {1 << chance.randrange(40)} i64.xor global.set $g", g=found[id_][0])
    return Fault("", f"counter {id_}", Expected("counter", f"counter {id_}"), _after(artifact, text))


def _with_exports(change: Callable[[tuple[Export, ...]], tuple[Export, ...]]) -> Callable[[bytes], bytes]:
    def changed(wasm: bytes) -> bytes:
        module = read(wasm)
        return edit.rewritten(module, wasm, exports=change(module.exports))

    return changed


def missing(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """A counter that is not exported any more."""
    if (chosen := _counter(artifact, chance)) is None:
        return None
    id_, _, _, value = chosen
    name = f"{formats.COUNTER}{id_}"
    change = _with_exports(lambda exports: tuple(each for each in exports if each.name != name))
    return Fault("", f"counter {id_}", Expected("counter", f"counter {id_}", "", str(value), "absent"), change)


def extra(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """A counter too many."""
    if (chosen := _counter(artifact, chance)) is None:
        return None
    _, index, _, value = chosen
    id_ = chance.choice([each for each in (max(_counters(artifact)) + 1, 3_000_000_000) if each not in _counters(artifact)])
    known = next(each for each in artifact.module.exports if each.kind == "global" and each.index == index)
    more = msgspec.structs.replace(known, name=f"{formats.COUNTER}{id_}")
    change = _with_exports(lambda exports: (*exports, more))
    return Fault("", f"counter {id_}", Expected("counter", f"counter {id_}", "", "absent", str(value)), change)


def trap_for_return(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """An entry that traps where it returned."""
    if artifact.execution is None or not isinstance(artifact.execution.outcome, Returned):
        return None
    kind = chance.choice(sorted(TRAPS))
    expected = Expected("outcome", "outcome", "", "returned", f"trapped: {kind}")
    return Fault("", kind, expected, _after(artifact, edit.instructions(TRAPS[kind])))


def _trap(artifact: FaultTarget) -> Trapped | None:
    outcome = artifact.execution.outcome if artifact.execution else None
    return outcome if isinstance(outcome, Trapped) and outcome.kind not in ("call stack exhausted", "uncaught exception") else None


def return_for_trap(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - the plants' shape
    """An entry that returns where it trapped."""
    if (outcome := _trap(artifact)) is None:
        return None
    expected = Expected("outcome", "outcome", "", sentence(outcome), "returned")
    return Fault("", "the entry", expected, _after(artifact, b"", calls=False))


def other_trap_kind(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """An entry that traps for another reason."""
    if (outcome := _trap(artifact)) is None:
        return None
    kind = other_trap(outcome.kind, chance)
    expected = Expected("outcome", "outcome", "", sentence(outcome), f"trapped: {kind}")
    return Fault("", kind, expected, _after(artifact, edit.instructions(TRAPS[kind]), calls=False))


def refused(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - as above
    """A module that the engine does not take."""
    return Fault("", "the artifact", Expected("outcome", "outcome"), lambda wasm: wasm[:4] + b"\x02" + wasm[5:])


PLANTS: Final[dict[str, Plant]] = {
    "counter off by one": off_by_one,
    "counter at its greatest": greatest,
    "top bits of two counters": two_top_bits,
    "counters swapped": swapped,
    "branch counts by another step": counted_twice,
    "NaN payload": nan_payload,
    "counter missing": missing,
    "counter too many": extra,
    "trap for a return": trap_for_return,
    "return for a trap": return_for_trap,
    "another trap": other_trap_kind,
    "refusal": refused,
}


def plant(kind: str, artifact: FaultTarget, chance: Random, everything: Sequence[FaultTarget]) -> Fault | None:
    """A fault of that class in that artifact, if it has a place for one."""
    fault = PLANTS[kind](artifact, chance, tuple(everything))
    return msgspec.structs.replace(fault, kind=kind) if fault and (fault.edit or fault.carry) else None
