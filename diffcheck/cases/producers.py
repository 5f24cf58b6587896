"""The tools that made an artifact, as it names them itself.

Sources are the custom section ``producers`` (WebAssembly/tool-conventions, ProducersSection.md), meld's attestation and witness's
manifest. All of them are claims: none is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule.provenance import ATTESTATION
from diffcheck.errors import ArtifactError
from diffcheck.verdict import Tool
from diffcheck.wasm.section import CUSTOM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.wasm.leb import Reader
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.section import Section
    from diffcheck.witness.formats import Manifest

_PRODUCERS: Final = "producers"
_MOST, _LONGEST = 100, 200
"""The number of tools, and the characters of a name or version; compilers name fewer than ten."""


class _Attestation(msgspec.Struct, frozen=True):
    tool: Tool


def tools(module: Module, manifest: Manifest | None, digests: Mapping[str, str]) -> tuple[Tool, ...]:
    """The tools with their versions, by name; ``digests`` are those of the tools that diffcheck ran itself.

    A malformed section names none.
    """
    found = dict.fromkeys(digests, "")
    for section in module.sections:
        if section.id == CUSTOM and section.name == _PRODUCERS:
            found |= _processors(section)
        elif section.id == CUSTOM and section.name == ATTESTATION:
            found |= _attested(section)
    if manifest is not None and manifest.witness_version:
        found["witness"] = manifest.witness_version
    return tuple(Tool(name[:_LONGEST], found[name][:_LONGEST], digests.get(name, "")) for name in sorted(found)[:_MOST])


def _processors(section: Section) -> dict[str, str]:
    """The values of the fields of a producers section, with the languages."""
    reader = section.reader()
    try:
        reader.name()
        return dict(each for field in reader.vector("fields", _field) for each in field)
    except ArtifactError:
        return {}


def _field(reader: Reader) -> tuple[tuple[str, str], ...]:
    reader.name()
    return reader.vector("values", lambda each: (each.name(), each.name()))


def _attested(section: Section) -> dict[str, str]:
    try:
        tool = msgspec.json.decode(section.content(), type=_Attestation).tool
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return {tool.name: tool.version}
