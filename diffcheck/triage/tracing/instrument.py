"""Instruments an artifact for localising: a probe follows every instruction that leaves a value.

It is an extension of the capsule, whose rows, recorder, transports and parameters are used. Only straight-line code is inserted, so no
branch depth and no index of the artifact changes. A function whose body cannot be typed is probed only at its entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.capsule.build import first_extension
from diffcheck.errors import ArtifactError
from diffcheck.triage.tracing import event_log
from diffcheck.triage.tracing.control_flow import acting
from diffcheck.triage.tracing.probes import HelperKey, Helpers, by_contents, object_table
from diffcheck.triage.tracing.read_back import Role, read_back
from diffcheck.wasm.code import read_locals
from diffcheck.wasm.leb import Reader, s, u
from diffcheck.wasm.opcodes import CALLS
from diffcheck.wasm.types import encode_valtype
from diffcheck.wasm.typing import type_body
from diffcheck.witness.formats import COUNTER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diffcheck.capsule.constants import Types
    from diffcheck.capsule.deterministic.form import DeterministicForm
    from diffcheck.triage.tracing.event_log import Record, Variant
    from diffcheck.triage.tracing.log_writer import MemoryWatch
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType
    from diffcheck.wasm.typing import Body, TypedInstruction

Level = Literal["none", "calls", "lean", "full"]
"""What is probed in a function: nothing; arguments and results of calls; all values but constants and locals; all values."""

_UNPROBED_LEAN: Final = frozenset(
    {"local.get", "local.set", "local.tee", "i32.const", "i64.const", "f32.const", "f64.const", "v128.const", "ref.null"}
)
_MAX_LOCALS_SHOWN: Final = 24


class Site(msgspec.Struct, frozen=True):
    """The origin of a record: the function, its instruction (position and file offset; -1 for the entry), and what is logged."""

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
        """Whether its records are not events."""
        return self.role in ("operand", "local")


class LoggedInstruction(msgspec.Struct, frozen=True):
    """The instruction whose operands and locals are logged besides the events."""

    function: int
    position: int


class Instrumentation:
    """An instrumented artifact, as an extension of the capsule (``capsule.forms.Extension``). ``sites`` is indexed by site number - 1.

    ``levels`` is the level of each function, or ``default``. Without ``reads_back`` nothing is read back, so that the inserted code
    cannot trap. With ``identities`` the object or function of a reference is logged.
    """

    def __init__(  # noqa: PLR0913 - the parts of an instrumentation
        self,
        module: Module,
        wasm: bytes,
        *,
        default: Level = "full",
        levels: Mapping[int, Level] | None = None,
        variant: Variant = "rotate",
        detail: LoggedInstruction | None = None,
        watch: MemoryWatch | None = None,
        reads_back: bool = True,
        form: DeterministicForm | None = None,
        identities: bool = False,
    ) -> None:
        self.module, self.variant, self.detail, self.watch, self.reads_back = module, variant, detail, watch, reads_back
        self.form = form
        violation = f"{COUNTER}{form.counters[-1]}" if form is not None else ""
        self.violation = next((each.index for each in module.exports if each.name == violation), -1)
        self.helpers = Helpers(module, first_extension(module), variant, watch, identities=identities)
        self.sites: list[Site] = []
        self.untyped: dict[int, str] = {}
        self.bodies_of: dict[int, Body] = {}
        self._opened: dict[int, dict[int, int]] = {}
        self.unprobed = _UNPROBED_LEAN if default == "lean" else frozenset()
        self._entries: list[bytes] = []
        imported = module.n_imported("func")
        for at, (offset, size) in enumerate(module.bodies):
            funcidx = imported + at
            level = (levels or {}).get(funcidx, default)
            if form is not None and funcidx >= form.functions:
                level = "none"
            body = wasm[offset : offset + size]
            self._entries.append(self._body(funcidx, body, offset, level))

    @property
    def count(self) -> int:
        """See ``Extension``."""
        return self.helpers.count

    @property
    def tables(self) -> list[bytes]:
        """See ``Extension``."""
        return [object_table()] if self.helpers.numbers_objects else []

    def bodies(self) -> list[bytes]:
        """See ``Extension``."""
        return self._entries

    def functions(self, types: Types, symbols: Mapping[str, int], *, unwind: bool) -> list[tuple[int, bytes]]:
        """See ``Extension``."""
        return self.helpers.functions(types, symbols, unwind=unwind)

    def carry(self, slots: range, rec: int) -> bytes:
        """See ``Extension``."""
        return event_log.carry(self.variant, slots, rec)

    def site(self, number: int) -> Site | None:
        """The site with that number, or None."""
        return self.sites[number - 1] if 0 < number <= len(self.sites) else None

    def record_site(self, record: Record | None) -> Site | None:
        """The site of a record, if there is one."""
        return self.site(record.site) if record is not None else None

    def opened(self, function: int, position: int) -> int:
        """The position of the open instruction that is checked at a position, else the position itself."""
        return self._opened.get(function, {}).get(position, position)

    def acting(self, function: int, position: int) -> int:
        """The position that executes after another (``control_flow.acting``); a check of an open instruction belongs to it."""
        body, at = self.bodies_of[function], position
        while True:
            at = acting(body, at, self.unprobed)
            found = self.opened(function, at)
            if found != position or at == len(body.code) - 1:
                return found

    def offset(self, function: int, position: int) -> int:
        """The file offset of an instruction in the artifact."""
        here = self.bodies_of[function].code[position].instruction.offset
        origin = self.form.origin(here) if self.form is not None else None
        return here if origin is None else origin.offset

    def _body(self, funcidx: int, body: bytes, offset: int, level: Level) -> bytes:
        if level == "none":
            return body
        mark = len(self.sites)
        try:
            typed = type_body(self.module, funcidx, body, offset)
            self.bodies_of[funcidx] = typed
            self._opened[funcidx] = _opened(form, typed) if (form := self.form) is not None else {}
            return Writer(self, funcidx, body, offset, typed, level).run()
        except ArtifactError as error:
            self.untyped[funcidx] = str(error)
            del self.sites[mark:]
            start = read_locals(body, offset).end
            return body[:start] + entry_probes(self, funcidx) + body[start:]

    def add(self, site: Site) -> bytes:
        """Code that pushes the number of a new site."""
        self.sites.append(site)
        number = len(self.sites)
        if site.type == "v128" and site.role not in ("entry", "range"):
            self.sites.append(msgspec.structs.replace(site, half=1))
        return b"\x41" + s(number)


def entry_probes(instrumentation: Instrumentation, funcidx: int) -> bytes:
    """Code before a function's first instruction: an event for the entry, and one for each argument."""
    code = [instrumentation.add(Site(funcidx, -1, 0, "entry", "entry")), b"\x42\x00\x10", u(instrumentation.helpers.note)]
    for at, type_ in enumerate(instrumentation.module.function_type(funcidx).params):
        site = instrumentation.add(Site(funcidx, -1, 0, "entry", "argument", at, type_))
        code += [b"\x20", u(at), site, _call(instrumentation.helpers.index(by_contents(type_))), b"\x1a"]
    return b"".join(code)


def _call(funcidx: int) -> bytes:
    return b"\x10" + u(funcidx)


class Writer:
    """Writes one instrumented body."""

    def __init__(self, instrumentation: Instrumentation, funcidx: int, body: bytes, offset: int, typed: Body, level: Level) -> None:
        self.instrumentation, self.funcidx, self.body, self.offset, self.typed, self.level = (
            instrumentation,
            funcidx,
            body,
            offset,
            typed,
            level,
        )
        self.added: list[ValType] = []
        self.free: dict[ValType, list[int]] = {}

    def run(self) -> bytes:
        """The body with its probes."""
        code = [entry_probes(self.instrumentation, self.funcidx)]
        for position, each in enumerate(self.typed.code):
            at = self.offset
            raw = self.body[each.instruction.offset - at : each.instruction.end - at]
            if each.reachable or each.instruction.name in ("end", "else"):
                before, after = self._checked(position, each) or self._around(position, each)
                code += [before, raw, after]
            else:
                code.append(raw)
        return self._declarations() + b"".join(code)

    def _declarations(self) -> bytes:
        """The declarations of the body's locals, followed by the added ones."""
        reader = Reader(self.body)
        count = reader.u32()
        groups = b"".join(u(1) + encode_valtype(each) for each in self.added)
        return u(count + len(self.added)) + self.body[reader.offset : self.typed.declared_end] + groups

    # Around an instruction.

    def _checked(self, position: int, each: TypedInstruction) -> tuple[bytes, bytes] | None:
        """Code around the check of an open instruction: an event with the checked result, at the site of that instruction. The program
        continues with the form's result for a relaxed instruction, so whether its own was allowed is an event too.
        """
        form = self.instrumentation.form
        origin = form.origin(each.instruction.offset) if form is not None else None
        if origin is None or origin.part == "same":
            return None
        at = self.instrumentation.opened(self.funcidx, position)
        if origin.part == "check":
            return self._visited(position, each), b""
        if self.level == "calls":
            return b"", b""
        taken: list[tuple[ValType, int]] = []
        opened = self.typed.code[at]
        code = self._results(at, opened, taken)
        if "relaxed" in opened.instruction.name:
            code += b"\x23" + u(self.instrumentation.violation) + self._probe(at, opened, "allowed", 0, "i64") + b"\x1a"
        return b"", code

    def _visited(self, position: int, each: TypedInstruction) -> bytes:
        """Code that counts and logs the instruction with details, before it."""
        detail = self.instrumentation.detail
        if detail is None or (detail.function, detail.position) != (self.funcidx, position):
            return b""
        return _call(self.instrumentation.helpers.visit) + self._asides(position, each)

    def _around(self, position: int, each: TypedInstruction) -> tuple[bytes, bytes]:
        name = each.instruction.name
        before = self._visited(position, each)
        if self.level == "calls" and name not in CALLS:
            return before, b""
        if self.level == "lean" and name in _UNPROBED_LEAN:
            return before, b""
        taken: list[tuple[ValType, int]] = []
        more, after = read_back(self, position, each, taken) if self.instrumentation.reads_back else (b"", b"")
        after = self._results(position, each, taken) + after if each.ends_reachable else b""
        for type_, local in taken:
            self.free[type_].append(local)
        return before + more, after

    def _results(self, position: int, each: TypedInstruction, taken: list[tuple[ValType, int]]) -> bytes:
        """A probe for each result, the last one first; results above the current one are kept in locals."""
        results = [value for value in each.results if value is not None]
        if len(results) != len(each.results):
            return b""
        code, back = [], []
        for at in range(len(results) - 1, -1, -1):
            code.append(self._probe(position, each, "result", at, results[at]))
            if at:
                local = self.local(results[at], taken)
                code += [b"\x21", u(local)]
                back.append(b"\x20" + u(local))
        return b"".join([*code, *reversed(back)])

    def _probe(self, position: int, each: TypedInstruction, role: Role, number: int, type_: ValType) -> bytes:
        aside = role in ("operand", "local")
        site = self.site(position, each, role, number, type_)
        return site + _call(self.instrumentation.helpers.index(HelperKey("probe", type_, aside=aside)))

    def site(self, position: int, each: TypedInstruction, role: Role, number: int = 0, type_: ValType = "i64") -> bytes:
        """Code that pushes the number of a new site at an instruction."""
        instruction = each.instruction
        offset = self.instrumentation.offset(self.funcidx, position)
        return self.instrumentation.add(Site(self.funcidx, position, offset, instruction.name, role, number, type_))

    def local(self, type_: ValType, taken: list[tuple[ValType, int]]) -> int:
        """A local of this type that is not in use around this instruction; it is added to ``taken``."""
        free = self.free.setdefault(type_, [])
        if not free:
            self.added.append(type_)
            free.append(len(self.typed.locals) + len(self.added) - 1)
        taken.append((type_, free.pop()))
        return taken[-1][1]

    def saved(self, types: list[ValType], taken: list[tuple[ValType, int]]) -> tuple[bytes, list[int]]:
        """Code that copies the operands from the stack to locals, and those locals."""
        locals_ = [self.local(each, taken) for each in types]
        off = b"".join(b"\x21" + u(each) for each in reversed(locals_))
        return off + b"".join(b"\x20" + u(each) for each in locals_), locals_

    # Asides.

    def _asides(self, position: int, each: TypedInstruction) -> bytes:
        """Code that logs the operands and the locals before an instruction as asides."""
        code: list[bytes] = []
        taken: list[tuple[ValType, int]] = []
        operands = [value for value in each.operands if value is not None]
        if each.reachable and len(operands) == len(each.operands):
            before, locals_ = self.saved(operands, taken)
            code.append(before)
            code += self._asides_of(position, each, "operand", enumerate(zip(operands, locals_, strict=True)))
        own = list(enumerate(zip(self.typed.locals, range(len(self.typed.locals)), strict=True)))[:_MAX_LOCALS_SHOWN]
        n_params = len(self.typed.function.params)
        readable = [(at, entry) for at, entry in own if at < n_params or isinstance(entry[0], str) or entry[0].nullable]
        code += self._asides_of(position, each, "local", iter(readable))
        for type_, local in taken:
            self.free[type_].append(local)
        return b"".join(code)

    def _asides_of(
        self, position: int, each: TypedInstruction, role: Role, values: Iterator[tuple[int, tuple[ValType, int]]]
    ) -> Iterator[bytes]:
        for number, (type_, local) in values:
            yield b"\x20" + u(local) + self._probe(position, each, role, number, type_) + b"\x1a"


def _opened(form: DeterministicForm, body: Body) -> dict[int, int]:
    """The position of the open instruction, for each position of code that checks one."""
    names = {each.offset: each.name for each in form.places}
    origins = [form.origin(each.instruction.offset) for each in body.code]
    where: dict[int, int] = {}
    for position, (origin, each) in enumerate(zip(origins, body.code, strict=True)):
        if origin is not None and origin.part != "same" and each.instruction.name == names.get(origin.offset):
            where.setdefault(origin.offset, position)
    return {
        position: where[origin.offset]
        for position, origin in enumerate(origins)
        if origin is not None and origin.part != "same" and origin.offset in where
    }
