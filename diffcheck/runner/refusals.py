"""Why a subject refused a program that the oracle took: its own limits and proposals, parts that the tool added, or a fault."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from diffcheck.backend import Program
from diffcheck.capsule.closed import loadable
from diffcheck.errors import ArtifactError, CaseError
from diffcheck.observation import loaded, sentence
from diffcheck.probe import programs, proposals

if TYPE_CHECKING:
    from diffcheck.backend import Backend, Host, Limits
    from diffcheck.capsule.build import World
    from diffcheck.observation import Outcome, Refused
    from diffcheck.wasm.module import Module

_STATED: Final = {"unsupported": "a proposal that the subject lacks", "limit": "an implementation limit of the subject"}


class Refusals:
    """Asks a subject about an artifact that it refused, as often as needed and each question once."""

    def __init__(self, artifact: bytes, module: Module, world: World, subject: Backend, limits: Limits, host: Host) -> None:
        self._artifact, self._module, self._world = artifact, module, world
        self._subject, self._limits, self._host = subject, limits, host

    def why_no_divergence(self, refused: Refused, *, capsule: bool) -> str:
        """Why the refusal of the capsule, or of the artifact as it is, is not the subject's fault; empty where it is."""
        if refused.kind in _STATED:
            return f"{_STATED[refused.kind]}: the subject {sentence(refused)}"
        if capsule and loaded(self._bare) is True:
            return f"the subject takes the artifact, but not the capsule: it {sentence(refused)}"
        if self._lacking:
            return f"the subject lacks what the artifact uses: {', '.join(self._lacking)} (it {sentence(refused)})"
        if capsule and loaded(self._bare) is None:
            return f"the subject {sentence(refused)}; whether it takes the artifact is unknown: it {sentence(self._bare)}"
        return ""

    @cached_property
    def _bare(self) -> Outcome:
        """What the subject does with the artifact without the tool's own parts, but for stubs."""
        try:
            return self._ask(loadable(self._module, self._world))
        except (ArtifactError, CaseError):
            return self._ask(self._artifact)

    @cached_property
    def _lacking(self) -> list[str]:
        if loaded(self._ask(programs.exports(1))) is False:  # it refuses modules without any proposal too
            return []
        return [name for name in proposals.used(self._artifact) if loaded(self._ask(proposals.PROBES[name])) is False]

    def _ask(self, wasm: bytes) -> Outcome:
        return self._subject.execute(Program(kind="direct", wasm=wasm), self._limits, self._host).outcome
