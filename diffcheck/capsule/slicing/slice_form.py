"""A module sliced to some of its functions: each other one becomes a stub of its type.

Functions keep their order, and the stub of a type is where its first dropped function was. So no index grows, every index
fits the bytes of the one before it, and in a kept body no instruction moves. Types, tables, memories, globals, tags, segments and
exports stay as many as they were; what named a dropped function names its type's stub. Imported functions that nothing in the slice
names are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.observation import LeftSlice
from diffcheck.text import visible
from diffcheck.wasm import module as wasm
from diffcheck.wasm import section as ids
from diffcheck.wasm.debug import names
from diffcheck.wasm.externs import encode_import
from diffcheck.wasm.leb import sized, u, vector
from diffcheck.wasm.renumber import renumber_body, renumber_functions
from diffcheck.wasm.section import Section, custom, section, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from diffcheck.wasm.externs import Import
    from diffcheck.wasm.module import Module

TRAP: Final = b"\x00\x0b"
"""``unreachable``, ``end``."""
STUB_BODY: Final = b"\x00" + TRAP
"""A code entry without its size and without locals."""
_BY_OFFSET: Final = (".debug_", "metadata.code.", "reloc.", "linking")


class Slice(msgspec.Struct, frozen=True):
    """A sliced module. ``wasm`` are its bytes; ``index`` is the new funcidx of each function of the module that was sliced,
    ``origins`` the old funcidx of each new one, None for a stub; ``stubs`` are the functions that each stub replaces, by the stub's
    new funcidx. ``whole`` is the module that was sliced.
    """

    wasm: bytes
    module: Module
    whole: Module
    index: tuple[int, ...]
    origins: tuple[int | None, ...]
    stubs: dict[int, tuple[int, ...]]

    @property
    def kept(self) -> int:
        """The number of functions with their own body."""
        return len(self.module.functions) - len(self.stubs)

    @property
    def summary(self) -> str:
        """How many functions have their own body: ``5 of 23 functions``."""
        return f"{self.kept:,} of {len(self.whole.functions):,} functions"

    def original(self, funcidx: int) -> int:
        """The funcidx in ``whole`` of a function of the slice; the first one of those that a stub replaces.

        For a function appended after the slice's own (driver, recorder), the index is shifted by the same distance after those of
        ``whole``.
        """
        if funcidx >= len(self.origins):
            return funcidx - len(self.origins) + len(self.index)
        origin = self.origins[funcidx]
        return origin if origin is not None else self.stubs[funcidx][0]

    def original_offset(self, funcidx: int, offset: int) -> int:
        """The file offset in ``whole`` of an instruction of a kept function; ``offset`` is its file offset in the slice."""
        begin, _ = self.module.bodies[funcidx - self.module.n_imported("func")]
        original, _ = self.whole.bodies[self.original(funcidx) - self.whole.n_imported("func")]
        return offset - begin + original

    def dropped(self) -> dict[int, LeftSlice]:
        """The outcome of a row that enters a stub, by the stub's funcidx."""
        named = names.function_names(self.whole)
        return {stub: LeftSlice(stub, self._text(stub, named), len(functions)) for stub, functions in self.stubs.items()}

    def _text(self, stub: int, named: Mapping[int, str]) -> str:
        first, *more = self.stubs[stub]
        if more:
            return f"one of {1 + len(more)} functions of type {self.module.all_functions[stub]}"
        return function_text(first, named)


def function_text(funcidx: int, named: Mapping[int, str]) -> str:
    """A function in messages: its index, and its name if it has one."""
    return f"function {funcidx}" + (f" `{visible(named[funcidx])}`" if funcidx in named else "")


def slice_module(module: Module, keep: AbstractSet[int], groups: Mapping[int, int] | None = None) -> Slice:
    """``module`` with the bodies of the functions in ``keep``, which are funcidxs.

    Functions of one type share a stub unless ``groups`` gives them different groups. Raises ``ArtifactError`` where a body cannot
    be read.
    """
    imported = module.n_imported("func")
    used = sorted(_used_imports(module, keep))
    index, origins = [-1] * imported, list[int | None](used)
    for at, funcidx in enumerate(used):
        index[funcidx] = at
    stub_of: dict[tuple[int, int], int] = {}
    replaced: dict[int, list[int]] = {}
    for funcidx, typeidx in enumerate(module.functions, imported):
        key = typeidx, (groups or {}).get(funcidx, 0)
        if funcidx in keep or key not in stub_of:
            index.append(len(origins))
            origins.append(funcidx if funcidx in keep else None)
        else:
            index.append(stub_of[key])
        if funcidx not in keep:
            stub_of.setdefault(key, index[-1])
            replaced.setdefault(index[-1], []).append(funcidx)
    stubs = {stub: tuple(functions) for stub, functions in replaced.items()}
    data = write(_sections(module, index, origins, stubs))
    return Slice(data, wasm.read(data), module, tuple(index), tuple(origins), stubs)


def _sections(
    module: Module, index: list[int], origins: list[int | None], stubs: dict[int, tuple[int, ...]]
) -> list[Section]:  # fmt: skip
    imported = module.n_imported("func")
    functions = (stubs[at][0] if origin is None else origin for at, origin in enumerate(origins))
    types = [module.all_functions[each] for each in functions if each >= imported]
    changed = renumber_functions(_without_code(module), index.__getitem__)
    changed[ids.IMPORT] = vector([encode_import(each) for each in _imports(module, index)])
    changed[ids.FUNCTION] = vector([u(typeidx) for typeidx in types])
    changed[ids.CODE] = vector([sized(each) for each in _bodies(module, index, origins)])
    sections = []
    for each in module.sections:
        if each.id == ids.CUSTOM and each.name == "name":
            sections.append(_names(module, origins))
        elif each.id != ids.CUSTOM or not each.name.startswith(_BY_OFFSET):
            sections.append(section(each.id, changed[each.id]) if each.id in changed else each)
    return sections


def _without_code(module: Module) -> Module:
    return msgspec.structs.replace(module, bodies=())


def _used_imports(module: Module, keep: AbstractSet[int]) -> set[int]:
    """The imported functions that kept bodies and other sections name."""
    named: set[int] = set()

    def note(funcidx: int) -> int:
        named.add(funcidx)
        return funcidx

    renumber_functions(_without_code(module), note)
    imported = module.n_imported("func")
    for funcidx, (offset, body) in enumerate(module.body_bytes(), imported):
        if funcidx in keep:
            renumber_body(body, offset, note)
    return {each for each in named if each < imported}


def _imports(module: Module, index: list[int]) -> Iterator[Import]:
    """The imports of the slice."""
    funcidx = -1
    for each in module.imports:
        funcidx += each.kind == "func"
        if each.kind != "func" or index[funcidx] >= 0:
            yield each


def _bodies(module: Module, index: list[int], origins: list[int | None]) -> list[bytes]:
    imported = module.n_imported("func")
    bodies = list(module.body_bytes())
    kept = (
        (bodies[origin - imported] if origin is not None else None) for origin in origins if origin is None or origin >= imported
    )
    return [STUB_BODY if each is None else renumber_body(each[1], each[0], index.__getitem__) for each in kept]


def _names(module: Module, origins: list[int | None]) -> Section:
    """A name section with the names of the functions that are kept."""
    found = names.function_names(module)
    pairs = [(at, found[origin]) for at, origin in enumerate(origins) if origin is not None and origin in found]
    functions = vector([u(at) + sized(name.encode()) for at, name in pairs])
    return custom("name", b"\x01" + sized(functions))
