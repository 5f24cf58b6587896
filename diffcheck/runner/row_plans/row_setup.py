"""The init rows of planned rows: what a host calls first, the buffers of an allocator, and calls that make objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.cases import runtime_exports
from diffcheck.cases.arguments import BUFFER_BYTES, Addresses
from diffcheck.cases.rows import exported
from diffcheck.runner.row_plans.row_choice import ROW_FUEL
from diffcheck.wasm.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diffcheck.capsule.driver import Call
    from diffcheck.runner.row_plans.row_trials import RowTrial, RowTrials
    from diffcheck.wasm.module import Module

FIRST: Final = "called first, as a host does"
_BLOCKS, _BLOCK_BYTES = 6, 64
_OBJECTS: Final = 10
"""The objects that are made at once."""
_MAKERS_ENTER: Final = 200
"""The most functions that init rows enter if some of them make objects: every slice has them all."""
_LOWEST: Final = 1024
"""Addresses below are rarely objects."""


class ObjectCall(msgspec.Struct, frozen=True):
    """A call that returned what may be an object, or stored it at its argument of the number ``peek``."""

    call: Call
    peek: int | None


class Handle(msgspec.Struct, frozen=True):
    """An object: the name of the function that made it, its address, and the number of init rows before the call."""

    maker: str
    bits: int
    position: int


class RowSetup:
    """The init rows of an artifact: ``calls``, their trial ``base``, the reasons ``why`` by name. ``addresses`` are what pointers
    may point to, ``handles`` the objects that were made.
    """

    def __init__(self, module: Module, given: Sequence[Call], addresses: Addresses, trials: RowTrials) -> None:
        """Start with the ``given`` init rows."""
        self._module, self._trials, self._allocator = module, trials, -1
        self._functions = exported(module)
        self.calls, self.addresses = list(given), addresses
        self.why: dict[str, str] = {}
        self.handles: list[Handle] = []
        self.base = trials.run(self.calls)

    def initialise(self) -> None:
        """Add the functions that a host calls first, then the buffers."""
        types = {name: each.type for name, each in self._functions.items()}
        called = {each.function for each in self.calls}
        for name in (*runtime_exports.constructors(types), runtime_exports.minified_constructor(self._module, types)):
            if name is not None and self._functions[name].index not in called:
                self._add(self._functions[name].call(name), FIRST)
        for name, args in runtime_exports.allocators(self._module, types, BUFFER_BYTES):
            if self._allocate(name, args):
                break

    def _add(self, call: Call, why: str, most: int | None = None) -> RowTrial | None:
        """Add a call if it returns, and if the init rows then enter at most ``most`` functions; returns its trial."""
        if not self._trials.fits((*self.calls, call)):
            return None
        trial = self._trials.run((*self.calls, call))
        if trial.stop is not None or trial.fuel - self.base.fuel > ROW_FUEL:
            return None
        if most is not None and trial.functions > max(most, self.base.functions):
            return None
        self.calls.append(call)
        self.why.setdefault(call.name, why)
        self.base = trial
        return trial

    def _allocate(self, name: str, args: Sequence[int]) -> bool:
        """Allocate the buffer and the blocks, if the function is an allocator: it returns two places that do not overlap."""
        call = self._functions[name].call_with(tuple(Value("i32", each) for each in args))
        places = self._trials.run((*self.calls, call, call)).results[len(self.calls) :]
        if len(places) != 2 or not 0 < places[0] <= places[1] - BUFFER_BYTES or places[0] % 4:  # noqa: PLR2004 - both returned
            return False
        self._add(call, f"{BUFFER_BYTES:,} bytes at {places[0]}")
        self._allocator = call.function
        small = tuple(Value("i32", _BLOCK_BYTES if each == BUFFER_BYTES else each) for each in args)
        why = f"a block of {_BLOCK_BYTES} bytes for a function that frees its argument"
        trials = [self._add(self._functions[name].call_with(small), why) for _ in range(_BLOCKS)]
        blocks = tuple(each.results[-1] for each in trials if each is not None)
        self.addresses = msgspec.structs.replace(self.addresses, buffer=places[0], blocks=blocks)
        return True

    def next_addresses(self) -> Addresses:
        """The addresses, with another block first each time."""
        blocks = self.addresses.blocks
        self.addresses = msgspec.structs.replace(self.addresses, blocks=(*blocks[1:], *blocks[:1]))
        return self.addresses

    def out_pointers(self, call: Call) -> list[int]:
        """The addresses in the buffer that a call may store an object at, the first of them."""
        buffer = self.addresses.buffer
        if buffer is None or not self._trials.peeks:
            return []
        return [each.bits for each in call.args if each.type == "i32" and buffer <= each.bits < buffer + BUFFER_BYTES][:3]

    def object_call(self, call: Call, results: Sequence[int]) -> ObjectCall | None:
        """The call, if its result or what it stored may be an object. ``results`` are of the call and its out pointers."""
        passed = {each.bits for each in call.args}
        returned = [(None, results[0])] if call.type.results == ("i32",) else []
        found = [*returned, *((at, each & 0xFFFF_FFFF) for at, each in enumerate(results[1:]))]
        return next((ObjectCall(call, peek) for peek, bits in found if self._is_object(bits) and bits not in passed), None)

    def _is_object(self, bits: int) -> bool:
        buffer = self.addresses.buffer or 0
        in_buffer = buffer <= bits < buffer + BUFFER_BYTES
        return _LOWEST <= bits < self.base.memory_bytes and not bits % 4 and not in_buffer and bits not in self.addresses.blocks

    def make_objects(self, found: Iterable[ObjectCall]) -> bool:
        """Add calls that make objects, those with a telling name first; returns whether there is a new object."""
        before, seen = len(self.handles), {self._allocator}
        for each in sorted(found, key=lambda each: not runtime_exports.makes(each.call.name)):
            position, peeks = len(self.calls), self.out_pointers(each.call)
            unfit = each.call.function in seen or runtime_exports.frees(each.call.name)
            if unfit or self._add(each.call, "makes an object", _MAKERS_ENTER) is None:
                continue
            seen.add(each.call.function)
            results = self._trials.run(self.calls, peeks).results[position:]
            at = 0 if each.peek is None else 1 + each.peek
            bits = results[at] & 0xFFFF_FFFF if at < len(results) else 0
            self.handles.append(Handle(each.call.name, bits if self._is_object(bits) else 0, position))
            if len(self.handles) - before == _OBJECTS:
                break
        return any(each.bits for each in self.handles[before:])

    def forget_unused(self, used: set[int]) -> bool:
        """Drop the last objects that are not ``used``, since addresses depend on those before; returns whether any is dropped."""
        kept = len(self.handles)
        while kept and self.handles[kept - 1].bits not in used:
            kept -= 1
        if kept == len(self.handles):
            return False
        del self.calls[self.handles[kept].position :]
        del self.handles[kept:]
        self.base = self._trials.run(self.calls)
        return True
