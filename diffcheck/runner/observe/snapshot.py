"""The exported globals of an artifact after a run, by export name, as a coverage tool reads them.

``diffcheck.snapshot(...)`` is this module's ``snapshot``. The engine needs no change, since a capsule reports the values.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from diffcheck.errors import RunFailedError
from diffcheck.runner.observe.observe_case import HOW, CaseRead, ObserveRequest, read_case, source
from diffcheck.wasm.values import Value, render
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diffcheck.runner.request import Slice, Unknown

COUNTERS: Final = formats.COUNTER
_HEX: Final = {"i32": 8, "f32": 8, "i64": 16, "f64": 16, "v128": 32, "ref": 1}


class Snapshot(msgspec.Struct, frozen=True):
    """The exported globals after a run, in the artifact's order, and their origin.

    ``globals`` has type and bits by name. ``values`` are those of type i32 and i64 as integers: unsigned for witness's globals,
    signed for the artifact's own. ``source`` is the engine and how the values were read; ``notice`` is a warning, usually empty.
    """

    artifact: str
    globals: dict[str, Value]
    source: dict[str, Any]
    notice: str = ""

    @property
    def values(self) -> dict[str, int]:
        """Integer values by name."""
        return {name: _integer(name, value) for name, value in self.globals.items() if value.type in ("i32", "i64")}

    def as_json(self) -> dict[str, Any]:
        """The output of ``--format json``.

        Integers are JSON numbers, as in witness's files. Every global also has its bits as hex text, since JavaScript readers lose
        digits of numbers above 2^53.
        """
        return {
            "schema": "diffcheck-snapshot-v1",
            "artifact": self.artifact,
            "values": self.values,
            "globals": {
                name: {"type": each.type, "bits": self.pattern(name), "value": self.words(name)}
                for name, each in self.globals.items()
            },
            "source": self.source,
        }

    def pattern(self, name: str) -> str:
        """The bits of a global in hex, with the width of its type."""
        value = self.globals[name]
        return f"0x{value.bits:0{_HEX[value.type]}x}"

    def words(self, name: str) -> str:
        """The value of a global as text."""
        value = self.globals[name]
        return str(_integer(name, value)) if value.type in ("i32", "i64") else render(value)


def snapshot(  # noqa: PLR0913 - the options of the command
    artifact: str | os.PathLike[str],
    *,
    backend: str = "",
    prefix: str = COUNTERS,
    rows: Sequence[str] = (),
    stub_imports: Unknown = "zero",
    full: bool = False,
    deadline_s: float = 60.0,
    memory_bytes: int = 4 << 30,
    max_passes: int = 1000,
    slice: Slice = "auto",  # noqa: A002 - the option's name
) -> Snapshot:
    """Run an artifact under ``backend`` and return its exported globals whose names begin with ``prefix`` (empty for all).

    ``backend`` is the name of a subject, or ``NAME:PATH`` with its program; empty for the preferred subject. ``rows`` are rows in
    witness's notation (``EXPORT``, ``EXPORT=arg,arg``), or ``auto`` or ``declared``. If the digests of backend and oracle are
    equal, so are the values; ``full`` reads each value from the backend. ``slice`` is as in ``Request``. Raises ``DiffcheckError``
    if the run did not complete, since a trapped row has no state.
    """
    request = ObserveRequest(
        os.fspath(artifact),
        backend=backend,
        rows=tuple(rows),
        stub_imports=stub_imports,
        full=full,
        deadline_s=deadline_s,
        memory_bytes=memory_bytes,
        max_passes=max_passes,
        slice=slice,
    )
    observed = read_case(request)
    read = observed.read
    unfinished = [stop for stop in read.stops if not stop.state_reported]
    instance = read.instances[-1] if read.instances else None
    if unfinished or instance is None or (read.stops and _rows_left(observed)):
        what = "; ".join(map(str, read.stops))
        raise RunFailedError(f"{observed.backend.name}: {what}", hint="leave that row out by naming the other rows with --rows")
    globals_ = {name: value for name, value in _globals(observed) if name.startswith(prefix)}
    return Snapshot(request.artifact, globals_, source(observed), observed.notice)


def _rows_left(observed: CaseRead) -> bool:
    return sum(len(each.rows) for each in observed.read.instances) < len(observed.plan.rows)


def _globals(observed: CaseRead) -> Iterator[tuple[str, Value]]:
    """The exported globals with their values, in the artifact's order; branch values are those of the last row."""
    module = observed.plan.module
    state, added = observed.read.instances[-1].state, formats.instrumentation(module)
    last = observed.read.instances[-1].last_entered
    known: dict[int, Value] = {}
    for branch, (index, type_) in added.counters.items():
        known[index] = Value(type_, state.counters[branch] % (1 << (32 if type_ == "i32" else 64)))
    for at, branch in enumerate(observed.plan.layout.branches):
        known[added.brvals[branch]] = Value("i32", last.brvals[at] if last is not None else 0)
        known[added.brcnts[branch]] = Value("i32", last.brcnts[at] if last is not None else 0)
    for each in module.exports:
        if each.kind == "global":
            found = known.get(each.index) or state.globals.get(each.name)
            if found is not None:
                yield each.name, found


def _integer(name: str, value: Value) -> int:
    width = 32 if value.type == "i32" else 64
    signed = not name.startswith(formats.PREFIX) and value.bits >> (width - 1)
    return value.bits - (1 << width) if signed else value.bits


def how(found: Snapshot) -> str:
    """The origin of the values, in a sentence."""
    engine, oracle = found.source["backend"], found.source["oracle"]
    name = " ".join(part for part in (engine["name"], engine["version"]) if part)
    agrees = {True: "agrees", False: "differs", None: "has no result to compare"}[oracle["agrees"]]
    return f"{name}: {HOW[found.source['values']]} ({oracle['name']} {agrees})"


__all__ = ["COUNTERS", "Snapshot", "how", "snapshot"]
