"""The rows of ``--auto-rows``: the functions that a host can call, and the rows that are planned for them."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.import_calls import LOG_BYTES, read_log
from diffcheck.cases.arguments import is_scalar
from diffcheck.cases.registrations import can_register, registrations, table_slots
from diffcheck.cases.rows import Function, choose, exported, is_component, is_entry
from diffcheck.cases.runtime_exports import constructors, is_plumbing, minified_constructor
from diffcheck.errors import DiffcheckError, StreamError
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.row_plans.rehearsal import rehearsed
from diffcheck.runner.row_plans.row_planning import RowPlanner
from diffcheck.runner.row_plans.row_trials import DEADLINE_S, RowTrials
from diffcheck.text import plural
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diffcheck.backend.contract import Host, Oracle, RunLimits
    from diffcheck.capsule.driver import Call
    from diffcheck.cases.registrations import Registration
    from diffcheck.cases.rows import Rows
    from diffcheck.observation import StubCall
    from diffcheck.runner.row_plans.row_planning import RowPlan
    from diffcheck.runner.row_plans.row_trials import Build
    from diffcheck.wasm.module import Module

_FORMAT: Final = "2"
"""Changes when other rows are planned."""
_MOST_TARGETS: Final = 1000
_MOST_SLOTS: Final = 400


class RowPlans(Protocol):
    """Planned rows by name."""

    def get(self, name: str) -> RowPlan | None:
        """The plan under a name; None if there is none."""
        ...

    def put(self, name: str, plan: RowPlan) -> None:
        """Store a plan."""
        ...


class AutoRows:
    """Plans the rows of one artifact with the oracle. ``build`` builds the oracle's capsule of a form of the module."""

    def __init__(
        self, module: Module, artifact: bytes, build: Build, oracle: Oracle, limits: RunLimits, host: Host
    ) -> None:  # fmt: skip
        self._module, self._artifact, self._build = module, artifact, build
        self._oracle, self._limits, self._host = oracle, limits, host
        self._exported = exported(module)

    def rows(self, given: Rows, declared: Sequence[str], stored: RowPlans | None) -> Rows:
        """The declared rows or the program's entry, then planned rows; the given rows if none can be planned."""
        try:
            planned = self._stored(given, stored)
        except DiffcheckError as error:
            return msgspec.structs.replace(given, notes=(*given.notes, f"no rows were planned: {error.line}"))
        kept = list(declared) or [each.name for each in given.rows if is_entry(each.name)]
        rows = [*kept, *(each.row for each in planned.rows if each.row not in kept)]
        if not rows:
            return msgspec.structs.replace(given, notes=planned.notes)
        reasons = {each.row: each.why for each in planned.rows}
        return msgspec.structs.replace(choose(self._module, rows), notes=planned.notes, reasons=reasons)

    def _stored(self, given: Rows, stored: RowPlans | None) -> RowPlan:
        """The stored plan, or a new one, which is stored unless it depends on this machine's speed."""
        if stored is None:
            return self.plan(given)
        # The capsule's plan digest covers the artifact, the world and the given rows.
        name = f"{_FORMAT} {self._build(self._module, given.calls).sha256}"
        found = stored.get(name)
        if found is None:
            found = self.plan(given)
            if not found.cut:
                stored.put(name, found)
        return found

    def plan(self, given: Rows, trial_s: float = 0) -> RowPlan:
        """Plan rows for the exports, the functions that the program registers with its host, and the others in its table.

        With ``trial_s``, the time limit of a trial, the rows are not rehearsed.
        """
        registered = self._registered()
        named = list(dict.fromkeys(f"table[{each.slot}]" for each in registered))
        slots = {each.name: each for each in _slots(self._module, self._exported)}
        targets = [*offered_exports(self._module, self._exported), *(slots.pop(each) for each in named if each in slots)]
        others = list(slots.values())[:_MOST_SLOTS]
        init = [each.function for each in given.init]
        scalar = [each.index for each in self._exported.values() if is_scalar(each.type)]
        functions = list(dict.fromkeys([*init, *scalar[:_MOST_TARGETS], *(each.index for each in (*targets, *others))]))
        trials = RowTrials(self._module, functions, self._build, self._oracle, self._limits, self._host, trial_s or DEADLINE_S)
        planned = RowPlanner(self._module, self._artifact, given, targets, others, registered, trials).plan()
        return self._rehearsed(planned) if planned.rows and not trial_s else planned

    def _rehearsed(self, planned: RowPlan) -> RowPlan:
        """The plan without rows that do not end in their order."""

        def side(calls: tuple[Call, ...]) -> CapsuleSide:
            return CapsuleSide(self._oracle, self._build(self._module, calls), self._limits, self._host)

        kept = {each.name for each in rehearsed(choose(self._module, [each.row for each in planned.rows]).calls, side)}
        rows = tuple(each for each in planned.rows if each.row in kept)
        left_out = len(planned.rows) - len(rows)
        notes = (f"{plural(left_out, 'planned row')} did not end when run after the others",) if left_out else ()
        return msgspec.structs.replace(planned, rows=rows, notes=(*planned.notes, *notes))

    def _registered(self) -> list[Registration]:
        """The functions that the program registers while it is initialised."""
        if not can_register(self._module):
            return []
        init = list(choose(self._module).init)
        types = {name: each.type for name, each in self._exported.items()}
        called = {each.function for each in init}
        names = [name for name in (*constructors(types), minified_constructor(self._module, types)) if name is not None]
        more = [self._exported[name].call(name) for name in names if self._exported[name].index not in called]
        init += [msgspec.structs.replace(each, init=True) for each in more]
        logs = (self._logged(init[: at + 1]) for at in range(len(init)))
        return registrations(self._module, self._artifact, chain.from_iterable(logs))

    def _logged(self, init: list[Call]) -> tuple[StubCall, ...]:
        """The calls of imports in the last of these init rows."""
        capsule = self._build(self._module, tuple(init)).logging(len(init) - 1)
        image = CapsuleSide(self._oracle, capsule, self._limits, self._host).run(lo.Parameters(0, 0)).image
        if image is None:
            return ()
        begin = capsule.layout.heap_offset(0, 0)
        try:
            return read_log(image.stream[begin : begin + LOG_BYTES], capsule.layout.stubs)[1]
        except StreamError:
            return ()


def offered_exports(module: Module, every: dict[str, Function]) -> list[Function]:
    """The exports to try, without those of a runtime."""
    component = is_component(module, every)
    return [
        each
        for name, each in islice(every.items(), _MOST_TARGETS)
        if is_scalar(each.type) and not name.startswith(formats.PREFIX) and not is_plumbing(name, component=component)
    ]


def _slots(module: Module, every: dict[str, Function]) -> Iterator[Function]:
    """The functions in table 0 that are not exported, each by its first slot."""
    seen = {each.index for each in every.values()}
    for slot, function in sorted(table_slots(module).items()):
        type_ = module.function_type(function)
        if function not in seen and is_scalar(type_):
            seen.add(function)
            yield Function(f"table[{slot}]", function, type_)
