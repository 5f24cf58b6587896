"""Instrumented capsules of one planned case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.capsule.build import build
from diffcheck.runner.plan import world
from diffcheck.triage.tracing.instrument import Instrumentation
from diffcheck.triage.tracing.log_reader import LogSide
from diffcheck.triage.tracing.probes import has_objects

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from diffcheck.backend.contract import Backend, Host
    from diffcheck.capsule.forms import Capsule
    from diffcheck.runner.plan import CapsulePlan
    from diffcheck.runner.request import Request
    from diffcheck.triage.tracing.event_log import Variant
    from diffcheck.triage.tracing.instrument import Level, LoggedInstruction
    from diffcheck.triage.tracing.log_writer import MemoryWatch


class Instrumenter:
    """Instruments the plan's artifact except the functions in ``skip``; ``reads_back`` and ``identities`` as in ``Instrumentation``."""

    def __init__(self, plan: CapsulePlan, request: Request, host: Host) -> None:
        self.plan, self._host = plan, host
        self._world = world(plan.case, program_name=request.program_name, stub_imports=request.stub_imports)
        self.skip: Collection[int] = ()
        self.reads_back, self.identities = True, False

    def instrument(
        self,
        variant: Variant,
        default: Level,
        levels: Mapping[int, Level],
        watch: MemoryWatch | None = None,
        detail: LoggedInstruction | None = None,
    ) -> Instrumentation:
        """The instrumented artifact."""
        skipped: dict[int, Level] = dict.fromkeys(self.skip, "none")
        return Instrumentation(
            self.plan.module, self.plan.artifact, default=default, levels={**levels, **skipped}, variant=variant,
            watch=watch, detail=detail, reads_back=self.reads_back, form=self.plan.form, identities=self.identities,
        )  # fmt: skip

    def side(self, instrumentation: Instrumentation, backend: Backend) -> LogSide:
        """A backend with the capsule of the instrumented artifact."""
        plan = self.plan
        standard = self.observed(plan.capsules.standard)
        form = msgspec.structs.replace(standard.form, prints=backend.capabilities.transport == "print")
        capsule = build(plan.module, plan.sha256, plan.calls, self._world, form, extension=instrumentation, made=plan.slice)
        side = LogSide(backend, capsule, plan.limits, self._host)
        side.variant = instrumentation.variant
        return side

    def observed(self, capsule: Capsule) -> Capsule:
        """The capsule without instrumentation, in the same form of recording."""
        return (capsule.identified() if self.identities else None) or capsule

    def can_identify(self) -> bool:
        """Whether identities of objects or functions can be logged; that needs GC instructions."""
        capsule = self.plan.capsules.standard
        return capsule.layout.described and (has_objects(self.plan.module) or capsule.identified() is not None)
