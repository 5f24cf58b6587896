"""Witness's formats: the exports of its instrumentation, its manifest, its trace records, its harness snapshots."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.errors import ManifestError
from diffcheck.text import plural, visible
from diffcheck.wasm.debug.names import function_names
from diffcheck.wasm.leb import u
from diffcheck.wasm.module import kept

if TYPE_CHECKING:
    from pathlib import Path

    from diffcheck.wasm.module import Module

PREFIX: Final = "__witness_"
COUNTER: Final = "__witness_counter_"
TRACE: Final = "__witness_trace"
ROW_RESET: Final = "__witness_row_reset"
TRACE_RESET: Final = "__witness_trace_reset"
NO_MANIFEST: Final = "no manifest beside the artifact: branches are identified by index"
NOT_INSTRUMENTED: Final = "not instrumented, so no branch is compared: run `witness instrument`"
NO_DECISIONS: Final = "the manifest has no decision, so there is no MC/DC: the artifact was instrumented without DWARF lines"
_GLOBAL: Final = re.compile(r"__witness_(counter|brval|brcnt)_(0|[1-9][0-9]{0,9})\Z")
_SET: Final = b"\x24"  # global.set
_COUNTED_IN_PLACE: Final = ("br_if", "if_then", "if_else")
_U32: Final = 1 << 32
MANIFEST_CAP: Final = 256 << 20


class WitnessItems(msgspec.Struct, frozen=True):
    """What witness added to an artifact: branch id to global index for counters (with type), brval and brcnt; the indices of the
    trace memory and of the two reset functions. All are empty if the artifact is not instrumented.
    """

    counters: dict[int, tuple[int, str]]
    brvals: dict[int, int]
    brcnts: dict[int, int]
    trace: int | None = None
    row_reset: int | None = None
    trace_reset: int | None = None

    @property
    def branches(self) -> tuple[int, ...]:
        """The ids that have both a brval and a brcnt, ascending."""
        return tuple(sorted(self.brvals.keys() & self.brcnts.keys()))


@kept
def instrumentation(module: Module) -> WitnessItems:
    """Witness's exports of ``module``; an export with witness's name but another type is the artifact's own."""
    found: dict[str, dict[int, tuple[int, str]]] = {"counter": {}, "brval": {}, "brcnt": {}}
    resets: dict[str, int] = {}
    for export in module.exports:
        if not export.name.startswith(PREFIX):
            continue
        match = _GLOBAL.match(export.name)
        if export.kind == "global" and match and int(match[2]) < _U32:
            value = module.all_globals[export.index].value
            if value == "i32" or (value == "i64" and match[1] == "counter"):
                found[match[1]][int(match[2])] = (export.index, str(value))
        elif export.kind == "func" and export.name in (ROW_RESET, TRACE_RESET):
            signature = module.function_type(export.index)
            if not signature.params and not signature.results:
                resets[export.name] = export.index
    return WitnessItems(
        counters=dict(sorted(found["counter"].items())),
        brvals={key: index for key, (index, _) in found["brval"].items()},
        brcnts={key: index for key, (index, _) in found["brcnt"].items()},
        trace=trace_memory(module),
        row_reset=resets.get(ROW_RESET),
        trace_reset=resets.get(TRACE_RESET),
    )


def trace_memory(module: Module) -> int | None:
    """The index of the trace memory; None if there is none, or one with 64-bit addresses, which is the artifact's own."""
    found = (each.index for each in module.exports if each.name == TRACE and each.kind == "memory")
    return next((index for index in found if not module.all_memories[index].limits.is64), None)


class Branch(msgspec.Struct, frozen=True):
    """A branch of the manifest; indices and offsets are those of the module before instrumentation."""

    id: int
    function_index: int = 0
    function_name: str | None = None
    kind: str = ""
    byte_offset: int | None = None
    instr_index: int | None = None


class Decision(msgspec.Struct, frozen=True):
    """A decision of the manifest: the ids of its conditions, and its source line if DWARF has it."""

    id: int
    conditions: tuple[int, ...] = ()
    source_file: str | None = None
    source_line: int | None = None
    chain_kind: str | None = None


class Manifest(msgspec.Struct, frozen=True):
    """A manifest (``<artifact>.witness.json``), without the fields that diffcheck does not use."""

    schema_version: str = ""
    witness_version: str = ""
    original_module_sha256: str = ""
    branches: tuple[Branch, ...] = ()
    decisions: tuple[Decision, ...] = ()


class BranchPlace(msgspec.Struct, frozen=True):
    """The place of a branch in the artifact.

    ``mark`` identifies it across builds: the name of the function, the name of the file without folders, and the line relative to
    the function's first decision. ``shared`` is whether the source is known, so that the same mark in another artifact is the same
    code. ``function_index`` is the index before instrumentation, as in the outcome records of the trace.
    """

    function: str = ""
    kind: str = ""
    file: str = ""
    line: int | None = None
    decision: int | None = None
    mark: str = ""
    shared: bool = False
    function_index: int | None = None

    def __str__(self) -> str:
        source = f"{self.file}:{self.line}" if self.file and self.line is not None else ""
        return " ".join(part for part in (self.function, self.kind, source) if part)


def manifest_path(artifact: Path) -> Path:
    """The path of an artifact's manifest."""
    return artifact.with_name(artifact.name + ".witness.json")


def read_manifest(data: bytes) -> Manifest:
    """The manifest in ``data``; raises ``ManifestError`` if it is malformed."""
    if len(data) > MANIFEST_CAP:
        raise ManifestError(f"the manifest has {len(data)} bytes", hint="a manifest may have 256 MiB")
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"the manifest cannot be read: {error}", hint="run `witness instrument` again") from error


def contradiction(manifest: Manifest, module: Module, wasm: bytes) -> str:
    """Why a manifest is not the module's; empty if each branch has a counter and its function counts it.

    Arms of a br_table are counted elsewhere, so they are not checked. Another build with the same branches is not detected.
    """
    counters = instrumentation(module).counters
    branches = {branch.id: branch for branch in manifest.branches}
    if branches.keys() != counters.keys():
        counts = f"it has {plural(len(branches), 'branch', 'branches')}, the artifact {plural(len(counters), 'counter')}"
        other = min(branches.keys() ^ counters.keys())
        where = "without a counter in the artifact" if other in branches else "with a counter and not in the manifest"
        return counts if len(branches) != len(counters) else f"branch {other} is {where}"
    code = _code_by_name(module, wasm)
    if not code:
        return ""
    for number, branch in branches.items():
        name = branch.function_name
        if name is not None and name not in code:
            return f"the artifact has no function {visible(name)}"
        counting = _SET + u(counters[number][0])
        if name is not None and branch.kind in _COUNTED_IN_PLACE and not any(counting in body for body in code[name]):
            return f"{visible(name)} does not count branch {number}"
    return ""


def _code_by_name(module: Module, wasm: bytes) -> dict[str, list[bytes]]:
    """The bodies of functions by name, which need not be unique; empty without a name section."""
    names = function_names(module)
    first = module.n_imported("func")
    found: dict[str, list[bytes]] = {}
    for at, (offset, size) in enumerate(module.bodies if names else ()):
        if (name := names.get(first + at)) is not None:
            found.setdefault(name, []).append(wasm[offset : offset + size])
    return found


def places(manifest: Manifest) -> dict[int, BranchPlace]:
    """The places of the branches of a manifest, by branch id."""
    lines = {branch: decision for decision in manifest.decisions for branch in decision.conditions}
    functions: dict[int, list[Branch]] = {}
    for branch in manifest.branches:
        functions.setdefault(branch.function_index, []).append(branch)
    found = {}
    for branches in functions.values():
        begins = _first_lines([lines[each.id] for each in branches if each.id in lines])
        name = branches[0].function_name or _nameless(branches)
        for branch in branches:
            found[branch.id] = _place(branch, lines.get(branch.id), name, begins)
    return found


def _place(branch: Branch, decision: Decision | None, name: str, begins: dict[str, int]) -> BranchPlace:
    function = branch.function_name or f"function {branch.function_index}"
    file = (decision.source_file or "") if decision else ""
    if decision is None or not file or decision.source_line is None:
        number = decision.id if decision else None
        mark = f"{name} {branch.kind}"
        return BranchPlace(function, branch.kind, file, decision=number, mark=mark, function_index=branch.function_index)
    line = decision.source_line
    mark = f"{name} {branch.kind} {_file_name(file)}+{line - begins[file]}"
    return BranchPlace(function, branch.kind, file, line, decision.id, mark, shared=True, function_index=branch.function_index)


def _first_lines(decisions: list[Decision]) -> dict[str, int]:
    """The first decision line of a function, for each file, since inlined code is from other files."""
    first: dict[str, int] = {}
    for each in decisions:
        if each.source_file and each.source_line is not None:
            first[each.source_file] = min(each.source_line, first.get(each.source_file, each.source_line))
    return first


def _file_name(path: str) -> str:
    """A source file without its folders, which differ between machines."""
    return re.split(r"[/\\]", path)[-1]


def _nameless(branches: list[Branch]) -> str:
    """A name for a function without one: a digest of its branches, since its index changes with other functions."""
    shape = ",".join(f"{each.kind} {each.instr_index}" for each in branches)
    return "nameless " + hashlib.sha256(shape.encode("utf-8", "backslashreplace")).hexdigest()[:12]
