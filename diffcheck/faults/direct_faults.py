"""Faults of the direct pass: the entry is wrapped in a function that changes the state after the entry returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.faults import module_edit
from diffcheck.faults.counters import WIDTHS, add_to_counter, change_step, comparable, counting_sites, set_counter, unequal_pair
from diffcheck.faults.fault import Expected, Fault, FaultTarget, Plant
from diffcheck.faults.traps import TRAPS, other_trap
from diffcheck.observation import Returned, Trapped, sentence
from diffcheck.wasm.module import read
from diffcheck.wasm.values import Value, is_quiet_nan
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from diffcheck.wasm.module import Export


def _after(artifact: FaultTarget, inserted: bytes, *, calls: bool = True) -> Callable[[bytes], bytes] | None:
    """Return an edit that replaces the entry by a function that calls it and then executes ``inserted``.

    Without ``calls`` the function executes ``inserted`` and returns zeros. None if a result type has no zero.
    """
    plan, module = artifact.direct, artifact.module
    assert plan is not None, "the artifact has no direct pass"  # noqa: S101
    entry = next(each.index for each in module.exports if each.kind == "func" and each.name == plan.entry)
    zeros = module_edit.call_replacement((), module.function_type(entry).results)
    if zeros is None:
        return None
    inner = module_edit.call(entry) + inserted if calls else inserted + zeros
    added = (module.functions[entry], module_edit.function(inner))

    def change(wasm: bytes) -> bytes:
        program = read(wasm)
        exports = [
            msgspec.structs.replace(each, index=len(program.functions)) if each.kind == "func" and each.name == plan.entry else each
            for each in program.exports
        ]
        return module_edit.rewrite(program, wasm, added=added, exports=exports)

    return change


def _globals(artifact: FaultTarget) -> dict[int, tuple[int, str]]:
    return formats.instrumentation(artifact.module).counters


def _counter(artifact: FaultTarget, chance: Random) -> tuple[int, int, str, int] | None:
    """Choose a counter: (id, globalidx, type, value)."""
    counters, globals_ = artifact.direct_counters, _globals(artifact)
    ids = [id_ for id_ in comparable(counters) if id_ in globals_]
    if not ids:
        return None
    id_ = chance.choice(ids)
    return id_, *globals_[id_], counters[id_]


def _sign_extended(value: int, type_: str) -> int:
    width = WIDTHS[type_]
    value %= 1 << width
    return (value - (value >> width - 1 << width)) % (1 << 64)


def off_by_one(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Make a counter one too high or too low."""
    if (chosen := _counter(artifact, chance)) is None:
        return None
    id_, index, type_, value = chosen
    change = chance.choice((1, -1))
    expected = Expected("counter", f"counter {id_}", "", str(value), str(_sign_extended(value + change, type_)))
    return Fault("", f"counter {id_} {change:+}", expected, _after(artifact, add_to_counter(index, type_, change)))


def greatest(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Set all bits of a counter."""
    if (chosen := _counter(artifact, chance)) is None:
        return None
    id_, index, type_, value = chosen
    expected = Expected("counter", f"counter {id_}", "", str(value), str((1 << 64) - 1))
    return Fault("", f"counter {id_}", expected, _after(artifact, set_counter(index, type_, -1)))


def two_top_bits(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Flip the top bits of two counters."""
    counters, globals_ = artifact.direct_counters, _globals(artifact)
    ids = [id_ for id_ in comparable(counters) if id_ in globals_ and globals_[id_][1] == "i64"]
    if len(ids) < 2:  # noqa: PLR2004 - a pair
        return None
    pair = sorted(chance.sample(ids, 2))
    text = f"global.get $g i64.const {-(1 << 63)} i64.xor global.set $g"
    inserted = b"".join(module_edit.instructions(text, g=globals_[id_][0]) for id_ in pair)
    value = counters[pair[0]]
    expected = Expected("counter", f"counter {pair[0]}", "", str(value), str(value ^ 1 << 63))
    return Fault("", f"counters {pair[0]} and {pair[1]}", expected, _after(artifact, inserted))


def swapped(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Swap the values of two counters."""
    counters, globals_ = artifact.direct_counters, _globals(artifact)
    pair = unequal_pair({id_: value for id_, value in counters.items() if id_ in globals_}, chance)
    if pair is None:
        return None
    (first, first_type), (second, second_type) = (globals_[id_] for id_ in pair)
    if first_type != second_type:
        return None
    text = module_edit.instructions("global.get $a global.get $b global.set $a global.set $b", a=first, b=second)
    values = [str(counters[id_]) for id_ in pair]
    return Fault(
        "", f"counters {pair[0]} and {pair[1]}", Expected("counter", f"counter {pair[0]}", "", *values), _after(artifact, text)
    )


def wrong_step(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Change an instruction's constant: a branch counts by two, or not at all."""
    plan, counters = artifact.direct, artifact.direct_counters
    if plan is None:
        return None
    sites = counting_sites(artifact.module, plan.artifact, _globals(artifact))
    ids = sorted(id_ for id_ in sites if counters.get(id_))
    if not ids:
        return None
    id_, step = chance.choice(ids), chance.choice((0, 2))
    expected = Expected("counter", f"counter {id_}", "", str(counters[id_]), str(step * counters[id_]))
    return Fault("", f"counter {id_} counts by {step}", expected, change_step(id_, _globals(artifact), step))


def nan_payload(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Change the payload of a quiet NaN whose bits a counter holds."""
    counters, globals_ = artifact.direct_counters, _globals(artifact)
    ids = [id_ for id_, value in sorted(counters.items()) if id_ in globals_ and is_quiet_nan(Value("f64", value))]
    if not ids:
        return None
    id_ = chance.choice(ids)
    text = module_edit.instructions(
        f"global.get $g i64.const {1 << chance.randrange(40)} i64.xor global.set $g", g=globals_[id_][0]
    )
    return Fault("", f"counter {id_}", Expected("counter", f"counter {id_}"), _after(artifact, text))


def _edit_exports(change: Callable[[tuple[Export, ...]], tuple[Export, ...]]) -> Callable[[bytes], bytes]:
    def edit_exports(wasm: bytes) -> bytes:
        module = read(wasm)
        return module_edit.rewrite(module, wasm, exports=change(module.exports))

    return edit_exports


def missing(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Remove the export of a counter."""
    if (chosen := _counter(artifact, chance)) is None:
        return None
    id_, _, _, value = chosen
    name = f"{formats.COUNTER}{id_}"
    change = _edit_exports(lambda exports: tuple(each for each in exports if each.name != name))
    return Fault("", f"counter {id_}", Expected("counter", f"counter {id_}", "", str(value), "absent"), change)


def extra(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Export a global as an additional counter."""
    if (chosen := _counter(artifact, chance)) is None:
        return None
    _, index, _, value = chosen
    counters = artifact.direct_counters
    id_ = chance.choice([id_ for id_ in (max(counters) + 1, 3_000_000_000) if id_ not in counters])
    export = next(each for each in artifact.module.exports if each.kind == "global" and each.index == index)
    added = msgspec.structs.replace(export, name=f"{formats.COUNTER}{id_}")
    change = _edit_exports(lambda exports: (*exports, added))
    return Fault("", f"counter {id_}", Expected("counter", f"counter {id_}", "", "absent", str(value)), change)


def trap_for_return(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Trap in an entry that returned."""
    if artifact.execution is None or not isinstance(artifact.execution.outcome, Returned):
        return None
    kind = chance.choice(sorted(TRAPS))
    expected = Expected("outcome", "outcome", "", "returned", f"trapped: {kind}")
    return Fault("", kind, expected, _after(artifact, module_edit.instructions(TRAPS[kind])))


def _trap(artifact: FaultTarget) -> Trapped | None:
    outcome = artifact.execution.outcome if artifact.execution else None
    return outcome if isinstance(outcome, Trapped) and outcome.kind not in ("call stack exhausted", "uncaught exception") else None


def return_for_trap(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - see Plant
    """Return from an entry that trapped."""
    if (outcome := _trap(artifact)) is None:
        return None
    expected = Expected("outcome", "outcome", "", sentence(outcome), "returned")
    return Fault("", "the entry", expected, _after(artifact, b"", calls=False))


def other_trap_kind(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Trap in the entry for another reason."""
    if (outcome := _trap(artifact)) is None:
        return None
    kind = other_trap(outcome.kind, chance)
    expected = Expected("outcome", "outcome", "", sentence(outcome), f"trapped: {kind}")
    return Fault("", kind, expected, _after(artifact, module_edit.instructions(TRAPS[kind]), calls=False))


def refused(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - see Plant
    """Make the module invalid, so that the engine refuses it."""
    return Fault("", "the artifact", Expected("outcome", "outcome"), lambda wasm: wasm[:4] + b"\x02" + wasm[5:])


PLANTS: Final[dict[str, Plant]] = {
    "counter off by one": off_by_one,
    "counter at its greatest": greatest,
    "top bits of two counters": two_top_bits,
    "counters swapped": swapped,
    "branch counts by another step": wrong_step,
    "NaN payload": nan_payload,
    "counter missing": missing,
    "counter too many": extra,
    "trap for a return": trap_for_return,
    "return for a trap": return_for_trap,
    "another trap": other_trap_kind,
    "refusal": refused,
}
