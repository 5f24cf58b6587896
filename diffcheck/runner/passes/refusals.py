"""Why a subject refused a program that the oracle accepted: its limits and proposals, parts added by the tool, or a fault."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from diffcheck.backend.contract import Program
from diffcheck.capsule.sealed_artifact import loadable
from diffcheck.errors import ArtifactError, CaseError
from diffcheck.observation import Refused, Returned, loaded, sentence
from diffcheck.probe import programs, proposals
from diffcheck.text import size
from diffcheck.wasm import section as ids

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Host, RunLimits
    from diffcheck.capsule.seal import World
    from diffcheck.observation import Outcome
    from diffcheck.wasm.module import Module

LARGE_BYTES: Final = 1 << 20
"""A smaller module or custom section is never considered too large."""
LIMITATIONS: Final = "core specification 3.0, appendix, implementation limitations"
LACKED: Final = "a proposal that the subject lacks"
_STATED: Final = {"unsupported": LACKED, "limit": "an implementation limit of the subject"}


class Refusals:
    """Finds the reason of a refusal by running other modules; each module is run at most once."""

    def __init__(self, artifact: bytes, module: Module, world: World, subject: Backend, limits: RunLimits, host: Host) -> None:
        self._artifact, self._module, self._world = artifact, module, world
        self._subject, self._limits, self._host = subject, limits, host

    def why_no_divergence(self, refused: Refused, *, capsule: bool) -> str:
        """Why the refusal of the capsule, or of the unmodified artifact, is not a fault of the subject; empty if it is one."""
        if refused.kind in _STATED:
            return f"{_STATED[refused.kind]}: the subject {sentence(refused)}"
        if self._too_large:
            return f"{_STATED['limit']} ({LIMITATIONS}): it refuses any module with {self._too_large}; it {sentence(refused)}"
        if capsule and loaded(self._bare) is True and not _same_stage(self._bare, refused):
            accepts = "instantiates" if isinstance(self._bare, Returned) else "loads"
            return f"the subject {accepts} the artifact alone, with stubbed imports, but not the capsule: it {sentence(refused)}"
        if self._lacking:
            return f"the subject does not support what the artifact uses: {', '.join(self._lacking)} (it {sentence(refused)})"
        if capsule and loaded(self._bare) is None:
            return f"the subject {sentence(refused)}; whether it accepts the artifact is unknown: it {sentence(self._bare)}"
        return ""

    @cached_property
    def _bare(self) -> Outcome:
        """The outcome of the artifact without the parts that the tool adds, except stubs."""
        try:
            return self._ask(loadable(self._module, self._world))
        except (ArtifactError, CaseError):
            return self._ask(self._artifact)

    @cached_property
    def _too_large(self) -> str:
        """The size that the subject refuses even in an otherwise empty module; empty if it accepts that."""
        whole = len(self._artifact)
        custom = max((len(each.payload) for each in self._module.sections if each.id == ids.CUSTOM), default=0)
        if whole < LARGE_BYTES or not self._accepts_any:
            return ""
        if custom >= LARGE_BYTES and self._refuses(programs.padded([custom])):
            return f"a custom section of {size(custom)}"
        parts = [LARGE_BYTES] * (whole // LARGE_BYTES)
        return f"{size(whole)} in all" if self._refuses(programs.padded(parts)) else ""

    def _refuses(self, wasm: bytes) -> bool:
        return isinstance(self._ask(wasm), Refused)

    @cached_property
    def _accepts_any(self) -> bool:
        """Whether the subject accepts a small module without proposals."""
        return loaded(self._ask(programs.exports(1))) is not False

    @cached_property
    def _lacking(self) -> list[str]:
        if not self._accepts_any:
            return []
        return [name for name in proposals.used(self._artifact) if loaded(self._ask(proposals.PROBES[name])) is False]

    def _ask(self, wasm: bytes) -> Outcome:
        return self._subject.execute(Program(kind="direct", wasm=wasm), self._limits, self._host).outcome


def _same_stage(bare: Outcome, refused: Refused) -> bool:
    """Whether the artifact alone was refused at the same stage as the capsule, so that the tool's parts are not the reason."""
    return isinstance(bare, Refused) and bare.stage == refused.stage
