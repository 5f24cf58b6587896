"""The artifact with its imports closed and nothing driven: exports, start section and code as they are, for any engine to run.

The same stubs as in a capsule, over a memory of their own, which is exported as ``layout.MEMORY_EXPORT`` so that captured output
and an exit's code can be read. Without a driver there is nobody to unwind to: an exit leaves its code and traps.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.build import DROPPED, Builder, export
from diffcheck.capsule.seal import zero_body
from diffcheck.wasm import section as ids
from diffcheck.wasm.leb import u
from diffcheck.wasm.section import Section, section, write
from diffcheck.wasm.types import FuncType

if TYPE_CHECKING:
    from diffcheck.capsule.build import World
    from diffcheck.capsule.layout import Stub
    from diffcheck.wasm.module import Module

_TRAP_AFTER_CODE: Final = "i32.const $EXIT_FLAG i32.const 1 i32.store $rec unreachable"
_END: Final = b"\x0b"


class ClosedArtifact(msgspec.Struct, frozen=True):
    """A sealed artifact: its bytes, what each import was given, and where in the stubs' memory things stand.

    ``exit_flag`` and ``exit_code`` are addresses of an i32 each; ``captures`` is where stdout's and stderr's records stand
    (``memory_map.CAPTURE``), ``buffers`` where their first ``memory_map.OUTPUT_CAP`` bytes are. ``may_exit`` is whether a stub
    ends the program, which is a trap here.
    """

    wasm: bytes
    stubs: tuple[Stub, ...]
    may_exit: bool
    exit_flag: int
    exit_code: int
    captures: int
    buffers: int

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes, in hex."""
        return hashlib.sha256(self.wasm).hexdigest()


def close(module: Module, world: World) -> ClosedArtifact:
    """Close the imports of ``module`` in ``world``; raises ``UnsealableError`` and ``CaseError`` as ``build`` does."""
    return _Closer(module, "", (), world, unwind=False, prints=False).closed_artifact()


def loadable(module: Module, world: World) -> bytes:
    """The module with its imports closed, nothing exported but a ``_start`` that does nothing, and no start function.

    An engine that runs it has loaded the artifact's types, code and segments; none of its code runs. Raises as ``close`` does.
    """
    return _Closer(module, "", (), world, unwind=False, prints=False).closed_artifact(inert=True).wasm


class _Closer(Builder):
    """A builder without recorder and driver: stubs, the artifact's own functions, then those that are only a reference's value."""

    compares_calls = False

    def _function_of(self, typeidx: int) -> int:
        if typeidx not in self.value_of:
            self.value_of[typeidx] = self.first_own + len(self.values)
            self.values.append(typeidx)
        return self.value_of[typeidx]

    def closed_artifact(self, *, inert: bool = False) -> ClosedArtifact:
        """All sections in their order; ``inert`` as ``loadable`` has it."""
        entry = self._function_of(self.types.function((), ())) if inert else None
        code = self._code()
        functions = [u(each) for each in self.values]
        body = [
            self._vector(ids.FUNCTION, (u(each.typeidx) for each in self.closed), functions),
            self._plain(ids.TABLE, self.sealed.tables),
            self._plain(ids.MEMORY, [*self.sealed.memories, *self._stub_memory()]),
            self._plain(ids.TAG, self.sealed.tags),
            self._closed_globals(),
            self._closed_exports() if entry is None else self._plain(ids.EXPORT, [export(lo.ENTRY, 0, entry)]),
            None if inert or self.module.start is None else section(ids.START, u(self.module.start)),
            self._closed_elements(),
            *(self._data_count() if self._has_memory() else [self.module.section(ids.DATA_COUNT)]),
            code,
            self._data()[0] if self._has_memory() else self._own_data(),
        ]
        kept = [each for each in self.module.sections if each.id == ids.CUSTOM and not each.name.startswith(DROPPED)]
        wasm = write([each for each in [self._type_section(), *body] if each is not None]) + write(kept)[8:]
        symbols = self.places.symbols
        return ClosedArtifact(
            wasm=wasm,
            stubs=tuple(each.stub for each in self.closed),
            may_exit=self.may_exit,
            exit_flag=symbols["EXIT_FLAG"],
            exit_code=symbols["EXIT_CODE"],
            captures=symbols["CAPTURES"],
            buffers=symbols["BUFFERS"],
        )

    def _has_memory(self) -> bool:
        """Whether the stubs' memory is there: an artifact without imported functions has no use for it."""
        return bool(self.closed)

    def _stub_memory(self) -> list[bytes]:
        pages = u((self.places.scratch + lo.PAGE - 1) // lo.PAGE)  # all but the recorder's own part
        return [b"\x01" + pages + pages] if self._has_memory() else []

    def _closed_globals(self) -> Section | None:
        count = len(self.sealed.globals) + len(self.module.globals)
        content = b"".join([u(count), *self.sealed.globals, self.sealed.defined_globals])
        return section(ids.GLOBAL, content) if count else None

    def _closed_exports(self) -> Section | None:
        """The artifact's own, and the stubs' memory where its name is free."""
        taken = {each.name for each in self.module.exports}
        name = lo.MEMORY_EXPORT.encode()
        extra = [u(len(name)) + name + b"\x02" + u(self.rec)] if self._has_memory() and lo.MEMORY_EXPORT not in taken else []
        return self._vector(ids.EXPORT, (), extra) if taken or extra else None

    def _closed_elements(self) -> Section | None:
        """The artifact's segments, and a declaration of the functions that a constant names."""
        count = self.module.n_elements
        declared = [*self.value_of.values(), *([self.first_own] if self.constants.names_a_function else [])]
        segments = [b"\x03\x00" + u(len(declared)) + b"".join(map(u, declared))] if declared else []
        content = b"".join([u(count + len(segments)), self.sealed.elements, *segments])
        return section(ids.ELEMENT, content) if count or segments else None

    def _own_data(self) -> Section | None:
        return section(ids.DATA, u(self.module.n_data) + self.sealed.data) if self.module.n_data else None

    def _code(self) -> Section:
        stubs = [self._stub(at, each) for at, each in enumerate(self.closed)]
        values, done = [], 0
        while True:
            if self.constants.names_a_function and not self.values:
                self._function_of(self.types.function((), ()))  # the function that a non-null funcref is made of
            if done == len(self.values):
                break  # only now, since a value's body may need the value of another type
            typeidx = self.values[done]
            composite = self.module.types[typeidx].composite if typeidx < len(self.module.types) else FuncType((), ())
            body = zero_body(composite, self.constants)  # type: ignore[arg-type]
            values.append(u(len(body) + 2) + b"\x00" + body + _END)
            done += 1
        return self._vector(ids.CODE, stubs, values)

    def _exit_tail(self) -> str:
        return _TRAP_AFTER_CODE


__all__ = ["ClosedArtifact", "close", "loadable"]
