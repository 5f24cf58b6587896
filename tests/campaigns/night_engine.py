"""Artifacts and engines for the simulated nights: small programs, and a stand-in that runs functions of them wrongly.

The stand-in is a real engine behind the transport that kilnd has (windows of a stream, nothing at a trap). A bug replaces the body of one
function before the engine is given the program, so what the tool sees is what an engine did, not what a model says.
"""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import msgspec

from diffcheck.backend.contract import Backend
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.observation import Execution, TimedOut
from diffcheck.wasm import section as ids
from diffcheck.wasm.leb import s, u

if TYPE_CHECKING:
    from pathlib import Path

    from diffcheck.backend.contract import Host, Pending, Program, RunLimits
    from diffcheck.observation import Identity

ROWS = 5
TICKS = 3
"""Counters that a row counts."""
COUNTERS = ROWS * TICKS
STORING_ROW = 2
ADDRESS = 4096
FLAKY_SHARE = 0.5

TRAPS = (b"\x00\x00\x0b", b"\x00\x41\x01\x41\x00\x6d\x0b", b"\x00\x41\x7f\x28\x02\x00\x0b")
"""Bodies that trap: unreachable, a division by zero, a load out of bounds."""


def text(*, rebuilt: bool) -> str:
    """The artifact: a value, some counters and one store by row; ``rebuilt`` has a function more before all others.

    Then every index, every branch id and every line is another.
    """
    first = 2 if rebuilt else 0
    parts = ["(module", '(memory (export "memory") 1)']
    parts += [f'(global (export "__witness_counter_{k}") (mut i64) (i64.const 0))' for k in range(COUNTERS + first)]
    if rebuilt:
        counting = "".join(f"(global.set {k} (i64.add (global.get {k}) (i64.const 1)))" for k in range(first))
        parts.append(f"(func $unrelated {counting})")
    parts += [f"(func $value{row} (result i32) i32.const {100 + row})" for row in range(ROWS)]
    parts += [f"(func $tick{k} (global.set {k + first} (i64.add (global.get {k + first}) (i64.const 1))))" for k in range(COUNTERS)]
    parts.append(f"(func $store (i32.store (i32.const {ADDRESS}) (i32.const 77)))")
    for row in range(ROWS):
        calls = "".join(f"(call $tick{k})" for k in range(row * TICKS, row * TICKS + TICKS))
        store = "(call $store)" if row == STORING_ROW else ""
        parts.append(f'(func (export "run_row_{row}") (result i32) {calls} {store} (call $value{row}))')
    return "\n".join([*parts, ")"])


def manifest(*, rebuilt: bool) -> dict[str, object]:
    """The artifact's manifest: each counter is a branch of its own function in a library that all artifacts share."""
    first, lines = (2, 40) if rebuilt else (0, 0)
    branches = [
        {"id": k + first, "function_index": ROWS + k + first // 2, "function_name": f"tick{k}", "kind": "br_if", "instr_index": 1}
        for k in range(COUNTERS)
    ]
    branches += [
        {"id": k, "function_index": 0, "function_name": "unrelated", "kind": "br_if", "instr_index": k} for k in range(first)
    ]
    decisions = [
        {"id": k, "conditions": [k + first], "source_file": "/build/two/lib.c" if rebuilt else "./lib.c",
         "source_line": 10 + 3 * k + lines} for k in range(COUNTERS)
    ]  # fmt: skip
    return {"schema_version": "2", "branches": branches, "decisions": decisions}


def write(folder: Path, name: str, binary: bytes, *, rebuilt: bool) -> Path:
    """An artifact with its manifest beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.wasm"
    path.write_bytes(binary)
    path.with_name(path.name + ".witness.json").write_bytes(msgspec.json.encode(manifest(rebuilt=rebuilt)))
    return path


class Bug:
    """A bug of the engine, which the tool knows nothing of: where it is, its cases, and what it does there."""

    def __init__(self, kind: str, row: int, cases: tuple[int, ...], variant: int, number: int) -> None:
        self.kind, self.row, self.cases, self.variant, self.number = kind, row, cases, variant, number
        self.alive = self.flaky = False

    @property
    def slots(self) -> set[tuple[object, ...]]:
        """What may have only one bug in its life, since a second one there would be reported with the same signature."""
        if self.kind == "counter":
            return {(self.kind, self.counter)}
        return {(self.kind, self.row, case) for case in self.cases}

    @property
    def counter(self) -> int:
        """The counter that a counter's bug counts wrong."""
        return self.row * TICKS + self.variant % TICKS

    def body(self, drift: int, first: int) -> tuple[int, bytes]:
        """The function that is another tonight, by its index, and its body; ``first`` is how many counters come before ours."""
        shift = first // 2
        if self.kind == "outcome":
            return shift + self.row, TRAPS[self.variant % len(TRAPS)]
        if self.kind == "result":
            return shift + self.row, b"\x00\x41" + s(1000 + drift) + b"\x0b"
        if self.kind == "counter":
            index = u(self.counter + first)
            return shift + ROWS + self.counter, b"\x00\x23" + index + b"\x42" + s(2 + drift) + b"\x7c\x24" + index + b"\x0b"
        address = s(ADDRESS + 8 * drift)
        return shift + ROWS + COUNTERS, b"\x00\x41" + address + b"\x41" + s(drift) + b"\x36\x02\x00\x0b"


def edited(data: bytes, bodies: dict[int, bytes]) -> bytes:
    """A program with some functions' bodies replaced."""
    return ids.write([_code(each, bodies) if each.id == ids.CODE else each for each in ids.split(data)])


def _code(each: ids.Section, bodies: dict[int, bytes]) -> ids.Section:
    reader = each.reader()
    count = reader.u32()
    code = [bytes(reader.bytes(reader.u32())) for _ in range(count)]
    return ids.section(
        ids.CODE, u(count) + b"".join(u(len(body)) + body for body in (bodies.get(at, one) for at, one in enumerate(code)))
    )


class Standin(Backend):
    """Tonight's engine for one case: each execution decides anew which of its flaky bugs show."""

    def __init__(self, inner: Backend, bugs: list[Bug], draw: random.Random, *, rebuilt: bool) -> None:
        self._inner, self._bugs, self._draw = inner, sorted(bugs, key=lambda bug: bug.kind == "outcome"), draw
        self._drift, self._first = draw.randrange(1, 50), 2 if rebuilt else 0
        self._made: dict[bytes, FaultyBackend] = {}
        self.capabilities = FaultyBackend(inner, None, words=True).capabilities

    def identity(self) -> Identity:
        """The inner engine's."""
        return self._inner.identity()

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """See ``Backend``."""
        live = [bug for bug in self._bugs if not (bug.flaky and self._draw.random() < FLAKY_SHARE)]
        bodies = dict(bug.body(self._drift, self._first) for bug in live)
        key = hashlib.sha256(repr(sorted(bodies.items())).encode()).digest()
        if key not in self._made:
            fault = Fault("", "", Expected(), edit=lambda data: edited(data, bodies)) if bodies else None
            self._made[key] = FaultyBackend(self._inner, fault, words=True)
        return self._made[key].start(program, limits, host)


class Ailing(Backend):
    """An oracle that comes to no answer tonight."""

    def __init__(self, inner: Backend) -> None:
        self._inner, self.capabilities = inner, inner.capabilities

    def identity(self) -> Identity:
        """The inner engine's."""
        return self._inner.identity()

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:  # noqa: ARG002 - the contract's
        """No answer."""
        return _NoAnswer(limits.deadline_s)


class _NoAnswer:
    def __init__(self, deadline_s: float) -> None:
        self._execution = Execution(TimedOut(deadline_s))

    def wait(self) -> Execution:
        return self._execution
