"""The variants of a capsule (``Form``), a built capsule with the builders of its other forms, and the protocol of extensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.batch.batch_form import Batch
from diffcheck.capsule.recorder.references import ReferenceForm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from diffcheck.capsule.constants import Types


class Form(msgspec.Struct, frozen=True):
    """The variant of a capsule, chosen once for a case. Only ``prints`` may differ between the engines.

    ``unwinds``: exits unwind by an exception, and exceptions are caught; otherwise an exit traps. ``references``: the recorded
    properties of references. ``log_row`` selects the logging form, which logs the calls of imports in that record's row
    (``calls``). ``prints`` is for an engine that runs WASI commands: the capsule imports ``fd_write`` and prints its recorder
    memory. Without ``records`` the capsule has the unrecorded form, which only calls the rows. ``batch`` selects the batch form.
    """

    unwinds: bool = True
    references: ReferenceForm = "described"
    log_row: int | None = None
    prints: bool = False
    records: bool = True
    batch: Batch | None = None


class Capsule(msgspec.Struct, frozen=True):
    """A capsule: ``wasm`` without parameters, their file offset, the stream's layout, and the form.

    ``logging`` builds the logging form for a record, ``unrecorded`` the unrecorded form. ``identified`` builds the identity form
    (``references``); None if functions cannot be confused with each other. ``batch`` builds the batch form, and ``unrestorable``
    are the rows that can only be the last ones of a batch; None if there is no batch form.
    """

    wasm: bytes
    parameters_offset: int
    layout: lo.Layout
    sha256: str
    may_exit: bool
    logging: Callable[[int], Capsule]
    identified: Callable[[], Capsule | None]
    unrecorded: Callable[[], Capsule]
    batch: Callable[[Batch], Capsule]
    unrestorable: Callable[[], frozenset[int] | None]
    form: Form

    def with_parameters(self, parameters: lo.Parameters) -> bytes:
        """Return the capsule's bytes for one pass."""
        encoded = parameters.encode()
        return self.wasm[: self.parameters_offset] + encoded + self.wasm[self.parameters_offset + len(encoded) :]


class Extension(Protocol):
    """Additional functions of a capsule, and artifact bodies that call them. They write the view instead of ``finish``.

    Their indices begin at ``first_extension``. The first function is called at the beginning of ``_start``.
    """

    @property
    def count(self) -> int:
        """The number of functions."""
        ...

    @property
    def tables(self) -> list[bytes]:
        """The types of additional tables, at most one: the symbol ``seen_objects``."""
        ...

    def bodies(self) -> list[bytes]:
        """Return code entries that replace all of the artifact's."""
        ...

    def functions(self, types: Types, symbols: Mapping[str, int], *, unwind: bool) -> list[tuple[int, bytes]]:
        """Return the typeidx and the code entry of each function. ``symbols`` are the recorder's."""
        ...

    def carry(self, slots: range, rec: int) -> bytes:
        """Return instructions that copy header and view to the slot globals, in place of ``recorder.carry_words``.

        ``slots`` are their globalidx, ``rec`` is the memidx of the recorder memory.
        """
        ...
