"""A program with the same meaning: in each function every instruction that has a replacement is replaced.

Replacements are in the function or in functions of their own, in turns. Further locals make the indices of the program's own
longer, every other function has all integers in their longest encoding, and each begins with code that is never executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING, Final

from diffcheck.errors import ArtifactError
from diffcheck.runner.equivalent import bulk, control, memory, numeric, references
from diffcheck.runner.equivalent.additions import Additions
from diffcheck.runner.equivalent.replacement import OpenBlock, Replacement, ReplacementSite
from diffcheck.runner.sweep.padding import padded_instruction
from diffcheck.wasm import module as wasm
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.encode import encode, encode_locals, plain
from diffcheck.wasm.fragment import link_body, link_expression
from diffcheck.wasm.opcodes import BLOCKS, BY_NAME, TAIL_CALLS
from diffcheck.wasm.types import FuncType
from diffcheck.wasm.typing import type_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.runner.equivalent.replacement import Replace
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType
    from diffcheck.wasm.typing import Body, TypedInstruction

_GC, _VECTOR = 0xFB, 0xFD
_TYPED: Final = frozenset({"call_ref", "return_call_ref", "ref.as_non_null", "br_on_null", "br_on_non_null"})
_MORE_LOCALS: Final = 128
_MOST_OPERANDS: Final = 16
_BULK: Final = frozenset(
    {
        *("memory.copy", "memory.fill", "memory.init", "table.copy", "table.fill", "table.init"),
        *("array.copy", "array.fill", "array.init_data", "array.init_elem"),
    }
)
_NEVER: Final = b"\x41\x00\x04\x40\x00\x0b"
"""``i32.const 0 if unreachable end``"""
_LOCAL: Final = re.compile(r"\$([a-z])\b")
_REPLACEMENTS: Final[dict[str, Replace]] = {
    **{name: lambda site: Replacement(numeric.SCALARS[site.name]) for name in numeric.SCALARS},
    **dict.fromkeys(_BULK, bulk.replacement),
    **control.REPLACEMENTS,
    **references.TABLES,
    **references.REPLACEMENTS,
}


def equivalent_program(data: bytes, functions: range) -> bytes:
    """The module with the functions (by funcidx) rewritten; what was never seen before stays as it is."""
    module = wasm.read(data)
    first = module.n_imported("func")
    bodies = {at + first: body for at, (_, body) in enumerate(module.body_bytes())}
    additions = _additions(module, [bodies[each] for each in functions])
    turns = count()
    changed = {}
    for each in functions:
        try:
            typed = type_body(module, each, bodies[each], 0)
        except ArtifactError:  # an unknown instruction
            continue
        rewriter = _BodyRewriter(module, additions, typed, bodies[each], turns)
        changed[each - first] = rewriter.run(padded=bool(each % 2))
    return additions.write(changed)


def _additions(module: Module, bodies: Iterable[bytes]) -> Additions:
    names, tail = set(), set()
    for each, body in zip(module.functions, bodies, strict=False):
        own = {one.name for one in instructions(body, start=read_locals(body).end)}
        names |= own
        tail |= {each} if own & TAIL_CALLS else set()
    prefixes = {BY_NAME[each].prefix for each in names}
    typed = module.has_typed_references or _GC in prefixes or bool(names & _TYPED)
    return Additions(module, typed=typed, vectors=_VECTOR in prefixes, tail=frozenset(tail))


class _BodyRewriter:
    """Rewrites one function."""

    def __init__(self, module: Module, additions: Additions, body: Body, raw: bytes, turns: Iterator[int]) -> None:
        self._module, self._additions, self._body, self._raw, self._turns = module, additions, body, raw, turns
        self._blocks = [OpenBlock(body.function.results)]
        params = len(body.function.params)
        self._numbers = {at: at + _MORE_LOCALS * (at >= params) for at in range(len(body.locals))}
        self._temporaries: list[ValType] = []

    def run(self, *, padded: bool) -> bytes:
        """The new body."""
        parts = [_NEVER]
        for each in self._body.code:
            parts.append(self._rewritten(each) or self._renumbered(each, padded=padded))
            self._follow(each)
        groups = [(_MORE_LOCALS, "i32"), *read_locals(self._raw).groups, *((1, each) for each in self._temporaries)]
        return encode_locals(groups) + b"".join(parts)

    def _renumbered(self, each: TypedInstruction, *, padded: bool) -> bytes:
        one = each.instruction
        raw = self._raw[one.offset : one.end]
        if one.name.startswith("local."):
            raw = encode(one, {"local": self._numbers})
        return padded_instruction(raw) if padded else raw

    def _follow(self, each: TypedInstruction) -> None:
        """Open and close blocks."""
        one = each.instruction
        if one.name in BLOCKS:
            params, results = self._block_type(one.immediates[0])
            clauses = one.immediates[1] if one.name == "try_table" else ()
            self._blocks.append(OpenBlock(params if one.name == "loop" else results, clauses))
        elif one.name == "end":
            self._blocks.pop()

    def _block_type(self, blocktype: ValType | int | None) -> tuple[tuple[ValType, ...], tuple[ValType, ...]]:
        if isinstance(blocktype, int):
            function = self._module.types[blocktype].composite
            assert isinstance(function, FuncType), "valid"  # noqa: S101
            return function.params, function.results
        return (), () if blocktype is None else (blocktype,)

    def _rewritten(self, each: TypedInstruction) -> bytes:
        """The code in place of an instruction; empty if it has no replacement."""
        site = self._site(each)
        if site is None:
            return b""
        own = self._raw[each.instruction.offset : each.instruction.end]
        key = own, site.operands
        helper = self._additions.helper(key)
        inline = next(self._turns) % 2
        if helper is not None and not inline:
            return plain("call", helper)
        made = _replacement(site)
        if made is None:
            return b""
        if made.code:
            return made.code
        if made.inline or inline:
            return self._inline(site, made, own)
        types = {name: str(type_) for name, type_ in made.locals.items()}
        body = link_body(assemble(_expanded(made.text), params=site.names, locals=types), {"own": own})
        return plain("call", self._additions.add(key, site.operands, site.results, body))

    def _site(self, each: TypedInstruction) -> ReplacementSite | None:
        """The instruction with its context; None if it is not executed or has too many operands."""
        one = each.instruction
        operands = tuple(type_ for type_ in each.operands if type_ is not None)
        results = tuple(type_ for type_ in each.results if type_ is not None)
        known = (len(operands), len(results)) == (len(each.operands), len(each.results))
        if not each.reachable or not known or len(operands) > _MOST_OPERANDS:
            return None
        immediates = (self._numbers[one.immediates[0]],) if one.name == "local.tee" else one.immediates
        return ReplacementSite(self._module, self._additions, one.name, immediates, operands, results, tuple(self._blocks))

    def _inline(self, site: ReplacementSite, made: Replacement, own: bytes) -> bytes:
        """The replacement in this function, in whose locals the operands are."""
        types = {**dict(zip(site.names, site.operands, strict=True)), **made.locals}
        places: dict[str, int] = {}
        for name, type_ in types.items():
            places[name] = self._temporary(type_, set(places.values()))
        sets = " ".join(f"local.set ${each}" for each in reversed(site.names))
        text = _LOCAL.sub(lambda match: str(places[match[1]]), f"{sets} {_expanded(made.text)}")
        return link_expression(assemble(text), {"own": own})

    def _temporary(self, type_: ValType, taken: set[int]) -> int:
        """A local of a type that is free."""
        first = len(self._body.locals) + _MORE_LOCALS
        for at, each in enumerate(self._temporaries, first):
            if each == type_ and at not in taken:
                return at
        self._temporaries.append(type_)
        return first + len(self._temporaries) - 1


def _expanded(text: str) -> str:
    return text.replace("@", "local.get $")


def _replacement(site: ReplacementSite) -> Replacement | None:
    op = BY_NAME[site.name]
    if op.width or site.name in ("memory.size", "memory.grow"):
        return memory.replacement(site)
    if site.name in numeric.VECTORS and site.additions.vectors:
        return Replacement(numeric.VECTORS[site.name])
    if site.name in references.REPLACEMENTS and not site.additions.typed:
        return None
    made = _REPLACEMENTS.get(site.name)
    return made(site) if made is not None else None
