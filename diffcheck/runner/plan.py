"""What is to be run for a case: its artifact read and judged, its rows resolved, its capsule built; no engine under test yet."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import prepare, witness
from diffcheck.backend import Limits
from diffcheck.capsule import layout as lo
from diffcheck.capsule.build import Form, build
from diffcheck.capsule.closed import loadable
from diffcheck.capsule.deterministic import deterministic
from diffcheck.capsule.reference_types import needs_gc
from diffcheck.capsule.seal import World
from diffcheck.compare.validity import rule
from diffcheck.corpus import read_artifact
from diffcheck.errors import ArtifactError, CaseError, DiffcheckError, ManifestError
from diffcheck.input_files import read_regular
from diffcheck.observation import Refused, sentence
from diffcheck.rows import choose
from diffcheck.runner.direct_pass import entry, why_not
from diffcheck.wasm import component
from diffcheck.wasm import module as wasm

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.backend import Backend, Host, Oracle
    from diffcheck.capsule.build import Capsule
    from diffcheck.capsule.deterministic import DeterministicForm
    from diffcheck.capsule.driver import Call
    from diffcheck.corpus import Case
    from diffcheck.observation import Outcome
    from diffcheck.runner.request import Request, Unknown
    from diffcheck.wasm.module import Module
    from diffcheck.witness import Manifest, Place

MANIFEST_CAP: Final = 256 << 20
ONLY_DIRECT: Final = "only the direct pass was asked for"
_MAGIC: Final = b"\0asm"


class Plan(msgspec.Struct, frozen=True):
    """A case ready to be run. ``no_capsule`` and ``no_direct`` say why a pass does not apply; ``skipped`` why none does.

    ``made_manifest`` is the manifest of an artifact that was made of a component on the fly. ``bare`` is an artifact that the
    oracle refuses, without its imports, exports and start function, where it refuses that for the same reason. ``rebuild`` builds
    the capsules of another form of the module; ``form`` is the form that this plan runs, None for the artifact as it is.
    """

    case: Case
    sha256: str
    limits: Limits
    artifact: bytes = b""
    module: Module | None = None
    capsule: Capsule | None = None
    oracle_capsule: Capsule | None = None
    subject_capsule: Capsule | None = None
    entry: str | None = None
    refusal: Refused | None = None
    bare: bytes = b""
    no_capsule: str = ""
    no_direct: str = ""
    skipped: str = ""
    places: dict[int, Place] = {}
    manifest: Manifest | None = None
    made_manifest: bytes = b""
    notes: tuple[str, ...] = ()
    functions: int = 0
    memory_bytes: int = 0
    rebuild: Callable[[Module], Capsules] | None = None
    form: DeterministicForm | None = None

    @property
    def digest(self) -> str:
        """The plan's digest in hex; empty where there is no capsule."""
        return f"{self.capsule.layout.plan_digest:016x}" if self.capsule else ""

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows as they are driven, init rows first."""
        return tuple(row.name for row in self.capsule.layout.rows) if self.capsule else ()


class Files(msgspec.Struct, frozen=True):
    """Where a case's files are to be read where that is not where the case says; ``no_manifest`` is why it could not be read."""

    artifact: str
    manifest: str
    no_manifest: str = ""


def make(
    case: Case, request: Request, judge: Oracle, oracle: Backend, subject: Backend, host: Host, files: Files | None = None
) -> Plan:  # fmt: skip
    """The plan of a case; what cannot be run is told in it, never raised. ``judge`` says which artifacts are valid."""
    files = files or Files(case.artifact, case.manifest)
    limits = Limits(
        deadline_s=case.limits.deadline_s or request.deadline_s,
        memory_bytes=case.limits.memory_bytes or request.memory_bytes,
    )
    plan = Plan(case, "", limits, notes=case.notes)
    try:
        artifact = _binary(case, files, judge, limits, host)
    except ArtifactError as error:
        return msgspec.structs.replace(plan, skipped=error.line)
    if component.is_component(artifact):
        try:
            plan, artifact = _made(plan, artifact, request, host)
        except DiffcheckError as error:
            return msgspec.structs.replace(plan, artifact=artifact, sha256=hashlib.sha256(artifact).hexdigest(), skipped=error.line)
    plan = msgspec.structs.replace(plan, artifact=artifact, sha256=hashlib.sha256(artifact).hexdigest())
    refusal = judge.validate(artifact, limits, host)
    if refusal is not None:
        return _refused(plan, refusal, request, judge, host)
    try:
        return _accepted(plan, wasm.read(artifact), request, oracle, subject, files)
    except (ArtifactError, CaseError) as error:  # a case with a mistake in it is not half run
        return msgspec.structs.replace(plan, skipped=error.line)


def _binary(case: Case, files: Files, judge: Oracle, limits: Limits, host: Host) -> bytes:
    data = read_artifact(files.artifact)
    return judge.assemble(data, limits, host) if case.artifact.endswith(".wat") else data


def _made(plan: Plan, source: bytes, request: Request, host: Host) -> tuple[Plan, bytes]:
    """The core module that is run in a component's place; raises with the reason where none can be made of it."""
    prepared = prepare.on_the_fly(source, Path(plan.case.artifact).stem, request.options, host.reactor)
    own = hashlib.sha256(source).hexdigest()
    note = f"a component, {' and '.join(prepared.steps)}, is run as a core module; its own sha256 is {own}"
    return msgspec.structs.replace(plan, notes=(*plan.notes, note), made_manifest=prepared.manifest), prepared.wasm


def _refused(plan: Plan, refusal: Outcome, request: Request, judge: Oracle, host: Host) -> Plan:
    """The oracle refuses the artifact: only whether the subject refuses it too is compared, where it is a core module at all."""
    if not isinstance(refusal, Refused):
        return msgspec.structs.replace(plan, skipped=f"the oracle could not judge the artifact: {sentence(refusal)}")
    if not plan.artifact.startswith(_MAGIC):
        return msgspec.structs.replace(plan, skipped=_what_it_is(plan.artifact))
    plan = msgspec.structs.replace(plan, refusal=refusal, no_capsule=f"the oracle refuses the artifact: {refusal.reason}")
    if request.mode == "capsule":
        return msgspec.structs.replace(plan, skipped=f"{plan.no_capsule}; only the capsule pass was asked for")
    try:
        module = wasm.read(plan.artifact)
    except ArtifactError:
        return plan  # the subject is asked all the same
    bare = _bare(plan.case, module, request)
    again = judge.validate(bare, plan.limits, host)
    same = isinstance(again, Refused) and (again.kind, rule(again.reason)) == (refusal.kind, rule(refusal.reason))
    return msgspec.structs.replace(plan, entry=entry(module), bare=bare if same else b"")


def _bare(case: Case, module: Module, request: Request) -> bytes:
    """The module as ``loadable`` has it, empty where it has no such form."""
    try:
        return loadable(module, world(case, program_name=request.program_name, stub_imports=request.stub_imports))
    except Exception:  # noqa: BLE001 - closing expects a valid module, and this one is not: it may raise anything
        return b""


def _what_it_is(data: bytes) -> str:
    try:
        wasm.read(data)
    except ArtifactError as error:
        return error.line
    return "it is no core module"


def _accepted(plan: Plan, module: Module, request: Request, oracle: Backend, subject: Backend, files: Files) -> Plan:
    manifest, notes = _manifest(plan, files, module)
    no_direct = "only the capsule pass was asked for" if request.mode == "capsule" else why_not(module, oracle, subject)
    no_capsule, capsules, rebuild = "", Capsules(), None
    if request.mode == "direct":
        no_capsule = ONLY_DIRECT
    else:
        try:
            rows = choose(module, plan.case.rows, request.rows)
            notes = (*notes, *rows.notes)
            if rows.why_none and _instantiates(module):
                notes = (*notes, f"only instantiation is compared: {rows.why_none}")
            else:
                no_capsule = rows.why_none
            if not no_capsule:
                rebuild = partial(_capsules, plan, calls=rows.calls, request=request, oracle=oracle, subject=subject)
                capsules = rebuild(module)
        except ArtifactError as error:
            no_capsule = error.line
    skipped = ""
    if no_capsule and no_direct:
        skipped = f"{no_capsule}; no direct pass: {no_direct}" if request.mode == "both" else no_capsule
        if request.mode == "direct":
            skipped = f"no direct pass: {no_direct}"
    functions = len(module.all_functions) + (5 if capsules.standard else 0)
    return msgspec.structs.replace(
        plan,
        module=module,
        capsule=capsules.standard,
        oracle_capsule=capsules.oracle or capsules.standard,
        subject_capsule=capsules.subject or capsules.standard,
        entry=entry(module),
        no_capsule=no_capsule,
        no_direct=no_direct,
        skipped=skipped,
        places=witness.places(manifest) if manifest else {},
        manifest=manifest,
        notes=(*plan.notes, *notes),
        functions=functions,
        memory_bytes=expected_memory(module, functions, subject),
        rebuild=rebuild,
    )


def deterministic_plan(plan: Plan) -> Plan | None:
    """The plan with its artifact in deterministic form, which keeps rows and indices; None where nothing in it is open."""
    try:
        form = None if plan.module is None else deterministic(plan.module)
    except ArtifactError:  # an instruction that is not known here
        form = None
    if form is None:
        return None
    made = Capsules() if plan.rebuild is None else plan.rebuild(form.module)
    return msgspec.structs.replace(
        plan,
        artifact=form.wasm,
        module=form.module,
        capsule=made.standard,
        oracle_capsule=made.oracle or made.standard,
        subject_capsule=made.subject or made.standard,
        functions=plan.functions + len(form.module.all_functions) - form.functions,
        form=form,
    )


def _instantiates(module: Module) -> bool:
    """Whether instantiation does anything that can be compared."""
    return module.start is not None or bool(module.elements or module.data or module.globals)


class Capsules(msgspec.Struct, frozen=True):
    """The standard capsule, and that of an engine that prints its stream, which differs in one import."""

    standard: Capsule | None = None
    oracle: Capsule | None = None
    subject: Capsule | None = None


def world(case: Case, *, program_name: bool, stub_imports: Unknown = "zero") -> World:
    """What a case gives its program; ``program_name`` and ``stub_imports`` as in ``Request``."""
    args = case.args or ((Path(case.artifact).stem,) if program_name else ())
    limits = {name: getattr(case.limits, name) for name in ("memory_pages", "table_elements", "digest_pages")}
    given = {name: value for name, value in limits.items() if value is not None}
    return World(args=args, env=case.env, stdin=case.stdin, unknown_stubs=stub_imports, **given)


def _capsules(
    plan: Plan, module: Module, calls: tuple[Call, ...], request: Request, oracle: Backend, subject: Backend
) -> Capsules:  # fmt: skip
    given = world(plan.case, program_name=request.program_name, stub_imports=request.stub_imports)
    gc = needs_gc(module) or (oracle.capabilities.gc and subject.capabilities.gc)
    unwinds = oracle.capabilities.exceptions and subject.capabilities.exceptions
    form = Form(unwinds=unwinds, references="described" if gc else "nullness")
    made = partial(build, module, plan.sha256, calls, given)

    def printing(backend: Backend) -> Capsule | None:
        return made(msgspec.structs.replace(form, prints=True)) if backend.capabilities.transport == "print" else None

    return Capsules(made(form), printing(oracle), printing(subject))


def _manifest(plan: Plan, files: Files, module: Module) -> tuple[Manifest | None, tuple[str, ...]]:
    """The artifact's manifest, and what is to be said of it; none where it is not the artifact's."""
    if not plan.case.manifest and not plan.made_manifest:
        counted = witness.instrumentation(module).counters
        return None, (witness.NO_MANIFEST if counted else witness.NOT_INSTRUMENTED,)
    try:
        if files.no_manifest and not plan.made_manifest:
            return None, (files.no_manifest,)
        data = plan.made_manifest or read_regular(files.manifest, MANIFEST_CAP, "the manifest", ManifestError)
        manifest = witness.read_manifest(data)
    except ManifestError as error:
        return None, (str(error),)
    why = witness.contradiction(manifest, module, plan.artifact)
    if why:
        return None, (f"the manifest is of another build, so nothing is derived from it: {why}",)
    return manifest, () if manifest.decisions or not manifest.branches else (witness.NO_DECISIONS,)


def expected_memory(module: Module, functions: int, subject: Backend) -> int:
    """What the subject is expected to need at its start, in bytes: to admit runs by, not to limit them."""
    pages = sum(min(each.limits.minimum, 1 << 16) for each in module.all_memories)
    known = subject.capabilities
    code = sum(size for _, size in module.bodies)
    return known.base_bytes + functions * known.function_bytes + code * known.code_bytes + 2 * (pages + 4) * lo.PAGE
