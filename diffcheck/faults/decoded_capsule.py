"""A capsule taken apart: where a fault is put into it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from diffcheck.capsule import layout as lo
from diffcheck.faults import edit
from diffcheck.wasm.module import read
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.faults.model import FaultTarget
    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.module import Module


class DecodedCapsule:
    """A capsule taken apart: the recorder's functions, found by their exports, and the calls of the rows in ``_start``.

    An edit finds its place anew in the program that it is given, which may be another form of the capsule.
    """

    def __init__(self, artifact: FaultTarget) -> None:
        plan = artifact.capsule
        assert plan is not None, "only for artifacts that have a capsule"  # noqa: S101
        self.wasm, self.layout = plan.capsules.standard.wasm, plan.layout
        self.module = read(self.wasm)
        exports = {each.name: each.index for each in self.module.exports}
        self.start, self.finish, self.rec = exports[lo.ENTRY], exports[lo.AFTER_TRAP_EXPORT], exports[lo.MEMORY_EXPORT]
        self.found = formats.instrumentation(artifact.module)

    def at_finish(self, inserted: bytes) -> Callable[[bytes], bytes]:
        """The edit that puts instructions before all that ``finish`` reads."""

        def change(wasm: bytes) -> bytes:
            module = read(wasm)
            finish = _export(module, lo.AFTER_TRAP_EXPORT)
            return edit.rewritten(module, wasm, {finish: edit.begin(edit.body(module, wasm, finish), inserted)})

        return change

    @staticmethod
    def row_calls(data: bytes, finish: int) -> list[Instruction]:
        """The call of each row: the one after its record was begun (``call record drop``); ``finish`` follows ``record``."""
        calls, begun = [], False
        listed = edit.listing(data)
        for each, after in pairwise(listed):
            if each.name != "call":
                continue
            if each.immediates[0] == finish - 1:
                begun = after.name == "drop"
            elif begun:
                calls.append(each)
                begun = False
        return calls

    def after_row(self, row: int, inserted: bytes) -> Callable[[bytes], bytes]:
        """The edit that puts instructions right after a row's call, its results still on the stack."""
        return self._around_row(row, lambda data, call: data[: call.end] + inserted + data[call.end :])

    def instead_of_row(self, row: int, before: bytes) -> Callable[[bytes], bytes] | None:
        """The edit that puts ``before`` and zeros in the place of a row's call; None where a result has no zero."""
        call = self.row_calls(edit.body(self.module, self.wasm, self.start), self.finish)[row]
        type_ = self.module.function_type(call.immediates[0])
        without = edit.skipped(type_.params, type_.results)
        if without is None:
            return None

        return self._around_row(row, lambda data, call: data[: call.offset] + before + without + data[call.end :])

    def _around_row(self, row: int, made: Callable[[bytes, Instruction], bytes]) -> Callable[[bytes], bytes]:
        def change(wasm: bytes) -> bytes:
            module = read(wasm)
            start = _export(module, lo.ENTRY)
            data = edit.body(module, wasm, start)
            call = self.row_calls(data, _export(module, lo.AFTER_TRAP_EXPORT))[row]
            return edit.rewritten(module, wasm, {start: made(data, call)})

        return change


def _export(module: Module, name: str) -> int:
    return next(each.index for each in module.exports if each.name == name)
