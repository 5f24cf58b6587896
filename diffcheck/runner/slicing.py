"""Slice the artifact of a plan to the functions that its rows execute under the oracle."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.capsule.callgraph import DIRECT_CALLS
from diffcheck.capsule.recorder.reference_types import identities_can_differ, referenced_functions
from diffcheck.capsule.slicing.slice_form import slice_module
from diffcheck.errors import DiffcheckError
from diffcheck.runner import plan as plans
from diffcheck.runner import planning
from diffcheck.runner.expected_memory import SliceMemory, expected_memory
from diffcheck.runner.passes.instances import MAX_INSTANCES
from diffcheck.runner.plan import SkippedPlan
from diffcheck.runner.split.row_groups import ExecutedFunctions, grouped
from diffcheck.text import plural, size, visible
from diffcheck.wasm.code import instructions, read_locals

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from diffcheck.backend.contract import Backend, Host, Oracle
    from diffcheck.capsule.slicing.slice_form import Slice
    from diffcheck.cases.discovery import Case
    from diffcheck.runner.plan import CapsulePlan, Plan
    from diffcheck.runner.request import Request
    from diffcheck.runner.split.row_groups import RowGroup
    from diffcheck.wasm.module import Module

MACHINE_SHARE: Final = 0.8
"""The share of the machine's memory that an execution of a subject may have; the rest is for the oracle and for diffcheck."""
_ROOM: Final = 0.9
"""The share of the limit that a slice is planned for: the expected memory of slices of over 1 GB is within 6 % (2026-11-28)."""
WIDENINGS: Final = 24
"""Reruns of a slice with functions that only the subject enters, so that the result is that of the whole artifact."""
_ALWAYS_AVAILABLE: Final = 256 << 20
"""Memory that an execution always gets: reading the available memory takes 0.8 ms (measured 2026-11-28)."""
_SLICING_S: Final = 1.0
"""The least time that slicing has to save, since a slice has no direct pass."""
_COMPILING_S: Final = 1.7e-6
"""Seconds for each byte of code that the oracle compiles with marks (measured with Wasmtime 50 on 2026-11-28)."""
_CALLEES: Final = 64
"""The functions that a slice is widened by at once: the one that the subject enters, and those that it calls."""
_STUBS: Final = 32
"""The stubs of one type while the function that the subject entered is searched, and the stubs whose references are
compared. Each has the memory of a function.
"""


def make(case: Case, request: Request, oracle: Oracle, subject: Backend, host: Host) -> Plan:
    """Return the plan of a case, of its slice if one is to be run."""
    return chosen(planning.make(case, request, oracle, oracle, subject, host), request, oracle, subject, host)


def chosen(plan: Plan, request: Request, oracle: Backend, subject: Backend, host: Host) -> Plan:
    """Return the plan, or that of the artifact's slices; the plan with the reason if the oracle does not complete the rows."""
    if not isinstance(plan, plans.CapsulePlan) or not applies(plan, request, subject):
        return plan
    try:
        return in_slices(plan, ExecutedFunctions(plan, oracle, host), subject)
    except DiffcheckError as error:
        return msgspec.structs.replace(plan, notes=(*plan.notes, f"not sliced: {error.line}"))


def in_slices(plan: CapsulePlan, executed: ExecutedFunctions, subject: Backend) -> Plan:
    """Return the plan of the slice that has all executed functions, or of several slices, each with some of the rows, if that one
    is expected to need more memory than an execution may have.

    Rows that do not fit at all are left out with a note; if no row fits, the result is a ``SkippedPlan`` with the reason.
    """
    memory = SliceMemory(plan.module, plan.functions - len(plan.module.all_functions), subject.capabilities)
    allowed, machine = int(_ROOM * plan.limits.memory_bytes), int(MACHINE_SHARE * process.machine_memory_bytes())
    found = grouped(executed, memory.of, min(allowed, machine))
    shares = {allowed: f"{_ROOM:.0%} of --memory-limit", machine: f"{MACHINE_SHARE:.0%} of this machine's memory"}
    may_have = f"{size(min(shares))} ({shares[min(shares)]})"
    rows, shift = plan.rows, plan.layout.n_init
    notes = tuple(
        f"{plural(each.last - each.first, 'row')} from {visible(rows[shift + each.first])} on: expected to need "
        f"{size(each.memory_bytes)} of memory even in a slice, more than {may_have}"
        for each in found.left_out
        if each.last > each.first
    )
    if not found.groups:
        least = min(each.memory_bytes for each in found.left_out)
        return SkippedPlan(
            plan.case, f"expected to need {size(least)} of memory even in a slice, more than {may_have}", plan.sha256
        )
    first, *others = found.groups
    if not others and not found.left_out:
        return sliced(plan, first.functions, subject)
    parts = [sliced(_with_rows(plan, each), each.functions, subject) for each in found.groups]
    missed = len(rows) - shift - max(each.last for each in (*found.groups, *found.left_out))
    if missed:
        notes = (*notes, f"{plural(missed, 'row')} after the first {MAX_INSTANCES} instances")
    split = (f"the rows are split over {len(parts)} slices, each of at most {may_have}",) if others else ()
    return msgspec.structs.replace(parts[0], others=tuple(parts[1:]), notes=(*parts[0].notes, *split, *notes))


def _with_rows(plan: CapsulePlan, group: RowGroup) -> CapsulePlan:
    """The plan with the init rows and the rows of a group only."""
    rows = [each for each in plan.calls if not each.init][group.first : group.last]
    calls = (*(each for each in plan.calls if each.init), *rows)
    return msgspec.structs.replace(plan, calls=calls, capsules=plan.rebuild(plan.module, calls))


def part_with(plan: CapsulePlan, row: str) -> CapsulePlan:
    """Return the plan of the slice that has a row, if the rows are split over several; else the plan."""
    return next((each for each in (plan, *plan.others) if row in each.rows[each.layout.n_init :]), plan)


def applies(plan: CapsulePlan, request: Request, subject: Backend) -> bool:
    """Return whether the artifact is to be sliced: *auto* if it does not fit the memory, or takes longer to load than to slice."""
    if request.slice != "auto":
        return request.slice == "always"
    needed = plan.memory_bytes
    if needed > _ROOM * plan.limits.memory_bytes or (needed > _ALWAYS_AVAILABLE and needed > process.available_memory_bytes()):
        return True
    code_bytes = sum(size for _, size in plan.module.bodies)
    return plan.functions * subject.capabilities.function_s > _SLICING_S + _COMPILING_S * code_bytes


def sliced(
    plan: CapsulePlan, keep: AbstractSet[int], subject: Backend, groups: Mapping[int, int] | None = None
) -> CapsulePlan:  # fmt: skip
    """Return the plan of the slice that has the functions ``keep``; ``groups`` as in ``slice_module``.

    The direct pass does not apply to it.
    """
    made = slice_module(plan.module, keep, groups)
    notes = [_note(made)]
    if plan.layout.described and identities_can_differ(plan.module):
        referenced = sorted(referenced_functions(plan.module) - keep)
        distinct = {function: 1 + at for at, function in enumerate(referenced[:_STUBS])}
        made = slice_module(plan.module, keep, {**distinct, **(groups or {})})
        if len(referenced) > _STUBS:
            more = plural(len(referenced) - _STUBS, "function")
            notes.append(f"{more} outside the slice share one stub per type, so references to them are compared by type only")
    calls = tuple(
        msgspec.structs.replace(each, function=each.function if each.reads else made.index[each.function]) for each in plan.calls
    )
    rebuild = partial(plan.rebuild, made=made)
    functions = len(made.module.all_functions) + plan.functions - len(plan.module.all_functions)
    return msgspec.structs.replace(
        plan,
        artifact=made.wasm,
        module=made.module,
        calls=calls,
        capsules=rebuild(made.module, calls),
        rebuild=rebuild,
        slice=made,
        whole=plan,
        functions=functions,
        memory_bytes=expected_memory(made.module, functions, subject.capabilities),
        no_direct="a slice of the artifact is run",
        notes=(*plan.notes, *notes),
    )


def widened(plan: CapsulePlan, stub: int, subject: Backend) -> CapsulePlan:
    """Return the plan of the slice that also has the function of a stub. A stub of several functions is split instead."""
    assert plan.slice is not None, "it has stubs"  # noqa: S101
    assert plan.whole is not None, "it is the plan of a slice"  # noqa: S101
    functions = plan.slice.stubs[stub]
    keep = {each for each in plan.slice.origins if each is not None}
    if len(functions) == 1:
        return sliced(plan.whole, keep | _with_callees(plan.whole.module, functions[0], keep), subject)
    size = -(-len(functions) // _STUBS)
    return sliced(plan.whole, keep, subject, {function: -1 - at // size for at, function in enumerate(functions)})


def _with_callees(module: Module, function: int, keep: AbstractSet[int]) -> set[int]:
    """The function and those that it calls by name, directly or not, as far as they are not in ``keep``: at most ``_CALLEES``."""
    imported, bodies, found = module.n_imported("func"), list(module.body_bytes()), [function]
    for each in found:
        offset, body = bodies[each - imported]
        for instruction in instructions(body, start=read_locals(body).end, base_offset=offset):
            callee = instruction.immediates[0] if instruction.name in DIRECT_CALLS else None
            if isinstance(callee, int) and callee >= imported and callee not in keep and callee not in found:
                found.append(callee)
        if len(found) >= _CALLEES:
            break
    return set(found[:_CALLEES])


def _note(made: Slice) -> str:
    return f"ran a slice of {made.summary}: those that the rows enter under the oracle"
