"""Detect components, and components that need the asynchronous component model.

Component model, Binary.md: like a module, a component is a sequence of sections. Relevant here are its imports (10), exports (11),
canonical definitions (8) and nested components (4).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.wasm.leb import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

PREAMBLE: Final = b"\0asm\x0d\0\x01\0"
_COMPONENT, _CANON, _IMPORT, _EXPORT = 4, 8, 10, 11
_OTHER_STRINGS: Final = "it lifts a function whose strings are not UTF-8"
_MAX_DEPTH: Final = 100
_WASI_03: Final = re.compile(rb"wasi:[a-z0-9-]+/[a-z0-9-]+@0\.3[0-9A-Za-z.+-]*")
_LIFT, _LOWER = 0x00, 0x01
_RESOURCE: Final = (0x02, 0x03, 0x04)  # resource.new, resource.drop, resource.rep: each with a type index
_UTF8, _UTF16, _LATIN1 = 0x00, 0x01, 0x02
_PLAIN_OPTIONS: Final = (_UTF8, _UTF16, _LATIN1)
_INDEXED_OPTIONS: Final = (0x03, 0x04, 0x05)  # memory, realloc, post-return


def is_component(data: bytes) -> bool:
    """Whether the bytes begin with the preamble of a component."""
    return data.startswith(PREAMBLE)


def asynchronous(data: bytes) -> str:
    """Describe the first use of the asynchronous component model in a component; empty if there is none.

    ``ArtifactError`` if the component is truncated or malformed.
    """
    return next((each for each in _uses(Reader(data), _MAX_DEPTH) if each != _OTHER_STRINGS), "")


def has_other_strings(data: bytes) -> bool:
    """Whether a component lifts a function whose strings are not UTF-8; ``ArtifactError`` as above."""
    return _OTHER_STRINGS in _uses(Reader(data), _MAX_DEPTH)


def _uses(reader: Reader, depth: int) -> Iterator[str]:
    if reader.bytes(len(PREAMBLE)) != PREAMBLE:
        raise reader.error("it is not a component", offset=0)
    while not reader.eof:
        id_ = reader.u8()
        section = reader.sub(reader.u32(), "a section")
        if id_ in (_IMPORT, _EXPORT):
            for name in _WASI_03.findall(section.bytes(section.remaining)):
                yield f"it {'imports' if id_ == _IMPORT else 'exports'} {name.decode()}"
        elif id_ == _CANON:
            yield from _canon(section)
        elif id_ == _COMPONENT and depth:
            yield from _uses(section, depth - 1)


def _canon(section: Reader) -> Iterator[str]:
    """Yield the first asynchronous definition. The encoding of definitions after it is unknown."""
    for _ in range(section.count("canonical definitions")):
        kind = section.u8()
        if kind in (_LIFT, _LOWER):
            section.u8()  # the sort, a function
            section.u32()
            options = _options(section)
            if kind == _LIFT and {_UTF16, _LATIN1} & {*options}:
                yield _OTHER_STRINGS
            if options and options[-1] not in (*_PLAIN_OPTIONS, *_INDEXED_OPTIONS):
                yield f"it {'lifts' if kind == _LIFT else 'lowers'} a function asynchronously"
                return
            if kind == _LIFT:
                section.u32()
        elif kind in _RESOURCE:
            section.u32()
        else:
            yield f"it uses a built-in of the asynchronous component model (canonical definition {kind:#04x})"
            return


def _options(section: Reader) -> list[int]:
    """The options up to the first unknown one: ``async``, a callback, or one whose encoding is not known."""
    options: list[int] = []
    for _ in range(section.count("options")):
        options.append(section.u8())
        if options[-1] in _INDEXED_OPTIONS:
            section.u32()
        elif options[-1] not in _PLAIN_OPTIONS:
            break
    return options
