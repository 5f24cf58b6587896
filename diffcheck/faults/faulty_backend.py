"""An engine with a planted fault: another engine runs the changed program, or its answer is changed afterwards."""

from __future__ import annotations

import hashlib
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from diffcheck.backend.contract import Backend
from diffcheck.capsule import layout as lo
from diffcheck.observation import Returned

if TYPE_CHECKING:
    from diffcheck.backend.contract import Host, Pending, Program, RunLimits
    from diffcheck.faults.fault import Fault
    from diffcheck.observation import Execution, Identity


_numbers = count()
"""Distinguishes the programs of different faults in an engine's compilation cache."""


class FaultyBackend(Backend):
    """The backend ``inner`` with the planted ``fault``, if any.

    With ``words`` it transports windows of the stream and no state at a trap, like engines of the harness protocol.
    """

    def __init__(self, inner: Backend, fault: Fault | None, *, words: bool) -> None:
        self.inner, self.fault, self._number = inner, fault, next(_numbers)
        self.words = words and inner.capabilities.transport == "memory"
        self.capabilities = inner.capabilities
        if self.words:
            self.capabilities = msgspec.structs.replace(inner.capabilities, transport="words", state_at_trap=False)

    def identity(self) -> Identity:
        """Return the identity of the inner engine."""
        return self.inner.identity()

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """See ``Backend``."""
        if self.fault is not None and self.fault.edit is not None:
            try:
                wasm = self.fault.edit(program.wasm)
            except (StopIteration, LookupError):  # a probe program, for example, does not contain the place of the edit
                wasm = program.wasm
            template = hashlib.sha256(f"{program.template_sha256} {self._number}".encode()).hexdigest()
            program = msgspec.structs.replace(program, wasm=wasm, template_sha256=template if program.template_sha256 else "")
        return _Pending(self, self.inner.start(program, limits, host), program.kind)


class _Pending:
    def __init__(self, backend: FaultyBackend, pending: Pending, kind: str) -> None:
        self._backend, self._pending, self._kind = backend, pending, kind

    def wait(self) -> Execution:
        execution = self._pending.wait()
        if self._kind == "capsule" and self._backend.words:
            words = execution.carried[lo.HEADER_ADDRESS : lo.VIEW_ADDRESS + lo.VIEW_BYTES]
            execution = msgspec.structs.replace(execution, carried=words if isinstance(execution.outcome, Returned) else b"")
        fault = self._backend.fault
        return fault.carry(execution) if fault is not None and fault.carry is not None else execution
