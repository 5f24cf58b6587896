"""A module as a list of sections in file order (core specification 5.5.2 and 5.5.17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.errors import ArtifactError
from diffcheck.wasm.leb import Reader, sized, u, vector

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

CUSTOM, TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL = range(7)
EXPORT, START, ELEMENT, CODE, DATA, DATA_COUNT, TAG = range(7, 14)

NAMES = {
    CUSTOM: "custom",
    TYPE: "type",
    IMPORT: "import",
    FUNCTION: "function",
    TABLE: "table",
    MEMORY: "memory",
    TAG: "tag",
    GLOBAL: "global",
    EXPORT: "export",
    START: "start",
    ELEMENT: "element",
    DATA_COUNT: "data count",
    CODE: "code",
    DATA: "data",
}
"""Section id -> name, in the order in which sections must appear in a file."""

PREAMBLE = b"\0asm\x01\0\0\0"

_ORDER = {id_: place for place, id_ in enumerate(NAMES)}
_NOT_VECTORS = (CUSTOM, START, DATA_COUNT)


class Section(msgspec.Struct, frozen=True):
    """One section.

    `payload` is the section's content after its size, so the payload of a custom section begins
    with the name. `offset` is the file offset of the payload. `header` is the size as encoded in
    the file, empty for a new section.
    """

    id: int
    name: str
    offset: int
    payload: bytes | memoryview
    header: bytes = b""

    def reader(self) -> Reader:
        """Return a reader of the payload that reports file offsets."""
        return Reader(self.payload, self.offset)

    def vector(self) -> tuple[int, int]:
        """Return the vector's count, and the offset of its items in the payload.

        `ValueError` for the start, data count and custom sections, which hold no vector.
        """
        if self.id in _NOT_VECTORS:
            msg = f"the {NAMES[self.id]} section is not a vector"
            raise ValueError(msg)
        reader = self.reader()
        count = reader.count(f"items of the {NAMES[self.id]} section")
        return count, reader.offset - self.offset

    def content(self) -> bytes | memoryview:
        """Return the payload after the vector's count, or after a custom section's name."""
        if self.id == CUSTOM:
            reader = self.reader()
            reader.name()
            return self.payload[reader.offset - self.offset :]
        return self.payload[self.vector()[1] :]


def section(id_: int, payload: bytes) -> Section:
    """Return a new section other than a custom section."""
    return Section(id=id_, name="", offset=0, payload=payload)


def vector_section(id_: int, items: Collection[bytes]) -> Section | None:
    """Return a new section of encoded items; None if there are none."""
    return section(id_, vector(items)) if items else None


def custom(name: str, content: bytes) -> Section:
    """Return a new custom section."""
    return Section(id=CUSTOM, name=name, offset=0, payload=sized(name.encode()) + content)


def write(sections: Iterable[Section]) -> bytes:
    """Encode a module from its sections, in the given order. Unchanged sections keep their bytes."""
    parts: list[bytes | memoryview] = [PREAMBLE]
    for each in sections:
        parts += [bytes([each.id]), _header(each), each.payload]
    return b"".join(parts)


def append(sections: Iterable[Section], items: Mapping[int, Sequence[bytes]]) -> list[Section]:
    """Return the sections with ``items`` (section id -> encoded items) appended, creating missing sections.

    All existing indices stay.
    """
    result = list(sections)
    for id_, added in items.items():
        if not added:
            continue
        at = next((at for at, each in enumerate(result) if each.id == id_), None)
        if at is not None:
            result[at] = section(id_, b"".join([u(result[at].vector()[0] + len(added)), result[at].content(), *added]))
            continue
        later = (at for at, each in enumerate(result) if each.id != CUSTOM and _ORDER[each.id] > _ORDER[id_])
        result.insert(next(later, len(result)), section(id_, vector(added)))
    return result


def split(data: bytes) -> tuple[Section, ...]:
    """Return a core module's sections. Payloads are views of `data`, not copies.

    Raises `ArtifactError` if `data` is not a core module, or if a section is unknown, out of
    order, duplicated, or longer than the file.
    """
    reader = Reader(data)
    _preamble(reader, data)
    view = memoryview(data)
    sections: list[Section] = []
    place = 0
    while not reader.eof:
        at = reader.offset
        each = _section(reader, view)
        if each.id != CUSTOM:
            _check_order(each.id, place, at)
            place = _ORDER[each.id]
        sections.append(each)
    return tuple(sections)


def _section(reader: Reader, view: memoryview) -> Section:
    at = reader.offset
    id_ = reader.u8()
    if id_ not in NAMES:
        raise reader.error(f"unknown section id {id_}", offset=at)
    at = reader.offset
    size = reader.u32()
    if size > reader.remaining:
        reason = f"the {NAMES[id_]} section has {size} bytes, but only {reader.remaining} are left"
        raise reader.error(reason, offset=at)
    header = reader.since(at)
    offset = reader.offset
    inner = reader.sub(size)
    name = inner.name() if id_ == CUSTOM else ""
    return Section(id_, name, offset, view[offset : offset + size], header)


def _check_order(id_: int, place: int, offset: int) -> None:
    if place == _ORDER[id_]:
        reason = f"a second {NAMES[id_]} section"
    elif place > _ORDER[id_]:
        before = list(NAMES.values())[place]
        reason = f"the {NAMES[id_]} section is out of order, after the {before} section"
    else:
        return
    raise ArtifactError(reason, offset=offset)


def _preamble(reader: Reader, data: bytes) -> None:
    if not data:
        raise ArtifactError("the file is empty", offset=0)
    if data[:4] != PREAMBLE[:4]:
        raise ArtifactError(
            "this is not WebAssembly: it does not begin with \\0asm",
            offset=0,
            hint="give a binary .wasm file; `wasm-tools parse` creates one from text",
        )
    version = data[4:8]
    if version[2:] == b"\x01\x00":
        raise ArtifactError(
            "this is a component, not a core module",
            offset=4,
            hint="`meld fuse` turns it into a core module",
        )
    if version != PREAMBLE[4:]:
        reason = f"the version is {version.hex(' ') or 'missing'}, not 01 00 00 00"
        raise ArtifactError(reason, offset=4)
    reader.skip(len(PREAMBLE))


def _header(each: Section) -> bytes:
    # The original size is wrong if the payload was replaced by one of another length.
    if each.header and Reader(each.header).u32() == len(each.payload):
        return each.header
    return u(len(each.payload))
