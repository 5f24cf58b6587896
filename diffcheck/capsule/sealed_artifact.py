"""The artifact with closed imports but without a driver: exports, start section and code are unchanged, for any engine.

The stubs are those of a capsule. Their memory is exported as ``layout.MEMORY_EXPORT``, so that captured output and an exit code can
be read. Without a driver no exception can unwind the program, so an exit stores its code and traps.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.seal import extended, seal
from diffcheck.capsule.stub_code import EXIT_WITHOUT_DRIVER, encode_stub
from diffcheck.wasm import section as ids
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.leb import u
from diffcheck.wasm.section import Section, section, vector_section, write

if TYPE_CHECKING:
    from diffcheck.capsule.layout import Stub
    from diffcheck.capsule.seal import Sealed, World
    from diffcheck.wasm.module import Module


class ClosedArtifact(msgspec.Struct, frozen=True):
    """An artifact with closed imports, its stubs, and addresses in the stubs' memory.

    ``exit_flag`` and ``exit_code`` are addresses of i32s, ``captures`` of stdout's and stderr's ``memory_map.CAPTURE``, ``buffers``
    of their first ``memory_map.OUTPUT_CAP`` bytes. ``may_exit`` is whether a stub can end the program, by a trap.
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
    return _close(module, world, inert=False)


def loadable(module: Module, world: World) -> bytes:
    """Return the module with closed imports, an empty ``_start`` as its only export, and no start function.

    An engine that runs it loads the artifact's types, code and segments, but runs none of its code. Errors as of ``close``.
    """
    return _close(module, world, inert=True).wasm


def _close(module: Module, world: World, *, inert: bool) -> ClosedArtifact:
    """Build all sections. The type section is created last, since others add types. For ``inert`` see ``loadable``."""
    sealed = seal(module, world, len(module.all_functions))
    symbols = sealed.places.symbols
    entry = sealed.constants.function(sealed.types.function((), ())) if inert else None
    stubs = [encode_stub(sealed, each, {**symbols, "rec": sealed.rec}, EXIT_WITHOUT_DRIVER) for each in sealed.stubs]
    code = extended(module, ids.CODE, stubs, sealed.constants.function_bodies())
    own_data = section(ids.DATA, u(module.n_data) + sealed.data) if module.n_data else None
    body = [
        sealed.function_section(()),
        vector_section(ids.TABLE, sealed.tables),
        vector_section(ids.MEMORY, [*sealed.memories, *_stub_memory(sealed)]),
        vector_section(ids.TAG, sealed.tags),
        sealed.global_section(),
        _exports(sealed) if entry is None else vector_section(ids.EXPORT, [encode_export(lo.ENTRY, "func", entry)]),
        None if inert or module.start is None else section(ids.START, u(module.start)),
        sealed.element_section(exports=not inert),
        *(sealed.data_count_sections() if sealed.stubs else [module.section(ids.DATA_COUNT)]),
        code,
        sealed.data_section()[0] if sealed.stubs else own_data,
    ]
    sections = [each for each in [sealed.type_section(), *body, *sealed.custom_sections()] if each is not None]
    return ClosedArtifact(
        wasm=write(sections),
        stubs=tuple(each.stub for each in sealed.stubs),
        may_exit=sealed.may_exit,
        exit_flag=symbols["EXIT_FLAG"],
        exit_code=symbols["EXIT_CODE"],
        captures=symbols["CAPTURES"],
        buffers=symbols["BUFFERS"],
    )


def _stub_memory(sealed: Sealed) -> list[bytes]:
    """Return the stubs' memory, without the stream; none for an artifact without imported functions."""
    pages = u((sealed.places.scratch + lo.PAGE - 1) // lo.PAGE)
    return [b"\x01" + pages + pages] if sealed.stubs else []


def _exports(sealed: Sealed) -> Section | None:
    """Return the artifact's exports, and the stubs' memory if its name is free."""
    taken = {each.name for each in sealed.module.exports}
    extra = [encode_export(lo.MEMORY_EXPORT, "memory", sealed.rec)] if sealed.stubs and lo.MEMORY_EXPORT not in taken else []
    return extended(sealed.module, ids.EXPORT, (), extra) if taken or extra else None
