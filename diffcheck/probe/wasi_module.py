"""The module that probes one host function: it calls the function with known arguments and returns all observable effects.

Each export calls in one way: ``run`` by a direct call, ``indirect`` by ``call_indirect`` (like the shims of a componentised
program), ``bare`` and ``bare_indirect`` without the calls that create handles, ``again`` twice, where the second call must fail.
Every export returns the same list of 64-bit words, see ``ProbeObservation``.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import stubs
from diffcheck.probe.programs import FUNC, MEMORY, export, module, name
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link
from diffcheck.wasm.leb import s, u

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION: Final = "0.2.0"
SENTINEL: Final = 0x5E4711E1
AREA, AREA2, FIRST, TEXT, HEAP, STORED = 0x400, 0x480, 0x500, 0x600, 0x2000, 0x8000
AREA_BYTES: Final = 64
HEAP_BYTES: Final = 768
UNTOUCHED: Final = b"\xa5" * AREA_BYTES
N_EXTRA: Final = 2
GUESS: Final = 3
"""The handle if none was created. If handles are numbered like file descriptors, it is the first opened folder."""
_FILL: Final = " ".join(f"i32.const {AREA} i64.const 0xa5a5a5a5a5a5a5a5 i64.store offset={at}" for at in range(0, AREA_BYTES, 8))
_AT_TEXT: Final = re.compile(r"@(\w+)")
_HEAD: Final = ("s1", "r1", "s2", "r2", "reallocs", *(f"x{each}" for each in range(N_EXTRA)))
_BYTES: Final = {"i32": b"\x7f", "i64": b"\x7e"}
_REALLOC: Final = """
  global.get 1 i32.const 1 i32.add global.set 1
  global.get 0 i32.const 7 i32.add i32.const -8 i32.and local.tee $at
  local.get $size i32.add global.set 0
  local.get $at
"""


class ProbedImport(msgspec.Struct, frozen=True):
    """An import: its module and name, and its lowered signature."""

    module: str
    name: str
    params: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.module} {self.name}"


class ProbeCall(msgspec.Struct, frozen=True):
    """A call of a function, with a text for each argument.

    ``setup`` creates the handles in the arguments. ``between`` and ``after`` run after the first and the last call and may set
    ``$x0``, ``$x1``. ``traps_again`` is whether a second call must trap.
    """

    function: ProbedImport
    args: tuple[str, ...]
    setup: str = ""
    between: str = ""
    after: str = ""
    calls: int = 1
    traps_again: bool = False


class ProbeObservation(msgspec.Struct, frozen=True):
    """The output of an export.

    Results and the stack values below them, of the first and the second call; the number of allocations; the return areas after
    each call; the allocated memory.
    """

    sentinels: tuple[int, int]
    results: tuple[int, int]
    reallocs: int
    extra: tuple[int, ...]
    first: bytes
    area: bytes
    heap: bytes

    def string(self, at: int, area: bytes | None = None) -> bytes | None:
        """Return the list of bytes whose address and length are at offset ``at`` of the return area; None if out of range."""
        address, length = struct.unpack_from("<II", self.area if area is None else area, at)
        return self.memory(address, length)

    def memory(self, address: int, length: int) -> bytes | None:
        """Return allocated bytes; None if out of range."""
        start = address - HEAP
        return self.heap[start : start + length] if start >= 0 and start + length <= HEAP_BYTES else None

    def u64(self, at: int) -> int:
        """Return a number in the return area."""
        return int(struct.unpack_from("<Q", self.area, at)[0])

    def u32(self, at: int) -> int:
        """Return a number in the return area."""
        return int(struct.unpack_from("<I", self.area, at)[0])


N_WORDS: Final = len(_HEAD) + (2 * AREA_BYTES + HEAP_BYTES) // 8


def decode_words(words: Sequence[int]) -> ProbeObservation:
    """Decode the words that an export returned."""
    mask = (1 << 64) - 1
    head = [each & mask for each in words[: len(_HEAD)]]
    data = b"".join(struct.pack("<Q", each & mask) for each in words[len(_HEAD) :])
    first, area = data[:AREA_BYTES], data[AREA_BYTES : 2 * AREA_BYTES]
    return ProbeObservation((head[0], head[2]), (head[1], head[3]), head[4], tuple(head[5:]), first, area, data[2 * AREA_BYTES :])


def known(interface: str, function: str, version: str = VERSION) -> ProbedImport:
    """Return a function of wasi 0.2 (``wasi:io/streams``, without a version) or preview 1, with its stub's signature."""
    preview1 = not interface.startswith("wasi:")
    spec = stubs.TABLES[interface if preview1 else f"{interface}@0.2"][function]
    return ProbedImport(interface if preview1 else f"{interface}@{version}", function, spec.params, spec.results)


class ImportCollector:
    """Builds a probe's module, and collects its imports: ``<interface function>`` in a text is a call through the table."""

    def __init__(self, probe: ProbeCall, texts: Mapping[str, int]) -> None:
        self.probe, self._texts = probe, texts
        self.imports: list[ProbedImport] = [probe.function]
        self._version = version_of(probe.function)

    def build(self, data: bytes, *, stored: bool = False, idle: bool = False) -> bytes:
        """Build the module.

        With ``stored`` it only exports ``run``, which stores its words in memory and returns their address and number. With
        ``idle`` it only exports a function of that name, which calls nothing.
        """
        probe = self.probe
        ways: list[tuple[str, str]] = [("run", self._body("direct"))]
        if idle:
            ways = [("idle", f"i64.const {SENTINEL} local.set $s1")]
        elif not stored:
            ways.append(("indirect", self._body("indirect")))
            if probe.setup:
                ways += (("bare", self._body("direct", setup=False)), ("bare_indirect", self._body("indirect", setup=False)))
            if probe.traps_again:
                ways.append(("again", self._body("indirect", calls=2)))
        n = len(self.imports)
        output = self._stored() if stored else self._words()
        locals_ = {**dict.fromkeys(("h", "g", "k", "port"), "i32"), **dict.fromkeys(("t", *_HEAD), "i64")}
        symbols: dict[str, int | bytes] = {f"{space}{at}": at for space in "ft" for at in range(n)}
        codes = [link(assemble(f"{text} {output}", locals=locals_), symbols) for _, text in ways]
        realloc = link(assemble(_REALLOC, params=("old", "had", "align", "size"), locals={"at": "i32"}), {})
        results = [b"\x7f"] if stored else [b"\x7e"] * N_WORDS
        types = [_type(each.params, each.results) for each in self.imports]
        return module(
            {
                ids.TYPE: [*types, b"\x60\x00" + u(len(results)) + b"".join(results), _type(("i32",) * 4, ("i32",))],
                ids.IMPORT: [name(each.module) + name(each.name) + b"\x00" + u(at) for at, each in enumerate(self.imports)],
                ids.FUNCTION: [u(n)] * len(ways) + [u(n + 1)],
                ids.TABLE: [b"\x70\x00" + u(n)],
                ids.MEMORY: [b"\x00\x02"],
                ids.GLOBAL: [b"\x7f\x01\x41" + s(HEAP) + b"\x0b", b"\x7f\x01\x41\x00\x0b"],
                ids.EXPORT: [
                    *(export(text, FUNC, n + at) for at, (text, _) in enumerate(ways)),
                    export("cabi_realloc", FUNC, n + len(ways)),
                    export("memory", MEMORY, 0),
                ],
                ids.ELEMENT: [b"\x00\x41\x00\x0b" + u(n) + b"".join(u(at) for at in range(n))],
                ids.CODE: [*codes, realloc],
                ids.DATA: [b"\x00\x41" + s(TEXT) + b"\x0b" + u(len(data)) + data],
            }
        )

    def _body(self, way: str, *, setup: bool = True, calls: int = 0) -> str:
        """Return the text of the calls. Without ``setup`` handles are ``GUESS``."""
        probe = self.probe
        parts = [self._expand(probe.setup) if setup else f"i32.const {GUESS} local.set $h i32.const {GUESS} local.set $g"]
        call = "call $f0" if way == "direct" else "i32.const 0 call_indirect 0 (type $t0)"
        for at in range(1, (calls or probe.calls) + 1):
            if at == 2:  # noqa: PLR2004 - the second of two
                parts.append(f"i32.const {FIRST} i32.const {AREA} i32.const {AREA_BYTES} memory.copy {self._expand(probe.between)}")
            # The value below the arguments must be unchanged afterwards, which checks the number of results.
            parts.append(f"{_FILL} i64.const {SENTINEL} {self._expand(' '.join(probe.args))} {call}")
            if probe.function.results:
                widen = "i64.extend_i32_u" if probe.function.results == ("i32",) else ""
                parts.append(f"{widen} local.set $r{at}")
            parts.append(f"local.set $s{at}")
        return " ".join([*parts, self._expand(probe.after)])

    def _expand(self, text: str) -> str:
        while "<" in text:
            before, _, rest = text.partition("<")
            inner, _, after = rest.partition(">")
            interface, function = inner.split(" ")
            slot = self._slot(interface, function)
            text = f"{before}i32.const {slot} call_indirect 0 (type $t{slot}){after}"
        text = _AT_TEXT.sub(lambda match: f"i32.const {self._texts[match[1]]}", text)
        return text.replace("AREA2", f"i32.const {AREA2}").replace("AREA", f"i32.const {AREA}")

    def _slot(self, interface: str, function: str) -> int:
        import_ = known(interface, function, self._version)
        if import_ not in self.imports:
            self.imports.append(import_)
        return self.imports.index(import_)

    def _words(self) -> str:
        regions = ((FIRST, AREA_BYTES), (AREA, AREA_BYTES), (HEAP, HEAP_BYTES))
        loads = (f"i32.const {at} i64.load offset={offset}" for at, size in regions for offset in range(0, size, 8))
        return " ".join([_COUNT, *(f"local.get ${each}" for each in _HEAD), *loads])

    def _stored(self) -> str:
        head = " ".join(f"i32.const {STORED} local.get ${each} i64.store offset={8 + 8 * at}" for at, each in enumerate(_HEAD))
        at, copies = STORED + 8 + 8 * len(_HEAD), []
        for start, size in ((FIRST, AREA_BYTES), (AREA, AREA_BYTES), (HEAP, HEAP_BYTES)):
            copies.append(f"i32.const {at} i32.const {start} i32.const {size} memory.copy")
            at += size
        header = f"i32.const {STORED} i32.const {STORED + 8} i32.store i32.const {STORED} i32.const {N_WORDS} i32.store offset=4"
        return f"{_COUNT} {head} {' '.join(copies)} {header} i32.const {STORED}"


_COUNT: Final = "global.get 1 i64.extend_i32_u local.set $reallocs"


def version_of(function: ProbedImport) -> str:
    """Return the version in a module's name, or ``VERSION``."""
    return function.module.partition("@")[2] or VERSION


def _type(params: Sequence[str], results: Sequence[str]) -> bytes:
    coded = [u(len(each)) + b"".join(_BYTES[kind] for kind in each) for each in (params, results)]
    return b"\x60" + b"".join(coded)
