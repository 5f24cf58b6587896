"""One engine's side of a capsule pass: starts it with the parameters of a run and reads what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.backend import Program
from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import Image, check_header, decode_image
from diffcheck.errors import StreamError
from diffcheck.observation import Cost, Returned, Trapped

if TYPE_CHECKING:
    from diffcheck.backend import Backend, Host, Limits, Pending
    from diffcheck.capsule.build import Capsule
    from diffcheck.observation import Execution, Outcome


class Ran(msgspec.Struct, frozen=True):
    """A run as read: its outcome; the header where the stream was finished; the whole image where the transport brings it;
    the view; ``damage`` where a stream came that is none."""

    outcome: Outcome
    header: lo.Header | None = None
    image: Image | None = None
    view: bytes = b""
    damage: str = ""
    fuel: int | None = None
    log: str = ""


class PendingRun:
    """A run under way."""

    def __init__(self, side: Side, pending: Pending, parameters: lo.Parameters) -> None:
        self._side, self._pending, self._parameters = side, pending, parameters

    def wait(self) -> Ran:
        """The finished run."""
        execution = self._pending.wait()
        self._side.cost += execution.cost
        return self._side.read(execution, self._parameters)


class Side:
    """A backend with the capsule it runs; ``cost`` adds up over its runs."""

    def __init__(self, backend: Backend, capsule: Capsule, limits: Limits, host: Host) -> None:
        self.backend, self.capsule, self.limits, self._host = backend, capsule, limits, host
        self.cost = Cost()

    def start(self, parameters: lo.Parameters, limits: Limits | None = None) -> PendingRun:
        """Begin a run; ``limits`` where it is one of the oracle's variants."""
        encoded = parameters.encode()
        program = Program(
            kind="capsule",
            wasm=self.capsule.with_parameters(parameters),
            entry=lo.ENTRY,
            template_sha256=self.capsule.sha256,
            parameters=encoded,
            parameters_offset=self.capsule.parameters_offset,
            parameters_address=lo.PARAMETERS_ADDRESS,
        )
        return PendingRun(self, self.backend.start(program, limits or self.limits, self._host), parameters)

    def run(self, parameters: lo.Parameters, limits: Limits | None = None) -> Ran:
        """Run and wait."""
        return self.start(parameters, limits).wait()

    def read(self, execution: Execution, parameters: lo.Parameters) -> Ran:
        """What an execution carried out, checked; a stream is expected after a return, and after a trap where one came."""
        ran = Ran(execution.outcome, fuel=execution.fuel, log=execution.log)
        if not isinstance(execution.outcome, Returned | Trapped):
            return ran
        words = self.backend.capabilities.transport == "words"
        begin = 0 if words else lo.HEADER_ADDRESS
        head = execution.carried[begin : begin + lo.HEADER.size]
        if isinstance(execution.outcome, Trapped) and (
            len(head) < lo.HEADER.size or lo.read_header(head).status != lo.FINISHED
        ):
            return ran
        try:
            header = check_header(head, self.capsule.layout)
            image = None
            if not words:
                image = decode_image(execution.carried, self.capsule.layout, parameters.first, parameters.last)
        except StreamError as error:
            return msgspec.structs.replace(ran, damage=str(error))
        view = execution.carried[begin + lo.HEADER.size : begin + lo.HEADER.size + lo.VIEW_BYTES]
        return msgspec.structs.replace(ran, header=header, image=image, view=view)
