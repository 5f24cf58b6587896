"""Faults on the capsule pass: each changes the running program before the recorder reads it, so that the stream is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.faults import edit
from diffcheck.faults.counters import WIDTHS, add_to_counter, comparable, counting, counting_sites, pair_that_differs, set_counter
from diffcheck.faults.decoded_capsule import DecodedCapsule
from diffcheck.faults.model import Expected, Fault, FaultTarget, Plant
from diffcheck.faults.traps import TRAPS, other_trap
from diffcheck.observation import Trapped, sentence
from diffcheck.text import visible
from diffcheck.values import Value, is_nan, is_quiet_nan
from diffcheck.wasm.encode import zero
from diffcheck.wasm.leb import u
from diffcheck.wasm.module import read
from diffcheck.wasm.types import encode_heaptype

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from diffcheck.observation import RowSeen

_TOP: Final = 1 << 63
_U64: Final = 1 << 64
_FLIPS: Final = {
    "i32": "i32.const {0} i32.xor",
    "i64": "i64.const {0} i64.xor",
    "f32": "i32.reinterpret_f32 i32.const {0} i32.xor f32.reinterpret_i32",
    "f64": "i64.reinterpret_f64 i64.const {0} i64.xor f64.reinterpret_i64",
}
_WIDTHS: Final = WIDTHS | {"f32": 32, "f64": 64, "v128": 128}
_STUB_TO_PRINT: Final = ("wasi_snapshot_preview1", "fd_write")


def _counter(artifact: FaultTarget, chance: Random) -> tuple[int, int, str, int] | None:
    """A counter's id, global, type and value."""
    state, sealed = artifact.state, DecodedCapsule(artifact)
    ids = [] if state is None else comparable(state.counters)
    if state is None or not ids:
        return None
    id_ = chance.choice(ids)
    return id_, *sealed.found.counters[id_], state.counters[id_]


def off_by_one(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """A counter one too high or too low."""
    if (chosen := _counter(artifact, chance)) is None:
        return None
    id_, index, type_, value = chosen
    change = chance.choice((1, -1))
    wrong = (value + change) % (1 << _WIDTHS[type_])
    expected = Expected("counter", f"counter {id_}", "", str(value), str(wrong))
    return Fault(
        "", f"counter {id_} {change:+}", expected, DecodedCapsule(artifact).at_finish(add_to_counter(index, type_, change))
    )


def greatest(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """A counter with all bits set."""
    if (chosen := _counter(artifact, chance)) is None:
        return None
    id_, index, type_, value = chosen
    expected = Expected("counter", f"counter {id_}", "", str(value), str((1 << _WIDTHS[type_]) - 1))
    return Fault("", f"counter {id_}", expected, DecodedCapsule(artifact).at_finish(set_counter(index, type_, -1)))


def swapped(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Two counters with each other's values."""
    state, sealed = artifact.state, DecodedCapsule(artifact)
    pair = pair_that_differs(state.counters, chance) if state else None
    if state is None or pair is None:
        return None
    (one, one_type), (other, other_type) = (sealed.found.counters[id_] for id_ in pair)
    if one_type != other_type:
        return None
    text = edit.instructions("global.get $a global.get $b global.set $a global.set $b", a=one, b=other)
    values = [str(state.counters[id_]) for id_ in pair]
    return Fault(
        "", f"counters {pair[0]} and {pair[1]}", Expected("counter", f"counter {pair[0]}", "", *values), sealed.at_finish(text)
    )


def counted_twice(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """An instruction's constant changed: a branch that counts by two, or not at all."""
    state, sealed = artifact.state, DecodedCapsule(artifact)
    sites = counting_sites(sealed.module, sealed.wasm, sealed.found.counters)
    ids = sorted(id_ for id_ in sites if state is not None and state.counters[id_])
    if state is None or not ids:
        return None
    id_, step = chance.choice(ids), chance.choice((0, 2))
    expected = Expected("counter", f"counter {id_}", "", str(state.counters[id_]), str(step * state.counters[id_]))
    return Fault("", f"counter {id_} counts by {step}", expected, counting(id_, sealed.found.counters, step))


def _branch_fault(name: str) -> Plant:
    def plant(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
        sealed = DecodedCapsule(artifact)
        if not sealed.layout.branches or not artifact.returned:
            return None
        row, at = chance.choice(artifact.returned), chance.randrange(len(sealed.layout.branches))
        id_, seen = sealed.layout.branches[at], artifact.rows[row]
        index = (sealed.found.brvals if name == "brval" else sealed.found.brcnts)[id_]
        value = (seen.brvals if name == "brval" else seen.brcnts)[at]
        text = edit.instructions("global.get $g i32.const 1 i32.xor global.set $g", g=index)
        expected = Expected(name, f"{name} {id_}", seen.name, str(value), str(value ^ 1))
        return Fault("", f"{name} {id_} in row {seen.name}", expected, sealed.after_row(row, text))

    return plant


def trace_record(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """The value in a trace record."""
    sealed = DecodedCapsule(artifact)
    rows = [row for row in artifact.returned if len(artifact.rows[row].trace) >= 4]  # noqa: PLR2004 - bytes of a record
    if not rows or sealed.found.trace is None:
        return None
    row = chance.choice(rows)
    record = chance.randrange(len(artifact.rows[row].trace) // 4)
    text = "i32.const $a i32.const $a i32.load8_u $m i32.const 1 i32.xor i32.store8 $m"
    inserted = edit.instructions(text, a=16 + 4 * record + 2, m=sealed.found.trace)
    name = artifact.rows[row].name
    return Fault(
        "",
        f"trace record {record} of row {name}",
        Expected("trace", f"trace record {record}", name),
        sealed.after_row(row, inserted),
    )


def _results(artifact: FaultTarget) -> list[tuple[int, RowSeen, Value]]:
    rows = [(at, artifact.rows[at]) for at in artifact.returned]
    return [(at, row, row.results[-1]) for at, row in rows if row.results and row.results[-1].type in _WIDTHS]


def _flip(value: Value, mask: int) -> bytes:
    if value.type == "v128":
        return b"\xfd\x0c" + mask.to_bytes(16, "little") + b"\xfd\x51"  # v128.const, v128.xor
    width = _WIDTHS[value.type]
    return edit.instructions(_FLIPS[value.type].format(mask - (mask >> width - 1 << width)))


def _holds_nan(value: Value) -> bool:
    if value.type in ("f32", "f64"):
        return is_nan(value)
    lanes = [Value("f32", value.bits >> at & 0xFFFF_FFFF) for at in range(0, 128, 32)]
    lanes += [Value("f64", value.bits >> at & _U64 - 1) for at in (0, 64)]
    return value.type == "v128" and any(map(is_nan, lanes))


def result_bit(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """One bit of a result, right after the call."""
    found = [each for each in _results(artifact) if not _holds_nan(each[2])]
    if not found:
        return None
    at, row, value = chance.choice(found)
    mask = 1 << chance.randrange(_WIDTHS[value.type])
    item, wrong = f"result {len(row.results) - 1}", Value(value.type, value.bits ^ mask)
    expected = Expected("result", item, row.name, str(value), str(wrong))
    return Fault(
        "", f"{item} of row {row.name}, mask {mask:#x}", expected, DecodedCapsule(artifact).after_row(at, _flip(value, mask))
    )


def nan_payload(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """The payload or the sign of a quiet NaN that a row returns, after the program's own instructions."""
    found = [each for each in _results(artifact) if each[2].type in ("f32", "f64") and is_quiet_nan(each[2])]
    if not found:
        return None
    at, row, value = chance.choice(found)
    mask = 1 << chance.choice((0, 3, _WIDTHS[value.type] - 1))
    item = f"result {len(row.results) - 1}"
    return Fault(
        "",
        f"{item} of row {row.name}",
        Expected("result", item, row.name),
        DecodedCapsule(artifact).after_row(at, _flip(value, mask)),
    )


def exported_global(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """One bit of a mutable exported global."""
    sealed, state = DecodedCapsule(artifact), artifact.state
    indices = {each.name: each.index for each in artifact.module.exports if each.kind == "global"}
    types = artifact.module.all_globals
    names = [name for name, kind in sealed.layout.globals if name in indices and types[indices[name]].mutable and kind in _FLIPS]
    names = [name for name in names if state is not None and not _holds_nan(state.globals[name])]
    if state is None or not names:
        return None
    name = chance.choice(names)
    value = state.globals[name]
    mask = 1 << chance.randrange(_WIDTHS[value.type])
    text = (
        edit.instructions("global.get $g", g=indices[name])
        + _flip(value, mask)
        + edit.instructions("global.set $g", g=indices[name])
    )
    expected = Expected("global", f"global {visible(name)}", "", str(value), str(Value(value.type, value.bits ^ mask)))
    return Fault("", f"global {name}, mask {mask:#x}", expected, sealed.at_finish(text))


def _memory(artifact: FaultTarget, chance: Random) -> tuple[lo.Memory, int, int] | None:
    """A memory, its size in pages, how many of them are digested."""
    sealed, state = DecodedCapsule(artifact), artifact.state
    if state is None:
        return None
    found = [
        (memory, state.memories[at], len(state.pages[at])) for at, memory in enumerate(sealed.layout.memories) if state.pages[at]
    ]
    return chance.choice(found) if found else None


def memory_byte(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """One bit of one byte of memory."""
    if (chosen := _memory(artifact, chance)) is None:
        return None
    memory, _, pages = chosen
    address, bit = chance.randrange(pages * lo.PAGE), 1 << chance.randrange(8)
    pointer = "i64" if memory.is64 else "i32"
    text = f"{pointer}.const $a {pointer}.const $a i32.load8_u $m i32.const $b i32.xor i32.store8 $m"
    inserted = edit.instructions(text, a=address, m=memory.index, b=bit)
    item = f"memory {memory.index} at {address:#x}"
    return Fault("", item, Expected("memory", item), DecodedCapsule(artifact).at_finish(inserted))


def two_top_bits(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """The top bits of two words of a page: what a digest without rotation does not see."""
    if (chosen := _memory(artifact, chance)) is None:
        return None
    memory, _, pages = chosen
    page, (one, other) = chance.randrange(pages), sorted(chance.sample(range(0, lo.PAGE, 8), 2))
    pointer = "i64" if memory.is64 else "i32"
    text = f"{pointer}.const $a {pointer}.const $a i64.load $m i64.const {-_TOP} i64.xor i64.store $m"
    inserted = b"".join(edit.instructions(text, a=page * lo.PAGE + at, m=memory.index) for at in (one, other))
    item = f"memory {memory.index} at {page * lo.PAGE + one + 7:#x}"
    return Fault(
        "", f"{item} and {page * lo.PAGE + other + 7:#x}", Expected("memory", item), DecodedCapsule(artifact).at_finish(inserted)
    )


def memory_size(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """A memory one page larger."""
    if (chosen := _memory(artifact, chance)) is None:
        return None
    memory, pages, _ = chosen
    sealed = DecodedCapsule(artifact)
    maximum = sealed.module.all_memories[memory.index].limits.maximum
    if maximum is not None and pages >= maximum:
        return None
    inserted = edit.instructions(f"{'i64' if memory.is64 else 'i32'}.const 1 memory.grow $m drop", m=memory.index)
    expected = Expected("memory size", f"memory {memory.index}", "", f"{pages} pages", f"{pages + 1} pages")
    return Fault("", f"memory {memory.index}", expected, sealed.at_finish(inserted))


def table_size(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """A table one element longer."""
    sealed, state = DecodedCapsule(artifact), artifact.state
    if state is None:
        return None
    types = sealed.module.all_tables
    room = [
        at for at, size in enumerate(state.tables)
        if types[at].ref.nullable and (types[at].limits.maximum is None or size < (types[at].limits.maximum or 0))
    ]  # fmt: skip
    if not room:
        return None
    table = chance.choice(room)
    one = b"\x42\x01" if types[table].limits.is64 else b"\x41\x01"
    inserted = b"\xd0" + encode_heaptype(types[table].ref.heap) + one + b"\xfc\x0f" + u(table) + b"\x1a"
    size = state.tables[table]
    expected = Expected("table size", f"table {table}", "", f"{size} elements", f"{size + 1} elements")
    return Fault("", f"table {table}", expected, sealed.at_finish(inserted))


def output_byte(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - the plants' shape
    """The first byte of what is printed, before it is captured."""
    sealed = DecodedCapsule(artifact)
    stub = next((each for each in sealed.layout.stubs if (each.module, each.name) == _STUB_TO_PRINT), None)
    row = next((row for row in artifact.rows if (row.stdout and row.stdout.captured) or (row.stderr and row.stderr.captured)), None)
    if stub is None or row is None:
        return None
    text = (
        "local.get 1 i32.load $m offset=4 if local.get 1 i32.load $m local.get 1 i32.load $m i32.load8_u $m i32.const 1 i32.xor "
        "i32.store8 $m end"
    )
    inserted = edit.instructions(text, m=0)

    def change(wasm: bytes) -> bytes:
        module = read(wasm)
        return edit.rewritten(module, wasm, {stub.index: edit.begin(edit.body(module, wasm, stub.index), inserted)})

    return Fault("", f"output of row {row.name}", Expected("output", "std", row.name), change)


def stub_call(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """An imported function called once more."""
    sealed = DecodedCapsule(artifact)
    # With zeros for arguments most functions of preview 1 give an error code, where those of 0.2 trap for a bad handle.
    stubs = [each for each in sealed.layout.stubs if each.kind == "zero" or each.module == _STUB_TO_PRINT[0]]
    stubs = [each for each in stubs if "exit" not in each.name]
    stubs = [each for each in stubs if None not in map(zero, sealed.module.function_type(each.index).params)]
    if not stubs or not artifact.returned:
        return None
    stub, row = chance.choice(stubs), chance.choice(artifact.returned)
    type_ = sealed.module.function_type(stub.index)
    arguments = b"".join(zero(each) or b"" for each in type_.params)
    inserted = arguments + edit.called(stub.index) + b"\x1a" * len(type_.results)
    item, name = f"calls of {visible(stub.module)} {visible(stub.name)}", artifact.rows[row].name
    return Fault("", f"{item} in row {name}", Expected("stub calls", item, name), sealed.after_row(row, inserted))


def trap_for_return(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """A row that traps where it returned."""
    if not artifact.returned:
        return None
    sealed, row, kind = DecodedCapsule(artifact), chance.choice(artifact.returned), chance.choice(sorted(TRAPS))
    name = artifact.rows[row].name
    expected = Expected("outcome", "outcome", name, "returned", f"trapped: {kind}")
    return Fault("", f"{kind} in row {name}", expected, sealed.after_row(row, edit.instructions(TRAPS[kind], m=sealed.rec)))


def _trapped(artifact: FaultTarget) -> tuple[int, RowSeen, Trapped] | None:
    """The row in which the first instance ended by a trap that the specification defines."""
    n_init = DecodedCapsule(artifact).layout.n_init
    for at, row in enumerate(artifact.rows):
        if (
            isinstance(row.outcome, Trapped)
            and at >= n_init
            and row.outcome.kind not in ("call stack exhausted", "uncaught exception")
        ):
            return at, row, row.outcome
    return None


def return_for_trap(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - as above
    """A row that returns where it trapped."""
    if (chosen := _trapped(artifact)) is None:
        return None
    at, row, outcome = chosen
    change = DecodedCapsule(artifact).instead_of_row(at, b"")
    expected = Expected("outcome", "outcome", row.name, sentence(outcome), "returned")
    return Fault("", f"row {row.name}", expected, change) if change else None


def other_trap_kind(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """A row that traps for another reason."""
    if (chosen := _trapped(artifact)) is None:
        return None
    at, row, outcome = chosen
    sealed, kind = DecodedCapsule(artifact), other_trap(outcome.kind, chance)
    change = sealed.instead_of_row(at, edit.instructions(TRAPS[kind], m=sealed.rec))
    expected = Expected("outcome", "outcome", row.name, sentence(outcome), f"trapped: {kind}")
    return Fault("", f"{kind} in row {row.name}", expected, change) if change else None


def refused(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - as above
    """A module that the engine does not take."""
    return Fault("", "the capsule", Expected("outcome", "outcome"), lambda wasm: wasm[:4] + b"\x02" + wasm[5:])


PLANTS: Final[dict[str, Plant]] = {
    "counter off by one": off_by_one,
    "counter at its greatest": greatest,
    "counters swapped": swapped,
    "branch counts by another step": counted_twice,
    "brval": _branch_fault("brval"),
    "brcnt": _branch_fault("brcnt"),
    "trace record": trace_record,
    "result bit": result_bit,
    "NaN payload": nan_payload,
    "exported global": exported_global,
    "memory byte": memory_byte,
    "top bits of two words of memory": two_top_bits,
    "memory size": memory_size,
    "table size": table_size,
    "output byte": output_byte,
    "stub called once more": stub_call,
    "trap for a return": trap_for_return,
    "return for a trap": return_for_trap,
    "another trap": other_trap_kind,
    "refusal": refused,
}


OF_STATE: Final = frozenset(
    {
        "counter off by one", "counter at its greatest", "counters swapped", "branch counts by another step", "exported global",
        "memory byte", "top bits of two words of memory", "memory size", "table size",
    }
)  # fmt: skip
"""The classes that only an instance's last state shows."""


def plant(kind: str, artifact: FaultTarget, chance: Random, everything: Sequence[FaultTarget]) -> Fault | None:
    """A fault of that class in that artifact, if it has a place for one."""
    fault = PLANTS[kind](artifact, chance, tuple(everything))
    return msgspec.structs.replace(fault, kind=kind) if fault else None
