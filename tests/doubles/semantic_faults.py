"""An instruction fault as an engine has it: every execution of an instruction in a program is wrong where its trigger fires.

Unlike ``instruction_faults``, whose fault stands at one place of one artifact, this one stays with the instruction when the program is
cut down, so a reduction can keep it. The capsule's own recorder and driver are spared.
"""

from __future__ import annotations

from diffcheck.faults.model import Expected, Fault
from diffcheck.wasm import module as wasm
from diffcheck.wasm import section as ids
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.leb import u
from diffcheck.wasm.module import Module
from diffcheck.wasm.types import FuncType, encode_functype
from tests.doubles.instruction_faults import BY_CLASS, Planted, _wrong

OWN_BEFORE_START = 4
"""The recorder's functions before a capsule's ``_start``: digest, reserve, record, finish."""


def everywhere(fault: Planted) -> Fault:
    """The fault, wherever the instruction stands."""
    return Fault(fault.kind, f"{fault.kind}: every {fault.instruction}", Expected(), edit=lambda data: edited(data, fault))


def _program_functions(module: Module) -> int:
    """How many of a program's functions are the artifact's."""
    if any(each.name == "__witness_counter_4000000000" for each in module.exports):
        start = next(each.index for each in module.exports if each.name == "_start")
        return start - OWN_BEFORE_START
    return len(module.all_functions)


def edited(data: bytes, fault: Planted) -> bytes:
    """A program's bytes with the fault in it."""
    module = wasm.read(data)
    imported, limit = module.n_imported("func"), _program_functions(module)
    class_ = BY_CLASS[fault.kind]
    bodies = [data[offset : offset + size] for offset, size in module.bodies]
    added: dict[bytes, int] = {}
    entries, types = [], []
    for at, body in enumerate(bodies):
        if imported + at >= limit:
            break
        out, done = [], 0
        for each in instructions(body, start=read_locals(body).end):
            if each.name != fault.instruction:
                continue
            operation = body[each.offset : each.end]
            key = operation if class_.place == "instead" or fault.kind == "br_table" else b""
            if key not in added:
                entry, params, results = _wrong(fault, class_, operation, each, module, truth=False)
                added[key] = len(module.all_functions) + len(entries)
                entries.append(entry)
                types.append(encode_functype(FuncType(params, results)))
            call = b"\x10" + u(added[key])
            put = {"before": call + operation, "behind": operation + call, "instead": call}[class_.place]
            out += [body[done : each.offset], put]
            done = each.end
        bodies[at] = b"".join([*out, body[done:]])
    if not entries:
        return data
    more = {
        ids.TYPE: types,
        ids.FUNCTION: [u(len(module.types) + at) for at in range(len(types))],
        ids.GLOBAL: [b"\x7f\x01\x41\x00\x0b"],
    }
    sections, seen = [], set()
    for section in module.sections:
        each = section
        seen.add(each.id)
        if each.id in more:
            count, start = each.vector()
            each = ids.section(each.id, u(count + len(more[each.id])) + bytes(each.payload[start:]) + b"".join(more[each.id]))
        elif each.id == ids.CODE:
            whole = [u(len(body)) + body for body in bodies] + entries
            each = ids.section(ids.CODE, u(len(whole)) + b"".join(whole))
        sections.append(each)
    if ids.GLOBAL not in seen:
        after = next(
            (at for at, each in enumerate(sections) if each.id in (ids.EXPORT, ids.START, ids.ELEMENT, ids.CODE)), len(sections)
        )
        sections.insert(after, ids.section(ids.GLOBAL, u(1) + more[ids.GLOBAL][0]))
    return ids.write(sections)
