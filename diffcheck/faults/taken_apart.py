"""A capsule taken apart: where a fault is put into it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from diffcheck import witness
from diffcheck.capsule import layout as lo
from diffcheck.faults import edit

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.faults.model import Artifact
    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.module import Module


class Sealed:
    """A capsule taken apart: the recorder's functions, found by their exports, and the calls of the rows in ``_start``."""

    def __init__(self, artifact: Artifact) -> None:
        assert artifact.sealed is not None, "only for artifacts that have a capsule"  # noqa: S101
        assert artifact.capsule is not None  # noqa: S101
        assert artifact.capsule.capsule is not None  # noqa: S101
        self.module: Module = artifact.sealed
        self.wasm = artifact.capsule.capsule.wasm
        self.layout = artifact.capsule.capsule.layout
        exports = {each.name: each.index for each in self.module.exports}
        self.start, self.finish, self.rec = exports[lo.ENTRY], exports[lo.AFTER_TRAP_EXPORT], exports[lo.MEMORY_EXPORT]
        self.found = witness.instrumentation(artifact.module)

    def at_finish(self, inserted: bytes) -> Callable[[bytes], bytes]:
        """The edit that puts instructions before all that ``finish`` reads."""
        return lambda wasm: edit.rewritten(
            self.module, wasm, {self.finish: edit.begin(edit.body(self.module, wasm, self.finish), inserted)}
        )

    def row_calls(self, data: bytes) -> list[Instruction]:
        """The call of each row: the one after its record was begun (``call record drop``)."""
        calls, begun = [], False
        listed = edit.listing(data)
        for each, after in pairwise(listed):
            if each.name != "call":
                continue
            if each.immediates[0] == self.finish - 1:
                begun = after.name == "drop"
            elif begun:
                calls.append(each)
                begun = False
        return calls

    def after_row(self, row: int, inserted: bytes) -> Callable[[bytes], bytes]:
        """The edit that puts instructions right after a row's call, its results still on the stack."""

        def change(wasm: bytes) -> bytes:
            data = edit.body(self.module, wasm, self.start)
            call = self.row_calls(data)[row]
            return edit.rewritten(self.module, wasm, {self.start: data[: call.end] + inserted + data[call.end :]})

        return change

    def instead_of_row(self, row: int, before: bytes) -> Callable[[bytes], bytes] | None:
        """The edit that puts ``before`` and zeros in the place of a row's call; None where a result has no zero."""
        call = self.row_calls(edit.body(self.module, self.wasm, self.start))[row]
        type_ = self.module.function_type(call.immediates[0])
        without = edit.skipped(type_.params, type_.results)
        if without is None:
            return None

        def change(wasm: bytes) -> bytes:
            data = edit.body(self.module, wasm, self.start)
            return edit.rewritten(self.module, wasm, {self.start: data[: call.offset] + before + without + data[call.end :]})

        return change
