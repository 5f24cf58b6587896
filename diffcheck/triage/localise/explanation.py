"""Describes the first difference: the instruction that caused it, its operands, the events before it, the source line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.observation import Returned, sentence
from diffcheck.text import visible
from diffcheck.triage.localise.call_stack import CallStack
from diffcheck.triage.localise.event_runs import FirstDifference
from diffcheck.triage.localise.location import Moment
from diffcheck.triage.localise.memory_writers import bytes_read, may_write
from diffcheck.triage.tracing import control_flow
from diffcheck.triage.tracing.event_log import LogParameters
from diffcheck.wasm import values
from diffcheck.wasm.debug.dwarf import source_line
from diffcheck.wasm.debug.names import function_names
from diffcheck.wasm.types import RefType
from diffcheck.wasm.values import Value, render
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.observation import Outcome
    from diffcheck.runner.plan import CapsulePlan
    from diffcheck.triage.localise.event_search import EventSearch
    from diffcheck.triage.localise.location import Difference, Localisation
    from diffcheck.triage.tracing.event_log import Record
    from diffcheck.triage.tracing.instrument import Instrumentation, Site
    from diffcheck.triage.tracing.log_reader import LogSide
    from diffcheck.triage.tracing.log_writer import MemoryWatch
    from diffcheck.triage.tracing.read_back import Role
    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType

SHOWN: Final = 10
Numbered = dict[int, tuple[int, "ValType"]]
"""Bits and type by the number of the operand or local."""
_RESULTS: Final = 4
"""Operands and locals are logged before an instruction's first result; up to this many results precede the one that differs."""
_WIDE: Final = 1 << 16
_ALLOWED: Final = "had a result that the specification allows", "had a result that the specification does not allow"
_AFTERWARDS: Final = {
    "stored": "has {} there afterwards",
    "set": "has {} there afterwards",
    "size": "has the size {} afterwards",
    "range": "has contents with digest {} afterwards",
}
"""The state after a write, by the role of the event that reads it back."""
_DIFFERENCES: Final[dict[Role, Difference]] = {
    "allowed": "allowed", "stored": "state", "set": "state", "range": "state", "size": "size",
}  # fmt: skip
"""The kind of difference by the role of the event; for other roles it is a result."""
_WHY: Final[dict[Difference, str]] = {
    "result": "the results differ",
    "allowed": "one result is not allowed by the specification",
    "state": "the state afterwards differs",
    "size": "the sizes afterwards differ",
    "control": "execution continues elsewhere",
    "argument": "an argument differs",
    "outcome": "the outcomes differ",
}
_NAMES_FUNCTION: Final = ("call", "return_call", "ref.func")
_OF_FUNCTIONS: Final = {16 + values.FUNCTION: "a function of type", 16 + values.IDENTITY: "function"}
_REFERENCES: Final = {
    0: "null", 1: "a reference", 2: "an i31", 3: "a structure", 4: "an array", 16 + values.OPAQUE: "a function", **_OF_FUNCTIONS,
}  # fmt: skip


class Explainer:
    """Describes the differences of one search, with the artifact's own offsets. ``detail`` returns an instrumentation that also logs
    the operands of an instruction.
    """

    def __init__(
        self,
        plan: CapsulePlan,
        search: EventSearch,
        detail: Callable[[int, int], tuple[Instrumentation, LogSide]],
        answer: Callable[..., Localisation],
        artifact: Module,
    ) -> None:
        self.plan, self.module, self.detail, self.answer = plan, artifact, detail, answer
        self.instrumentation, self.oracle, self.rows = search.instrumentation, search.oracle, search.rows
        self.stack = CallStack(search)
        self.slice = plan.slice
        self.artifact = artifact if plan.slice is None else plan.slice.whole
        self.names = function_names(self.artifact)
        self.counters = formats.instrumentation(artifact).counters

    def name(self, funcidx: int) -> str:
        """A function's name, or its index if it has none; what a slice's stub replaces."""
        if funcidx in self.plan.layout.dropped:
            return self.plan.layout.dropped[funcidx].functions
        funcidx = self._funcidx(funcidx)
        exported = next((each.name for each in self.artifact.exports if each.kind == "func" and each.index == funcidx), "")
        return visible(self.names.get(funcidx) or exported or f"function {funcidx}")

    def candidate_functions(self, first: FirstDifference) -> set[int]:
        """The functions that may have caused a difference: those of the events around it, and those that they call there."""
        sites = [self.instrumentation.record_site(each) for each in (first.oracle, first.subject, *first.before[-2:])]
        found = {site.function for site in sites if site is not None}
        if self.instrumentation.watch is not None and sites[0] is not None and sites[0].role == "entry" and len(found) > 1:
            found.remove(sites[0].function)  # not yet executed
        for site in sites:
            body = self.instrumentation.bodies_of.get(site.function) if site is not None else None
            if site is not None and body is not None and site.name == "call":
                found.add(int(body.code[site.position].instruction.immediates[0]))
        imported = self.module.n_imported("func")
        return {each for each in found if each >= imported}

    def function(self, first: FirstDifference, where: str = "") -> Localisation:
        """The answer with only a function; ``where`` is appended to the reason."""
        site = self.instrumentation.record_site(first.oracle) or self.instrumentation.record_site(
            first.before[-1] if first.before else None
        )
        funcidx = site.function if site is not None else -1
        why = f"oracle {self._action(first.oracle, first.oracle_outcome)}, subject {self._action(first.subject, first.subject_outcome)}"
        if self.instrumentation.watch is not None:
            why = f"{self.instrumentation.watch} differ from here on"
        return self.answer(
            "function",
            row=self._row(first.event),
            function=self.name(funcidx),
            function_index=self._funcidx(funcidx),
            event=first.event,
            before=self._before(first),
            why=f"{why}{where}",
        )

    def instruction(self, first: FirstDifference) -> Localisation:
        """The answer: the instruction whose execution differs."""
        one = self.instrumentation.record_site(first.oracle)
        same = first.oracle is not None and first.subject is not None and first.oracle.site == first.subject.site
        difference: Difference
        if same and one is not None and (passing := self._passing(first, one)) is not None:
            function, position = passing
            texts = f"passed {self._value(first.oracle, one)}", f"passed {self._value(first.subject, one)}"
            difference = "argument"
        elif same and one is not None and one.position >= 0:
            function, position = one.function, one.position
            texts = self._value(first.oracle, one), self._value(first.subject, one)
            difference = _DIFFERENCES.get(one.role, "result")
            if one.role == "allowed":
                texts = _allowed(first.oracle), _allowed(first.subject)
            if one.role in _AFTERWARDS:
                texts = _AFTERWARDS[one.role].format(texts[0]), f"has {texts[1]}"
        else:
            function, position = self.stack.acting_place(first)
            difference = "control"
            here = function, position
            texts = self._action(first.oracle, first.oracle_outcome, here), self._action(first.subject, first.subject_outcome, here)
            if first.oracle is None and first.subject is None:
                texts = sentence(first.oracle_outcome), sentence(first.subject_outcome)
                difference = "outcome"
        body = self.instrumentation.bodies_of.get(function)
        if body is None or position < 0:
            return self.function(first)
        if not same and self.stack.is_driver_return(function, position, first.event):
            return self.function(first, " after its last instruction: in its return, or in the code of the capsule")
        why = "the results differ in the high half" if one is not None and one.half else _WHY[difference]
        return self.at(first, (function, position), texts, difference, why)

    def _passing(self, first: FirstDifference, site: Site) -> tuple[int, int] | None:
        """The place of the call that passed a wrong argument, or that threw a wrong payload to a handler's block; None for others."""
        if site.role == "argument":
            return self.stack.entering_call(first.event)
        function, position = self.stack.acting_place(first) if site.name == "end" else (-1, -1)
        body = self.instrumentation.bodies_of.get(function)
        throws = body is not None and position >= 0 and body.code[position].instruction.name in ("throw", "throw_ref")
        return (function, position) if throws else None

    def at(
        self, first: FirstDifference, place: tuple[int, int], texts: tuple[str, str], difference: Difference, why: str
    ) -> Localisation:
        """The answer with the instruction at a place; ``texts`` are what the oracle and the subject did there."""
        function, position = place
        typed = self.instrumentation.bodies_of[function].code[position]
        offset = self._offset(function, position)
        operands, locals_, execution = self.surroundings(function, position, first.event)
        return self.answer(
            "instruction",
            row=self._row(first.event),
            function=self.name(function),
            function_index=self._funcidx(function),
            offset=offset,
            file_offset=self._file_offset(function, position),
            instruction=control_flow.instruction_text(self._with_funcidx(typed.instruction)),
            event=first.event,
            oracle=texts[0],
            subject=texts[1],
            operands=list(_value_texts(operands).values()),
            path=self._path(first.event, function, offset),
            locals=[f"{number}: {text}" for number, text in _value_texts(locals_).items()],
            execution=execution,
            before=self._before(first),
            source=self._source(function, position),
            variant=self.instrumentation.variant,
            difference=difference,
            why=why,
        )

    def read_at(self, first: FirstDifference) -> MemoryWatch | None:
        """The bytes that the load at the difference reads; None if it is not a load of both engines."""
        one = self.instrumentation.record_site(first.oracle)
        if one is None or one.role != "result" or first.subject is None or self.instrumentation.record_site(first.subject) != one:
            return None
        body = self.instrumentation.bodies_of[one.function]
        operands, _, _ = self.surroundings(one.function, one.position, first.event)
        return bytes_read(body.code[one.position], [bits for bits, _ in operands.values()], one.half)

    def takes_reference(self, first: FirstDifference) -> bool:
        """Whether the instruction at the difference takes a reference or calls through a table."""
        site = self.instrumentation.record_site(first.oracle) or self.instrumentation.record_site(first.subject)
        same = first.oracle is not None and first.subject is not None and first.oracle.site == first.subject.site
        function, position = (site.function, site.position) if same and site is not None else self.stack.acting_place(first)
        body = self.instrumentation.bodies_of.get(function)
        if body is None or position < 0:
            return False
        acting = body.code[position]
        return "call_indirect" in acting.instruction.name or any(isinstance(each, RefType) for each in acting.operands)

    def initial(self, answer: Localisation, first: FirstDifference) -> str:
        """The global or table that the instruction of the answer reads, if nothing wrote to it before; else empty."""
        name, _, index = answer.instruction.partition(" ")
        kind = "table" if "call_indirect" in name else "global"
        if kind == "global" and name != "global.get":
            return ""
        sites = [self.instrumentation.record_site(each) for each in self.stack.history(first.event)]
        if any(site is not None and site.name.startswith(f"{kind}.") and self._writes(site, index) for site in sites):
            return ""
        return f"global {index}" if kind == "global" else "a table"

    def _writes(self, site: Site, index: str) -> bool:
        """Whether an instruction of globals or tables writes: the global with this index, or any table."""
        if site.name == "global.set":
            return str(self.instrumentation.bodies_of[site.function].code[site.position].instruction.immediates[0]) == index
        return site.name not in ("global.get", "table.get", "table.size")

    def of_reference(self, first: FirstDifference) -> bool:
        """Whether what differs is a reference."""
        site = self.instrumentation.record_site(first.oracle)
        return site is not None and isinstance(site.type, RefType)

    def watched_values(self, found: FirstDifference, plain: Record) -> tuple[str, str]:
        """Both engines' watched bytes at an event, in hex; ``plain`` is its record without them."""
        digits = 2 * self.instrumentation.watch.width if self.instrumentation.watch is not None else 0
        one, other = (
            f"0x{(each.value - plain.value) % (1 << 64):0{digits}x}" if each is not None else ""
            for each in (found.oracle, found.subject)
        )
        return one, other

    def writer(self, found: FirstDifference, plain: tuple[Record, ...]) -> Localisation | None:
        """The instruction that wrote watched bytes that differ since an event. ``plain`` are the oracle's records up to that event,
        without the bytes.
        """
        watch = self.instrumentation.watch
        if watch is None or not plain or found.oracle is None or found.subject is None or plain[-1].site != found.subject.site:
            return None
        record = plain[-1]
        first = FirstDifference(found.event, record, record, plain[:-1], found.oracle_outcome, found.subject_outcome)
        one = self.instrumentation.record_site(record)
        place = (one.function, one.position) if one is not None and may_write(one.name) else self.stack.acting_place(first)
        has = self.watched_values(found, record)
        texts = f"has {has[0]} at {watch.address:#x} of memory {watch.memory} afterwards", f"has {has[1]}"
        why = "bytes that it wrote wrongly, or failed to write, differ from here on"
        return self.at(first, place, texts, "state", why)

    # Places.

    def _path(self, event: int, function: int, offset: int) -> tuple[str, ...]:
        """The activations at an event, outermost first, with the offset of each call and of the difference."""
        frames = self.stack.frames(event)
        while frames and frames[-1][0] != function:
            frames.pop()
        path = []
        for inner in frames[1:]:
            if inner[1] is None:
                continue
            caller, behind = inner[1]
            path.append(f"{self.name(caller)} {self._offset(caller, self.instrumentation.acting(caller, behind)):#x}")
        return (*path, f"{self.name(function)} {offset:#x}")

    def _offset(self, function: int, position: int) -> int:
        """An instruction's offset in its body in the artifact."""
        return self.instrumentation.offset(function, position) - self._body_offset(function)

    def _funcidx(self, function: int) -> int:
        """A function's index in the artifact."""
        return function if self.slice is None or function < 0 else self.slice.original(function)

    def _file_offset(self, function: int, position: int) -> int:
        """An instruction's file offset in the artifact."""
        offset = self.instrumentation.offset(function, position)
        return offset if self.slice is None else self.slice.original_offset(function, offset)

    def _with_funcidx(self, instruction: Instruction) -> Instruction:
        """The instruction with a function's index in the artifact."""
        if instruction.name not in _NAMES_FUNCTION:
            return instruction
        return msgspec.structs.replace(instruction, immediates=(self._funcidx(instruction.immediates[0]),))

    def _body_offset(self, function: int) -> int:
        return self.module.bodies[function - self.module.n_imported("func")][0]

    def _row(self, event: int) -> str:
        """The row of an event, from the oracle's record at that event; empty if it is not known."""
        layout, first = self.plan.layout, self.rows.first
        if event < 0:
            return ""
        if self.rows.last - first == 1 and not layout.n_init:
            return layout.rows[first].name
        record = self.oracle.logged(LogParameters(*self.rows.run, start=event, halt=event + 1)).record
        if record < 0:
            return ""
        return layout.rows[record if record < layout.n_init else record + first].name

    def _source(self, function: int, position: int) -> str:
        """The source line from DWARF, else from the manifest for the nearest branch before it that has one."""
        code = self.instrumentation.bodies_of[function].code
        exact = source_line(self.artifact, self._file_offset(function, position))
        if exact:
            return visible(exact)
        branches = {index: branch for branch, (index, _) in self.counters.items()}
        passed = (each.instruction for each in reversed(code[: position + 1]) if each.instruction.name == "global.set")
        for each in passed:
            place = self.plan.places.get(branches.get(each.immediates[0], -1))
            if place is not None and place.line is not None:
                return (
                    f"{visible(place.file)}:{place.line} (branch {branches[each.immediates[0]]}, the nearest before it with a line)"
                )
        return ""

    # Values.

    def _action(self, record: Record | None, outcome: Outcome, here: tuple[int, int] = (-1, -1)) -> str:
        """What an engine did at the event: the result of the instruction ``here``, where it continued, or how it ended."""
        site = self.instrumentation.record_site(record)
        if record is None or site is None:
            return "finished" if isinstance(outcome, Returned) else sentence(outcome)
        if site.role in ("entry", "argument"):
            value = f" with argument {site.number} = {self._value(record, site)}" if site.role == "argument" else ""
            return f"entered `{self.name(site.function)}`{value}"
        if (site.function, site.position) == here:
            return f"gave {self._value(record, site)}" if site.role == "result" else "did not trap"
        offset = site.offset - self._body_offset(site.function)
        return f"went on to `{site.name}` at {offset:#x} of `{self.name(site.function)}` ({self._value(record, site)})"

    def _value(self, record: Record | None, site: Site) -> str:
        return _value_text(record.value, site.type) if record is not None else ""

    def _before(self, first: FirstDifference) -> tuple[Moment, ...]:
        found = []
        for each in first.before[-SHOWN:]:
            site = self.instrumentation.record_site(each)
            if site is None:
                continue
            offset = site.offset - self._body_offset(site.function) if site.position >= 0 else 0
            value = "" if site.role in ("entry", "dropped") else _value_text(each.value, site.type)
            name = (
                f"argument {site.number}"
                if site.role == "argument"
                else site.name + " (digest of the contents)" * (site.role == "range")
            )
            found.append(Moment(each.event, self.name(site.function), offset, name, value))
        return tuple(found)

    def surroundings(self, function: int, position: int, event: int) -> tuple[Numbered, Numbered, int]:
        """The oracle's operands and locals before the instruction, which are the subject's too, and the number of its executions."""
        instrumentation, side = self.detail(function, position)
        since = max(0, event - _RESULTS)
        log = side.logged(LogParameters(*self.rows.run, start=since, halt=event + 1)).log
        if log is None:
            return {}, {}, 0
        asides = [
            (each, site)
            for each in log.records(since)
            if (site := instrumentation.site(each.site)) is not None and site.aside and each.event <= event
        ]
        if not asides:
            return {}, {}, log.visits
        at = asides[-1][0].event
        here = [(each, site) for each, site in asides if each.event == at]
        operands = _by_number([(each.value, site) for each, site in here if site.role == "operand"])
        locals_ = _by_number([(each.value, site) for each, site in here if site.role == "local"])
        return operands, locals_, log.visits


def _allowed(record: Record | None) -> str:
    return _ALLOWED[record is not None and record.value != 0]


def _by_number(values: list[tuple[int, Site]]) -> Numbered:
    """Values by number; the halves of vectors are joined."""
    found: Numbered = {}
    for value, site in values:
        bits = found.get(site.number, (0, site.type))[0] if site.half else 0
        found[site.number] = (bits | value << (64 * site.half), site.type)
    return dict(sorted(found.items()))


def _value_texts(values: Numbered) -> dict[int, str]:
    return {number: _value_text(bits, type_, whole=True) for number, (bits, type_) in values.items()}


def _reference(bits: int) -> str:
    """A reference's word (``probes``) as text."""
    kind, number, object_ = bits & 0xFF, bits >> 8 & 0xFFFF_FFFF, bits >> 40
    text = _REFERENCES.get(kind, f"{bits:#x}")
    text += f" of {number}" * (kind in (2, 4)) + f" {number}" * (kind in _OF_FUNCTIONS)
    return text + f" (object {object_})" * bool(object_)


def _value_text(bits: int, type_: ValType, *, whole: bool = False) -> str:
    """A value as text: integers in decimal, large ones also in hex; floats exactly."""
    if isinstance(type_, RefType):
        return _reference(bits)
    if type_ == "v128":
        return f"{bits:#034x}" if whole else f"{bits:#018x}"
    value = Value(type_, bits & ((1 << 32) - 1) if type_ in ("i32", "f32") else bits)
    text = render(value)
    if type_ in ("f32", "f64"):
        return text if "nan" in text or "inf" in text else f"{text} ({value.bits:#x})"
    return text if bits < _WIDE else f"{text} ({value.bits:#x})"
