"""A plan's artifact sliced to the functions that its rows execute under the oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.runner.observation_reader import ObservationReader
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.plan import expected_memory
from diffcheck.wasm import module as wasm
from diffcheck.wasm.entry_marks import entered, mark_entries
from diffcheck.wasm.slice import slice_module

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Host
    from diffcheck.runner.plan import CapsulePlan


def executed_functions(plan: CapsulePlan, oracle: Backend, host: Host) -> frozenset[int]:
    """The functions of the artifact that its rows enter under ``oracle``, in all instances, by funcidx.

    Raises ``RunFailedError`` where the oracle gives no observation of the rows.
    """
    marked = wasm.read(mark_entries(plan.module))
    capsule = plan.rebuild(marked, plan.calls).oracle
    side = CapsuleSide(oracle, capsule, plan.limits, host, whole=True)
    read = ObservationReader(side, side, full=False, max_passes=0).read(keep_going=True)
    values = [{name: value.bits for name, value in each.state.globals.items()} for each in read.instances]
    return frozenset(function for each in values for function in entered(each))


def sliced(plan: CapsulePlan, oracle: Backend, subject: Backend, host: Host) -> CapsulePlan:
    """The plan of the slice with the functions that the rows execute; the direct pass does not apply to it."""
    made = slice_module(plan.module, executed_functions(plan, oracle, host))
    calls = tuple(msgspec.structs.replace(each, function=made.index[each.function]) for each in plan.calls)
    functions = len(made.module.all_functions) + plan.functions - len(plan.module.all_functions)
    return msgspec.structs.replace(
        plan,
        artifact=made.wasm,
        module=made.module,
        calls=calls,
        capsules=plan.rebuild(made.module, calls),
        functions=functions,
        memory_bytes=expected_memory(made.module, functions, subject),
        no_direct="its slice is run",
    )
