"""Fields of structures and elements of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from diffcheck.hunt.generate.draft import Scope

PACKED: Final = ("i8", "i16")
NULLS: Final = {"anyref": "none", "i31ref": "none", "externref": "noextern", "funcref": "nofunc", "eqref": "none"}
"""Abstract reference types, with the type of their null."""


class Field(msgspec.Struct, frozen=True):
    """A field: its storage type, and the type of its values."""

    storage: str
    mutable: bool

    @property
    def type(self) -> str:
        """The type of its values."""
        return "i32" if self.storage in PACKED else self.storage

    @property
    def gets(self) -> tuple[str, ...]:
        """The suffixes of the instructions that read it."""
        return ("_s", "_u") if self.storage in PACKED else ("",)

    @property
    def word(self) -> str:
        """What is special about it, for the name of a production."""
        return self.storage if not self.storage.startswith("(") else "reference"

    def __str__(self) -> str:
        return f"(mut {self.storage})" if self.mutable else self.storage


def value_of(field: Field, scope: Scope) -> str:
    """A value for a field; of most abstract types null."""
    return (
        f"ref.null {NULLS[field.type]}" if field.type in NULLS and not scope.draft.offers(field.type) else scope.value(field.type)
    )
