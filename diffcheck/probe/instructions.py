"""Tests of the instructions that capsules consist of, independent of the recorder and its digest.

An engine that executes one of them wrongly damages its own observation. These programs identify the instruction. Each known
answer is stored in a counter or, for an engine without counters, compared with the expected value.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Program
from diffcheck.capsule import layout as lo
from diffcheck.observation import Crashed, Returned, TimedOut, Trapped, sentence
from diffcheck.probe import programs
from diffcheck.probe.instruction_answers import DATA, GROUPS, NANS
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link
from diffcheck.wasm.leb import s, u

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.backend.contract import Backend, Host, RunLimits
    from diffcheck.observation import Execution
    from diffcheck.probe.instruction_answers import KnownAnswer

_DEADLINE_S: Final = 5.0  # the programs take milliseconds, but may not terminate on an engine with wrong branches
_MAX_COUNTERS: Final = 200  # kilnd 0.4.4 has at most 256 exports
_COMPARES: Final = frozenset({"i64.ne", "if"})
"""The instructions that a program without counters uses for comparisons."""


class WrongInstruction(msgspec.Struct, frozen=True):
    """An instruction that an engine executes wrongly: the known answer (``oracle``) and the engine's, as text."""

    name: str
    oracle: str
    subject: str


_COUNTER: Final = b"\x7e\x01\x42\x00\x0b"
_FLOAT_GLOBALS: Final = (
    b"\x7d\x01\x43" + NANS["f32"].to_bytes(4, "little") + b"\x0b",
    b"\x7c\x01\x44" + NANS["f64"].to_bytes(8, "little") + b"\x0b",
)
_FIRST_COUNTER: Final = 1 + len(_FLOAT_GLOBALS)
_LOCALS: Final = (("0", "i64"), ("1", "f32"), ("2", "f64"))
_FIELD_TYPES: Final = (b"\x7d\x01", b"\x7c\x01", b"\x7e\x01", b"\x7f\x01", b"\x78\x01")
_OBJECT_TYPES: Final = (b"\x5f\x05" + b"".join(_FIELD_TYPES), *(b"\x5e" + each for each in _FIELD_TYPES), b"\x5f\x01\x63\x02\x01")
_OBJECT_LOCALS: Final = tuple((str(1 + type_), f"(ref null {type_})") for type_ in range(2, 2 + len(_OBJECT_TYPES)))


def program(answers: Sequence[KnownAnswer], *, compares: bool = False) -> bytes:
    """Return a module whose ``_start`` stores each answer in a counter or, with ``compares``, traps at a wrong answer.

    It has the exports of a capsule, and a header of zeros, for adapters that read an observation from any program.
    """
    use = "i64.const {} i64.ne if unreachable end" if compares else "global.set {}"
    steps = [f"{each.text} {use.format(each.value if compares else at + _FIRST_COUNTER)}" for at, each in enumerate(answers)]
    text = " ".join(each.text for each in answers)
    objects = "struct." in text or "array." in text
    memories = [b"\x00\x02", b"\x00\x01"] if "memory.copy 0 1" in text or "memory.size 1" in text else [b"\x00\x02"]
    data = [b"\x00\x41\x00\x0b" + u(len(DATA)) + DATA]
    if len(memories) > 1:
        data.append(b"\x02\x01\x41\x00\x0b" + programs.name("diffchec"))
    exports = [
        programs.export(lo.ENTRY, programs.FUNC, 0),
        programs.export(lo.AFTER_TRAP_EXPORT, programs.FUNC, 2),
        programs.export(lo.MEMORY_EXPORT, programs.MEMORY, 0),
    ]
    exports += [programs.export(f"__witness_counter_{at}", programs.GLOBAL, at + _FIRST_COUNTER) for at in range(len(answers))]
    sections: dict[int, Sequence[bytes]] = {
        ids.TYPE: [b"\x60\x00\x00", b"\x60\x00\x01\x7e", *(_OBJECT_TYPES if objects else ())],
        ids.FUNCTION: [b"\x00", b"\x01", b"\x00"],
        ids.MEMORY: memories,
        ids.GLOBAL: [_COUNTER, *_FLOAT_GLOBALS, *[_COUNTER] * len(answers)],
        ids.EXPORT: exports,
        ids.CODE: [
            link(assemble(" ".join(steps), locals=(*_LOCALS, *(_OBJECT_LOCALS if objects else ()))), {}),
            programs.body("i64.const 44 return"),
            programs.body(""),
        ],
        ids.DATA: data,
    }
    if "table." in text:
        sections |= {ids.TABLE: [b"\x70\x00\x03"], ids.ELEMENT: [b"\x00\x41" + s(0) + b"\x0b\x01\x01"]}
    return programs.module(sections)


def wrong_instructions(backend: Backend, host: Host, limits: RunLimits) -> tuple[WrongInstruction, ...]:
    """Return the instructions that an engine executes wrongly, the simplest first, without those that depend on them."""
    test = _InstructionTest(backend, host, msgspec.structs.replace(limits, deadline_s=min(limits.deadline_s, _DEADLINE_S)))
    for group in GROUPS:
        for at in range(0, len(group), _MAX_COUNTERS):
            test.run(group[at : at + _MAX_COUNTERS])
    return tuple(test.wrong.values())


class _InstructionTest:
    """Runs programs under one engine and collects ``wrong`` instructions by name."""

    def __init__(self, backend: Backend, host: Host, limits: RunLimits) -> None:
        self.backend, self.host, self.limits = backend, host, limits
        self.counts = backend.capabilities.direct
        self.wrong: dict[str, WrongInstruction] = {}

    def run(self, answers: Sequence[KnownAnswer]) -> None:
        """Test the answers in one program. If it does not terminate normally, test each half."""
        answers = [each for each in answers if self._is_conclusive(each)]
        if not answers:
            return
        execution = self._execute(answers)
        if isinstance(execution.outcome, Returned) and execution.counters is not None:
            for at, each in enumerate(answers):
                value = execution.counters.get(at, each.value) % (1 << 64)
                if value != each.value and self._is_conclusive(each):
                    self._add(each, f"{value:#x}")
        elif isinstance(execution.outcome, Trapped | Crashed | TimedOut) and self._works:
            if len(answers) == 1:
                self._add(answers[0], sentence(execution.outcome) if self.counts else "another value")
                return
            for half in (answers[: len(answers) // 2], answers[len(answers) // 2 :]):
                self.run(half)

    def _execute(self, answers: Sequence[KnownAnswer]) -> Execution:
        wasm = program(answers, compares=not self.counts)
        return self.backend.execute(Program(kind="direct", wasm=wasm), self.limits, self.host)

    @cached_property
    def _works(self) -> bool:
        """Whether a program without answers returns; otherwise no failure is due to an instruction."""
        return isinstance(self._execute(()).outcome, Returned)

    def _is_conclusive(self, answer: KnownAnswer) -> bool:
        uses = set(answer.uses) if self.counts else {*answer.uses, *_COMPARES}
        return answer.name not in self.wrong and not self.wrong.keys() & uses

    def _add(self, answer: KnownAnswer, subject: str) -> None:
        self.wrong[answer.name] = WrongInstruction(answer.name, f"{answer.value:#x} for `{answer.text}`", subject)
