"""The recorder's functions, which write the observation stream (``layout``) inside the capsule.

They are few and small, since each function has a cost in an engine: ``digest``, ``reserve``, ``record``, ``finish``. ``texts`` has
their text. Code that depends on the artifact (a store for each counter, global and branch) is encoded here and inserted in it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule import memory_map as mm
from diffcheck.capsule.recorder import digest as d
from diffcheck.capsule.recorder import texts
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link, memarg
from diffcheck.wasm.leb import u

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from diffcheck.capsule.recorder.references import References
    from diffcheck.wasm.types import RefType, TableType, ValType

_PATTERN_LANES: Final = d.digest(mm.PATTERN_BYTES)
KNOWN_ANSWER: Final = _PATTERN_LANES[0] ^ ((_PATTERN_LANES[1] << 32 | _PATTERN_LANES[1] >> 32) & d.MASK)
"""The digest of ``PATTERN_BYTES``, which every pass computes: lane a xor lane b rotated by 32."""


class Indices(msgspec.Struct, frozen=True):
    """The indices that the recorder uses: its functions and memory, and the globals and tables that it records."""

    rec: int
    digest: int
    reserve: int
    record: int
    finish: int
    trace: int | None
    counters: tuple[tuple[int, str], ...]
    brvals: tuple[int, ...]
    brcnts: tuple[int, ...]
    globals: tuple[tuple[int, ValType], ...]
    tables: tuple[TableType, ...]


def symbols(layout: lo.Layout, places: mm.MemoryMap, indices: Indices) -> dict[str, int]:
    """Return all symbols in the recorder's and the driver's texts."""
    trace, out, err = layout.trace_offset, layout.stdout_offset, layout.stdout_offset + 24
    return {
        **places.symbols,
        "rec": indices.rec,
        "trace": indices.trace if indices.trace is not None else 0,
        "digest": indices.digest,
        "reserve": indices.reserve,
        "record": indices.record,
        "finish": indices.finish,
        "RECORD_SIZE": layout.record_size,
        "N_INIT": layout.n_init,
        "DIGEST_PAGES": layout.digest_pages,
        "TRACE": trace,
        "TRACE_OVERFLOW": trace + 4,
        "TRACE_AT": trace + 8,
        "TRACE_DIGEST": trace + 16,
        "OUT": out,
        "OUT_CAPTURED": out + 8,
        "OUT_AT": out + 12,
        "OUT_DIGEST": out + 16,
        "ERR": err,
        "ERR_CAPTURED": err + 8,
        "ERR_AT": err + 12,
        "ERR_DIGEST": err + 16,
        "OBJECTS_AT": layout.objects_offset,
        "FINAL_OBJECTS_AT": layout.final_objects_offset,
        "CALLS": layout.calls_offset,
        "CALLS_DIGEST": layout.calls_digest_offset,
        "CALLS_BYTES": 4 * len(layout.stubs),
        **{f"m{memory.index}": memory.index for memory in layout.memories},
    }


def functions(
    layout: lo.Layout,
    indices: Indices,
    names: Mapping[str, int | bytes],
    carry: str,
    references: References,
    *,
    mark: str = "",
    view: bool = True,
) -> list[bytes]:
    """Return the code entries of ``digest``, ``reserve``, ``record`` and ``finish``, in this order.

    ``carry`` is the text at the end of ``finish`` that transports the view, ``mark`` the one at its beginning. Without ``view`` an
    extension writes the view.
    """
    final_state = _final_state(layout, indices, references.word)
    elements, elements_names = references.elements(layout)
    raws = {"row_state": _row_state(layout, indices), "final_state": final_state, **elements_names}
    finish = mark + texts.finish_text(layout, elements, carry, view=view)
    return _linked(texts.record_text(layout), finish, {**names, **raws})


def carry_keys(ranges: int, carry: str) -> str:
    """Return the text at the end of ``finish`` in the batch form: it adds the range's key to the view."""
    lengths = (lo.HEADER_ADDRESS + at for at in (32, 40, 48))
    stores = " ".join(
        f"local.get $out i32.const {at} i64.load $rec i64.store $rec offset={lo.VIEW_ADDRESS + 8 * word}"
        for word, at in enumerate(lengths)
    )
    return f"""
      i32.const {lo.RANGE_ADDRESS} i32.load $rec local.tee $n i32.const {lo.KEY.size} i32.mul local.set $out
      {stores}
      local.get $n i32.const {ranges - 1} i32.eq
      if {carry} end
    """


def unrecorded(names: Mapping[str, int | bytes], carry: str) -> list[bytes]:
    """Return the same functions for the unrecorded form, in which ``finish`` only executes ``carry``."""
    return _linked(f"local.get $outcome i32.const {lo.RETURNED} i32.gt_u", carry, names)


def _linked(record: str, finish: str, names: Mapping[str, int | bytes]) -> list[bytes]:
    ints = (("end", "i32"), ("bulk", "i32"), ("a", "i64"), ("b", "i64"), ("w", "i64"))
    return [
        link(assemble(texts.DIGEST, params=("p", "n", "out"), locals=ints), names),
        link(assemble(texts.RESERVE, params=("n",), locals=(("at", "i32"), ("end", "i32"))), names),
        link(assemble(record, params=("slot", "outcome"), locals=(("r", "i32"), ("n", "i32"), ("at", "i32"))), names),
        link(assemble(finish, locals=texts.FINISH_LOCALS), names),
    ]


_STORES: Final[dict[str, tuple[bytes, int]]] = {
    "i32": (b"\x36", 2),
    "i64": (b"\x37", 3),
    "f32": (b"\x38", 2),
    "f64": (b"\x39", 3),
    "v128": (b"\xfd\x0b", 4),
}


def store(kind: str, memory: int) -> Callable[[int], bytes]:
    """Return a function from an offset in bytes to the instruction that stores a ``kind`` into ``memory`` at the address on
    the stack plus that offset. The kind ``ref`` is a word of 8 bytes.
    """
    opcode, align = _STORES["i64" if kind == "ref" else kind]
    return lambda offset: opcode + memarg(align, memory, offset)


def _stores(base: bytes, reads: Iterable[bytes], encode: Callable[[int], bytes], offset: int, step: int) -> bytes:
    return b"".join(base + read + encode(offset + step * at) for at, read in enumerate(reads))


def kind_of(value: ValType) -> str:
    """Return the kind of a type in the stream: a number or vector type's name, or ``ref``."""
    return value if isinstance(value, str) else "ref"


def _global_get(index: int) -> bytes:
    return b"\x23" + u(index)


def _row_state(layout: lo.Layout, indices: Indices) -> bytes:
    base, encode = b"\x20\x02", store("i32", indices.rec)  # local.get $r
    return _stores(base, map(_global_get, indices.brvals), encode, layout.brvals_offset, 4) + _stores(
        base, map(_global_get, indices.brcnts), encode, layout.brcnts_offset, 4
    )


def _final_state(layout: lo.Layout, indices: Indices, word: Callable[[RefType], bytes]) -> bytes:
    base = b"\x20\x00"  # local.get $f
    i64 = store("i64", indices.rec)
    reads = (_global_get(index) + (b"\xad" if kind == "i32" else b"") for index, kind in indices.counters)
    code = [_stores(base, reads, i64, 0, 8)]
    offset = layout.globals_offset
    for index, value in indices.globals:
        kind = kind_of(value)
        described = b"" if isinstance(value, str) else word(value)
        code.append(base + _global_get(index) + described + store(kind, indices.rec)(offset))
        offset += 16 if kind == "v128" else 8
    sizes = (b"\xfc\x10" + u(index) + (b"" if type_.limits.is64 else b"\xad") for index, type_ in enumerate(indices.tables))
    code.append(_stores(base, sizes, i64, layout.tables_offset, 8))
    return b"".join(code)


@lru_cache(maxsize=1024)  # small artifacts share few numbers of globals
def carry_words(slots: range, rec: int) -> bytes:
    """Return instructions that copy the header and the view to the slot globals."""
    return b"".join(load + u(index) for load, index in zip(_slot_loads(rec), slots, strict=True))


@lru_cache(maxsize=128)  # by the recorder memory's index, at most 99
def _slot_loads(rec: int) -> tuple[bytes, ...]:
    load, global_set = b"\x41\x00\x29", b"\x24"  # i32.const 0, i64.load; global.set
    return tuple(load + memarg(3, rec, lo.HEADER_ADDRESS + 8 * at) + global_set for at in range(lo.SLOTS))
