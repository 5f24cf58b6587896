"""The bytes of a memory to watch, and the instructions that may have written them.

The first event that differs may be a load of bytes that an earlier store wrote wrongly, or not at all. Watched bytes are added to every
event's value (``log_writer.MemoryWatch``), so a second search finds the first event from which on they differ.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.triage.tracing.log_writer import MemoryWatch
from diffcheck.wasm.opcodes import BY_NAME, CALLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.wasm.typing import TypedInstruction

_WORD: Final = 8
_PLACE: Final = re.compile(r"memory (\d+) at 0x([0-9a-f]+)")
_LOAD: Final = re.compile(r"i(32|64)\.load(8|16|32)?(?:_([su]))?")
_ADDRESS_BITS: Final = {"i32": 32, "i64": 64}


def bytes_read(load: TypedInstruction, operands: Sequence[int], half: int) -> MemoryWatch | None:
    """The bytes that a load or an atomic read-modify-write reads, of a vector one half; None for another instruction or an unknown
    address.
    """
    name = load.instruction.name
    address_type = load.operands[0] if load.operands else None
    if not (".load" in name or ".rmw" in name) or not operands or not isinstance(address_type, str):
        return None
    memarg, width = load.instruction.immediates[0], BY_NAME[name].width
    address = (operands[0] % (1 << _ADDRESS_BITS[address_type])) + memarg.offset
    return MemoryWatch(memarg.memidx, address + _WORD * half, min(_WORD, width))


def watch_at(item: str) -> MemoryWatch | None:
    """The byte of memory in a divergence's item; None if it is another item."""
    found = _PLACE.fullmatch(item)
    return MemoryWatch(int(found[1]), int(found[2], 16), 1) if found is not None else None


def may_write(name: str) -> bool:
    """Whether an instruction can change a memory."""
    return ".store" in name or ".rmw" in name or name.startswith("memory.") or name in CALLS


def loaded_bits(name: str, word: int) -> int | None:
    """The result of an integer load or ``v128.load`` for the bytes of ``word``; None for other loads."""
    found = _LOAD.fullmatch(name)
    if found is None:
        return word if name == "v128.load" else None
    bits, width = int(found[1]), int(found[2] or found[1])
    if found[3] == "s" and word >> (width - 1):
        word |= (1 << bits) - (1 << width)
    return word
