"""An instruction to replace, and the code that can replace it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.runner.equivalent.additions import Additions
    from diffcheck.wasm.code import CatchClause
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType


class OpenBlock(msgspec.Struct, frozen=True):
    """An open block: the types of a branch to its label, and its clauses if it is a ``try_table``."""

    label: tuple[ValType, ...]
    clauses: tuple[CatchClause, ...] = ()


class ReplacementSite(msgspec.Struct, frozen=True):
    """A reachable instruction with the types of its operands and results, and the open blocks, the innermost last."""

    module: Module
    additions: Additions
    name: str
    immediates: tuple[Any, ...]
    operands: tuple[ValType, ...]
    results: tuple[ValType, ...]
    blocks: tuple[OpenBlock, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the locals that hold the operands."""
        return tuple(map(chr, range(ord("a"), ord("a") + len(self.operands))))

    def label(self, depth: int) -> tuple[ValType, ...]:
        """The types of a branch to a label."""
        return self.blocks[-1 - depth].label

    def block(self, params: tuple[ValType, ...], results: tuple[ValType, ...]) -> str:
        """The text of a block type."""
        if not params and len(results) <= 1:
            return "".join(f"(result {each})" for each in results)
        return f"(type {self.additions.type(params, results)})"


class Replacement(msgspec.Struct, frozen=True):
    """Code in place of an instruction: ``code`` as it is, or else ``text`` for ``wasm.asm``.

    In a text the operands are in the locals ``$a``, ``$b`` and so on, ``@a`` reads one, and ``locals`` are more of them, each with
    a name of one letter. ``raw $own`` is the instruction itself. With ``inline`` the text is in the function, since it
    branches or returns; others may also be a function of their own.
    """

    text: str = ""
    locals: dict[str, ValType] = {}
    inline: bool = False
    code: bytes = b""


if TYPE_CHECKING:
    Replace = Callable[[ReplacementSite], Replacement | None]
    """Returns the code that replaces an instruction; None if there is none."""
