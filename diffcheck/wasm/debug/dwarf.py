"""Source lines from an artifact's DWARF section ``.debug_line``, read with pyelftools.

Addresses are offsets in the code section's payload (DWARF for WebAssembly, https://yurydelendik.github.io/webassembly-dwarf/).
"""

from __future__ import annotations

import inspect
import io
from typing import TYPE_CHECKING, Any

from diffcheck.wasm import section as ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.wasm.module import Module


def source_line(module: Module, file_offset: int) -> str:
    """Return ``file:line`` of the code at a file offset; empty if there is no usable DWARF for it."""
    if not any(each.name == ".debug_line" for each in module.sections):
        return ""
    try:
        return _line(module, file_offset)
    except Exception:  # noqa: BLE001 - pyelftools raises many types for malformed DWARF, and the line is optional
        return ""


def _line(module: Module, file_offset: int) -> str:
    code = module.section(ids.CODE)
    if code is None:
        return ""
    address = file_offset - code.offset
    for program in _programs(module):
        header = program.header
        previous = None
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if previous is not None and previous.address <= address < state.address and previous.line:
                return f"{_file(header, previous.file)}:{previous.line}"
            previous = None if state.end_sequence else state
    return ""


def _programs(module: Module) -> Iterator[Any]:
    """Yield the line programs of all compilation units."""
    from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo  # noqa: PLC0415 - slow, rarely needed

    sections: dict[str, Any] = dict.fromkeys(list(inspect.signature(DWARFInfo).parameters)[1:])
    for each in module.sections:
        parameter = f"{each.name[1:]}_sec"
        if each.name.startswith(".debug_") and parameter in sections:
            content = bytes(each.content())
            sections[parameter] = DebugSectionDescriptor(io.BytesIO(content), each.name, 0, len(content), 0)
    dwarf = DWARFInfo(DwarfConfig(little_endian=True, machine_arch="wasm", default_address_size=4), **sections)
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is not None:
            yield program


def _file(header: Any, number: int) -> str:  # noqa: ANN401 - a type of pyelftools
    """Return a file's name. File numbers start at 0 since version 5, at 1 before."""
    entry = header["file_entry"][number if header["version"] >= 5 else number - 1]  # noqa: PLR2004 - the version with directories first
    return bytes(entry.name).decode(errors="backslashreplace")
