"""Generated programs: places where a fault can be planted, and a twin of each program that reports all it does without diffcheck.

The text of a program is stack code, without imports. An *artifact* is imports and text. Its *twin* has the same text, functions of
its own for the imports, which log their arguments, and functions that call the rows and read the state; all that they see goes as
numbers into a log, floats as bits. A *site* is one instruction; with a fault in it, the site has a wrong sequence in its place.
"""

from __future__ import annotations

import re
from random import Random

import msgspec

NUMBERS = ("i32", "i64", "f32", "f64", "v128")
SCRATCH = " ".join(f"(local ${name}_{type_} {type_})" for type_ in NUMBERS for name in "xyz")
"""Locals that a function of a program declares for the wrong sequences in it."""
BEGIN, END = 0x5EED_0FA1_7B39_0001, 0x5EED_0FA1_7B39_0002
CALLS = 1 << 20
"""Labels from here on are calls of imports: the row, then the import."""

BITS = {
    "i32": "i64.extend_i32_u",
    "i64": "",
    "f32": "i32.reinterpret_f32 i64.extend_i32_u",
    "f64": "i64.reinterpret_f64",
}
ZERO = {"i32": "i32.const 0", "i64": "i64.const 0", "f32": "f32.const 0", "f64": "f64.const 0"}

_SITE = re.compile(r"\{\{(\d+)\}\}")
_MARK = f"i64.const {BEGIN:#x} drop"
_LOG = f"""
  (memory $log 64)
  (global $log_end (mut i32) (i32.const 0))
  (global $row (mut i32) (i32.const 0))
  (global $ended (mut i32) (i32.const 0))
  (func $put (param $label i32) (param $bits i64)
    global.get $log_end local.get $label i32.store $log
    global.get $log_end local.get $bits i64.store $log offset=8
    global.get $log_end i32.const 16 i32.add global.set $log_end)
  (func $called (param $import i32)
    global.get $row i32.const 8 i32.shl local.get $import i32.or i32.const {CALLS} i32.add i64.const 0 call $put)
  (func $argument (param $import i32) (param $bits i64)
    global.get $row i32.const 8 i32.shl local.get $import i32.or i32.const {CALLS} i32.add local.get $bits call $put)
  (export "log" (memory $log)) (export "log_end" (global $log_end)) (export "row" (global $row)) (export "ended" (global $ended))
"""


class Site(msgspec.Struct, frozen=True):
    """A place for faults: their class, the instruction, and the wrong sequences that can stand there."""

    kind: str
    instruction: str
    wrong: tuple[str, ...]


class Import(msgspec.Struct, frozen=True):
    """An imported function of ``module``, called ``$name``; each pair in ``buffers`` is (pointer, length): bytes that are passed."""

    module: str
    name: str
    params: tuple[str, ...]
    results: tuple[str, ...] = ()
    buffers: tuple[tuple[int, int], ...] = ()

    def declared(self) -> str:
        return f'(import "{self.module}" "{self.name}" (func ${self.name} {_signature(self.params, self.results)}))'

    def logging(self, at: int) -> str:
        """The twin's function in its place."""
        parts = [f"i32.const {at} call $called"]
        for index, type_ in enumerate(self.params):
            if not any(index in pair for pair in self.buffers):
                halves = [f"local.get {index} {BITS[type_]}"] if type_ in BITS else vector_bits(f"local.get {index}")
                parts += [f"i32.const {at} {half} call $argument" for half in halves]
        parts += [_bytes(at, *pair) for pair in self.buffers]
        parts += [ZERO[type_] for type_ in self.results]
        return f"(func ${self.name} {_signature(self.params, self.results)} {' '.join(parts)})"


class Place(msgspec.Struct, frozen=True):
    """Something that is compared: ``row`` is empty for the final state."""

    row: str
    item: str


class Program(msgspec.Struct, frozen=True):
    """``text`` has a placeholder for each site. ``rows`` are the twin's texts by the row's name; ``state`` is its text for the state.

    ``places`` are those that labels of the log stand for; ``memories`` the exported ones, whose bytes are state too.
    """

    text: str
    sites: tuple[Site, ...]
    rows: dict[str, str]
    state: str
    places: tuple[Place, ...]
    imports: tuple[Import, ...] = ()
    memories: tuple[str, ...] = ()
    helpers: str = ""
    """Functions of the twin alone."""

    def of_kind(self, kind: str) -> list[int]:
        """The sites of a class that are in the text."""
        used = {int(match[1]) for match in _SITE.finditer(self.text)}
        return [at for at in sorted(used) if self.sites[at].kind == kind]

    def artifact(self, marked: int | None = None, fault: int | None = None) -> str:
        """The artifact's text; ``marked`` is a site with a mark before it, and behind it where ``fault`` stands there instead."""
        imports = "\n".join(each.declared() for each in self.imports)
        return f"(module\n{imports}\n{self._filled(marked, fault, marks=True)}\n)"

    def twin(self, marked: int | None = None, fault: int | None = None) -> str:
        """The twin's text, with a fault where one is given."""
        imports = "\n".join(each.logging(at) for at, each in enumerate(self.imports))
        rows = "\n".join(f'(func (export "row {at}") {text})' for at, text in enumerate(self.rows.values()))
        state = f'(func (export "state") {self.state})'
        return f"(module\n{imports}\n{self._filled(marked, fault, marks=False)}\n{_LOG}\n{self.helpers}\n{rows}\n{state}\n)"

    def _filled(self, marked: int | None, fault: int | None, *, marks: bool) -> str:
        def put(match: re.Match[str]) -> str:
            at = int(match[1])
            site = self.sites[at]
            own = site.instruction if fault is None or at != marked else _SITE.sub(put, site.wrong[fault])
            if at != marked or not marks:
                return own
            return f"{_MARK} {own}" + (f" i64.const {END:#x} drop" if fault is not None else "")

        return _SITE.sub(put, self.text)


class Draft:
    """A program in the making."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.sites: list[Site] = []
        self.places: list[Place] = []

    def site(self, kind: str, instruction: str, *wrong: str) -> str:
        """The placeholder of a site."""
        self.sites.append(Site(kind, instruction, wrong))
        return f"{{{{{len(self.sites) - 1}}}}}"

    def label(self, row: str, item: str) -> int:
        """A number for a place in the log."""
        self.places.append(Place(row, item))
        return len(self.places) - 1

    def log(self, row: str, item: str, type_: str, local: str) -> str:
        """The twin's code that logs a local's bits."""
        label = self.label(row, item)
        read = f"local.get {local}"
        halves = [f"{read} {BITS[type_]}"] if type_ in BITS else vector_bits(read)
        return " ".join(f"i32.const {label} {half} call $put" for half in halves)

    def row(self, name: str, call: str, results: tuple[str, ...]) -> str:
        """The twin's text for a row whose results are numbers: ``call`` leaves them on the stack."""
        locals_ = " ".join(f"(local $r{at} {type_})" for at, type_ in enumerate(results))
        taken = " ".join(f"local.set $r{at}" for at in reversed(range(len(results))))
        logs = " ".join(self.log(name, f"result {at}", type_, f"$r{at}") for at, type_ in enumerate(results))
        return f"{locals_} {call} {taken} {logs}"

    def globals(self, found: dict[str, str]) -> str:
        """The twin's text for the state of exported globals with numbers, by name and type."""
        texts = []
        for name, type_ in found.items():
            halves = [f"global.get ${name} {BITS[type_]}"] if type_ in BITS else vector_bits(f"global.get ${name}")
            label = self.label("", f"global {name}")
            texts += [f"i32.const {label} {half} call $put" for half in halves]
        return " ".join(texts)


def vector_bits(read: str) -> list[str]:
    return [f"{read} i64x2.extract_lane {lane}" for lane in (0, 1)]


def _signature(params: tuple[str, ...], results: tuple[str, ...]) -> str:
    return f"(param {' '.join(params)}) (result {' '.join(results)})"


def _bytes(at: int, pointer: int, length: int) -> str:
    """Logs a buffer's length and bytes."""
    return f"""
      i32.const {at} local.get {length} i64.extend_i32_u call $argument
      block loop
        local.get {length} i32.eqz br_if 1
        i32.const {at} local.get {pointer} i64.load8_u call $argument
        local.get {pointer} i32.const 1 i32.add local.set {pointer}
        local.get {length} i32.const 1 i32.sub local.set {length}
        br 0
      end end
    """
