"""Comparing rows: outcome, bits of results, brval and brcnt, trace, output, calls of imports."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from diffcheck.capsule.layout import COMPARED
from diffcheck.compare import outcomes, references
from diffcheck.observation import Returned, Trapped, sentence
from diffcheck.text import decode, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.capsule.layout import Layout
    from diffcheck.compare.findings import Findings
    from diffcheck.observation import CallSequence, Output, RowRecord, StubCall
    from diffcheck.wasm.values import Value

_TRACE_RECORD = 4
_CONTEXT, _EXCERPT = 16, 48
_KINDS = {0: "condition", 1: "row marker", 2: "outcome"}


def compare(oracle: RowRecord, subject: RowRecord, layout: Layout, findings: Findings, *, state: bool = True) -> None:
    """Record the differences of one row in ``findings``. Both rows must have been decoded with ``layout``.

    ``state`` is False if the record after the call cannot be compared (a trap that reports nothing, a stack that ended at
    different depths).
    """
    if oracle.outcome is None or subject.outcome is None:
        if oracle.outcome is not subject.outcome:
            findings.diverge("outcome", "outcome", _reached(oracle), _reached(subject), row=oracle.name, shape="not reached")
        return
    findings.compared(1, int(not isinstance(oracle.outcome, Returned)), rows=1)
    if not outcomes.compare(oracle.outcome, subject.outcome, findings, oracle.name):
        return
    if _exhausted(oracle):
        findings.not_compared("the state after a call stack was exhausted: the depth of calls is not specified")
        return
    if state and oracle.entered != subject.entered:
        findings.diverge("outcome", "outcome", _entered(oracle), _entered(subject), row=oracle.name, shape="entered")
    elif not state:
        _results(oracle, subject, layout, findings)
    elif oracle.entered:  # nothing is recorded of other rows
        _trace(oracle, subject, findings)  # first, since its first difference precedes all others
        _results(oracle, subject, layout, findings)
        _state(oracle, subject, layout, findings)


def _state(oracle: RowRecord, subject: RowRecord, layout: Layout, findings: Findings) -> None:
    _branches(oracle, subject, layout, findings)
    for name, one, other in (("stdout", oracle.stdout, subject.stdout), ("stderr", oracle.stderr, subject.stderr)):
        if one is not None and other is not None:
            _output(name, one, other, oracle.name, findings)
    _calls(oracle, subject, layout, findings)
    for stub, one_calls, other_calls in zip(layout.stubs, oracle.stub_calls, subject.stub_calls, strict=True):
        findings.compared(1, int(one_calls != 0))
        if one_calls != other_calls:
            item = f"calls of {visible(stub.module)} {visible(stub.name)}"
            findings.diverge("stub calls", item, str(one_calls), str(other_calls), row=oracle.name, shape=item)


def _calls(oracle: RowRecord, subject: RowRecord, layout: Layout, findings: Findings) -> None:
    """Compare the calls of imports in order; the logging form shows the first difference."""
    one, other = oracle.calls, subject.calls
    if one is None or other is None:
        return
    findings.compared(1, int(any(oracle.stub_calls)))
    for stub, calls in zip(layout.stubs, oracle.stub_calls, strict=True):
        if calls and stub.buffers not in ("", COMPARED):
            findings.not_compared(f"the bytes passed to {visible(stub.module)} {visible(stub.name)}: {stub.buffers}")
        if calls and stub.kind != "functional" and "i32" in stub.params:
            findings.not_compared("memory that the arguments of imports without a functional stub may point to")
        if calls and "ref" in stub.params and not layout.described:
            name = f"{visible(stub.module)} {visible(stub.name)}"
            findings.not_compared(f"references passed to {name}, except whether they are null")
    if one.digest == other.digest:
        return
    pairs = zip_longest(one.calls, other.calls)
    at = next((at for at, (call, its) in enumerate(pairs) if call != its), None)
    if at is None or at >= min(_known(one), _known(other)):
        item = f"calls of imports after the first {len(one.calls)}" if one.calls else "calls of imports"
        findings.diverge(
            "stub calls",
            item,
            f"digest {one.digest:016x}",
            f"digest {other.digest:016x}",
            row=oracle.name,
            shape="calls of imports",
        )
        return
    ones, others = one.calls[at : at + 1], other.calls[at : at + 1]
    shape = " / ".join(calls[0].name if calls else "no call" for calls in (ones, others))
    words = [_call(mine[0], theirs) if mine else "no call" for mine, theirs in ((ones, others), (others, ones))]
    findings.diverge("stub calls", f"call {at + 1} of an import", *words, row=oracle.name, shape=shape)


def _known(sequence: CallSequence) -> int:
    """The number of known places of the sequence, including its end if the last call is known."""
    return len(sequence.calls) + (sequence.total == len(sequence.calls))


def _call(call: StubCall, other: Sequence[StubCall]) -> str:
    """The call as text, with the passed bytes from shortly before the first difference."""
    words = f"{visible(call.name)}({', '.join(map(str, call.args))})"
    if not call.passed:
        return words
    at = first_difference(call.passed, other[0].passed) if other and other[0].name == call.name else 0
    begin = max(0, at - _CONTEXT) if at < len(call.passed) else 0
    return f'{words} with "{visible(decode(call.passed[begin : begin + _EXCERPT]))}"' + (f" from byte {begin}" if begin else "")


def _exhausted(row: RowRecord) -> bool:
    return isinstance(row.outcome, Trapped) and row.outcome.kind == "call stack exhausted"


def _entered(row: RowRecord) -> str:
    assert row.outcome is not None, "it was compared"  # noqa: S101
    return f"{sentence(row.outcome)}, {'in the row' if row.entered else 'before the row was entered'}"


def _reached(row: RowRecord) -> str:
    return "not reached" if row.outcome is None else "reached"


def _results(oracle: RowRecord, subject: RowRecord, layout: Layout, findings: Findings) -> None:
    for at, (one, other) in enumerate(zip(oracle.results, subject.results, strict=True)):
        if one.type == "ref":
            continue
        findings.compared(1, int(one.bits != 0))
        if one != other:
            findings.diverge(
                "result",
                f"result {at}",
                str(one),
                str(other),
                row=oracle.name,
                shape=f"{at} {one.type}",
                detail=bits(one, other),
            )
    if layout.has_references:
        references.compare(references.of_row(oracle), references.of_row(subject), layout, findings, row=oracle.name)


def bits(one: Value, other: Value) -> str:
    """Both bit patterns of a float, whose decimals may be equal."""
    if one.type not in ("f32", "f64"):
        return ""
    width = 8 if one.type == "f32" else 16
    return f"bits 0x{one.bits:0{width}x} and 0x{other.bits:0{width}x}"


def _branches(oracle: RowRecord, subject: RowRecord, layout: Layout, findings: Findings) -> None:
    pairs = (("brval", oracle.brvals, subject.brvals), ("brcnt", oracle.brcnts, subject.brcnts))
    for kind, ones, others in pairs:
        findings.compared(len(ones), len(ones) - ones.count(0))
        if ones == others:
            continue
        for branch, one, other in zip(layout.branches, ones, others, strict=True):
            if one != other:
                findings.diverge(
                    "brval" if kind == "brval" else "brcnt",
                    f"{kind} {branch}",
                    str(one),
                    str(other),
                    row=oracle.name,
                    branch=branch,
                )


def _trace(oracle: RowRecord, subject: RowRecord, findings: Findings) -> None:
    findings.compared(1, int(bool(oracle.trace)))
    if (oracle.trace, oracle.trace_overflow) == (subject.trace, subject.trace_overflow):
        return
    at = first_difference(oracle.trace, subject.trace) // _TRACE_RECORD
    one, other = _record(oracle, at), _record(subject, at)
    kind, number = _record_kind(oracle.trace, at)
    findings.diverge(
        "trace", f"trace record {at}", one, other, row=oracle.name, shape="trace",
        branch=number if kind == "condition" else None, function=number if kind == "outcome" else None,
    )  # fmt: skip


def first_difference(one: bytes, other: bytes) -> int:
    """The offset of the first differing byte; the shorter length where one is the other's beginning."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _record_kind(trace: bytes, at: int) -> tuple[str, int]:
    """The kind of a trace record, and the index of its branch, row or function; empty after the end of the trace."""
    record = trace[_TRACE_RECORD * at : _TRACE_RECORD * (at + 1)]
    if len(record) < _TRACE_RECORD:
        return "", 0
    return _KINDS.get(record[3], f"kind {record[3]}"), int.from_bytes(record[:2], "little")


def _record(row: RowRecord, at: int) -> str:
    kind, number = _record_kind(row.trace, at)
    if not kind:
        end = f"ends after {at} records" + (f" and {extra} bytes" if (extra := len(row.trace) - at * _TRACE_RECORD) else "")
        return f"{end}, its memory was full" if row.trace_overflow else end
    if kind == "row marker":
        return f"row marker {number}"
    return f"{kind} of {'function' if kind == 'outcome' else 'branch'} {number} is {row.trace[_TRACE_RECORD * at + 2]}"


def _output(name: str, one: Output, other: Output, row: str, findings: Findings) -> None:
    findings.compared(1, int(one.total != 0))
    if one == other:
        return
    if one.captured == other.captured:
        findings.diverge(
            "output",
            f"{name} past the first {len(one.captured)} bytes",
            f"{one.total} bytes, digest {one.digest:016x}",
            f"{other.total} bytes, digest {other.digest:016x}",
            row=row,
            shape=name,
        )
        return
    at = first_difference(one.captured, other.captured)
    findings.diverge(
        "output", f"{name} at byte {at}", _excerpt(one.captured, at), _excerpt(other.captured, at), row=row, shape=name
    )


def _excerpt(data: bytes, at: int) -> str:
    return visible(decode(data[at : at + 40])) if at < len(data) else f"ends at byte {len(data)}"
