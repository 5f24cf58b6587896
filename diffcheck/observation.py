"""What an engine did: the data that travels from backends through ``compare`` to the reports.

An ``Execution`` is one start of an engine with one program. ``RowSeen`` and ``FinalState`` are what was recorded of a row and of an
instance. Every variant of ``Outcome`` is a tagged struct, so that msgspec can distinguish them in JSON and in messages between
processes.
"""

from __future__ import annotations

import signal as signals
from typing import Final, Literal, get_args

import msgspec

from diffcheck.text import visible
from diffcheck.values import Value

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
"""The shared vocabulary of traps; an engine's adapter maps its own words to it. ``unknown`` is for words that it has no entry
for, which is a finding; ``unstated`` for words that an engine says of several kinds alike, which is not compared."""

TRAP_KINDS: tuple[str, ...] = get_args(TrapKind)

Stage = Literal["load", "instantiate", "entry", "run", "unknown"]

RefusalKind = Literal["invalid", "unsupported", "limit", "unlinkable", "trap", "unstated"]
"""Why a program was refused, as far as the engine says: it is malformed or invalid; it uses a proposal that the engine lacks; it
exceeds an implementation limit; an import is missing or of another type; instantiation trapped. The last two prove that the module
was loaded."""


class Returned(msgspec.Struct, frozen=True, tag="returned"):
    """The entry came back."""


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """The program asked to exit with ``code``."""

    code: int


class Threw(msgspec.Struct, frozen=True, tag="threw"):
    """An exception that the program did not catch: its tag's index and name, and its payload, each value with its type.

    ``tagidx`` is None for an exception that no tag of the artifact catches, which is an engine's fault.
    """

    tagidx: int | None
    name: str = ""
    payload: tuple[str, ...] = ()


class Trapped(msgspec.Struct, frozen=True, tag="trapped"):
    """A trap, or an uncaught exception without its tag; ``detail`` is the engine's own words, shown, never compared.

    ``instructions`` names the instruction that trapped, or those that may have; it is empty where nothing is known.
    """

    kind: TrapKind
    detail: str = ""
    instructions: tuple[str, ...] = ()


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The engine would not take the program; ``stage`` and ``kind`` are where and why, as far as the engine says."""

    stage: Stage
    reason: str = ""
    kind: RefusalKind = "unstated"


class Crashed(msgspec.Struct, frozen=True, tag="crashed"):
    """The engine's process died of a signal, or ended by a panic (``signal`` 0)."""

    signal: int
    detail: str = ""


class OutOfMemory(msgspec.Struct, frozen=True, tag="out-of-memory"):
    """The engine met its memory limit; ``in_recorder`` is whether it was the recorder's memory that could not grow."""

    limit_bytes: int
    detail: str = ""
    in_recorder: bool = False


class TimedOut(msgspec.Struct, frozen=True, tag="timed-out"):
    """The engine was ended at its deadline, or ended itself by its own fuel (``detail`` says so)."""

    deadline_s: float
    detail: str = ""


HALF_ANSWER: Final = "half an answer"
"""What is wrong with an answer that begins as one and is cut: the engine speaks the protocol, and the answer is damaged."""


class HarnessFailed(msgspec.Struct, frozen=True, tag="harness-failed"):
    """The engine ended well but its answer is missing, broken or not of this run; ``what`` is the class of the failure.

    ``wrapper`` is whether a program around the engine failed, which says nothing about the engine.
    """

    what: str
    detail: str = ""
    wrapper: bool = False


Outcome = Returned | Exited | Threw | Trapped | Refused | Crashed | OutOfMemory | TimedOut | HarnessFailed


def trapped_at_instantiation(kind: TrapKind) -> Refused:
    """A trap in a start function or an active segment; some engines do not distinguish it from other refusals."""
    return Refused("instantiate", f"trap: {kind}", "trap")


def loaded(outcome: Outcome) -> bool | None:
    """Whether the engine loaded (decoded and validated) the module; None where the outcome proves neither."""
    match outcome:
        case Returned() | Exited() | Threw() | Trapped() | Refused(stage="entry") | Refused(kind="trap" | "unlinkable"):
            return True
        case Refused(stage="load") | Refused(kind="invalid" | "unsupported" | "limit"):
            return False
    return None


def tag(outcome: Outcome) -> str:
    """The outcome's class as it stands in reports: ``returned``, ``timed-out``, ..."""
    return str(outcome.__struct_config__.tag)


def sentence(outcome: Outcome) -> str:  # noqa: PLR0911 - one line an outcome
    """The outcome in a few words for a person."""
    match outcome:
        case Returned():
            return "returned"
        case Exited(code):
            return f"exited with {code}"
        case Threw(tagidx, name, payload):
            words = "an unknown tag" if tagidx is None else f"tag {tagidx}" + (f" {visible(name)}" if name else "")
            return f"threw {words}" + (f" ({', '.join(payload)})" if payload else "")
        case Trapped(kind, detail):
            return f"trapped: {kind if kind not in ('unknown', 'unstated') else detail or 'for an unknown reason'}"
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
    """A signal's number and its name, where it has one here."""
    try:
        return f"{number} ({signals.Signals(number).name})"
    except ValueError:
        return str(number)


class Identity(msgspec.Struct, frozen=True):
    """Which engine ran: ``version`` in its own words, ``path`` and ``sha256`` of its binary, ``found`` says where it was found."""

    name: str
    version: str = ""
    path: str = ""
    sha256: str = ""
    found: str = ""


class Cost(msgspec.Struct, frozen=True):
    """What executions took: wall clock and CPU in nanoseconds, the largest resident size in bytes, the number of executions."""

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

    ``carried`` is what the transport brought out of a capsule: for ``memory`` and ``print`` the recorder memory from address 0,
    for ``words`` the slots as little-endian 64-bit words. ``counters`` is a direct pass's snapshot, by branch id, as unsigned
    64-bit numbers. ``log`` is the tail of what the engine printed, already decoded, hostile.
    """

    outcome: Outcome
    carried: bytes = b""
    counters: dict[int, int] | None = None
    cost: Cost = Cost()
    fuel: int | None = None
    log: str = ""


class Output(msgspec.Struct, frozen=True):
    """What a row wrote to one stream: ``total`` bytes in all, the first of them in ``captured``, a running ``digest`` of all."""

    total: int
    captured: bytes
    digest: int


class StubCall(msgspec.Struct, frozen=True):
    """A call of a stubbed import: its name, its arguments, and the bytes that they point to, where those are compared."""

    name: str
    args: tuple[Value, ...]
    passed: bytes = b""


class CallSequence(msgspec.Struct, frozen=True):
    """A row's calls of stubbed imports, in their order: a digest of all of them; the ``total`` and the first ``calls`` where the
    row was run again in the logging form.
    """

    digest: int
    total: int | None = None
    calls: tuple[StubCall, ...] = ()


class Object(msgspec.Struct, frozen=True):
    """A struct or an array that references lead to: its position in the layout's object types (None: of another type), how many
    fields or elements it has, and the values of those that were recorded.
    """

    type: int | None
    length: int
    values: tuple[Value, ...] = ()


class Objects(msgspec.Struct, frozen=True):
    """The objects of a record, by number; ``cut`` is whether there are more, or more of them, past the recorder's bounds."""

    found: tuple[Object, ...] = ()
    cut: bool = False


class RowSeen(msgspec.Struct, frozen=True):
    """One row: how it ended, its results, and what was recorded right after its call.

    ``outcome`` is None where the row was not reached. It was not ``entered`` either where what resets witness's state before it
    trapped: then nothing was recorded. ``brvals`` and ``brcnts`` are in the order of the layout's branch ids, ``stub_calls`` in the
    order of its stubs and counted since the instance began; ``calls`` are the row's own, None where there are no stubs.
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
    state_compared: bool = True
    entered: bool = True


class FinalState(msgspec.Struct, frozen=True):
    """An instance's state after its last row: counters by branch id, exported globals by name, sizes and digests by index.

    ``elements`` are the words of each table's elements (``capsule.layout``), ``objects`` what they and the globals lead to.
    ``pages`` holds, a memory, the two 64-bit lanes of each digested page; (0, 0) is a page of zeros. Sizes of memories are in
    pages, of tables in elements.
    """

    counters: dict[int, int]
    globals: dict[str, Value]
    tables: tuple[int, ...]
    memories: tuple[int, ...]
    pages: tuple[tuple[tuple[int, int], ...], ...]
    elements: tuple[tuple[int, ...], ...] = ()
    objects: Objects = Objects()
