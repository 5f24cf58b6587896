"""Faults of the capsule pass: each changes the program's state before the recorder reads it, so that the stream is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.capsule import layout as lo
from diffcheck.faults import module_edit
from diffcheck.faults.counters import WIDTHS, add_to_counter, change_step, comparable, counting_sites, set_counter, unequal_pair
from diffcheck.faults.decoded_capsule import DecodedCapsule
from diffcheck.faults.fault import Expected, Fault, FaultTarget, Plant
from diffcheck.faults.traps import TRAPS, other_trap
from diffcheck.observation import Trapped, sentence
from diffcheck.text import visible
from diffcheck.wasm.encode import zero
from diffcheck.wasm.leb import u
from diffcheck.wasm.module import read
from diffcheck.wasm.types import encode_heaptype
from diffcheck.wasm.values import Value, is_nan, is_quiet_nan

if TYPE_CHECKING:
    from random import Random

    from diffcheck.observation import RowRecord

_TOP: Final = 1 << 63
_U64: Final = 1 << 64
_FLIPS: Final = {
    "i32": "i32.const {0} i32.xor",
    "i64": "i64.const {0} i64.xor",
    "f32": "i32.reinterpret_f32 i32.const {0} i32.xor f32.reinterpret_i32",
    "f64": "i64.reinterpret_f64 i64.const {0} i64.xor f64.reinterpret_i64",
}
_WIDTHS: Final = WIDTHS | {"f32": 32, "f64": 64, "v128": 128}
_PRINT_STUB: Final = ("wasi_snapshot_preview1", "fd_write")


def _counter(artifact: FaultTarget, chance: Random) -> tuple[int, int, str, int] | None:
    """Choose a counter: (id, globalidx, type, value)."""
    state, sealed = artifact.state, DecodedCapsule(artifact)
    ids = [] if state is None else comparable(state.counters)
    if state is None or not ids:
        return None
    id_ = chance.choice(ids)
    return id_, *sealed.instrumentation.counters[id_], state.counters[id_]


def off_by_one(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Make a counter one too high or too low."""
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
    """Set all bits of a counter."""
    if (chosen := _counter(artifact, chance)) is None:
        return None
    id_, index, type_, value = chosen
    expected = Expected("counter", f"counter {id_}", "", str(value), str((1 << _WIDTHS[type_]) - 1))
    return Fault("", f"counter {id_}", expected, DecodedCapsule(artifact).at_finish(set_counter(index, type_, -1)))


def swapped(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Swap the values of two counters."""
    state, sealed = artifact.state, DecodedCapsule(artifact)
    pair = unequal_pair(state.counters, chance) if state else None
    if state is None or pair is None:
        return None
    (first, first_type), (second, second_type) = (sealed.instrumentation.counters[id_] for id_ in pair)
    if first_type != second_type:
        return None
    text = module_edit.instructions("global.get $a global.get $b global.set $a global.set $b", a=first, b=second)
    values = [str(state.counters[id_]) for id_ in pair]
    return Fault(
        "", f"counters {pair[0]} and {pair[1]}", Expected("counter", f"counter {pair[0]}", "", *values), sealed.at_finish(text)
    )


def wrong_step(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Change an instruction's constant: a branch counts by two, or not at all."""
    state, sealed = artifact.state, DecodedCapsule(artifact)
    sites = counting_sites(sealed.module, sealed.wasm, sealed.instrumentation.counters)
    ids = sorted(id_ for id_ in sites if state is not None and state.counters[id_])
    if state is None or not ids:
        return None
    id_, step = chance.choice(ids), chance.choice((0, 2))
    expected = Expected("counter", f"counter {id_}", "", str(state.counters[id_]), str(step * state.counters[id_]))
    return Fault("", f"counter {id_} counts by {step}", expected, change_step(id_, sealed.instrumentation.counters, step))


def _branch_fault(name: str) -> Plant:
    def plant(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
        sealed = DecodedCapsule(artifact)
        if not sealed.layout.branches or not artifact.returned:
            return None
        row, at = chance.choice(artifact.returned), chance.randrange(len(sealed.layout.branches))
        id_, observed = sealed.layout.branches[at], artifact.rows[row]
        index = (sealed.instrumentation.brvals if name == "brval" else sealed.instrumentation.brcnts)[id_]
        value = (observed.brvals if name == "brval" else observed.brcnts)[at]
        text = module_edit.instructions("global.get $g i32.const 1 i32.xor global.set $g", g=index)
        expected = Expected(name, f"{name} {id_}", observed.name, str(value), str(value ^ 1))
        return Fault("", f"{name} {id_} in row {observed.name}", expected, sealed.after_row(row, text))

    return plant


def trace_record(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Change the value in a trace record."""
    sealed = DecodedCapsule(artifact)
    rows = [row for row in artifact.returned if len(artifact.rows[row].trace) >= 4]  # noqa: PLR2004 - bytes of a record
    if not rows or sealed.instrumentation.trace is None:
        return None
    row = chance.choice(rows)
    record = chance.randrange(len(artifact.rows[row].trace) // 4)
    text = "i32.const $a i32.const $a i32.load8_u $m i32.const 1 i32.xor i32.store8 $m"
    inserted = module_edit.instructions(text, a=16 + 4 * record + 2, m=sealed.instrumentation.trace)
    name = artifact.rows[row].name
    expected = Expected("trace", f"trace record {record}", name)
    return Fault("", f"trace record {record} of row {name}", expected, sealed.after_row(row, inserted))


def _last_results(artifact: FaultTarget) -> list[tuple[int, RowRecord, Value]]:
    """Return (row index, row, last result) of each row whose last result is a number or vector."""
    rows = [(at, artifact.rows[at]) for at in artifact.returned]
    return [(at, row, row.results[-1]) for at, row in rows if row.results and row.results[-1].type in _WIDTHS]


def _flip(value: Value, mask: int) -> bytes:
    if value.type == "v128":
        return b"\xfd\x0c" + mask.to_bytes(16, "little") + b"\xfd\x51"  # v128.const, v128.xor
    width = _WIDTHS[value.type]
    return module_edit.instructions(_FLIPS[value.type].format(mask - (mask >> width - 1 << width)))


def _holds_nan(value: Value) -> bool:
    if value.type in ("f32", "f64"):
        return is_nan(value)
    lanes = [Value("f32", value.bits >> at & 0xFFFF_FFFF) for at in range(0, 128, 32)]
    lanes += [Value("f64", value.bits >> at & _U64 - 1) for at in (0, 64)]
    return value.type == "v128" and any(map(is_nan, lanes))


def result_bit(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Flip one bit of a result, right after the call."""
    candidates = [candidate for candidate in _last_results(artifact) if not _holds_nan(candidate[2])]
    if not candidates:
        return None
    at, row, value = chance.choice(candidates)
    mask = 1 << chance.randrange(_WIDTHS[value.type])
    item, wrong = f"result {len(row.results) - 1}", Value(value.type, value.bits ^ mask)
    expected = Expected("result", item, row.name, str(value), str(wrong))
    change = DecodedCapsule(artifact).after_row(at, _flip(value, mask))
    return Fault("", f"{item} of row {row.name}, mask {mask:#x}", expected, change)


def nan_payload(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Change the payload or sign of a quiet NaN that a row returns."""
    candidates = [each for each in _last_results(artifact) if each[2].type in ("f32", "f64") and is_quiet_nan(each[2])]
    if not candidates:
        return None
    at, row, value = chance.choice(candidates)
    mask = 1 << chance.choice((0, 3, _WIDTHS[value.type] - 1))
    item = f"result {len(row.results) - 1}"
    change = DecodedCapsule(artifact).after_row(at, _flip(value, mask))
    return Fault("", f"{item} of row {row.name}", Expected("result", item, row.name), change)


def exported_global(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Flip one bit of a mutable exported global."""
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
    index = indices[name]
    text = (
        module_edit.instructions("global.get $g", g=index) + _flip(value, mask) + module_edit.instructions("global.set $g", g=index)
    )
    expected = Expected("global", f"global {visible(name)}", "", str(value), str(Value(value.type, value.bits ^ mask)))
    return Fault("", f"global {name}, mask {mask:#x}", expected, sealed.at_finish(text))


def _memory(artifact: FaultTarget, chance: Random) -> tuple[lo.Memory, int, int] | None:
    """Choose a memory: (memory, size in pages, number of digested pages)."""
    if (state := artifact.state) is None:
        return None
    memories = DecodedCapsule(artifact).layout.memories
    candidates = [(memory, state.memories[at], len(state.pages[at])) for at, memory in enumerate(memories) if state.pages[at]]
    return chance.choice(candidates) if candidates else None


def memory_byte(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Flip one bit of memory."""
    if (chosen := _memory(artifact, chance)) is None:
        return None
    memory, _, pages = chosen
    address, bit = chance.randrange(pages * lo.PAGE), 1 << chance.randrange(8)
    pointer = "i64" if memory.is64 else "i32"
    text = f"{pointer}.const $a {pointer}.const $a i32.load8_u $m i32.const $b i32.xor i32.store8 $m"
    inserted = module_edit.instructions(text, a=address, m=memory.index, b=bit)
    item = f"memory {memory.index} at {address:#x}"
    return Fault("", item, Expected("memory", item), DecodedCapsule(artifact).at_finish(inserted))


def two_top_bits(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Flip the top bits of two words of a page, which a digest without rotation would miss."""
    if (chosen := _memory(artifact, chance)) is None:
        return None
    memory, _, pages = chosen
    start, places = chance.randrange(pages) * lo.PAGE, sorted(chance.sample(range(0, lo.PAGE, 8), 2))
    pointer = "i64" if memory.is64 else "i32"
    text = f"{pointer}.const $a {pointer}.const $a i64.load $m i64.const {-_TOP} i64.xor i64.store $m"
    inserted = b"".join(module_edit.instructions(text, a=start + at, m=memory.index) for at in places)
    item = f"memory {memory.index} at {start + places[0] + 7:#x}"
    change = DecodedCapsule(artifact).at_finish(inserted)
    return Fault("", f"{item} and {start + places[1] + 7:#x}", Expected("memory", item), change)


def memory_size(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Make a memory one page larger."""
    if (chosen := _memory(artifact, chance)) is None:
        return None
    memory, pages, _ = chosen
    sealed = DecodedCapsule(artifact)
    maximum = sealed.module.all_memories[memory.index].limits.maximum
    if maximum is not None and pages >= maximum:
        return None
    inserted = module_edit.instructions(f"{'i64' if memory.is64 else 'i32'}.const 1 memory.grow $m drop", m=memory.index)
    expected = Expected("memory size", f"memory {memory.index}", "", f"{pages} pages", f"{pages + 1} pages")
    return Fault("", f"memory {memory.index}", expected, sealed.at_finish(inserted))


def table_size(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Make a table one element longer."""
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
    delta = b"\x42\x01" if types[table].limits.is64 else b"\x41\x01"
    inserted = b"\xd0" + encode_heaptype(types[table].ref.heap) + delta + b"\xfc\x0f" + u(table) + b"\x1a"
    size = state.tables[table]
    expected = Expected("table size", f"table {table}", "", f"{size} elements", f"{size + 1} elements")
    return Fault("", f"table {table}", expected, sealed.at_finish(inserted))


def output_byte(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - see Plant
    """Change the first byte of the output before it is captured."""
    sealed = DecodedCapsule(artifact)
    stub = next((each for each in sealed.layout.stubs if (each.module, each.name) == _PRINT_STUB), None)
    row = next((row for row in artifact.rows if (row.stdout and row.stdout.captured) or (row.stderr and row.stderr.captured)), None)
    if stub is None or row is None:
        return None
    text = (
        "local.get 1 i32.load $m offset=4 if local.get 1 i32.load $m local.get 1 i32.load $m i32.load8_u $m i32.const 1 i32.xor "
        "i32.store8 $m end"
    )
    inserted = module_edit.instructions(text, m=0)

    def change(wasm: bytes) -> bytes:
        module = read(wasm)
        return module_edit.rewrite(
            module, wasm, {stub.index: module_edit.prepend(module_edit.body(module, wasm, stub.index), inserted)}
        )

    return Fault("", f"output of row {row.name}", Expected("output", "std", row.name), change)


def stub_call(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Call an imported function once more."""
    sealed = DecodedCapsule(artifact)
    # Called with zeros, most functions of WASI preview 1 return an error code, while those of 0.2 trap for a bad handle.
    stubs = [
        each for each in sealed.layout.stubs
        if (each.kind == "zero" or each.module == _PRINT_STUB[0])
        and "exit" not in each.name
        and None not in map(zero, sealed.module.function_type(each.index).params)
    ]  # fmt: skip
    if not stubs or not artifact.returned:
        return None
    stub, row = chance.choice(stubs), chance.choice(artifact.returned)
    type_ = sealed.module.function_type(stub.index)
    arguments = b"".join(zero(each) or b"" for each in type_.params)
    inserted = arguments + module_edit.call(stub.index) + b"\x1a" * len(type_.results)
    item, name = f"calls of {visible(stub.module)} {visible(stub.name)}", artifact.rows[row].name
    return Fault("", f"{item} in row {name}", Expected("stub calls", item, name), sealed.after_row(row, inserted))


def trap_for_return(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Trap in a row that returned."""
    if not artifact.returned:
        return None
    sealed, row, kind = DecodedCapsule(artifact), chance.choice(artifact.returned), chance.choice(sorted(TRAPS))
    name = artifact.rows[row].name
    expected = Expected("outcome", "outcome", name, "returned", f"trapped: {kind}")
    return Fault("", f"{kind} in row {name}", expected, sealed.after_row(row, module_edit.instructions(TRAPS[kind], m=sealed.rec)))


def _trapped(artifact: FaultTarget) -> tuple[int, RowRecord, Trapped] | None:
    """Return (row index, row, outcome) of the row whose trap, defined by the specification, ended the first instance."""
    n_init = DecodedCapsule(artifact).layout.n_init
    for at, row in enumerate(artifact.rows):
        if (
            isinstance(row.outcome, Trapped)
            and at >= n_init
            and row.outcome.kind not in ("call stack exhausted", "uncaught exception")
        ):
            return at, row, row.outcome
    return None


def return_for_trap(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - see Plant
    """Return from a row that trapped."""
    if (chosen := _trapped(artifact)) is None:
        return None
    at, row, outcome = chosen
    change = DecodedCapsule(artifact).replace_row(at, b"")
    expected = Expected("outcome", "outcome", row.name, sentence(outcome), "returned")
    return Fault("", f"row {row.name}", expected, change) if change else None


def other_trap_kind(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Trap in a row for another reason."""
    if (chosen := _trapped(artifact)) is None:
        return None
    at, row, outcome = chosen
    sealed, kind = DecodedCapsule(artifact), other_trap(outcome.kind, chance)
    change = sealed.replace_row(at, module_edit.instructions(TRAPS[kind], m=sealed.rec))
    expected = Expected("outcome", "outcome", row.name, sentence(outcome), f"trapped: {kind}")
    return Fault("", f"{kind} in row {row.name}", expected, change) if change else None


def refused(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - see Plant
    """Make the module invalid, so that the engine refuses it."""
    return Fault("", "the capsule", Expected("outcome", "outcome"), lambda wasm: wasm[:4] + b"\x02" + wasm[5:])


PLANTS: Final[dict[str, Plant]] = {
    "counter off by one": off_by_one,
    "counter at its greatest": greatest,
    "counters swapped": swapped,
    "branch counts by another step": wrong_step,
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


STATE_FAULTS: Final = frozenset(
    {
        "counter off by one", "counter at its greatest", "counters swapped", "branch counts by another step", "exported global",
        "memory byte", "top bits of two words of memory", "memory size", "table size",
    }
)  # fmt: skip
"""The classes of faults that only an instance's final state reveals."""
