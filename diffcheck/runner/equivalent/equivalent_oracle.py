"""The oracle ``self``: the subject, which runs an equivalent program instead of the program itself."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Oracle
from diffcheck.capsule.build import functions_of_artifact
from diffcheck.runner.equivalent.equivalent_program import equivalent_program
from diffcheck.wasm import module as wasm

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Host, Pending, Program, RunLimits
    from diffcheck.observation import Identity, Outcome


_MOST_MADE: Final = 8
"""Programs that are kept, since one runs several times with other parameters."""


class EquivalentOracle(Oracle):
    """Runs equivalent capsules under ``engine``; other programs run as they are. ``validator`` validates artifacts."""

    def __init__(self, engine: Backend, validator: Oracle) -> None:
        self._engine, self._validator = engine, validator
        self.capabilities = engine.capabilities
        self._made: dict[str, bytes] = {}

    def identity(self) -> Identity:
        """The engine's, with a name that distinguishes it from the subject."""
        own = self._engine.identity()
        return msgspec.structs.replace(own, name=f"{own.name} with an equivalent program")

    def files(self) -> tuple[str, ...]:
        """The engine's files."""
        return self._engine.files()

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """Start the equivalent of a capsule."""
        return self._engine.start(self._equivalent(program) if program.kind == "capsule" else program, limits, host)

    def _equivalent(self, program: Program) -> Program:
        template = f"equivalent {program.template_sha256}"
        if template not in self._made:
            self._made = {**dict(list(self._made.items())[1 - _MOST_MADE :]), template: self._rewritten(program.wasm)}
        made = self._made[template]
        # Everything after the code section keeps its bytes.
        at = len(made) - len(program.wasm) + program.parameters_offset
        data = made[:at] + program.wasm[program.parameters_offset :]
        return msgspec.structs.replace(
            program, wasm=data, parameters_offset=at, template_sha256=hashlib.sha256(template.encode()).hexdigest()
        )

    def _rewritten(self, capsule: bytes) -> bytes:
        return equivalent_program(capsule, functions_of_artifact(wasm.read(capsule)))

    def validate(self, wasm: bytes, limits: RunLimits, host: Host) -> Outcome | None:
        """The validator's answer."""
        return self._validator.validate(wasm, limits, host)

    def assemble(self, text: bytes, limits: RunLimits, host: Host) -> bytes:
        """The validator's answer."""
        return self._validator.assemble(text, limits, host)

    def close(self) -> None:
        """Close both engines."""
        self._engine.close()
        self._validator.close()
