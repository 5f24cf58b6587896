"""The functions that rows execute under the oracle, and rows grouped so that the slice of each group fits a subject's memory.

Rows of different instances do not depend on each other, so groups consist of whole instances. If one instance does not fit, its
first rows that fit are a group, and the others are left out, since their state depends on all rows before them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import swallowed
from diffcheck.capsule.slicing.entry_marks import entered, mark_entries
from diffcheck.errors import RunFailedError
from diffcheck.observation import sentence
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.passes.decoded_instance import decoded
from diffcheck.runner.passes.instances import MAX_INSTANCES
from diffcheck.wasm import module as wasm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.backend.contract import Backend, Host
    from diffcheck.runner.plan import CapsulePlan

    _Memory = Callable[[frozenset[int]], int]
    _Instance = tuple[int, int, set[int]]


class RowGroup(msgspec.Struct, frozen=True):
    """The rows [first, last), the functions that they execute by funcidx, and the expected memory of their slice in bytes."""

    first: int
    last: int
    functions: frozenset[int]
    memory_bytes: int = 0


class Grouping(msgspec.Struct, frozen=True):
    """Groups in the order of their rows, and what was left out: rows with all that they would need."""

    groups: tuple[RowGroup, ...]
    left_out: tuple[RowGroup, ...] = ()


class ExecutedFunctions:
    """What the rows of a plan execute under the oracle, also in the deterministic form, whose results can lead elsewhere."""

    def __init__(self, plan: CapsulePlan, oracle: Backend, host: Host) -> None:
        self._functions = len(plan.module.all_functions)
        self._plan, self._oracle, self._host = plan, oracle, host
        self._plain = _marked(plan, oracle, host)

    def instances(self) -> tuple[RowGroup, ...]:
        """Return the rows of each instance; of several where the forms do not begin instances at the same rows.

        Rows after the first ``MAX_INSTANCES`` instances are not among them.
        """
        forms = self._forms(0, _rows(self._plain))
        end = min(form[-1][1] for form in forms)
        ends = set.intersection(*({last for _, last, _ in form} for form in forms)) | {end}
        groups, first = [], 0
        for last in sorted(each for each in ends if each <= end):
            found = {each for form in forms for begin, _, functions in form if first <= begin < max(last, 1) for each in functions}
            groups.append(self._group(first, last, found))
            first = last
        return tuple(groups)

    def of(self, first: int, last: int) -> RowGroup:
        """Return the group of the rows [first, last), of which ``first`` begins an instance."""
        forms = self._forms(first, last)
        return self._group(first, last, {each for form in forms for _, _, functions in form for each in functions})

    def _forms(self, first: int, last: int) -> list[list[_Instance]]:
        """The instances of the rows [first, last) in each form. If no function with an open result is entered, the deterministic
        form enters the same functions, so it is not run: compiling it would take as long again.
        """
        plain = list(_instances(self._plain, first, last))
        form = self._plan.deterministic
        if form is None or form.form is None:
            return [plain]
        open_functions = {each.function for each in form.form.places}
        if open_functions.isdisjoint(each for _, _, functions in plain for each in functions):
            return [plain]
        return [plain, list(_instances(self._deterministic, first, last))]

    @cached_property
    def _deterministic(self) -> CapsuleSide:
        assert self._plan.deterministic is not None, "the plan has open results"  # noqa: S101
        return _marked(self._plan.deterministic, self._oracle, self._host)

    def _group(self, first: int, last: int, functions: set[int]) -> RowGroup:
        return RowGroup(first, last, frozenset(each for each in functions if each < self._functions))


def grouped(executed: ExecutedFunctions, memory: _Memory, room_bytes: int) -> Grouping:
    """Return the rows in groups that are expected to need at most ``room_bytes``, as few as their order allows."""
    groups: list[RowGroup] = []
    left_out: list[RowGroup] = []
    for instance in executed.instances():
        fitting, rest = _fitting(instance, executed, memory, room_bytes)
        if rest is not None:
            left_out.append(rest)
        if fitting is None:
            continue
        joined = _joined(groups[-1], fitting, memory) if groups and groups[-1].last == fitting.first else None
        if joined is not None and joined.memory_bytes <= room_bytes:
            groups[-1] = joined
        else:
            groups.append(fitting)
    return Grouping(tuple(groups), tuple(left_out))


def _joined(one: RowGroup, other: RowGroup, memory: _Memory) -> RowGroup:
    functions = one.functions | other.functions
    return RowGroup(one.first, other.last, functions, memory(functions))


def _fitting(
    instance: RowGroup, executed: ExecutedFunctions, memory: _Memory, room_bytes: int
) -> tuple[RowGroup | None, RowGroup | None]:  # fmt: skip
    """Return the first rows of an instance that fit, and the others, each None if there are none."""

    def measured(group: RowGroup) -> RowGroup:
        return msgspec.structs.replace(group, memory_bytes=memory(group.functions))

    whole = measured(instance)
    if whole.memory_bytes <= room_bytes:
        return whole, None
    fitting, low, high = None, instance.first, instance.last
    while high - low > 1:  # the rows before ``low`` fit, those before ``high`` do not
        group = measured(executed.of(instance.first, (low + high) // 2))
        if group.memory_bytes <= room_bytes:
            fitting, low = group, group.last
        else:
            high = group.last
    return fitting, msgspec.structs.replace(whole, first=low)


def _marked(plan: CapsulePlan, oracle: Backend, host: Host) -> CapsuleSide:
    capsule = plan.rebuild(wasm.read(mark_entries(plan.module)), plan.calls).oracle
    return CapsuleSide(oracle, capsule, plan.limits, host, whole=True)


def _rows(side: CapsuleSide) -> int:
    return len(side.capsule.layout.rows) - side.capsule.layout.n_init


def _instances(side: CapsuleSide, first: int, last: int) -> Iterator[_Instance]:
    """Yield the rows [begin, end) of each instance and the functions that are entered in it; raises ``RunFailedError``."""
    layout, flags = side.capsule.layout, 0
    for _ in range(MAX_INSTANCES):
        ran = side.run(lo.Parameters(first, last, flags))
        if ran.image is not None and not flags and swallowed(ran.image, layout):
            flags = lo.EXIT_TRAPS
            ran = side.run(lo.Parameters(first, last, flags))
        if ran.image is None:
            raise RunFailedError(f"the oracle {ran.damage or sentence(ran.outcome)}")
        instance = decoded(ran.image, ran.outcome, layout)
        after = last
        if instance.stop is not None and instance.stop >= layout.n_init:
            after = first + instance.stop - layout.n_init + 1
        yield first, after, entered({name: value.bits for name, value in instance.state.globals.items()})
        first = after
        if first >= last:
            return
