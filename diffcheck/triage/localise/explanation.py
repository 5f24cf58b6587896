"""From the first difference in the records to words: the instruction that did it, its operands, the events before, the source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck import values
from diffcheck.observation import Returned, sentence
from diffcheck.text import visible
from diffcheck.triage.localise.event_runs import FirstDifference
from diffcheck.triage.localise.location import Moment
from diffcheck.triage.localise.memory_writers import may_write, read_by
from diffcheck.triage.tracing import control_flow
from diffcheck.triage.tracing.event_log import LogParameters
from diffcheck.values import Value, render
from diffcheck.wasm.dwarf import source_line
from diffcheck.wasm.names import function_names
from diffcheck.wasm.opcodes import CALLS, TAIL_CALLS
from diffcheck.wasm.types import RefType
from diffcheck.witness.formats import instrumentation

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.observation import Outcome
    from diffcheck.runner.plan import CapsulePlan
    from diffcheck.triage.localise.location import Difference, Localisation
    from diffcheck.triage.tracing.event_log import Record
    from diffcheck.triage.tracing.instrument import Instrumented, Site
    from diffcheck.triage.tracing.log_reader import LogSide
    from diffcheck.triage.tracing.log_writer import WatchedBytes
    from diffcheck.triage.tracing.read_back import Role
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType

SHOWN: Final = 10
Frames = list[tuple[int, tuple[int, int] | None]]
"""Activations, outermost first: the function, and behind which position of which caller it was called (None: by the driver)."""
Numbered = dict[int, tuple[int, "ValType"]]
"""Values by the number of their operand or local: the bits and the type."""
_HISTORY: Final = 100_000
_RESULTS: Final = 4
"""What stands beside an instruction is logged before its first result; so many results may come before the one that differs."""
_WIDE: Final = 1 << 16
_ALLOWED: Final = "gave a result that the specification allows", "gave a result that the specification does not allow"
_AFTERWARDS: Final = {
    "stored": "has {} there afterwards",
    "set": "has {} there afterwards",
    "size": "has the size {} afterwards",
    "range": "has contents with digest {} afterwards",
}
"""What an engine has behind a write, by the role of the event that reads it back."""
_DIFFERENCES: Final[dict[Role, Difference]] = {
    "allowed": "allowed", "stored": "state", "set": "state", "range": "state", "size": "size",
}  # fmt: skip
"""What differs where an event of a role does; elsewhere it is a result."""
_WHY: Final[dict[Difference, str]] = {
    "result": "the results differ",
    "allowed": "one result is not allowed by the specification",
    "state": "what it leaves behind differs",
    "size": "the sizes that it leaves differ",
    "control": "control goes on otherwise",
    "outcome": "the outcomes differ",
}
_OF_FUNCTIONS: Final = {16 + values.FUNCTION: "a function of type", 16 + values.IDENTITY: "function"}
_REFERENCES: Final = {
    0: "null", 1: "a reference", 2: "an i31", 3: "a structure", 4: "an array", 16 + values.OPAQUE: "a function", **_OF_FUNCTIONS,
}  # fmt: skip


class Explainer:
    """Words the findings of one search, in the artifact's own offsets. ``detail`` gives an instrumentation that also logs an
    instruction's operands.
    """

    def __init__(
        self,
        plan: CapsulePlan,
        made: Instrumented,
        rows: tuple[int, int, int],
        detail: Callable[[int, int], tuple[Instrumented, LogSide]],
        answer: Callable[..., Localisation],
        oracle: LogSide,
        artifact: Module,
    ) -> None:
        self.plan, self.module, self.made, self.rows, self.detail, self.answer = plan, artifact, made, rows, detail, answer
        self.oracle = oracle
        self.names = function_names(artifact)
        self.counters = instrumentation(artifact).counters

    def name(self, funcidx: int) -> str:
        """A function's name, or its number where it has none."""
        exported = next((each.name for each in self.module.exports if each.kind == "func" and each.index == funcidx), "")
        return visible(self.names.get(funcidx) or exported or f"function {funcidx}")

    def concerned(self, first: FirstDifference) -> set[int]:
        """The functions in which a difference may have come about: those of the events around it, and what they call there."""
        sites = [self._site(each) for each in (first.oracle, first.subject, *first.before[-2:])]
        found = {site.function for site in sites if site is not None}
        if self.made.watch is not None and sites[0] is not None and sites[0].role == "entry" and len(found) > 1:
            found.remove(sites[0].function)  # it has not begun
        for site in sites:
            body = self.made.bodies_of.get(site.function) if site is not None else None
            if site is not None and body is not None and site.name == "call":
                found.add(int(body.code[site.position].instruction.immediates[0]))
        imported = self.module.n_imported("func")
        return {each for each in found if each >= imported}

    def function(self, first: FirstDifference, where: str = "") -> Localisation:
        """The answer as far as function entries and results of calls show it; ``where`` follows what the engines did."""
        site = self._site(first.oracle) or self._site(first.before[-1] if first.before else None)
        funcidx = site.function if site is not None else -1
        seen = f"{self._seen(first.oracle, first.oracle_outcome)} against {self._seen(first.subject, first.subject_outcome)}"
        if self.made.watch is not None:
            seen = f"{self.made.watch} differ from here on"
        return self.answer(
            "function",
            row=self._row(first.event),
            function=self.name(funcidx),
            function_index=funcidx,
            event=first.event,
            before=self._before(first),
            why=f"{seen}{where}",
        )

    def instruction(self, first: FirstDifference) -> Localisation:
        """The answer: the instruction whose execution differs."""
        one = self._site(first.oracle)
        same = first.oracle is not None and first.subject is not None and first.oracle.site == first.subject.site
        if same and one is not None and one.position >= 0:
            function, position = one.function, one.position
            texts = self._value(first.oracle, one), self._value(first.subject, one)
            difference = _DIFFERENCES.get(one.role, "result")
            if one.role == "allowed":
                texts = _allowed(first.oracle), _allowed(first.subject)
            if one.role in _AFTERWARDS:
                texts = _AFTERWARDS[one.role].format(texts[0]), f"has {texts[1]}"
        else:
            function, position = self.acted(first)
            difference = "control"
            here = function, position
            texts = self._seen(first.oracle, first.oracle_outcome, here), self._seen(first.subject, first.subject_outcome, here)
            if first.oracle is None and first.subject is None:
                texts = sentence(first.oracle_outcome), sentence(first.subject_outcome)
                difference = "outcome"
        body = self.made.bodies_of.get(function)
        if body is None or position < 0:
            return self.function(first)
        if not same and self._left(function, position, first.event):
            return self.function(first, " behind its last instruction: in its return, or in the capsule's own code")
        why = "the results differ in the high half" if one is not None and one.half else _WHY[difference]
        return self.at(first, (function, position), texts, difference, why)

    def at(
        self, first: FirstDifference, place: tuple[int, int], texts: tuple[str, str], difference: Difference, why: str
    ) -> Localisation:
        """The answer that names the instruction at a place, with what the oracle and the subject did there."""
        function, position = place
        typed = self.made.bodies_of[function].code[position]
        offset = self._offset(function, position)
        operands, locals_, execution = self.surroundings(function, position, first.event)
        return self.answer(
            "instruction",
            row=self._row(first.event),
            function=self.name(function),
            function_index=function,
            offset=offset,
            file_offset=self.made.offset(function, position),
            instruction=control_flow.shown(typed.instruction),
            event=first.event,
            oracle=texts[0],
            subject=texts[1],
            operands=list(_in_words(operands).values()),
            path=self._path(first.event, function, offset),
            locals=[f"{number}: {text}" for number, text in _in_words(locals_).items()],
            execution=execution,
            before=self._before(first),
            source=self._source(function, position),
            variant=self.made.variant,
            difference=difference,
            why=why,
        )

    def read_at(self, first: FirstDifference) -> WatchedBytes | None:
        """The bytes that a load at the difference takes, where both engines have that load there and no more differs."""
        one = self._site(first.oracle)
        if one is None or one.role != "result" or first.subject is None or self._site(first.subject) != one:
            return None
        body = self.made.bodies_of[one.function]
        operands, _, _ = self.surroundings(one.function, one.position, first.event)
        return read_by(body.code[one.position], [bits for bits, _ in operands.values()], one.half)

    def takes_reference(self, first: FirstDifference) -> bool:
        """Whether the instruction at the difference takes a reference or calls through a table."""
        site = self._site(first.oracle) or self._site(first.subject)
        same = first.oracle is not None and first.subject is not None and first.oracle.site == first.subject.site
        function, position = (site.function, site.position) if same and site is not None else self.acted(first)
        body = self.made.bodies_of.get(function)
        if body is None or position < 0:
            return False
        acting = body.code[position]
        return "call_indirect" in acting.instruction.name or any(isinstance(each, RefType) for each in acting.operands)

    def of_reference(self, first: FirstDifference) -> bool:
        """Whether what differs is a reference."""
        site = self._site(first.oracle)
        return site is not None and isinstance(site.type, RefType)

    def watched(self, found: FirstDifference, plain: Record) -> tuple[str, str]:
        """The watched bytes as the engines have them at an event, whose record is ``plain`` without them."""
        digits = 2 * self.made.watch.width if self.made.watch is not None else 0
        one, other = (
            f"0x{(each.value - plain.value) % (1 << 64):0{digits}x}" if each is not None else ""
            for each in (found.oracle, found.subject)
        )
        return one, other

    def writer(self, found: FirstDifference, plain: tuple[Record, ...]) -> Localisation | None:
        """The answer where watched bytes differ since an event: what wrote them. ``plain`` are the oracle's records up to that event
        as they are without the bytes.
        """
        watch = self.made.watch
        if watch is None or not plain or found.oracle is None or found.subject is None or plain[-1].site != found.subject.site:
            return None
        record = plain[-1]
        first = FirstDifference(found.event, record, record, plain[:-1], found.oracle_outcome, found.subject_outcome)
        one = self._site(record)
        place = (one.function, one.position) if one is not None and may_write(one.name) else self.acted(first)
        has = self.watched(found, record)
        texts = f"has {has[0]} at {watch.address:#x} of memory {watch.memory} afterwards", f"has {has[1]}"
        why = "bytes that it should not have written, or should have, differ from here on"
        return self.at(first, place, texts, "state", why)

    # Places.

    def _site(self, record: Record | None) -> Site | None:
        return self.made.site(record.site) if record is not None else None

    def acted(self, first: FirstDifference) -> tuple[int, int]:
        """The function and position of what acts behind the last common event; where a function ended silently, in its caller."""
        last = self._site(first.before[-1]) if first.before else None
        if last is None:
            return -1, -1
        function, position = last.function, last.position
        goes_on = {site.function for site in (self._site(first.oracle), self._site(first.subject)) if site is not None}
        frames = None
        while (body := self.made.bodies_of.get(function)) is not None:
            at = self.made.acting(function, position)
            returned = at == len(body.code) - 1 or body.code[at].instruction.name == "return"
            if not returned or (goes_on and goes_on <= {function}):
                return function, at
            frames = self._frames(first.event) if frames is None else frames[:-1]
            if not frames or frames[-1][0] != function or frames[-1][1] is None:
                return function, at
            caller, called_behind = frames[-1][1]
            around = {caller, *(each for each, _ in frames[:-1])}
            if caller not in self.made.bodies_of or (goes_on and not goes_on & around):
                return function, at
            function, position = caller, self.made.acting(caller, called_behind)
        return function, -1

    def _left(self, function: int, position: int, event: int) -> bool:
        """Whether what acts there is the return of a function that the driver called."""
        code = self.made.bodies_of[function].code
        if position != len(code) - 1 and code[position].instruction.name != "return":
            return False
        frames = self._frames(event)
        return not frames or frames[-1][1] is None

    def _frames(self, event: int) -> Frames:
        """The activations before an event as far as the oracle's last events show them: a function, and where its caller stood."""
        frames: Frames = []
        before: Site | None = None
        for record in self.history(event):
            site = self._site(record)
            if site is None:
                continue
            if site.role == "entry":
                self._enter(frames, site.function, before)
            elif site.name in CALLS and site.role == "result":
                while frames and not self._called_by(frames[-1][1], site):
                    frames.pop()
                frames = frames[:-1]
            while frames and frames[-1][0] != site.function:
                frames.pop()
            before = site
        return frames

    def history(self, event: int) -> tuple[Record, ...]:
        """The oracle's last records before an event."""
        first, last, flags = self.rows
        since = max(0, event - _HISTORY)
        log = self.oracle.logged(LogParameters(first, last, flags, start=since, halt=event, limit=_HISTORY)).log
        return log.records(since) if log is not None else ()

    def _enter(self, frames: Frames, function: int, before: Site | None) -> None:
        """Put a new activation on the frames, where the call came from the program; else it is the driver's, and the first."""
        if before is not None:
            caller, position = before.function, before.position
            while (body := self.made.bodies_of.get(caller)) is not None:
                at = self.made.acting(caller, position)
                call = body.code[at].instruction
                if call.name in TAIL_CALLS and frames:
                    frames[-1] = function, frames[-1][1]
                    return
                if call.name in CALLS and (call.name != "call" or call.immediates[0] == function):
                    frames.append((function, (caller, position)))
                    return
                if not frames or frames[-1][1] is None:
                    break
                caller, behind = frames.pop()[1] or (-1, -1)  # it returned without an event
                position = self.made.acting(caller, behind)
        frames[:] = [(function, None)]

    def _path(self, event: int, function: int, offset: int) -> tuple[str, ...]:
        """The activations at an event, outermost first, each with where it stands: at a call, the last one at the difference."""
        frames = self._frames(event)
        while frames and frames[-1][0] != function:
            frames.pop()
        path = []
        for inner in frames[1:]:
            if inner[1] is None:
                continue
            caller, behind = inner[1]
            path.append(f"{self.name(caller)} {self._offset(caller, self.made.acting(caller, behind)):#x}")
        return (*path, f"{self.name(function)} {offset:#x}")

    def _offset(self, function: int, position: int) -> int:
        """An instruction's offset in its body, as the artifact has it."""
        return self.made.offset(function, position) - self._body_offset(function)

    def _body_offset(self, function: int) -> int:
        return self.module.bodies[function - self.module.n_imported("func")][0]

    def _called_by(self, caller: tuple[int, int] | None, site: Site) -> bool:
        """Whether a frame was made by the call whose result a site logs."""
        if caller is None or caller[0] != site.function:
            return False
        return self.made.acting(site.function, caller[1]) == site.position

    def _row(self, event: int) -> str:
        """The row in which an event is, by the oracle's record that was under way there."""
        layout = self.plan.layout
        first, last, flags = self.rows
        if event < 0:
            return ""
        if last - first == 1 and not layout.n_init:
            return layout.rows[first].name
        record = self.oracle.logged(LogParameters(first, last, flags, start=event, halt=event + 1)).record
        if record < 0:
            return ""
        return layout.rows[record if record < layout.n_init else record + first].name

    def _source(self, function: int, position: int) -> str:
        """The source line: by DWARF; else that of the nearest branch before it whose line the manifest has."""
        code = self.made.bodies_of[function].code
        exact = source_line(self.module, self.made.offset(function, position))
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

    def _seen(self, record: Record | None, outcome: Outcome, here: tuple[int, int] = (-1, -1)) -> str:
        """What an engine did at the event: what the instruction ``here`` gave, where it went on, or how it ended."""
        site = self._site(record)
        if record is None or site is None:
            return "came to its end" if isinstance(outcome, Returned) else sentence(outcome)
        if site.role in ("entry", "argument"):
            value = f" with argument {site.number} = {self._value(record, site)}" if site.role == "argument" else ""
            return f"entered `{self.name(site.function)}`{value}"
        if (site.function, site.position) == here:
            return f"gave {self._value(record, site)}" if site.role == "result" else "did not trap"
        offset = site.offset - self._body_offset(site.function)
        return f"went on to `{site.name}` at {offset:#x} of `{self.name(site.function)}` ({self._value(record, site)})"

    def _value(self, record: Record | None, site: Site) -> str:
        return _shown(record.value, site.type) if record is not None else ""

    def _before(self, first: FirstDifference) -> tuple[Moment, ...]:
        found = []
        for each in first.before[-SHOWN:]:
            site = self._site(each)
            if site is None:
                continue
            offset = site.offset - self._body_offset(site.function) if site.position >= 0 else 0
            value = "" if site.role in ("entry", "dropped") else _shown(each.value, site.type)
            name = (
                f"argument {site.number}"
                if site.role == "argument"
                else site.name + " (digest of the contents)" * (site.role == "range")
            )
            found.append(Moment(each.event, self.name(site.function), offset, name, value))
        return tuple(found)

    def surroundings(self, function: int, position: int, event: int) -> tuple[Numbered, Numbered, int]:
        """The instruction's operands and its function's locals, from the oracle: before the difference they are the subject's too; and
        how often it had begun by then.
        """
        made, side = self.detail(function, position)
        first, last, flags = self.rows
        since = max(0, event - _RESULTS)
        log = side.logged(LogParameters(first, last, flags, start=since, halt=event + 1)).log
        if log is None:
            return {}, {}, 0
        asides = [
            (each, site)
            for each in log.records(since)
            if (site := made.site(each.site)) is not None and site.aside and each.event <= event
        ]
        if not asides:
            return {}, {}, log.visits
        at = asides[-1][0].event
        here = [(each, site) for each, site in asides if each.event == at]
        operands = _joined([(each.value, site) for each, site in here if site.role == "operand"])
        locals_ = _joined([(each.value, site) for each, site in here if site.role == "local"])
        return operands, locals_, log.visits


def _allowed(record: Record | None) -> str:
    return _ALLOWED[record is not None and record.value != 0]


def _joined(values: list[tuple[int, Site]]) -> Numbered:
    """Values by number; a vector's halves put together."""
    found: Numbered = {}
    for value, site in values:
        bits = found.get(site.number, (0, site.type))[0] if site.half else 0
        found[site.number] = (bits | value << (64 * site.half), site.type)
    return dict(sorted(found.items()))


def _in_words(values: Numbered) -> dict[int, str]:
    return {number: _shown(bits, type_, whole=True) for number, (bits, type_) in values.items()}


def _reference(bits: int) -> str:
    """A reference's word (``probes``) for a person."""
    kind, number, object_ = bits & 0xFF, bits >> 8 & 0xFFFF_FFFF, bits >> 40
    text = _REFERENCES.get(kind, f"{bits:#x}")
    text += f" of {number}" * (kind in (2, 4)) + f" {number}" * (kind in _OF_FUNCTIONS)
    return text + f" (object {object_})" * bool(object_)


def _shown(bits: int, type_: ValType, *, whole: bool = False) -> str:
    """A value in words: integers in decimal and, where that helps, in hex; floats exactly."""
    if isinstance(type_, RefType):
        return _reference(bits)
    if type_ == "v128":
        return f"{bits:#034x}" if whole else f"{bits:#018x}"
    value = Value(type_, bits & ((1 << 32) - 1) if type_ in ("i32", "f32") else bits)
    text = render(value)
    if type_ in ("f32", "f64"):
        return text if "nan" in text or "inf" in text else f"{text} ({value.bits:#x})"
    return text if bits < _WIDE else f"{text} ({value.bits:#x})"
