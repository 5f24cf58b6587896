"""The search for stdin of a program: inputs made of the program's own texts, and changed inputs that were of use.

The capsule is compiled once with a stdin of some size. Each execution writes its input to the end of them, and the position
of the first byte that the program reads. If the module has a start function, which may change what is between them, the input is
filled with line breaks instead.
"""

from __future__ import annotations

import re
import struct
import time
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Program
from diffcheck.capsule import layout as lo
from diffcheck.capsule.memory_map import STDIN_POSITION, initial_variables, lay_out
from diffcheck.errors import StreamError
from diffcheck.observation import TimedOut
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.passes.decoded_instance import decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from diffcheck.backend.contract import Host, Oracle
    from diffcheck.hunt.explore.coverage import Coverage, Feature, Observed, Reached
    from diffcheck.runner.passes.decoded_instance import DecodedInstance
    from diffcheck.runner.plan import CapsulePlan

_BYTES, _FILLED_BYTES = 512, 80
"""The length of the longest input; shorter if it is filled, since each byte costs."""
_DEADLINE_S: Final = 0.3
_MOST_INPUTS: Final = 16
_TEXTS: Final = re.compile(rb"[ -~]{1,24}")
_TOKENS: Final = (
    *(b"0", b"1", b"-1", b"10", b"255", b"9223372036854775807", b"1.5", b"-2e+3", b"null", b"true", b"false", b'"a"', b'"\\u00e9"'),
    *(b"[1,2]", b'{"a":1}', b"a", b"A", b"\n", b" ", b"\t", b"\xc3\xa9", b"\xff"),
    *(bytes([each]) for each in range(0x21, 0x7F) if not chr(each).isalnum()),
)


def size(plan: CapsulePlan) -> int:
    """The length of the stdin that a plan must have."""
    return _BYTES if plan.module.start is None else _FILLED_BYTES


class StdinSearch:
    """Searches inputs for the entry of a program, whose ``plan`` has a stdin of ``size`` bytes; ``inputs`` are the useful ones,
    ``endless`` is the number of those that did not end.
    """

    def __init__(
        self, plan: CapsulePlan, args: Sequence[str], coverage: Coverage, oracle: Oracle, host: Host, chance: Random
    ) -> None:
        self._coverage, self._oracle, self._host, self._chance = coverage, oracle, host, chance
        self._limits = msgspec.structs.replace(plan.limits, deadline_s=_DEADLINE_S)
        self._side = CapsuleSide(oracle, plan.capsules.oracle, self._limits, host)
        self._plan, self._args, self._size, self._filled = plan, args, size(plan), plan.module.start is not None
        self._parameters = lo.Parameters(0, len(plan.layout.rows) - plan.layout.n_init)
        contents = (plan.artifact[each.start : each.start + each.size] for each in plan.module.data)
        self._tokens = [*_TOKENS, *dict.fromkeys(text for each in contents for text in _TEXTS.findall(each))]
        self.inputs: list[bytes] = []
        self.tried = self.endless = 0
        self._seen: set[Feature] = set()
        self._observed: dict[bytes, Observed] = {}

    def run(self, first: bytes, until: float, over: Callable[[], bool]) -> None:
        """Search until the time (monotonic clock), or it is ``over``."""
        self._try(first)
        self._try(b"")
        while time.monotonic() < until and not over():
            self._try(self._candidate())
        self._choose()

    def reached(self) -> Reached:
        """What the inputs reach together."""
        return self._coverage.reached(self._observed[each] for each in self.inputs)

    def _candidate(self) -> bytes:
        chance = self._chance
        text = chance.choice(self.inputs or [b""])
        text = text.rstrip(b"\n") if self._filled else text
        for _ in range(chance.choice((1, 1, 2, 4))):
            at, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
            kind = chance.randrange(6)
            if kind == 0:
                text = text[:at] + text[min(end, at + 8) :]
            elif kind == 1:
                text = text[:end] + text[at:end] + text[end:]
            elif kind == 2 and self.inputs:  # noqa: PLR2004 - one of six
                other = chance.choice(self.inputs)
                text = text[:at] + other[chance.randrange(len(other) + 1) :]
            elif kind == 3:  # noqa: PLR2004 - one of six
                text = text[:at] + chance.choice(self._tokens) + text[at + 1 :]
            else:
                text = text[:at] + chance.choice(self._tokens) + text[at:]
        return text[: self._size]

    def _try(self, text: bytes) -> None:
        """Run an input; it is useful if it does something new."""
        self.tried += 1
        text = text[: self._size].ljust(self._size * self._filled, b"\n")
        instance = self._instance(text)
        if instance is None:
            return
        observed = self._coverage.observed(instance.rows, instance.state.counters)
        if observed.features - self._seen:
            self._seen |= observed.features
            self.inputs.append(text)
            self._observed[text] = observed

    def _instance(self, text: bytes) -> DecodedInstance | None:
        capsule = self._side.capsule
        address, memory = self._written(text)
        program = Program(
            kind="capsule", wasm=capsule.with_parameters(self._parameters), entry=lo.ENTRY,
            template_sha256=f"stdin {capsule.sha256}", parameters=memory, parameters_offset=capsule.parameters_offset,
            parameters_address=address,
        )  # fmt: skip
        ran = self._side.read(self._oracle.execute(program, self._limits, self._host), self._parameters)
        self.endless += isinstance(ran.outcome, TimedOut)
        try:
            return decoded(ran.image, ran.outcome, capsule.layout) if ran.image is not None else None
        except StreamError:
            return None

    def _written(self, text: bytes) -> tuple[int, bytes]:
        """What is written to the recorder memory, with its address: from the variables to the end of stdin, or stdin alone."""
        layout, skipped = self._plan.layout, self._size - len(text)
        stdin = text.rjust(self._size, b"\0")
        places = lay_out(len(layout.stubs), self._args, self._plan.case.env, stdin, output=layout.has_output)
        if self._filled:
            return places.symbols["STDIN"], text
        image = bytearray(initial_variables() + places.data)
        struct.pack_into("<I", image, STDIN_POSITION - lo.VARIABLES_ADDRESS, skipped)
        return lo.VARIABLES_ADDRESS, bytes(image)

    def _choose(self) -> None:
        """The fewest inputs that reach everything, greedily; at most ``_MOST_INPUTS``."""
        chosen: list[bytes] = []
        left = list(self.inputs)
        self.inputs = chosen
        best = self.reached()
        while left and len(chosen) < _MOST_INPUTS:
            found = [(self._with(chosen, each), each) for each in left]
            gain, text = max(found, key=lambda each: (len(each[0].covered), len(each[0].proved) + len(each[0].counters)))
            if best.includes(gain):
                break
            best = gain
            chosen.append(text)
            left.remove(text)

    def _with(self, chosen: Sequence[bytes], text: bytes) -> Reached:
        return self._coverage.reached(self._observed[each] for each in (*chosen, text))
