"""A backend that is another one with other capabilities, whose executions can be changed on their way."""

from __future__ import annotations

import msgspec

from diffcheck.backend.contract import Backend
from diffcheck.capsule import layout as lo
from diffcheck.observation import Trapped


class Altered(Backend):
    """Wasmtime with another transport or other capabilities, whose executions ``alter`` changes."""

    def __init__(self, inner, alter, stack_bytes=None, **capabilities):
        self.inner, self.alter, self.stack_bytes = inner, alter, stack_bytes
        self.capabilities = msgspec.structs.replace(inner.capabilities, **capabilities)

    def identity(self):
        return msgspec.structs.replace(self.inner.identity(), name="altered")

    def start(self, program, limits, host):
        pending = self.inner.start(program, msgspec.structs.replace(limits, stack_bytes=self.stack_bytes), host)
        alter = self.alter

        class Changed:
            def wait(self):
                return alter(program, pending.wait())

        return Changed()


def carried_as(transport, *, state_at_trap):
    """An alteration that carries a capsule's stream out of Wasmtime as an engine with these capabilities would."""

    def alter(_, execution):
        if isinstance(execution.outcome, Trapped) and not state_at_trap and transport != "print":
            return msgspec.structs.replace(execution, carried=b"")
        if transport != "words":
            return execution
        # The memory has header and view one behind the other, as the slots have them.
        end = lo.HEADER_ADDRESS + 8 * lo.SLOTS
        return msgspec.structs.replace(execution, carried=execution.carried[lo.HEADER_ADDRESS : end])

    return alter
