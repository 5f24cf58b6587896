"""A self-contained module that shows a divergence: its ``_start`` makes the calls and stores the values that matter in counters.

Witness's harness protocol reports integer globals ``__witness_counter_N``, so results are stored there, bit for bit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import HARNESS_ENTRIES
from diffcheck.capsule.driver import START
from diffcheck.cases.rows import choose
from diffcheck.errors import ArtifactError
from diffcheck.triage.reduce.close_imports import closable, closed
from diffcheck.triage.reduce.units import literal
from diffcheck.wasm import module as wasm
from diffcheck.wasm import section as ids
from diffcheck.wasm.code import MemArg
from diffcheck.wasm.draft import constant, draft
from diffcheck.wasm.encode import plain
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.leb import sized, u
from diffcheck.wasm.opcodes import END
from diffcheck.wasm.types import FuncType as Function
from diffcheck.wasm.types import RefType, encode_functype, encode_valtype
from diffcheck.wasm.values import Value
from diffcheck.witness.formats import COUNTER, PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from diffcheck.capsule.driver import Call
    from diffcheck.triage.reduce.symptom import Symptom
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType

OBSERVED: Final = "observed"
"""An export that runs the program and returns the counters, for engine command lines that print results but not globals."""
_MEMORY: Final = re.compile(r"memory (\d+) at 0x([0-9a-f]+)\Z")
_NAMED: Final = 3
_SIZE: Final = re.compile(r"(memory|table) (\d+)\Z")
_NOT_HERE: Final = {
    "output": "programs print through imported functions, and this module has no imports",
    "stub calls": "the difference is in calls of imported functions, and this module has no imports",
    "trace": "witness's trace is in a memory, which is not reported here",
    "stream": "it is in diffcheck's own recorder",
    "instruction": "only the deterministic form, which checks each result, shows it",
    "not located": "the place of the difference was not found",
}


class Shown(msgspec.Struct, frozen=True):
    """A counter of the standalone module: its number, and a description of its value."""

    number: int
    what: str


class Standalone(msgspec.Struct, frozen=True):
    """The module and its counters. ``closed`` are the imports replaced by stubs, ``source`` is the module without driver and counters."""

    wasm: bytes
    shown: tuple[Shown, ...]
    closed: tuple[str, ...] = ()
    source: bytes = b""


def why_not(symptom: Symptom) -> str:
    """The reason why a symptom cannot have a standalone module; empty if it can."""
    return _NOT_HERE.get(symptom.kind, "")


def standalone(data: bytes, rows: Sequence[str], symptom: Symptom, masks: Mapping[str, int] | None = None) -> Standalone:
    """The standalone module of ``data``, its imports replaced by stubs. ``masks`` are the bits to compare of float results, by type.
    Raises ``ArtifactError`` if there is none.
    """
    source = draft(data)
    imports = names(source.module)
    if imports:
        data = closed(source, closable(source)).write()
        left = names(wasm.read(data))
        if left:
            raise ArtifactError(f"it needs its imports ({', '.join(left[:_NAMED])})")
    made = _Maker(data, rows, symptom, masks or {}).run()
    return msgspec.structs.replace(made, closed=imports, source=data)


def names(module: Module) -> tuple[str, ...]:
    """The names of a module's imports."""
    return tuple(f"{each.module}.{each.name}" for each in module.imports)


class _Maker:
    def __init__(self, data: bytes, rows: Sequence[str], symptom: Symptom, masks: Mapping[str, int]) -> None:
        self.masks = masks
        source = draft(data)
        keeps = symptom.kind == "counter"
        taken = (*HARNESS_ENTRIES, OBSERVED)
        exports = []
        for at, each in enumerate(source.exports):
            if each.kind == "global" and each.name.startswith(COUNTER) and not keeps:
                continue
            renamed = msgspec.structs.replace(each, name=f"{each.name} ({at})") if each.name in taken else each
            exports.append(renamed)
        self.calls = choose(wasm.read(data), rows).calls
        self.symptom = symptom
        less = msgspec.structs.replace(source, exports=tuple(exports))
        self.data = less.write()
        self.module: Module = wasm.read(self.data)
        self.numbers = less.numbers("func")
        self.code: list[bytes] = []
        self.locals: list[ValType] = []
        self.shown: list[Shown] = []
        self.first = next(n for n in range(1 << 20) if not any(each.name == f"{COUNTER}{n}" for each in exports))

    def run(self) -> Standalone:
        """The module."""
        for call in self.calls:
            if call.name != START:  # the module keeps its start section
                self._call(call)
        self._state()
        start = len(self.module.all_functions)
        own = self.shown_counters()
        observed = [plain("call", start)]
        observed += [plain("global.get", index) for index in own]
        body = (
            u(len(self.locals)) + b"".join(b"\x01" + encode_valtype(each) for each in self.locals) + b"".join(self.code) + b"\x0b"
        )
        results: tuple[ValType, ...] = tuple(
            self.module.all_globals[i].value if i < len(self.module.all_globals) else "i64" for i in own
        )
        own_types = Function(), Function((), results)
        types = {each.composite: at for at, each in enumerate(self.module.types) if isinstance(each.composite, Function)}
        added_types = [each for each in dict.fromkeys(own_types) if each not in types]
        types |= {each: len(self.module.types) + at for at, each in enumerate(added_types)}
        added = len(self.shown)
        made = appended(
            self.data,
            {
                ids.TYPE: list(map(encode_functype, added_types)),
                ids.FUNCTION: [u(types[each]) for each in own_types],
                ids.GLOBAL: [b"\x7e\x01\x42\x00\x0b"] * added,
                ids.EXPORT: [
                    encode_export("_start", "func", start),
                    encode_export(OBSERVED, "func", start + 1),
                    *(encode_export(f"{COUNTER}{each.number}", "global", self._global(at)) for at, each in enumerate(self.shown)),
                ],
                ids.CODE: [sized(each) for each in (body, b"\x00" + b"".join(observed) + END)],
            },
        )
        return Standalone(made, tuple(self.shown))

    def shown_counters(self) -> list[int]:
        """The indices of the globals that ``observed`` returns: the added ones, else the artifact's own counters."""
        if self.shown:
            return [self._global(at) for at in range(len(self.shown))]
        return [each.index for each in self.module.exports if each.kind == "global" and each.name.startswith(COUNTER)][:8]

    def _global(self, at: int) -> int:
        return len(self.module.all_globals) + at

    def _call(self, call: Call) -> None:
        for value, type_ in zip(call.args, call.type.params, strict=True):
            self.code.append(_argument(type_, value))
        self.code.append(plain("global.get", call.function) if call.reads else plain("call", self.numbers[call.function]))
        here = call.name == self.symptom.row or not self.symptom.row
        for at in range(len(call.type.results) - 1, -1, -1):
            type_ = call.type.results[at]
            if here and self.symptom.kind in ("result", "outcome"):
                self._store(type_, f"result {at} of {call.name} ({_name(type_)})")
            else:
                self.code.append(plain("drop"))

    def _store(self, type_: ValType, what: str) -> None:
        """Move the value on the stack to new counters."""
        if isinstance(type_, RefType):
            self.code += [plain("ref.is_null"), plain("i64.extend_i32_u")]
            what += ", 1 if null"
        elif type_ == "v128":
            local = len(self.locals)
            self.locals.append("v128")
            self.code += [plain("local.tee", local), plain("i64x2.extract_lane", 0)]
            self._set(what + ", low half")
            self.code += [plain("local.get", local), plain("i64x2.extract_lane", 1)]
            what += ", high half"
        else:
            self.code += [plain(each) for each in _TO_I64[type_]]
            if (mask := self.masks.get(type_)) is not None:
                self.code += [plain("i64.const", mask), plain("i64.and")]
                what += f", the bits {mask:#x}"
        self._set(what)

    def _set(self, what: str) -> None:
        self.code.append(plain("global.set", self._global(len(self.shown))))
        self.shown.append(Shown(self.first + len(self.shown), what))

    def _state(self) -> None:
        """Store the item of the final state that differs."""
        kind, item = self.symptom.kind, self.symptom.item
        if kind in ("global", "brval", "brcnt"):
            name = item.removeprefix("global ") if kind == "global" else PREFIX + item.replace(" ", "_")
            found = next((each for each in self.module.exports if each.kind == "global" and each.name == name), None)
            if found is None:
                raise ArtifactError(f"no global is exported as {name}")
            self.code.append(plain("global.get", found.index))
            self._store(self.module.all_globals[found.index].value, item)
        elif match := _MEMORY.match(item):
            self._memory(int(match[1]), int(match[2], 16), item)
        elif kind in ("memory size", "table size") and (match := _SIZE.match(item)):
            space = self.module.all_memories if match[1] == "memory" else self.module.all_tables
            self.code.append(plain(f"{match[1]}.size", int(match[2])))
            self._store("i64" if space[int(match[2])].limits.is64 else "i32", f"size of {item}")

    def _memory(self, index: int, address: int, item: str) -> None:
        type_ = "i64" if self.module.all_memories[index].limits.is64 else "i32"
        signed = address - (1 << 32) if type_ == "i32" and address >> 31 else address
        self.code += [plain(f"{type_}.const", signed), plain("i64.load", MemArg(0, index, 0))]
        self._store("i64", f"8 bytes of {item}")


_TO_I64: Final = {
    "i32": ("i64.extend_i32_u",),
    "i64": (),
    "f32": ("i32.reinterpret_f32", "i64.extend_i32_u"),
    "f64": ("i64.reinterpret_f64",),
}


def _argument(type_: ValType, value: Value) -> bytes:
    """The instructions for an argument; a reference is null or an i31."""
    if not isinstance(type_, RefType):
        return literal(value)
    if not value.bits:
        return constant(type_)
    converted = plain("extern.convert_any") if type_.heap == "extern" else b""
    return literal(Value("i32", value.bits >> 32)) + plain("ref.i31") + converted


def _name(type_: ValType) -> str:
    return type_ if isinstance(type_, str) else "reference"


def appended(data: bytes, more: dict[int, list[bytes]]) -> bytes:
    """The module with items appended to its sections, by section id; missing sections are created."""
    module = wasm.read(data)
    order = list(ids.NAMES)
    by_id = {each.id: each for each in module.sections if each.id != ids.CUSTOM}
    for id_, items in more.items():
        if not items:
            continue
        old = by_id.get(id_)
        count, content = (old.vector()[0], bytes(old.content())) if old is not None else (0, b"")
        by_id[id_] = ids.section(id_, u(count + len(items)) + content + b"".join(items))
    return ids.write(sorted(by_id.values(), key=lambda each: order.index(each.id)))
