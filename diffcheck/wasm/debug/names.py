"""The `name` section (core specification, appendix "Custom Sections").

A malformed name section is ignored, as engines do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.errors import ArtifactError
from diffcheck.wasm.module import kept
from diffcheck.wasm.section import CUSTOM

if TYPE_CHECKING:
    from diffcheck.wasm.leb import Reader
    from diffcheck.wasm.module import Module

_MODULE, _FUNCTIONS, _TAGS = 0, 1, 11


def module_name(module: Module) -> str | None:
    """Return the module's own name; `None` if it has none or its name section is malformed."""
    try:
        reader = _subsection(module, _MODULE)
        return reader.name() if reader else None
    except ArtifactError:
        return None


@kept
def function_names(module: Module) -> dict[int, str]:
    """Return names by funcidx; {} if there are none or the name section is malformed.

    Names need not be unique and may contain any character.
    """
    return _names(module, _FUNCTIONS, len(module.all_functions))


def tag_names(module: Module) -> dict[int, str]:
    """Return names by tagidx (appendix "Extended Name Section"); {} as for functions."""
    return _names(module, _TAGS, len(module.all_tags))


def _names(module: Module, subsection: int, count: int) -> dict[int, str]:
    try:
        reader = _subsection(module, subsection)
        pairs = reader.vector("names", _association) if reader else ()
    except ArtifactError:
        return {}
    return {index: name for index, name in pairs if index < count}


def _association(reader: Reader) -> tuple[int, str]:
    return reader.u32(), reader.name()


def _subsection(module: Module, subsection_id: int) -> Reader | None:
    """Return the first subsection with that id in the first name section."""
    for section in module.sections:
        if section.id == CUSTOM and section.name == "name":
            reader = section.reader()
            reader.name()
            while not reader.eof:
                id_ = reader.u8()
                subsection = reader.sub(reader.u32(), "a name subsection")
                if id_ == subsection_id:
                    return subsection
            break
    return None
