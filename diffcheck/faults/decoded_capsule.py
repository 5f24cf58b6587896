"""The places in a capsule where faults are planted."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from diffcheck.capsule import layout as lo
from diffcheck.faults import module_edit
from diffcheck.wasm.module import read
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.faults.fault import FaultTarget
    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.module import Module


class DecodedCapsule:
    """A capsule with the recorder's functions, found by their exports, and the calls of the rows in ``_start``.

    An edit locates its place again in the program that it changes, which may be another form of the capsule.
    """

    def __init__(self, artifact: FaultTarget) -> None:
        plan = artifact.capsule
        assert plan is not None, "the artifact has no capsule"  # noqa: S101
        self.wasm, self.layout = plan.capsules.standard.wasm, plan.layout
        self.module = read(self.wasm)
        exports = {each.name: each.index for each in self.module.exports}
        self.start, self.finish, self.rec = exports[lo.ENTRY], exports[lo.AFTER_TRAP_EXPORT], exports[lo.MEMORY_EXPORT]
        self.instrumentation = formats.instrumentation(artifact.module)

    def at_finish(self, inserted: bytes) -> Callable[[bytes], bytes]:
        """Return an edit that inserts instructions at the beginning of ``finish``, before it reads any state."""

        def change(wasm: bytes) -> bytes:
            module = read(wasm)
            finish = _export(module, lo.AFTER_TRAP_EXPORT)
            return module_edit.rewrite(
                module, wasm, {finish: module_edit.prepend(module_edit.body(module, wasm, finish), inserted)}
            )

        return change

    @staticmethod
    def row_calls(data: bytes, finish: int) -> list[Instruction]:
        """Return the call of each row: the first call after ``call record drop``. The index of ``record`` is ``finish`` - 1."""
        calls, in_row = [], False
        for instruction, successor in pairwise(module_edit.listing(data)):
            if instruction.name != "call":
                continue
            if instruction.immediates[0] == finish - 1:
                in_row = successor.name == "drop"
            elif in_row:
                calls.append(instruction)
                in_row = False
        return calls

    def after_row(self, row: int, inserted: bytes) -> Callable[[bytes], bytes]:
        """Return an edit that inserts instructions right after a row's call, whose results are still on the stack."""
        return self._edit_row(row, lambda data, call: data[: call.end] + inserted + data[call.end :])

    def replace_row(self, row: int, before: bytes) -> Callable[[bytes], bytes] | None:
        """Return an edit that replaces a row's call by ``before`` and zeros; None if a result type has no zero."""
        call = self.row_calls(module_edit.body(self.module, self.wasm, self.start), self.finish)[row]
        type_ = self.module.function_type(call.immediates[0])
        replacement = module_edit.call_replacement(type_.params, type_.results)
        if replacement is None:
            return None

        return self._edit_row(row, lambda data, call: data[: call.offset] + before + replacement + data[call.end :])

    def _edit_row(self, row: int, replace: Callable[[bytes, Instruction], bytes]) -> Callable[[bytes], bytes]:
        def change(wasm: bytes) -> bytes:
            module = read(wasm)
            start = _export(module, lo.ENTRY)
            data = module_edit.body(module, wasm, start)
            call = self.row_calls(data, _export(module, lo.AFTER_TRAP_EXPORT))[row]
            return module_edit.rewrite(module, wasm, {start: replace(data, call)})

        return change


def _export(module: Module, name: str) -> int:
    return next(each.index for each in module.exports if each.name == name)
