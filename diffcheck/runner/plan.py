"""The plan of a case: skipped, refused, or runnable with its capsules."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

from diffcheck.backend.contract import RunLimits
from diffcheck.capsule import layout as lo
from diffcheck.capsule.deterministic.form import deterministic
from diffcheck.capsule.seal import World
from diffcheck.errors import ArtifactError, UnrunnableError
from diffcheck.observation import Refused
from diffcheck.verdict import Tool
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.capsule.deterministic.form import DeterministicForm, OpenPlace
    from diffcheck.capsule.driver import Call
    from diffcheck.capsule.forms import Capsule
    from diffcheck.capsule.slicing.slice_form import Slice
    from diffcheck.cases.discovery import Case
    from diffcheck.runner.request import Unknown
    from diffcheck.wasm.module import Module
    from diffcheck.witness.formats import BranchPlace, Manifest

ONLY_DIRECT: Final = "only the direct pass was requested"


class SkippedPlan(msgspec.Struct, frozen=True):
    """A case that is not run, and the reason. ``sha256`` is empty if the artifact could not be read; ``bad_input`` is
    whether the artifact is not a module, or the case file has a mistake.
    """

    case: Case
    reason: str
    sha256: str = ""
    bad_input: bool = False


class _JudgedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A case with a validated artifact. ``no_capsule`` and ``no_direct`` are the reasons why a pass does not apply."""

    case: Case
    sha256: str
    limits: RunLimits
    artifact: bytes
    entry: str | None = None
    no_capsule: str = ""
    no_direct: str = ""
    manifest: Manifest | None = None
    notes: tuple[str, ...] = ()
    functions: int = 0
    memory_bytes: int = 0
    made_by: tuple[Tool, ...] = ()

    @property
    def digest(self) -> str:
        """The capsule's plan digest in hex; empty without a capsule."""
        return ""

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows of the capsule in call order, init rows first; empty without a capsule."""
        return ()

    @property
    def case_rows(self) -> tuple[str, ...]:
        """The rows of all capsules of the case."""
        return self.rows


class RefusedPlan(_JudgedPlan, frozen=True, kw_only=True):
    """An artifact that the oracle refuses: the only question is whether the subject refuses it too.

    ``bare`` is the artifact without imports, exports and start function, empty unless the oracle refuses it for the same reason.
    ``accepted`` is whether only the script refuses it, with ``refusal``, and the oracle accepts it.
    """

    refusal: Refused
    bare: bytes = b""
    accepted: bool = False


class RunnablePlan(_JudgedPlan, frozen=True, kw_only=True, dict=True):
    """A valid artifact with at least one applicable pass. ``form`` is the deterministic form, None for the unmodified artifact."""

    module: Module
    form: DeterministicForm | None = None

    @cached_property
    def places(self) -> dict[int, BranchPlace]:
        """The places of the branches, by their ids."""
        return formats.places(self.manifest) if self.manifest else {}

    @cached_property
    def deterministic(self) -> Self | None:
        """The plan of the artifact's deterministic form, with the same rows and indices; None if all its results are determined."""
        try:
            form = deterministic(self.module)
        except ArtifactError:  # an unknown instruction
            return None
        return None if form is None else self._in_form(form)

    def _in_form(self, form: DeterministicForm) -> Self:
        functions = self.functions + len(form.module.all_functions) - form.functions
        return msgspec.structs.replace(self, artifact=form.wasm, module=form.module, functions=functions, form=form)


class CapsulePlan(RunnablePlan, frozen=True, kw_only=True):
    """A runnable plan to which the capsule pass applies. ``calls`` are its rows, ``rebuild`` builds the capsules of another form of
    the module with its rows. ``reasons`` are why planned rows were chosen, by row. ``slice`` is the slice that is run and
    ``whole`` the plan of the whole artifact, None if there is no slice. ``others`` are the plans of the other slices, each with
    other rows, if the rows are split over several.
    """

    capsules: Capsules
    calls: tuple[Call, ...]
    rebuild: Callable[..., Capsules]
    reasons: dict[str, str] = {}
    slice: Slice | None = None
    whole: CapsulePlan | None = None
    others: tuple[CapsulePlan, ...] = ()

    @property
    def layout(self) -> lo.Layout:
        """The layout of the stream, the same on both engines."""
        return self.capsules.standard.layout

    @property
    def digest(self) -> str:
        """The capsule's plan digest in hex."""
        return f"{self.layout.plan_digest:016x}"

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows in call order, init rows first."""
        return tuple(row.name for row in self.layout.rows)

    @property
    def case_calls(self) -> tuple[Call, ...]:
        """The calls, and those of the rows of the other slices."""
        return (*self.calls, *(call for each in self.others for call in each.calls if not call.init))

    @property
    def case_rows(self) -> tuple[str, ...]:
        """The rows, and those of the other slices."""
        return (*self.rows, *(row for each in self.others for row in each.rows[each.layout.n_init :]))

    def _in_form(self, form: DeterministicForm) -> Self:
        if self.slice is not None:
            form = msgspec.structs.replace(form, reported=tuple(_original(each, self.slice) for each in form.places))
        return msgspec.structs.replace(super()._in_form(form), capsules=self.rebuild(form.module, self.calls))


def _original(place: OpenPlace, made: Slice) -> OpenPlace:
    """The place of an open instruction of a slice in the artifact."""
    offset = made.original_offset(place.function, place.offset)
    return place._replace(function=made.original(place.function), offset=offset, end=offset + place.end - place.offset)


Plan = SkippedPlan | RefusedPlan | RunnablePlan


class Capsules(msgspec.Struct, frozen=True):
    """The standard capsule and those of both engines, which import a function for printing if the engine prints its stream."""

    standard: Capsule
    oracle: Capsule
    subject: Capsule


class Files(msgspec.Struct, frozen=True):
    """The actual paths of a case's files; ``no_manifest`` is the reason why the manifest could not be read."""

    artifact: str
    manifest: str
    no_manifest: str = ""


def require_capsule(plan: Plan, purpose: str = "run") -> CapsulePlan:
    """The plan if it has a capsule; raises ``UnrunnableError`` with the reason if not."""
    if isinstance(plan, CapsulePlan):
        return plan
    reason = plan.reason if isinstance(plan, SkippedPlan) else plan.no_capsule
    raise UnrunnableError(f"{plan.case.artifact} cannot be {purpose}: {reason}")


def world(case: Case, *, program_name: bool, stub_imports: Unknown = "zero") -> World:
    """The environment of a case's program; ``program_name`` and ``stub_imports`` as in ``Request``."""
    args = case.args or ((Path(case.artifact).stem,) if program_name else ())
    limits = {name: getattr(case.limits, name) for name in ("memory_pages", "table_elements", "digest_pages")}
    given = {name: value for name, value in limits.items() if value is not None}
    return World(args=args, env=case.env, stdin=case.stdin, unknown_stubs=stub_imports, **given)
