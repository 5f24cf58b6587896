"""The command for ``witness run --harness``: a run of any backend, written as the snapshot that witness reads.

The formats are those of witness 0.44: ``witness-harness-v1`` (counters) and ``-v2`` (counters, and for each row the values and
counts of branches and the trace memory). Witness ignores other keys, so ``source`` has the origin of the values. The environment
has ``WITNESS_MODULE``, ``WITNESS_MANIFEST`` and ``WITNESS_OUTPUT``.
"""

from __future__ import annotations

import base64
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from diffcheck import process
from diffcheck.capsule.driver import START
from diffcheck.cases.discovery import read_artifact
from diffcheck.config.input_files import read_regular
from diffcheck.errors import ArtifactError, ConfigError, ManifestError, ReportError, RunFailedError
from diffcheck.runner.observe.observe_case import CaseRead, ObserveRequest, read_case, source
from diffcheck.text import listed, plural, visible
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from diffcheck.observation import RowRecord
    from diffcheck.witness.formats import Manifest

Schema = Literal["auto", "v1", "v2"]
MODULE, MANIFEST, OUTPUT = "WITNESS_MODULE", "WITNESS_MANIFEST", "WITNESS_OUTPUT"
_CORE, _COMPONENT = b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"
_INITIALIZE = "_initialize"
_TRACE_HEADER: Final = struct.Struct("<IIII")  # cursor, capacity, overflow flag, reserved
_NAMED: Final = 4  # branches that a message names


class Environment(msgspec.Struct, frozen=True):
    """The paths that witness passes to a harness, checked before anything runs."""

    module: str
    manifest: str
    output: str


def environment(variables: Mapping[str, str]) -> Environment:
    """The environment of a harness; raises ``ConfigError``, ``ArtifactError``, ``ManifestError`` or ``ReportError``."""
    for name in (MODULE, MANIFEST, OUTPUT):
        if not variables.get(name):
            raise ConfigError(f"{name} is not set", hint="run it through witness: witness run FILE --harness 'diffcheck harness'")
    paths = Environment(variables[MODULE], variables[MANIFEST], variables[OUTPUT])
    _check_module(paths.module)
    _check_manifest(paths)
    _check_output(Path(paths.output))
    return paths


def _check_module(path: str) -> None:
    try:
        data = read_artifact(path)
    except ArtifactError as error:
        raise ArtifactError(
            f"{MODULE} {visible(path)}: {error}", hint=error.hint or "run witness on an instrumented module"
        ) from error
    if data.startswith(_COMPONENT):
        hint = "make it a core module by `meld fuse --preserve-names`, then `witness instrument` that"
        raise ArtifactError(f"{MODULE} {visible(path)} is a component", hint=hint)
    if not data.startswith(_CORE):
        raise ArtifactError(f"{MODULE} {visible(path)} is not a WebAssembly module", hint="run witness on an instrumented module")


def _check_manifest(paths: Environment) -> None:
    if not Path(paths.manifest).exists():
        hint = "witness writes it beside the module: run `witness instrument` again"
        raise ManifestError(f"there is no manifest at {visible(paths.manifest)}", hint=hint)
    _manifest(paths.manifest)


def _manifest(path: str) -> Manifest:
    return formats.read_manifest(read_regular(path, formats.MANIFEST_CAP, f"the manifest {visible(path)}", ManifestError))


def _check_output(path: Path) -> None:
    """Raise ``ReportError`` if the output cannot be written, before an engine runs."""
    folder = path.parent
    if not folder.is_dir():
        raise ReportError(
            f"{OUTPUT} {visible(str(path))}: there is no folder {visible(str(folder))}", hint="create the folder first"
        )
    if path.is_dir():
        raise ReportError(f"{OUTPUT} {visible(str(path))} is a folder", hint="use the name of a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ReportError(
            f"{OUTPUT} {visible(str(path))}: its folder cannot be written to", hint="check the permissions of the folder"
        )


def run(request: ObserveRequest, schema: Schema, variables: Mapping[str, str], note: Callable[[str], None]) -> None:
    """Run as witness's harness and write the snapshot; raises ``DiffcheckError`` without writing if it is incomplete.

    The paths come from the environment, not from ``request``. ``note`` receives lines for the log.
    """
    paths = environment(variables)
    observed = read_case(msgspec.structs.replace(request, artifact=paths.module, manifest=paths.manifest))
    if observed.notice:
        note(observed.notice)
    _check_stops(observed, request, note)
    initialize = _INITIALIZE in request.rows
    if not initialize and any(row.name == _INITIALIZE and row.trace for each in observed.read.instances for row in each.rows):
        note("_initialize evaluates decisions but is not a row of the record: add --rows _initialize before the other rows")
    written = snapshot(observed, _manifest(paths.manifest), schema, initialize=initialize)
    process.write_atomically(paths.output, msgspec.json.encode(written) + b"\n")


def _check_stops(observed: CaseRead, request: ObserveRequest, note: Callable[[str], None]) -> None:
    name = observed.backend.name
    for stop in observed.read.stops:
        if not request.keep_going:
            hint = "leave that row out, or use --keep-going to continue in a new instance after it"
            raise RunFailedError(f"{name}: {stop}", hint=hint)
        note(
            f"{name}: {stop}; continuing in a new instance"
            + ("" if stop.state_reported else f"; {name} reports nothing for that row")
        )
    if not observed.read.instances:
        raise RunFailedError(f"{name}: no row completed")


def snapshot(observed: CaseRead, manifest: Manifest, schema: Schema, *, initialize: bool = False) -> dict[str, Any]:
    """The contents of the file; schema ``auto`` is v2 if the artifact has row state, else v1.

    ``_initialize`` is always called first. It is a row of the record only with ``initialize``: witness has rows only for requested
    calls.
    """
    layout, counters = observed.plan.layout, observed.read.counters
    missing = [branch.id for branch in manifest.branches if branch.id not in counters]
    if missing:
        some = listed([*map(str, missing)], _NAMED)
        raise ManifestError(
            f"the manifest has {plural(len(missing), 'branch', 'branches')} without a counter in the module: {some}",
            hint="is it this module's manifest? run `witness instrument` again",
        )
    has_rows = bool(layout.branches) or layout.has_trace
    if schema == "v2" and not has_rows:
        raise RunFailedError("the module has no row state for witness-harness-v2", hint="use --schema v1, or instrument again")
    version = "v2" if schema != "v1" and has_rows else "v1"
    written: dict[str, Any] = {
        "schema": f"witness-harness-{version}",
        "counters": {str(branch): value for branch, value in counters.items()},
    }
    if version == "v2":
        capacity = _capacity(observed)
        left_out = (START,) if initialize else (START, _INITIALIZE)
        rows = (row for instance in observed.read.instances for row in instance.rows if row.entered and row.name not in left_out)
        written["rows"] = [_row(row, layout.branches, capacity) for row in rows]
    return {**written, "source": source(observed)}


def _row(row: RowRecord, branches: tuple[int, ...], capacity: int) -> dict[str, Any]:
    names = tuple(map(str, branches))
    first = row.results[0] if row.results else None
    outcome = None
    if first is not None and first.type == "i32":
        outcome = first.bits - (1 << 32) if first.bits >> 31 else first.bits
    header = _TRACE_HEADER.pack(_TRACE_HEADER.size + len(row.trace), capacity, row.trace_overflow, 0)
    return {
        "name": row.name,
        "outcome": outcome,
        "brvals": dict(zip(names, row.brvals, strict=True)),
        "brcnts": dict(zip(names, row.brcnts, strict=True)),
        "trace_b64": base64.b64encode(header + row.trace).decode() if row.trace else "",
    }


def _capacity(observed: CaseRead) -> int:
    """The capacity of the trace, as ``__witness_trace_reset`` sets it: the memory without its header."""
    module = observed.plan.module
    trace = formats.trace_memory(module)
    if trace is None:
        return 0
    return max(0, min(module.all_memories[trace].limits.minimum << 16, 1 << 32) - _TRACE_HEADER.size)
