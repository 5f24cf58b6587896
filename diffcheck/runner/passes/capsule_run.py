"""One engine in a capsule pass: starts runs of the capsule and reads their streams."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from diffcheck.backend.contract import Program, finished
from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import Image, check_header, checked_image, decode_image
from diffcheck.compare.allowances import two_reasons
from diffcheck.errors import StreamError
from diffcheck.observation import Cost, OutOfMemory, Returned, Trapped
from diffcheck.probe import engine_check

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Host, Pending, RunLimits
    from diffcheck.capsule.batch.batch_form import Batch
    from diffcheck.capsule.forms import Capsule
    from diffcheck.observation import Execution, Outcome
    from diffcheck.runner.passes.refusals import Refusals


class CapsuleRun(msgspec.Struct, frozen=True):
    """One capsule run, decoded: outcome, header if the stream is finished, image if the transport carries it whole, view, and
    ``damage`` if the stream is malformed.
    """

    outcome: Outcome
    header: lo.Header | None = None
    image: Image | None = None
    view: bytes = b""
    damage: str = ""
    fuel: int | None = None
    log: str = ""


class PendingRun:
    """A run in progress."""

    def __init__(self, side: CapsuleSide, pending: Pending, parameters: lo.Parameters) -> None:
        self._side, self._pending, self._parameters = side, pending, parameters

    def wait(self) -> CapsuleRun:
        """The finished run."""
        execution = finished(self._pending)
        self._side.cost += execution.cost
        ran = self._side.read(execution, self._parameters)
        return self._side.complete(ran, self._parameters) if self._side.whole else ran


class KnownRun:
    """A run that is finished already."""

    def __init__(self, ran: CapsuleRun) -> None:
        self._ran = ran

    def wait(self) -> CapsuleRun:
        """The finished run."""
        return self._ran


class CapsuleSide:
    """A backend with its capsule; ``cost`` is the sum over its runs.

    With ``whole`` every finished run has its image. A transport that carries windows needs one more run for each window, of which
    ``at_once`` run at the same time. Without ``refusals`` every refusal counts as a fault of the engine. ``known`` are finished
    runs that are not repeated. ``measured`` is as in ``Program``.
    """

    at_once = 1
    measured = False

    def __init__(
        self, backend: Backend, capsule: Capsule, limits: RunLimits, host: Host, *,
        whole: bool = False, refusals: Refusals | None = None,
    ) -> None:  # fmt: skip
        self.backend, self.capsule, self.limits, self._host = backend, capsule, limits, host
        self.whole, self.refusals = whole, refusals
        self.cost = Cost()
        self.known: dict[lo.Parameters, CapsuleRun] = {}

    def run_once(self, parameters: lo.Parameters) -> CapsuleRun:
        """The run of ``parameters``, which is known from then on."""
        self.known[parameters] = ran = self.run(parameters)
        return ran

    def run_batch(self, batch: Batch, flags: int) -> CapsuleRun:
        """Run the batch form; header and image are those of its last range, the view is the batch's."""
        side = CapsuleSide(self.backend, self.capsule.batch(batch), self.limits, self._host)
        ran = side.run(lo.Parameters(*batch.ranges[-1], flags))
        self.cost += side.cost
        return ran

    def logging(self, row: int) -> CapsuleSide:
        """The same engine with the logging form for the record ``row``."""
        return CapsuleSide(self.backend, self.capsule.logging(row), self.limits, self._host)

    def identified(self) -> CapsuleSide | None:
        """The same engine with the identity form; None if there is none."""
        capsule = self.capsule.identified()
        return None if capsule is None else CapsuleSide(self.backend, capsule, self.limits, self._host, whole=self.whole)

    def unrecorded(self, parameters: lo.Parameters) -> Outcome:
        """The outcome of these rows in the unrecorded form."""
        return CapsuleSide(self.backend, self.capsule.unrecorded(), self.limits, self._host).run(parameters).outcome

    @cached_property
    def reports_exits(self) -> bool:
        """Whether the engine reports the state at an exit that is a trap; one that prints has to print before it."""
        known = self.backend.capabilities
        if known.transport != "print":
            return known.state_at_trap
        return engine_check.prints_exits(self.backend, self._host, self.limits)

    def start(self, parameters: lo.Parameters, limits: RunLimits | None = None) -> PendingRun | KnownRun:
        """Start a run, unless it is known; ``limits`` replace those of the side."""
        if limits is None and parameters in self.known:
            return KnownRun(self.known[parameters])
        encoded = parameters.encode()
        program = Program(
            kind="capsule",
            wasm=self.capsule.with_parameters(parameters),
            entry=lo.ENTRY,
            template_sha256=self.capsule.sha256,
            parameters=encoded,
            parameters_offset=self.capsule.parameters_offset,
            parameters_address=lo.PARAMETERS_ADDRESS,
            measured=self.measured,
        )
        return PendingRun(self, self.backend.start(program, limits or self.limits, self._host), parameters)

    def run(self, parameters: lo.Parameters, limits: RunLimits | None = None) -> CapsuleRun:
        """Run the capsule and return the finished run; parameters as for ``start``."""
        return self.start(parameters, limits).wait()

    def read(self, execution: Execution, parameters: lo.Parameters) -> CapsuleRun:
        """The checked run of an execution. A stream is required after a return and optional after a trap."""
        ran = CapsuleRun(self._trap_site(execution.outcome), fuel=execution.fuel, log=execution.log)
        if not isinstance(execution.outcome, Returned | Trapped):
            return ran
        words = self.backend.capabilities.transport == "words"
        begin = 0 if words else lo.HEADER_ADDRESS
        head = execution.carried[begin : begin + lo.HEADER.size]
        if isinstance(execution.outcome, Trapped) and (len(head) < lo.HEADER.size or lo.read_header(head).status != lo.FINISHED):
            return ran
        if _is_cut(head):
            # memory.grow may fail at any time (core specification), so a cut stream is neither divergence nor agreement.
            limits = self.limits.memory_bytes
            return msgspec.structs.replace(ran, outcome=OutOfMemory(limits, "the recorder's memory could not grow", True))
        try:
            header = check_header(head, self.capsule.layout, parameters.first, parameters.last)
            image = None
            if not words:
                image = decode_image(execution.carried, self.capsule.layout, parameters.first, parameters.last)
        except StreamError as error:
            return msgspec.structs.replace(ran, damage=str(error))
        view = execution.carried[begin + lo.HEADER.size : begin + lo.HEADER.size + lo.VIEW_BYTES]
        return msgspec.structs.replace(ran, header=header, image=image, view=view)

    def _trap_site(self, outcome: Outcome) -> Outcome:
        """The outcome with the instructions that may have trapped, if the oracle does not report the instruction."""
        if not self.whole or not isinstance(outcome, Trapped) or outcome.instructions:
            return outcome
        return msgspec.structs.replace(outcome, instructions=self._two_reasons)

    @cached_property
    def _two_reasons(self) -> tuple[str, ...]:
        return two_reasons(self.capsule.wasm)

    def complete(self, ran: CapsuleRun, parameters: lo.Parameters) -> CapsuleRun:
        """The run with its image, read window by window from the engine; ``damage`` if the bytes have another digest."""
        plain = (parameters.view_mode, parameters.view_space, parameters.view_offset) == (0, 0, 0)
        if ran.header is None or ran.image is not None or not plain:
            return ran
        parts = [ran.view]
        offsets = range(lo.VIEW_BYTES, ran.header.length, lo.VIEW_BYTES)
        for at in range(0, len(offsets), self.at_once):
            under_way = [
                self.start(msgspec.structs.replace(parameters, view_offset=offset)) for offset in offsets[at : at + self.at_once]
            ]
            for window in [each.wait() for each in under_way]:
                if window.header is None:
                    return msgspec.structs.replace(ran, header=None, outcome=window.outcome, damage=window.damage)
                parts.append(window.view)
        stream = b"".join(parts)[: ran.header.length]
        try:
            image = checked_image(ran.header, stream, parameters.first, parameters.last)
        except StreamError as error:
            return msgspec.structs.replace(ran, header=None, damage=str(error))
        return msgspec.structs.replace(ran, image=image)


def _is_cut(head: bytes) -> bool:
    """Whether this is the header of a finished stream that is cut."""
    if len(head) < lo.HEADER.size:
        return False
    header = lo.read_header(head)
    return (header.magic, header.status, header.flags & lo.FLAG_CUT) == (lo.MAGIC, lo.FINISHED, lo.FLAG_CUT)
