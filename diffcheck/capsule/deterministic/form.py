"""The deterministic form of a module: every result that the specification leaves open is checked, then replaced by one value.

Two conforming engines behave equally in this form, so any difference is a divergence. Existing code changes only around open
instructions, without labels. The form adds three counters, with names like witness's so that every transport carries them, and
helper functions that check rare results.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from diffcheck.capsule.deterministic import fused_multiply_add, open_results, relaxed_results
from diffcheck.capsule.deterministic.open_results import OPEN
from diffcheck.capsule.deterministic.relaxed_results import RELAXED
from diffcheck.wasm import module as wasm
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.code import Instruction, instructions, read_locals
from diffcheck.wasm.encode import encode_locals
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.fragment import link, link_expression
from diffcheck.wasm.leb import sized, u, vector
from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.types import FuncType, encode_functype
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.capsule.helper_functions import Helper
    from diffcheck.wasm.fragment import Fragment
    from diffcheck.wasm.module import Module

_COUNTER: Final = b"\x7e\x01\x42\x00\x0b"  # a mutable i64, zero
_COUNTERS: Final = ("nans", "relaxed", "violation")
_HELPERS: Final = {**open_results.HELPERS, **fused_multiply_add.HELPERS, **RELAXED}
_HINTS: Final = "metadata.code."  # sections with code offsets, which change


class OpenPlace(NamedTuple):
    """An open instruction of the artifact: its function, its file offsets, its name."""

    function: int
    offset: int
    end: int
    name: str


class Choices(NamedTuple):
    """The open results of a run: numbers of replaced NaNs and relaxed results, and the first instruction with a wrong result."""

    nans: int = 0
    relaxed: int = 0
    not_allowed: OpenPlace | None = None


class Origin(NamedTuple):
    """The origin of an instruction of the form: a file offset in the artifact, and its role.

    ``same`` is the artifact's instruction itself. For an open instruction, ``result`` is the instruction that pushes its checked
    result. ``check`` is all other code, including the open instruction itself, whose result may differ between engines.
    """

    offset: int
    part: Literal["same", "check", "result"]


class _Site(NamedTuple):
    """Positions of an open instruction's code in a body of the form: its begin, its result, its end.

    ``offset`` and ``artifact`` are file offsets in the artifact: of the instruction, and of its successor.
    """

    begin: int
    result: int
    end: int
    offset: int
    artifact: int


class DeterministicForm(msgspec.Struct, frozen=True, dict=True):
    """A module in deterministic form, and its open instructions in file order (``places``).

    ``counters`` are the ids of three additional counters: of replaced NaNs, of replaced relaxed results, and 1 plus the index in
    ``places`` of the first instruction with a wrong result (0: none). ``functions`` is the number of the artifact's functions;
    helper functions follow. ``reported`` are the places as reports name them, in the artifact that was sliced; empty without a
    slice.
    """

    wasm: bytes
    module: Module
    places: tuple[OpenPlace, ...]
    counters: tuple[int, int, int]
    functions: int
    sites: tuple[tuple[_Site, ...], ...]
    reported: tuple[OpenPlace, ...] = ()

    def origin(self, offset: int) -> Origin | None:
        """Return the origin of the instruction at a file offset of the form; None in helper functions."""
        function = bisect_right(self._begins, offset) - 1
        if not 0 <= function < len(self.sites):
            return None
        at = offset - self._begins[function]
        sites = self.sites[function]
        site = sites[bisect_right(sites, at, key=lambda each: each.begin) - 1]
        if at >= site.end:
            return Origin(site.artifact + at - site.end, "same")
        return Origin(site.offset, "result" if at == site.result else "check")

    @cached_property
    def _begins(self) -> list[int]:
        return [offset for offset, _ in self.module.bodies]

    def split(self, counters: dict[int, int]) -> tuple[dict[int, int], Choices]:
        """Split witness counters into the artifact's and the open results of the run."""
        nans, relaxed, place = (counters.get(each, 0) for each in self.counters)
        own = {each: value for each, value in counters.items() if each not in self.counters}
        places = self.reported or self.places
        return own, Choices(nans, relaxed, places[place - 1] if 0 < place <= len(places) else None)


def deterministic(module: Module) -> DeterministicForm | None:
    """Return the deterministic form of a valid module; None if it has no open instruction.

    ArtifactError if the code is malformed.
    """
    return _Rewriter(module).form()


class _Rewriter:
    """One pass over the code section."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.functions = len(module.all_functions)
        self.places: list[OpenPlace] = []
        self.helpers: dict[str, int] = {}
        self.symbols: dict[str, int | bytes] = {name: len(module.all_globals) + at for at, name in enumerate(_COUNTERS)}

    def form(self) -> DeterministicForm | None:
        bodies, sites = [], []
        for index, (offset, body) in enumerate(self.module.body_bytes()):
            new_body, body_sites = self._body(index, offset, body)
            bodies.append(new_body)
            sites.append(body_sites)
        if not self.places:
            return None
        counters = self._free_counters()
        helpers = [_HELPERS[name] for name in self.helpers]
        added = {
            ids.TYPE: [encode_functype(_type(each)) for each in helpers],
            ids.FUNCTION: [u(len(self.module.types) + at) for at in range(len(helpers))],
            ids.GLOBAL: [_COUNTER] * len(counters),
            ids.EXPORT: [self._export(each, name) for each, name in zip(counters, _COUNTERS, strict=True)],
            ids.CODE: [self._function(each) for each in helpers],
        }
        code = ids.section(ids.CODE, vector([sized(each) for each in bodies]))
        unhinted = (each for each in self.module.sections if not each.name.startswith(_HINTS))
        sections = ids.append([code if each.id == ids.CODE else each for each in unhinted], added)
        data = ids.write(sections)
        return DeterministicForm(data, wasm.read(data), tuple(self.places), counters, self.functions, tuple(sites))

    def _body(self, index: int, offset: int, body: bytes) -> tuple[bytes, tuple[_Site, ...]]:
        """Return a body's new bytes and its sites. The first site is the declaration of locals."""
        declared = read_locals(body, offset)
        open_ = [each for each in instructions(body, offset, start=declared.end) if each.name in OPEN or each.name in RELAXED]
        if not open_:
            return body, (_Site(0, -1, declared.end, offset, offset + declared.end),)
        function = self.module.n_imported("func") + index
        scratch = _Scratch(len(self.module.function_type(function).params) + sum(count for count, _ in declared.groups))
        parts, begins, done = [], [], declared.end
        for each in open_:
            code = self._checked(function, each, scratch)
            parts += [body[done : each.offset - offset], code]
            begins.append((len(parts) - 1, each))
            done = each.end - offset
        head = encode_locals([*declared.groups, *((1, type_) for _, type_ in scratch.locals)])
        parts.append(body[done:])
        return b"".join([head, *parts]), tuple(_sites(len(head), parts, begins, offset + declared.end))

    def _checked(self, function: int, instruction: Instruction, scratch: _Scratch) -> bytes:
        """Return the code that replaces an open instruction."""
        name = instruction.name
        op = BY_NAME[name]
        self.places.append(OpenPlace(function, instruction.offset, instruction.end, name))
        operands = tuple(scratch.local(at, type_) for at, type_ in enumerate(op.params or ()))
        checked = relaxed_results.checked if name in RELAXED else open_results.checked
        fragment = assemble(checked(name, operands, scratch.local(_RESULT, (op.results or ("",))[0])))
        self._need(fragment.symbols)
        return link_expression(fragment, {**self.symbols, "place": len(self.places)})

    def _need(self, symbols: frozenset[str]) -> None:
        """Add the helper functions among ``symbols``, and those that they call."""
        for name in sorted(symbols & _HELPERS.keys()):
            if name not in self.helpers:
                self.helpers[name] = self.functions + len(self.helpers)
                self.symbols[name] = self.helpers[name]
                self._need(_fragment(_HELPERS[name]).symbols)

    def _function(self, helper: Helper) -> bytes:
        return link(_fragment(helper), self.symbols)

    def _free_counters(self) -> tuple[int, int, int]:
        """Return counter ids that no export of the artifact uses."""
        taken = {each.name for each in self.module.exports}
        free = (each for each in range((1 << 32) - 1, 0, -1) if f"{formats.COUNTER}{each}" not in taken)
        return next(free), next(free), next(free)

    def _export(self, counter: int, symbol: str) -> bytes:
        globalidx = self.symbols[symbol]
        assert isinstance(globalidx, int), "an index"  # noqa: S101
        return encode_export(f"{formats.COUNTER}{counter}", "global", globalidx)


_RESULT: Final = 3
"""The role of a result's local. The role of an operand's local is its position."""


class _Scratch:
    """Locals added to a function and shared by its open instructions: one for each role and type."""

    def __init__(self, first: int) -> None:
        self._first = first
        self.locals: list[tuple[int, str]] = []

    def local(self, role: int, type_: str) -> int:
        if (role, type_) not in self.locals:
            self.locals.append((role, type_))
        return self._first + self.locals.index((role, type_))


def _sites(head: int, parts: list[bytes], begins: list[tuple[int, Instruction]], artifact: int) -> Iterator[_Site]:
    yield _Site(0, -1, head, artifact, artifact)
    at, next_ = head, 0
    for index, each in begins:
        at += sum(map(len, parts[next_:index]))
        end = at + len(parts[index])
        last = max(instruction.offset for instruction in instructions(parts[index]))
        yield _Site(at, at + last, end, each.offset, each.end)
        at, next_ = end, index + 1


def _type(helper: Helper) -> FuncType:
    return FuncType(tuple(type_ for _, type_ in helper.params), (helper.result,) if helper.result else ())


def _fragment(helper: Helper) -> Fragment:
    return assemble(helper.text, params=tuple(name for name, _ in helper.params), locals=helper.locals)
