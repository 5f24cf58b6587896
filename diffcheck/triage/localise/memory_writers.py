"""Which bytes of a memory to watch, and which instructions may have written them.

The first event that differs may be a load that gives what is there: then the bytes are wrong since a store that went elsewhere, or wrote
more than it should, and what that left where it should have written was there before. Watched bytes are added to every event's value
(``probes.Watch``), so a second search through the events before finds since when they differ.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.triage.tracing.log_writer import WatchedBytes
from diffcheck.wasm.opcodes import BY_NAME, CALLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.wasm.typing import Typed

_WORD: Final = 8
_PLACE: Final = re.compile(r"memory (\d+) at 0x([0-9a-f]+)")
_LOAD: Final = re.compile(r"i(32|64)\.load(8|16|32)?(?:_([su]))?")
_ADDRESS_BITS: Final = {"i32": 32, "i64": 64}


def read_by(load: Typed, operands: Sequence[int], half: int) -> WatchedBytes | None:
    """The bytes that a load or an atomic read-modify-write takes, of a vector those of one half; None for another instruction, or where the
    address is not known.
    """
    name = load.instruction.name
    address_type = load.operands[0] if load.operands else None
    if not (".load" in name or ".rmw" in name) or not operands or not isinstance(address_type, str):
        return None
    memarg, width = load.instruction.immediates[0], BY_NAME[name].width
    address = (operands[0] % (1 << _ADDRESS_BITS[address_type])) + memarg.offset
    return WatchedBytes(memarg.memidx, address + _WORD * half, min(_WORD, width))


def at_place(item: str) -> WatchedBytes | None:
    """The byte that a divergence's item names; None where it names another thing."""
    found = _PLACE.fullmatch(item)
    return WatchedBytes(int(found[1]), int(found[2], 16), 1) if found is not None else None


def may_write(name: str) -> bool:
    """Whether an instruction may change bytes of a memory."""
    return ".store" in name or ".rmw" in name or name.startswith("memory.") or name in CALLS


def loaded(name: str, word: int) -> int | None:
    """The bits that a load of integers, or of a vector as it stands, gives for the bytes of ``word``; None for another load."""
    found = _LOAD.fullmatch(name)
    if found is None:
        return word if name == "v128.load" else None
    bits, width = int(found[1]), int(found[2] or found[1])
    if found[3] == "s" and word >> (width - 1):
        word |= (1 << bits) - (1 << width)
    return word
