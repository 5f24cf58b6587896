"""An instruction fault as an engine has it, in what a program brings: every execution of an instruction is wrong where its trigger fires.

It stays with the instruction when the program is cut down, so a reduction can keep it. The capsule's own recorder and driver are spared,
so that what is found is the program's.
"""

from __future__ import annotations

from diffcheck.faults.fault import Expected, Fault
from diffcheck.wasm.module import Module
from tests.doubles.instruction_faults import Editor, Planted, read

OWN_BEFORE_START = 4
"""The recorder's functions before a capsule's ``_start``: digest, reserve, record, finish."""


def everywhere(fault: Planted) -> Fault:
    """The fault, wherever the instruction stands in a program's own functions."""
    return Fault(fault.kind, str(fault), Expected(), edit=lambda data: _Spared(data, fault, read(data)).wasm())


class _Spared(Editor):
    """Leaves a capsule's own functions as they are."""

    def _body(self, function: int, body: bytes) -> bytes:
        return super()._body(function, body) if function < program_functions(self.module) else body


def program_functions(module: Module) -> int:
    """How many of a program's functions are the artifact's."""
    if any(each.name == "__witness_counter_4000000000" for each in module.exports):
        return next(each.index for each in module.exports if each.name == "_start") - OWN_BEFORE_START
    return len(module.all_functions)
