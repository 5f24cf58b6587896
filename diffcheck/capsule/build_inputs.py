"""What a capsule is built from, and what follows from it: which values are recorded, and the digest of the plan."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.driver import Call
from diffcheck.capsule.recorder import functions as recorder
from diffcheck.capsule.recorder.reference_types import hierarchy, identities_can_differ, payload, typed_elements
from diffcheck.capsule.recorder.references import FUNC
from diffcheck.capsule.seal import World
from diffcheck.wasm.debug.names import tag_names
from diffcheck.wasm.module import Module
from diffcheck.wasm.types import RefType
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from diffcheck.capsule.forms import Extension, Form
    from diffcheck.capsule.recorder.reference_types import TypedElements
    from diffcheck.capsule.slicing.slice_form import Slice
    from diffcheck.observation import LeftSlice
    from diffcheck.wasm.types import ValType


class BuildInputs(msgspec.Struct, frozen=True, dict=True):
    """The arguments of ``build.build``."""

    module: Module
    artifact_sha256: str
    calls: tuple[Call, ...]
    world: World
    form: Form
    extension: Extension | None
    slice: Slice | None

    @property
    def artifact(self) -> Module:
        """The module that is run; of a slice the module that was sliced, which has all names and all code."""
        return self.slice.whole if self.slice is not None else self.module

    @cached_property
    def dropped(self) -> dict[int, LeftSlice]:
        """The outcomes of rows that enter stubs of the slice, by the stub's funcidx."""
        return self.slice.dropped() if self.slice is not None else {}

    @cached_property
    def witness(self) -> formats.WitnessItems:
        """The items that witness added to the artifact."""
        return formats.instrumentation(self.module)

    @cached_property
    def identities_can_differ(self) -> bool:
        """Whether references to functions can be confused with each other."""
        return identities_can_differ(self.artifact)

    @property
    def n_extension(self) -> int:
        """The number of the extension's functions."""
        return self.extension.count if self.extension is not None else 0


def tested_elements(inputs: BuildInputs) -> dict[int, tuple[TypedElements, ...]]:
    """Return the elements of each table whose function types are tested; none if the identity form compares them."""
    if inputs.form.references != "described":
        return {}
    elements = ((table, typed_elements(inputs.module, table)) for table in range(len(inputs.module.all_tables)))
    tested = {table: runs for table, runs in elements if runs}
    return {} if tested and inputs.identities_can_differ else tested


def visible_globals(module: Module, witness: formats.WitnessItems) -> dict[str, int]:
    """Return the globals visible to a host, by name: exported globals except witness's, and imported mutable globals."""
    own = {index for index, _ in witness.counters.values()} | {*witness.brvals.values(), *witness.brcnts.values()}
    exported = {each.name: each.index for each in module.exports if each.kind == "global" and each.index not in own}
    excluded = {*exported.values()} | own
    mutable = {
        f"{each.module} {each.name} (imported, {index})": index
        for index, each in enumerate(each for each in module.imports if each.kind == "global")
        if index not in excluded and module.all_globals[index].mutable
    }
    return mutable | exported


def recorded_types(inputs: BuildInputs, globals_: Mapping[str, int]) -> Iterator[ValType]:
    """Yield the types of all recorded values."""
    module = inputs.module
    if inputs.extension is not None and inputs.form.references == "identified":
        yield FUNC
    for each in inputs.calls:
        yield from each.type.results
    yield from passed_types(module)
    yield from (module.all_globals[index].value for index in globals_.values())
    kinds = (each.ref for each in module.all_tables)
    yield from (each for each in kinds if inputs.form.references == "identified" or hierarchy(module, each) != "func")
    for tag in module.all_tags if inputs.form.unwinds else ():
        yield from payload(module, tag.typeidx)


def passed_types(module: Module) -> Iterator[RefType]:
    """Yield the types of references that imports receive."""
    for index in range(module.n_imported("func")):
        yield from (each for each in module.function_type(index).params if isinstance(each, RefType))


def recorded_tags(module: Module) -> tuple[lo.Tag, ...]:
    """Return the artifact's tags, named by export, import or name section."""
    if not module.all_tags:
        return ()
    exported = {each.index: each.name for each in reversed(module.exports) if each.kind == "tag"}
    imported = [f"{each.module}.{each.name}" for each in module.imports if each.kind == "tag"]
    names = {**tag_names(module), **dict(enumerate(imported)), **exported}
    payloads = [payload(module, each.typeidx) for each in module.all_tags]
    return tuple(lo.Tag(names.get(at, ""), tuple(map(recorder.kind_of, each))) for at, each in enumerate(payloads))


def plan_digest(artifact_sha256: str, calls: Sequence[Call], world: World) -> int:
    """Return a 64-bit key of what is run: artifact, rows, world and the recorder's version; equal on both engines."""
    rows = [
        (each.name, each.function, [(value.type, str(value.bits)) for value in each.args], each.init, each.reads) for each in calls
    ]
    plan = msgspec.json.encode([lo.VERSION, artifact_sha256, rows, world])
    return int.from_bytes(hashlib.sha256(plan).digest()[:8], "little")
