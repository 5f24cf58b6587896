"""Which functions have only numbers as parameters, by what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.wasm.code import MemArg, instructions, read_locals
from diffcheck.witness import formats

if TYPE_CHECKING:
    from diffcheck.wasm.module import Module

_MOST_CALLEES: Final = 32


class NumericFunctions:
    """The functions that use no memory and no table, nor does any function that they call: their parameters are no pointers."""

    def __init__(self, module: Module) -> None:
        self._module, self._bodies = module, list(module.body_bytes())
        self._trace = formats.instrumentation(module).trace
        self._known: dict[int, bool] = {}

    def __contains__(self, function: object) -> bool:
        """Whether the function, by funcidx, is numeric; a function that calls many others is not."""
        assert isinstance(function, int), "a funcidx"  # noqa: S101
        if not self._module.all_memories:
            return True
        if function not in self._known:
            self._known[function] = self._is_numeric(function)
        return self._known[function]

    def _is_numeric(self, function: int) -> bool:
        imported, found = self._module.n_imported("func"), [function]
        for each in found:
            if len(found) > _MOST_CALLEES:
                return False
            if each < imported:
                continue
            offset, body = self._bodies[each - imported]
            for instruction in instructions(body, start=read_locals(body).end, base_offset=offset):
                if instruction.name in ("call", "return_call"):
                    callee = instruction.immediates[0]
                    if isinstance(callee, int) and callee not in found:
                        found.append(callee)
                elif self._uses_memory(instruction.name, instruction.immediates):
                    return False
        return True

    def _uses_memory(self, name: str, immediates: tuple[object, ...]) -> bool:
        memories = [each.memidx for each in immediates if isinstance(each, MemArg)]
        own = [each for each in memories if each != self._trace]
        return bool(own) or name.startswith(("call_", "return_call_", "memory.", "table.")) or name == "call_ref"
