"""Instrumentation for localising: an artifact's bodies with a probe behind every instruction that leaves a value.

Used as an extension of the capsule: rows, recorder, transports and parameters are the capsule's. No branch depth and no index of the
artifact changes, since nothing but straight code is put in. A function whose body cannot be typed is probed at its entry only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.capsule.build import first_extension
from diffcheck.errors import ArtifactError
from diffcheck.triage import log
from diffcheck.triage.probes import Helpers, Key
from diffcheck.wasm.code import read_locals
from diffcheck.wasm.leb import Reader, s, u
from diffcheck.wasm.opcodes import BY_NAME, CALLS
from diffcheck.wasm.types import ArrayType, RefType, StructType, encode_valtype
from diffcheck.wasm.typing import type_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diffcheck.capsule.constants import Types
    from diffcheck.triage.log import Variant
    from diffcheck.triage.noting import Watch
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType
    from diffcheck.wasm.typing import Body, Typed

Level = Literal["none", "calls", "lean", "full"]
"""How much of a function is probed: nothing; its arguments and the results of its calls; all but constants and what only reads a local;
everything that leaves a value."""

_UNPROBED_LEAN: Final = frozenset(
    {"local.get", "local.set", "local.tee", "i32.const", "i64.const", "f32.const", "f64.const", "v128.const", "ref.null"}
)
_LANE_SHAPES: Final = ("f32x4", "f64x2")
_RANGES: Final = {
    "memory.fill": "region",
    "memory.copy": "region",
    "memory.init": "region",
    "table.fill": "table",
    "table.copy": "table",
    "table.init": "table",
}
_MAX_LOCALS_SHOWN: Final = 24

Role = Literal["entry", "argument", "result", "stored", "set", "range", "operand", "local"]


class Site(msgspec.Struct, frozen=True):
    """A place that a record names: the function, its instruction (position and file offset; -1 for the entry), what is logged there."""

    function: int
    position: int
    offset: int
    name: str
    role: Role
    number: int = 0
    type: ValType = "i32"
    half: int = 0

    @property
    def aside(self) -> bool:
        """Whether this is no event."""
        return self.role in ("operand", "local")


class Detail(msgspec.Struct, frozen=True):
    """The instruction whose operands and surroundings are to be logged beside the events."""

    function: int
    position: int


class Instrumented:
    """An artifact's bodies instrumented; see ``capsule.build.Extension``. ``sites`` is by site number less one.

    ``levels`` says how much of each function is probed, ``default`` for those that it does not name.
    """

    def __init__(
        self,
        module: Module,
        wasm: bytes,
        *,
        default: Level = "full",
        levels: Mapping[int, Level] | None = None,
        skip: frozenset[int] = frozenset(),
        variant: Variant = "rotate",
        detail: Detail | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.module, self.variant, self.detail, self.watch = module, variant, detail, watch
        self.helpers = Helpers(module, first_extension(module), variant, watch)
        self.sites: list[Site] = []
        self.untyped: dict[int, str] = {}
        self.bodies_of: dict[int, Body] = {}
        self.unprobed = _UNPROBED_LEAN if default == "lean" else frozenset()
        self._entries: list[bytes] = []
        imported = module.n_imported("func")
        for at, (offset, size) in enumerate(module.bodies):
            funcidx = imported + at
            level = "none" if funcidx in skip else (levels or {}).get(funcidx, default)
            body = wasm[offset : offset + size]
            self._entries.append(self._body(funcidx, body, offset, level))

    @property
    def count(self) -> int:
        """See ``Extension``."""
        return self.helpers.count

    def bodies(self) -> bytes:
        """See ``Extension``."""
        return b"".join(u(len(each)) + each for each in self._entries)

    def functions(self, types: Types, symbols: Mapping[str, int], *, unwind: bool) -> list[tuple[int, bytes]]:
        """See ``Extension``."""
        return self.helpers.functions(types, symbols, unwind=unwind)

    def carry(self, slots: range, rec: int) -> bytes:
        """See ``Extension``."""
        return log.carry(self.variant, slots, rec)

    def site(self, number: int) -> Site | None:
        """The site of a record; None where no such site was made."""
        return self.sites[number - 1] if 0 < number <= len(self.sites) else None

    def _body(self, funcidx: int, body: bytes, offset: int, level: Level) -> bytes:
        if level == "none":
            return body
        mark = len(self.sites)
        try:
            typed = type_body(self.module, funcidx, body, offset)
            self.bodies_of[funcidx] = typed
            return _Writer(self, funcidx, body, offset, typed, level).run()
        except ArtifactError as error:
            self.untyped[funcidx] = str(error)
            del self.sites[mark:]
            start = read_locals(body, offset).end
            return body[:start] + entry_probes(self, funcidx) + body[start:]

    def add(self, site: Site) -> bytes:
        """Instructions that push the number of a new site."""
        self.sites.append(site)
        number = len(self.sites)
        if site.type == "v128" and site.role not in ("entry", "range"):
            self.sites.append(msgspec.structs.replace(site, half=1))
        return b"\x41" + s(number)


def entry_probes(made: Instrumented, funcidx: int) -> bytes:
    """What is put before a function's first instruction: the event of its entry, and one for each argument."""
    code = [made.add(Site(funcidx, -1, 0, "entry", "entry")), b"\x42\x00\x10", u(made.helpers.note)]
    for at, type_ in enumerate(made.module.function_type(funcidx).params):
        site = made.add(Site(funcidx, -1, 0, "entry", "argument", at, type_))
        code += [b"\x20", u(at), site, _call(made.helpers.index(Key("probe", type_))), b"\x1a"]
    return b"".join(code)


def _call(funcidx: int) -> bytes:
    return b"\x10" + u(funcidx)


class _Writer:
    """Writes one body."""

    def __init__(self, made: Instrumented, funcidx: int, body: bytes, offset: int, typed: Body, level: Level) -> None:
        self.made, self.funcidx, self.body, self.offset, self.typed, self.level = made, funcidx, body, offset, typed, level
        self.added: list[ValType] = []
        self.free: dict[ValType, list[int]] = {}

    def run(self) -> bytes:
        """The body with its probes."""
        code = [entry_probes(self.made, self.funcidx)]
        for position, each in enumerate(self.typed.code):
            at = self.offset
            raw = self.body[each.instruction.offset - at : each.instruction.end - at]
            if each.reachable or each.instruction.name in ("end", "else"):
                before, after = self._around(position, each)
                code += [before, raw, after]
            else:
                code.append(raw)
        return self._declarations() + b"".join(code)

    def _declarations(self) -> bytes:
        """The body's locals with those that were added behind them."""
        reader = Reader(self.body)
        count = reader.u32()
        groups = b"".join(u(1) + encode_valtype(each) for each in self.added)
        return u(count + len(self.added)) + self.body[reader.offset : self.typed.declared_end] + groups

    # Around an instruction.

    def _around(self, position: int, each: Typed) -> tuple[bytes, bytes]:
        name = each.instruction.name
        before = b""
        detail = self.made.detail
        if detail is not None and (detail.function, detail.position) == (self.funcidx, position):
            before = _call(self.made.helpers.visit) + self._asides(position, each)
        if self.level == "calls" and name not in CALLS:
            return before, b""
        if self.level == "lean" and name in _UNPROBED_LEAN:
            return before, b""
        taken: list[tuple[ValType, int]] = []
        more, after = self._effects(position, each, taken)
        if not each.ends_reachable:
            after = b""
        elif each.results:
            after += self._results(position, each, taken)
        for type_, local in taken:
            self.free[type_].append(local)
        return before + more, after

    def _results(self, position: int, each: Typed, taken: list[tuple[ValType, int]]) -> bytes:
        """A probe for each result, the last one first: those over it wait in locals."""
        results = [value for value in each.results if value is not None]
        if len(results) != len(each.results):
            return b""
        code, back = [], []
        for at in range(len(results) - 1, -1, -1):
            code.append(self._probe(position, each, "result", at, results[at], _shape(each.instruction.name, results[at])))
            if at:
                local = self._local(results[at], taken)
                code += [b"\x21", u(local)]
                back.append(b"\x20" + u(local))
        return b"".join([*code, *reversed(back)])

    def _probe(self, position: int, each: Typed, role: Role, number: int, type_: ValType, shape: str = "") -> bytes:
        aside = role in ("operand", "local")
        site = self._site(position, each, role, number, type_)
        return site + _call(self.made.helpers.index(Key("probe", type_, shape, aside=aside)))

    def _site(self, position: int, each: Typed, role: Role, number: int = 0, type_: ValType = "i64") -> bytes:
        instruction = each.instruction
        return self.made.add(Site(self.funcidx, position, instruction.offset, instruction.name, role, number, type_))

    def _local(self, type_: ValType, taken: list[tuple[ValType, int]]) -> int:
        """A local of this type that is not in use around this instruction."""
        free = self.free.setdefault(type_, [])
        if not free:
            self.added.append(type_)
            free.append(len(self.typed.locals) + len(self.added) - 1)
        taken.append((type_, free.pop()))
        return taken[-1][1]

    def _saved(self, types: list[ValType], taken: list[tuple[ValType, int]]) -> tuple[bytes, list[int]]:
        """Instructions that put the operands into locals and back on the stack, and those locals."""
        locals_ = [self._local(each, taken) for each in types]
        off = b"".join(b"\x21" + u(each) for each in reversed(locals_))
        return off + b"".join(b"\x20" + u(each) for each in locals_), locals_

    # What an instruction does besides leaving values.

    def _effects(self, position: int, each: Typed, taken: list[tuple[ValType, int]]) -> tuple[bytes, bytes]:
        name, immediates = each.instruction.name, each.instruction.immediates
        if None in each.operands:
            return b"", b""
        if name in ("local.set", "global.set"):
            get, types = (
                ("\x20", self.typed.locals)
                if name == "local.set"
                else ("\x23", tuple(t.value for t in self.made.module.all_globals))
            )
            type_ = types[immediates[0]]
            return b"", get.encode() + u(immediates[0]) + self._probe(
                position, each, "set", 0, type_, self._stored_shape(each)
            ) + b"\x1a"
        if ".store" in name and ".atomic." not in name:
            return self._store(position, each, taken)
        if name in _RANGES:
            return self._range(position, each, taken)
        if name in ("table.set", "struct.set", "array.set"):
            return self._element(position, each, taken)
        return b"", b""

    def _store(self, position: int, each: Typed, taken: list[tuple[ValType, int]]) -> tuple[bytes, bytes]:
        op, memarg = BY_NAME[each.instruction.name], each.instruction.immediates[0]
        address = "i64" if self.made.module.all_memories[memarg.memidx].limits.is64 else "i32"
        value: ValType = "v128" if op.name.startswith("v128") else op.name[:3]
        before, locals_ = self._saved([address, value], taken)
        shape = value if value in ("f32", "f64") else self._stored_shape(each) if op.name == "v128.store" else ""
        const = b"\x42" + s(_signed(memarg.offset, 64)) if address == "i64" else b"\x41" + s(_signed(memarg.offset, 32))
        helper = self.made.helpers.index(Key("memory", shape=str(shape), index=memarg.memidx, width=op.width))
        type_: ValType = "v128" if op.width == 16 else shape if value in ("f32", "f64") else "i64"  # noqa: PLR2004 - a vector's bytes
        site = self._site(position, each, "stored", 0, type_)
        return before, b"\x20" + u(locals_[0]) + const + site + _call(helper)

    def _stored_shape(self, each: Typed) -> str:
        """The lanes of a stored vector as its producer has them: there NaNs may differ."""
        producer = each.producers[-1] if each.producers else -1
        if producer < 0 or each.operands[-1] != "v128":
            return ""
        return _shape(self.typed.code[producer].instruction.name, "v128")

    def _range(self, position: int, each: Typed, taken: list[tuple[ValType, int]]) -> tuple[bytes, bytes]:
        name, immediates = each.instruction.name, each.instruction.immediates
        kind = _RANGES[name]
        index = immediates[1] if name.endswith(".init") else immediates[0]
        space = self.made.module.all_memories if kind == "region" else self.made.module.all_tables
        address: ValType = "i64" if space[index].limits.is64 else "i32"
        types: list[ValType] = [each_type for each_type in each.operands if each_type is not None]
        types[0] = address
        if name == "table.fill":
            types[1] = self.made.module.all_tables[index].ref
        length: ValType = address
        if name.endswith(".copy"):
            length = "i64" if address == "i64" and space[immediates[1]].limits.is64 else "i32"
        elif name.endswith(".init"):
            length = "i32"
        before, locals_ = self._saved(types, taken)
        wide = b"" if length == "i64" else b"\xad"
        site = self._site(position, each, "range")
        return before, b"\x20" + u(locals_[0]) + b"\x20" + u(locals_[2]) + wide + site + _call(
            self.made.helpers.index(Key(kind, index=index))
        )

    def _element(self, position: int, each: Typed, taken: list[tuple[ValType, int]]) -> tuple[bytes, bytes]:
        """``table.set``, ``struct.set``, ``array.set``: what was set is got again."""
        name, immediates, module = each.instruction.name, each.instruction.immediates, self.made.module
        if name == "table.set":
            table = module.all_tables[immediates[0]]
            types: list[ValType] = ["i64" if table.limits.is64 else "i32", table.ref]
            get, value = b"\x25" + u(immediates[0]), types[-1]
        else:
            composite = module.types[immediates[0]].composite
            assert isinstance(composite, StructType | ArrayType), "the body is valid"  # noqa: S101
            storage = (composite.fields[immediates[1]] if isinstance(composite, StructType) else composite.field).storage
            value = "i32" if storage in ("i8", "i16") else storage
            here: ValType = RefType(nullable=True, heap=immediates[0])
            types = [here, value] if name == "struct.set" else [here, "i32", value]
            packed = storage in ("i8", "i16")
            get = (b"\xfb\x04" if packed else b"\xfb\x02") if name == "struct.set" else (b"\xfb\x0d" if packed else b"\xfb\x0b")
            get += b"".join(map(u, immediates))
        before, locals_ = self._saved(types, taken)
        again = b"".join(b"\x20" + u(local) for local in locals_[:-1])
        return before, again + get + self._probe(position, each, "set", 0, value, self._stored_shape(each)) + b"\x1a"

    # What is logged beside the events.

    def _asides(self, position: int, each: Typed) -> bytes:
        """The operands and the locals before an instruction, as records that are no events."""
        code: list[bytes] = []
        taken: list[tuple[ValType, int]] = []
        operands = [value for value in each.operands if value is not None]
        if each.reachable and len(operands) == len(each.operands):
            before, locals_ = self._saved(operands, taken)
            code.append(before)
            code += self._shown(position, each, "operand", enumerate(zip(operands, locals_, strict=True)))
        own = list(enumerate(zip(self.typed.locals, range(len(self.typed.locals)), strict=True)))[:_MAX_LOCALS_SHOWN]
        n_params = len(self.typed.function.params)
        given = [(at, entry) for at, entry in own if at < n_params or isinstance(entry[0], str) or entry[0].nullable]
        code += self._shown(position, each, "local", iter(given))
        for type_, local in taken:
            self.free[type_].append(local)
        return b"".join(code)

    def _shown(self, position: int, each: Typed, role: Role, values: Iterator[tuple[int, tuple[ValType, int]]]) -> Iterator[bytes]:
        for number, (type_, local) in values:
            yield b"\x20" + u(local) + self._probe(position, each, role, number, type_) + b"\x1a"


def _shape(name: str, type_: ValType) -> str:
    """The shape of a vector's lanes where an instruction may leave NaNs in them."""
    return name[:5] if type_ == "v128" and name[:5] in _LANE_SHAPES else ""


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
