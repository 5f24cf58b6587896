"""Functions that a program registers with its host by their index in a table, as embind does.

An import is called with the address of a signature (``viid``), followed by a table index. Embind's own name of the import may be
minified, so this is what a registration is recognised by. The argument after the index is the invoker's first argument.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.cases.arguments import constant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffcheck.observation import StubCall
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import FuncType

_SIGNATURE: Final = re.compile(rb"[vijfdp]{1,24}\Z")
_NAME: Final = re.compile(rb"[A-Za-z_][ -~]{0,79}\Z")
_KINDS: Final = {"i": "i32", "p": "i32", "j": "i64", "f": "f32", "d": "f64"}
_LEAST_ARGUMENTS: Final = 5
_LONGEST: Final = 80


class Registration(msgspec.Struct, frozen=True):
    """A registered function: its slot in table 0, its first argument, and the name that it is registered under, or an empty one."""

    slot: int
    context: int
    name: str


def can_register(module: Module) -> bool:
    """Whether the program may register functions: an import takes enough numbers, and there is a table."""
    types = (module.function_type(at) for at in range(module.n_imported("func")))
    return bool(module.all_tables) and any(_is_registering(each) for each in types)


def _is_registering(type_: FuncType) -> bool:
    return len(type_.params) >= _LEAST_ARGUMENTS and not type_.results and set(type_.params) == {"i32"}


def registrations(module: Module, artifact: bytes, calls: Iterable[StubCall]) -> list[Registration]:
    """The functions that calls of imports register; each slot with its first context."""
    slots, strings = table_slots(module), _Strings(module, artifact)
    found: dict[tuple[int, int], Registration] = {}
    for call in calls:
        args = [each.bits for each in call.args]
        texts = [strings.at(each) for each in args]
        name = next((each.decode() for each in texts if each and _NAME.match(each) and not _SIGNATURE.match(each)), "")
        for at in range(len(args) - 1):
            text, slot = texts[at], args[at + 1]
            if text and slot in slots and _fits(text, module.function_type(slots[slot])):
                context = args[at + 2] if at + 2 < len(args) else 0
                found.setdefault((slot, context), Registration(slot, context, name))
    return list(found.values())


def _fits(signature: bytes, type_: FuncType) -> bool:
    """Whether a signature is of a function type: the result, then the parameters."""
    if not _SIGNATURE.match(signature):
        return False
    result, params = signature[:1].decode(), signature[1:].decode()
    results = () if result == "v" else (_KINDS[result],)
    return "v" not in params and (tuple(_KINDS[each] for each in params), results) == (type_.params, type_.results)


def table_slots(module: Module) -> dict[int, int]:
    """The functions that active segments put into table 0, by slot, as far as offsets are constant."""
    found: dict[int, int] = {}
    for each in module.elements:
        base = constant(each.offset) if each.mode == "active" and each.table == 0 else None
        if base is not None:
            found.update(enumerate(each.funcs, base))
    return found


class _Strings:
    """The strings in the active data of the first memory."""

    def __init__(self, module: Module, artifact: bytes) -> None:
        self._parts = [
            (base, bytes(artifact[each.start : each.start + each.size]))
            for each in module.data
            if each.mode == "active" and each.memory == 0 and (base := constant(each.offset)) is not None
        ]

    def at(self, address: int) -> bytes:
        """The string at an address without its NUL; empty if there is none."""
        for base, data in self._parts:
            if base <= address < base + len(data):
                end = data.find(b"\0", address - base, address - base + _LONGEST)
                return data[address - base : end] if end >= 0 else b""
        return b""
