"""An engine that executes one instruction wrongly wherever a program of the sweep has it, and a sweep against it in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from diffcheck import process
from diffcheck.backend import contract, registry
from diffcheck.cases.discovery import Case
from diffcheck.errors import ArtifactError
from diffcheck.faults import module_edit
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner import case_run, planning
from diffcheck.runner.passes.confirmation import MemoizingBackend
from diffcheck.runner.request import Request
from diffcheck.runner.sweep.execution import artifact
from diffcheck.runner.sweep.programs import SweepProgram
from diffcheck.verdict import CaseReport
from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import all_instructions, read_locals
from diffcheck.wasm.encode import encode_locals
from diffcheck.wasm.module import Module
from diffcheck.wasm.types import ValType
from diffcheck.wasm.typing import TypedInstruction, type_body

FLIP = {
    "i32": "i32.const 1 i32.xor", "i64": "i64.const 1 i64.xor",
    "f32": "i32.reinterpret_f32 i32.const 1 i32.xor f32.reinterpret_i32",
    "f64": "i64.reinterpret_f64 i64.const 1 i64.xor f64.reinterpret_i64",
    "v128": "v128.const i32x4 1 0 0 0 v128.xor",
}  # fmt: skip
"""Changes the lowest bit of a number or of a vector's first lane."""
NEGATIVE = {
    "i32": "i32.const 0 i32.lt_s", "i64": "i64.const 0 i64.lt_s",
    "f32": "i32.reinterpret_f32 i32.const 0 i32.lt_s", "f64": "i64.reinterpret_f64 i64.const 0 i64.lt_s",
    "v128": "i64x2.extract_lane 1 i64.const 0 i64.lt_s",
}  # fmt: skip
ODD = {
    "i32": "i32.const 1 i32.and", "i64": "i32.wrap_i64 i32.const 1 i32.and", "f32": "i32.reinterpret_f32 i32.const 1 i32.and",
    "f64": "i64.reinterpret_f64 i32.wrap_i64 i32.const 1 i32.and", "v128": "i32x4.extract_lane 0 i32.const 1 i32.and",
}  # fmt: skip
CLASSES = {"negative": NEGATIVE, "odd": ODD}


class Wrong(msgspec.Struct, frozen=True):
    """An instruction that gives a wrong result, or where it has none takes a wrong operand: always, or for a class of its first
    numeric operand, or of its result if it has none.
    """

    instruction: str
    class_: str = ""

    def edited(self, data: bytes, functions: int) -> bytes:
        """The program as this engine runs it; what comes behind the artifact's own functions is run rightly."""
        module = wasm.read(data)
        changed = {at: body for at in range(functions) if (body := self._changed(module, data, at)) is not None}
        return module_edit.rewrite(module, data, changed) if changed else data

    def _changed(self, module: Module, data: bytes, at: int) -> bytes | None:
        body = module_edit.body(module, data, at)
        if all(each.name != self.instruction for each in module_edit.listing(body)):
            return None
        try:
            typed = type_body(module, at, body, module.bodies[at][0])
        except ArtifactError:  # legacy exception handling, which neither engine runs
            return None
        base = module.bodies[at][0]
        parts, done, locals_ = [], typed.declared_end, _Locals(len(typed.locals))
        for each in typed.code:
            one = each.instruction
            if one.name == self.instruction and each.reachable:
                sequence = self._sequence(each, body[one.offset - base : one.end - base], locals_)
                if sequence is not None:
                    parts += [body[done : one.offset - base], sequence]
                    done = one.end - base
        if not parts:
            return None
        declared = read_locals(body)
        groups = [*declared.groups, *((1, type_) for type_ in locals_.types)]
        return encode_locals(groups) + b"".join([*parts, body[done:]])

    def _sequence(self, each: TypedInstruction, own: bytes, locals_: _Locals) -> bytes | None:
        """The instruction with its wrong result or operand; None where it has neither."""
        if None in each.operands:
            return None
        kept = [locals_.new(type_) for type_ in each.operands]
        numeric = [(local, type_) for local, type_ in zip(kept, each.operands, strict=True) if type_ in FLIP]
        takes = "".join(f" local.set {local}" for local in reversed(kept))
        gives = "".join(f" local.get {local}" for local in kept)
        wrong = numeric[-1] if numeric else None
        result = each.results[-1] if each.results and each.results[-1] in FLIP and each.instruction.name != "br_if" else None
        if result is None and wrong is None:
            return None
        when = "i32.const 1"
        if self.class_ and numeric:
            local, type_ = numeric[0]
            when = f"local.get {local} {CLASSES[self.class_][type_]}"
        if result is not None:
            value = locals_.new(result)
            if self.class_ and not numeric:
                when = f"local.get {value} {CLASSES[self.class_][result]}"
            after = f"local.set {value} {when} if local.get {value} {FLIP[result]} local.set {value} end local.get {value}"
            return module_edit.instructions(takes + gives) + own + module_edit.instructions(after)
        local, type_ = wrong
        before = f"{takes} {when} if local.get {local} {FLIP[type_]} local.set {local} end {gives}"
        return module_edit.instructions(before) + own


class _Locals:
    def __init__(self, first: int) -> None:
        self.first = first
        self.types: list[ValType] = []

    def new(self, type_: ValType) -> int:
        self.types.append(type_)
        return self.first + len(self.types) - 1


class SweepBench:
    """Runs a sweep's programs under wasmtime and an engine with a fault. A program that the fault does not change agrees."""

    def __init__(self, reactor: process.Reactor, folder: Path, subject: str = "wasmtime") -> None:
        self.host = contract.Host(reactor, folder)
        self.judge = registry.create("wasmtime", {})
        self.oracle = MemoizingBackend(self.judge)
        self.inner = registry.create(subject, {})
        self.request = Request((), subject=subject, mode="capsule", slice="never", deadline_s=2.0, hangs=False)
        self.wrong: Wrong | None = None
        self.number = 0
        self._made: dict[str, bytes] = {}
        self._used: dict[str, frozenset[str]] = {}

    def close(self) -> None:
        self.judge.close()
        self.inner.close()

    def __call__(self, programs: Sequence[SweepProgram], _until: float | None) -> Iterator[tuple[SweepProgram, CaseReport]]:
        for program in programs:
            yield program, self._report(program)

    def _report(self, program: SweepProgram) -> CaseReport:
        self.number += 1
        path = Path(self.host.folder) / f"program_{self.number}.wasm"
        case = Case("program", str(path), rows=tuple(each.text for each in program.rows))
        try:
            if program.text not in self._made:
                self._made[program.text] = artifact(program, self.judge, self.host)
        except ArtifactError as error:
            return case_run.skipped(case, error.line, "")
        wrong = self.wrong
        if wrong is not None and wrong.instruction not in self._instructions(program):
            return msgspec.structs.replace(case_run.skipped(case, "", ""), verdict="agree")
        data = self._made[program.text]
        functions = len(wasm.read(data).bodies)
        if wrong is not None and wrong.edited(data, functions) == data:
            return msgspec.structs.replace(case_run.skipped(case, "", ""), verdict="agree")
        path.write_bytes(data)
        fault = Fault("", "", Expected(), edit=lambda each: wrong.edited(each, functions)) if wrong else None
        subject = FaultyBackend(self.inner, fault, words=False)
        made = planning.make(case, self.request, self.judge, self.oracle, subject, self.host)
        path.unlink()
        return case_run.run(made, self.request.max_passes, self.oracle, subject, self.host, "subject")

    def _instructions(self, program: SweepProgram) -> frozenset[str]:
        """The instructions of a program, decoded once."""
        if program.text not in self._used:
            data = self._made[program.text]
            self._used[program.text] = frozenset(each.name for each in all_instructions(data, wasm.read(data).bodies))
        return self._used[program.text]
