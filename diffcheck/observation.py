"""Observations: the data that backends produce and ``compare`` and the reports use.

An ``Execution`` is one start of an engine with one program. ``RowRecord`` and ``FinalState`` are the records of a row and of an
instance. Every variant of ``Outcome`` is a tagged struct, so that msgspec can distinguish them in JSON and in messages between
processes.
"""

from __future__ import annotations

import re
import signal as signals
from typing import Final, Literal, get_args

import msgspec

from diffcheck.text import visible
from diffcheck.wasm.values import Value

TrapKind = Literal[
    "unreachable",
    "integer divide by zero",
    "integer overflow",
    "invalid conversion to integer",
    "out of bounds memory access",
    "out of bounds table access",
    "uninitialized element",
    "indirect call type mismatch",
    "call stack exhausted",
    "null reference",
    "cast failure",
    "out of bounds array access",
    "allocation too large",
    "uncaught exception",
    "unaligned atomic",
    "unstated",
    "unknown",
]
"""The kinds of traps, to which adapters map an engine's messages. ``unknown`` is a message without a known kind, which is a
finding; ``unstated`` is a message that an engine has for several kinds, which is not compared.
"""

TRAP_KINDS: tuple[TrapKind, ...] = get_args(TrapKind)
UNNAMED_KINDS: Final[frozenset[TrapKind]] = frozenset({"unstated", "unknown"})
"""What may be a trap of any kind."""
_SCRIPTS_NULL: Final = re.compile(r"null (?:[a-z0-9]+ )?reference")
_SCRIPTS_ELEMENT: Final = "undefined element"

Stage = Literal["load", "instantiate", "entry", "run", "unknown"]

RefusalKind = Literal["invalid", "unsupported", "limit", "unlinkable", "trap", "unstated"]
"""Why a program was refused, as far as the engine reports it: it is malformed or invalid; it uses an unsupported proposal; it
exceeds an implementation limit; an import is missing or has another type; instantiation trapped. The last two prove that the module
was loaded.
"""


class Returned(msgspec.Struct, frozen=True, tag="returned"):
    """The entry returned."""


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """The program exited with ``code``."""

    code: int


class Threw(msgspec.Struct, frozen=True, tag="threw"):
    """An uncaught exception: index and name of its tag, and its payload, each value with its type.

    ``tagidx`` is None for an exception without a tag of the artifact, which is a fault of the engine.
    """

    tagidx: int | None
    name: str = ""
    payload: tuple[str, ...] = ()


class LeftSlice(msgspec.Struct, frozen=True, tag="left-slice"):
    """The program called a function that the slice does not have.

    ``stub`` is the funcidx of its stub in the slice. ``functions`` are the artifact's functions that this stub replaces, as text,
    and ``count`` is their number.
    """

    stub: int
    functions: str
    count: int = 1


class Trapped(msgspec.Struct, frozen=True, tag="trapped"):
    """A trap, or an uncaught exception without its tag; ``detail`` is the engine's message, which is never compared.

    ``instructions`` are the names of the instructions that may have trapped, empty if unknown.
    """

    kind: TrapKind
    detail: str = ""
    instructions: tuple[str, ...] = ()


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The engine refused the program; ``stage`` and ``kind`` are where and why, as far as the engine reports it."""

    stage: Stage
    reason: str = ""
    kind: RefusalKind = "unstated"


class Crashed(msgspec.Struct, frozen=True, tag="crashed"):
    """The process of the engine died of a signal, or of a panic (``signal`` 0)."""

    signal: int
    detail: str = ""


class OutOfMemory(msgspec.Struct, frozen=True, tag="out-of-memory"):
    """The engine reached its memory limit; ``in_recorder`` is whether the recorder's memory could not grow."""

    limit_bytes: int
    detail: str = ""
    in_recorder: bool = False


class TimedOut(msgspec.Struct, frozen=True, tag="timed-out"):
    """The engine was killed at its deadline, or used up its own fuel (see ``detail``)."""

    deadline_s: float
    detail: str = ""


HALF_ANSWER: Final = "incomplete answer"
"""The failure of an answer that is cut: the engine supports the protocol, and the answer is damaged."""


class HarnessFailed(msgspec.Struct, frozen=True, tag="harness-failed"):
    """The engine succeeded, but its answer is missing, damaged or of another run; ``what`` is the class of the failure.

    ``wrapper`` is whether a program around the engine failed, and not the engine.
    """

    what: str
    detail: str = ""
    wrapper: bool = False


Outcome = Returned | Exited | Threw | LeftSlice | Trapped | Refused | Crashed | OutOfMemory | TimedOut | HarnessFailed


def trap_kind(reason: str) -> TrapKind | None:
    """The kind of trap that a reason begins with, by these names or those of the test suite; None for another."""
    if reason.startswith(_SCRIPTS_ELEMENT):
        return "out of bounds table access"
    if _SCRIPTS_NULL.match(reason):
        return "null reference"
    return next((each for each in TRAP_KINDS if each not in UNNAMED_KINDS and reason.startswith(each)), None)


_TRAP: Final = "trap: "


def trapped_at_instantiation(kind: TrapKind) -> Refused:
    """The refusal for a trap in a start function or an active segment, which some engines do not distinguish from other
    refusals.
    """
    return Refused("instantiate", f"{_TRAP}{kind}", "trap")


def trap_of(outcome: Outcome) -> Outcome:
    """The trap that an outcome is, also if it was at instantiation; other outcomes as they are."""
    if isinstance(outcome, Refused) and outcome.kind == "trap":
        return Trapped(trap_kind(outcome.reason.removeprefix(_TRAP)) or "unknown")
    return outcome


def loaded(outcome: Outcome) -> bool | None:
    """Whether the engine loaded (decoded and validated) the module; None if the outcome does not show it.

    See "The adapter classifies a refusal" in docs/design.md.
    """
    match outcome:
        case Returned() | Exited() | Threw() | LeftSlice() | Trapped():
            return True
        case Refused(stage="entry") | Refused(kind="trap" | "unlinkable"):
            return True
        case Refused(stage="load") | Refused(kind="invalid" | "unsupported" | "limit"):
            return False
    return None


def tag(outcome: Outcome) -> str:
    """The class of the outcome in reports: ``returned``, ``timed-out``, ..."""
    return str(outcome.__struct_config__.tag)


def sentence(outcome: Outcome) -> str:  # noqa: PLR0911 - one line for each outcome
    """The outcome as text."""
    match outcome:
        case Returned():
            return "returned"
        case Exited(code):
            return f"exited with {code}"
        case Threw(tagidx, name, payload):
            words = "an unknown tag" if tagidx is None else f"tag {tagidx}" + (f" {visible(name)}" if name else "")
            return f"threw {words}" + (f" ({', '.join(payload)})" if payload else "")
        case LeftSlice(functions=functions):
            return f"entered {functions}, which the oracle does not enter"
        case Trapped(kind, detail):
            return f"trapped: {kind if kind not in UNNAMED_KINDS else detail or 'for an unknown reason'}"
        case Refused(stage, reason):
            where = "" if stage == "unknown" else f" at {stage}"
            return f"refused{where}: {reason}" if reason else f"refused{where}"
        case Crashed(signal, detail):
            return f"crashed by signal {_signal(signal)}" if signal else f"crashed: {detail}"
        case OutOfMemory(limit_bytes, detail):
            return f"out of memory (limit {limit_bytes / 1e9:.1f} GB)" + (f": {detail}" if detail else "")
        case TimedOut(deadline_s, detail):
            return f"timed out after {deadline_s:g} s" if not detail else f"timed out: {detail}"
        case HarnessFailed(what, detail):
            return f"harness failed: {what}" + (f" ({detail})" if detail else "")


def _signal(number: int) -> str:
    """The number of a signal, and its name if known."""
    try:
        return f"{number} ({signals.Signals(number).name})"
    except ValueError:
        return str(number)


class Identity(msgspec.Struct, frozen=True):
    """Which engine ran: ``version`` as it reports it, ``path`` and ``sha256`` of its binary, ``found`` is how it was found."""

    name: str
    version: str = ""
    path: str = ""
    sha256: str = ""
    found: str = ""


class Cost(msgspec.Struct, frozen=True):
    """The cost of executions: wall-clock and CPU time in nanoseconds, largest resident size in bytes, number of executions."""

    elapsed_ns: int = 0
    cpu_ns: int = 0
    peak_bytes: int = 0
    executions: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.elapsed_ns + other.elapsed_ns,
            self.cpu_ns + other.cpu_ns,
            max(self.peak_bytes, other.peak_bytes),
            self.executions + other.executions,
        )


class Execution(msgspec.Struct, frozen=True):
    """One start of an engine.

    ``carried`` are the bytes that the transport carried out of a capsule: for ``memory`` and ``print`` the recorder memory from
    address 0, for ``words`` the slots as little-endian 64-bit words. ``counters`` is a direct pass's snapshot, by branch id, as
    unsigned 64-bit numbers. ``log`` is the end of the engine's output, decoded, possibly hostile.
    """

    outcome: Outcome
    carried: bytes = b""
    counters: dict[int, int] | None = None
    cost: Cost = Cost()
    fuel: int | None = None
    log: str = ""


class Output(msgspec.Struct, frozen=True):
    """The output of a row on one stream: the ``total`` number of bytes, the first of them, and a ``digest`` of all."""

    total: int
    captured: bytes
    digest: int


class StubCall(msgspec.Struct, frozen=True):
    """A call of a stubbed import: its name, its arguments, and the bytes that they point to, if these are compared."""

    name: str
    args: tuple[Value, ...]
    passed: bytes = b""


class CallSequence(msgspec.Struct, frozen=True):
    """The calls of stubbed imports by a row, in order: a digest of all; ``total`` and the first ``calls`` if the row was rerun in
    logging form.
    """

    digest: int
    total: int | None = None
    calls: tuple[StubCall, ...] = ()


class Object(msgspec.Struct, frozen=True):
    """A struct or an array that references lead to: its position in the object types of the layout (None: another type), the number
    of its fields or elements, and their recorded values.
    """

    type: int | None
    length: int
    values: tuple[Value, ...] = ()


class Objects(msgspec.Struct, frozen=True):
    """The objects of a record, by number; ``cut`` is whether objects or values exceeded the recorder's limits."""

    found: tuple[Object, ...] = ()
    cut: bool = False


class RowRecord(msgspec.Struct, frozen=True):
    """One row: its outcome, its results, and the state recorded after its call.

    ``outcome`` is None if the row was not reached. ``entered`` is also False if the reset of witness's state before the row
    trapped, and then nothing is recorded. ``brvals`` and ``brcnts`` are in the order of the layout's branch ids, ``stub_calls`` in
    the order of its stubs and counted since the start of the instance; ``calls`` are the row's own, None without stubs.
    """

    name: str
    outcome: Outcome | None
    results: tuple[Value, ...] = ()
    payload: tuple[Value, ...] = ()
    brvals: tuple[int, ...] = ()
    brcnts: tuple[int, ...] = ()
    trace: bytes = b""
    trace_overflow: bool = False
    stdout: Output | None = None
    stderr: Output | None = None
    stub_calls: tuple[int, ...] = ()
    calls: CallSequence | None = None
    objects: Objects = Objects()
    entered: bool = True


class FinalState(msgspec.Struct, frozen=True):
    """The state of an instance after its last row: counters by branch id, exported globals by name, sizes and digests by index.

    ``elements`` are the words of each table's elements (``capsule.layout``), ``objects`` those that they and the globals lead to.
    ``pages`` has, for each memory, the two 64-bit lanes of each digested page; (0, 0) is a page of zeros. Sizes of memories are in
    pages, of tables in elements.
    """

    counters: dict[int, int]
    globals: dict[str, Value]
    tables: tuple[int, ...]
    memories: tuple[int, ...]
    pages: tuple[tuple[tuple[int, int], ...], ...]
    elements: tuple[tuple[int, ...], ...] = ()
    objects: Objects = Objects()
