"""Source lines of an artifact that has DWARF: ``.debug_line`` by address, read with pyelftools.

Addresses count from the beginning of the code section's contents (DWARF for WebAssembly, https://yurydelendik.github.io/webassembly-dwarf/).
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
    """``file:line`` of the code at a file offset; empty where there is no DWARF, it is broken, or it does not cover that place."""
    if not any(each.name == ".debug_line" for each in module.sections):
        return ""
    try:
        return _line(module, file_offset)
    except Exception:  # noqa: BLE001 - pyelftools has many ways to say that hostile bytes are no DWARF, and a line is a courtesy
        return ""


def _line(module: Module, file_offset: int) -> str:
    code = module.section(ids.CODE)
    if code is None:
        return ""
    address = file_offset - code.offset
    for program in _programs(module):
        header = program.header
        before = None
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if before is not None and before.address <= address < state.address and before.line:
                return f"{_file(header, before.file)}:{before.line}"
            before = None if state.end_sequence else state
    return ""


def _programs(module: Module) -> Iterator[Any]:
    """The line programs of all compilation units."""
    from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo  # noqa: PLC0415 - only where it is used

    found = {
        each.name: bytes(each.content()) for each in module.sections if each.id == ids.CUSTOM and each.name.startswith(".debug_")
    }
    sections: dict[str, Any] = dict.fromkeys(list(inspect.signature(DWARFInfo).parameters)[1:])
    for name, content in found.items():
        parameter = f"{name[1:]}_sec"
        if parameter in sections:
            sections[parameter] = DebugSectionDescriptor(io.BytesIO(content), name, 0, len(content), 0)
    dwarf = DWARFInfo(DwarfConfig(little_endian=True, machine_arch="wasm", default_address_size=4), **sections)
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is not None:
            yield program


def _file(header: Any, number: int) -> str:  # noqa: ANN401 - pyelftools's
    """A file's name: numbers begin with 0 from version 5 on, with 1 before."""
    entry = header["file_entry"][number if header["version"] >= 5 else number - 1]  # noqa: PLR2004 - the version with directories first
    return bytes(entry.name).decode(errors="backslashreplace")
