"""Planning a case: the artifact is read and validated, its rows resolved, its capsule built. No engine under test is started."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import CallProgram, RunLimits
from diffcheck.capsule.build import build
from diffcheck.capsule.forms import Form
from diffcheck.capsule.recorder.reference_types import hierarchy, needs_gc
from diffcheck.capsule.sealed_artifact import loadable
from diffcheck.cases import prepare, producers
from diffcheck.cases.discovery import read_artifact
from diffcheck.cases.legacy_exceptions import has_legacy_exceptions, translated
from diffcheck.cases.link import LinkedModule, link
from diffcheck.cases.rows import INIT, choose, numbered, usable
from diffcheck.cases.wit_rows.wit_rows import is_wit, parse, quoted, with_callers
from diffcheck.compare import expectations
from diffcheck.compare.validity import rule, why_unjudged
from diffcheck.config.input_files import read_regular
from diffcheck.errors import ArtifactError, CaseError, DiffcheckError, ManifestError
from diffcheck.observation import Refused, sentence
from diffcheck.runner.expected_memory import expected_memory
from diffcheck.runner.harness_entry import entry, why_no_direct_pass
from diffcheck.runner.plan import ONLY_DIRECT, CapsulePlan, Capsules, Files, RefusedPlan, RunnablePlan, SkippedPlan, world
from diffcheck.runner.row_plans.auto_rows import AutoRows
from diffcheck.text import visible
from diffcheck.wasm import component
from diffcheck.wasm import module as wasm
from diffcheck.witness import formats

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Host, Oracle
    from diffcheck.capsule.driver import Call
    from diffcheck.capsule.forms import Capsule
    from diffcheck.capsule.slicing.slice_form import Slice
    from diffcheck.cases.discovery import Case
    from diffcheck.cases.rows import Rows
    from diffcheck.observation import Outcome
    from diffcheck.runner.plan import Plan
    from diffcheck.runner.request import Request
    from diffcheck.runner.row_plans.auto_rows import RowPlans
    from diffcheck.wasm.module import Module
    from diffcheck.witness.formats import Manifest

_MAGIC: Final = b"\0asm"


class _Engines(msgspec.Struct, frozen=True):
    """The engines of a run by role, their host, and stored row plans."""

    validator: Oracle
    oracle: Backend
    subject: Backend
    host: Host
    stored: RowPlans | None


class _Source(msgspec.Struct, frozen=True):
    """A case with its core module; ``made_manifest`` and ``digests``, those of the tools, are set if it was made of a component."""

    case: Case
    limits: RunLimits
    artifact: bytes
    sha256: str
    notes: tuple[str, ...]
    made_manifest: bytes = b""
    digests: dict[str, str] = {}

    def skipped(self, reason: str, *, bad_input: bool = False) -> SkippedPlan:
        """The plan of a case that is not run."""
        return SkippedPlan(self.case, reason, self.sha256, bad_input)


def make(
    case: Case, request: Request, validator: Oracle, oracle: Backend, subject: Backend, host: Host, files: Files | None = None,
    stored: RowPlans | None = None,
) -> Plan:  # fmt: skip
    """The plan of a case; never raises because of an artifact or a case file. ``validator`` validates the artifact and plans the
    rows of ``--auto-rows``, unless they are ``stored``.
    """
    files = files or Files(case.artifact, case.manifest)
    engines = _Engines(validator, oracle, subject, host, stored)
    limits = RunLimits(
        deadline_s=case.limits.deadline_s or request.deadline_s,
        memory_bytes=case.limits.memory_bytes or request.memory_bytes,
    )
    try:
        artifact = _binary(case, files, validator, limits, host)
    except ArtifactError as error:
        return SkippedPlan(case, error.line, bad_input=True)
    source = _Source(case, limits, artifact, hashlib.sha256(artifact).hexdigest(), case.notes)
    validated = _validated(source, request, validator, host)
    if isinstance(validated, SkippedPlan):
        return validated
    source, refusal = validated
    if refusal is not None:
        return _refused(source, refusal, request, validator, host)
    if case.module is not None and (why := case.module.refusal):
        return RefusedPlan(
            case=case, sha256=source.sha256, limits=limits, artifact=artifact, no_capsule=f"the script expects a refusal: {why}",
            refusal=Refused("load", why, "invalid"), accepted=True,
        )  # fmt: skip
    try:
        return _accepted(source, wasm.read(source.artifact), request, engines, files)
    except (ArtifactError, CaseError) as error:  # a case with a mistake is not run in part
        return source.skipped(error.line, bad_input=isinstance(error, CaseError))


def _validated(source: _Source, request: Request, validator: Oracle, host: Host) -> tuple[_Source, Outcome | None] | SkippedPlan:
    """The core module without legacy exceptions, and the oracle's refusal of it; skipped if it cannot be made."""
    if component.is_component(source.artifact):
        try:
            source = _core_module(source, request, validator, host)
        except DiffcheckError as error:
            return source.skipped(error.line, bad_input=isinstance(error, CaseError))
    refusal = validator.validate(source.artifact, source.limits, host)
    if isinstance(refusal, Refused) and refusal.kind == "unsupported" and has_legacy_exceptions(source.artifact):
        try:
            source = _translated(source, request, host)
        except DiffcheckError as error:
            return source.skipped(f"it uses legacy exceptions, which WebAssembly 3.0 and the oracle lack: {error.line}")
        refusal = validator.validate(source.artifact, source.limits, host)
    return source, refusal


def _binary(case: Case, files: Files, validator: Oracle, limits: RunLimits, host: Host) -> bytes:
    if case.module is not None:
        return case.module.wasm
    data = read_artifact(files.artifact)
    data = validator.assemble(data, limits, host) if case.artifact.endswith(".wat") else data
    if not case.link:
        return data
    own = LinkedModule(data, sources={each.prefix: at for at, each in enumerate(case.link)}, deferred=True)
    return link([*case.link, own], at_start=True)


def _core_module(source: _Source, request: Request, validator: Oracle, host: Host) -> _Source:
    """The core module made from a component, with a function for each row in WIT values; raises ``DiffcheckError`` with the reason
    if that fails.
    """
    prepared = prepare.on_the_fly(source.artifact, Path(source.case.artifact).stem, request.options, host.reactor)
    artifact = prepared.wasm
    if rows := [each for each in request.calls or source.case.rows if is_wit(each)]:
        if component.has_other_strings(source.artifact):
            raise CaseError(f"{quoted(rows[0])} cannot be called: the component's strings are not UTF-8")
        functions = validator.call(CallProgram(source.artifact), source.limits, host).functions
        artifact = with_callers(artifact, parse(rows, functions))
    note = f"a component, {' and '.join(prepared.steps)}, is run as a core module; its own sha256 is {source.sha256}"
    return msgspec.structs.replace(
        source,
        artifact=artifact,
        sha256=hashlib.sha256(artifact).hexdigest(),
        notes=(*source.notes, note),
        made_manifest=prepared.manifest,
        digests=prepared.digests,
    )


def _translated(source: _Source, request: Request, host: Host) -> _Source:
    """The module with exceptions of WebAssembly 3.0; raises ``DiffcheckError`` with the reason if that fails."""
    stem = Path(source.case.artifact).stem
    artifact = translated(source.artifact, stem, request.options, host.reactor)
    note = f"legacy exceptions were translated to those of WebAssembly 3.0 by wasm-opt; the artifact's sha256 is {source.sha256}"
    sha256 = hashlib.sha256(artifact).hexdigest()
    return msgspec.structs.replace(source, artifact=artifact, sha256=sha256, notes=(*source.notes, note))


def _refused(source: _Source, refusal: Outcome, request: Request, validator: Oracle, host: Host) -> Plan:
    """The plan of an artifact that the oracle refuses; skipped if it is not a core module."""
    if not isinstance(refusal, Refused):
        return source.skipped(f"the oracle could not validate the artifact: {sentence(refusal)}")
    if not source.artifact.startswith(_MAGIC) and source.case.module is None:
        return source.skipped(_what_it_is(source.artifact), bad_input=True)
    no_capsule = "the oracle refuses the artifact"
    if request.mode == "capsule":
        return source.skipped(f"{no_capsule}: {refusal.reason}; only the capsule pass was requested")
    if source.case.module is not None and source.case.module.refusal:
        refusal = msgspec.structs.replace(refusal, kind="invalid")  # the script decides, also beyond a limit of the oracle
    elif source.case.module is not None and refusal.kind == "invalid":
        reason = f"the script expects a valid module: {refusal.reason}"
        refusal = msgspec.structs.replace(refusal, kind="unsupported", reason=reason)
    plan = RefusedPlan(
        case=source.case, sha256=source.sha256, limits=source.limits, artifact=source.artifact, no_capsule=no_capsule,
        notes=source.notes, refusal=refusal,
    )  # fmt: skip
    if why_unjudged(refusal):
        return plan  # not decoded: a module beyond a limit of the oracle may take 2 GB (3 million globals, measured 2026-11-28)
    try:
        module = wasm.read(source.artifact)
    except ArtifactError:
        return plan  # the subject is run anyway
    bare = _bare(source.case, module, request)
    again = validator.validate(bare, source.limits, host)
    same = isinstance(again, Refused) and (again.kind, rule(again.reason)) == (refusal.kind, rule(refusal.reason))
    return msgspec.structs.replace(plan, entry=entry(module), bare=bare if same else b"")


def _bare(case: Case, module: Module, request: Request) -> bytes:
    """The module in its ``loadable`` form; empty if it has none."""
    try:
        return loadable(module, world(case, program_name=request.program_name, stub_imports=request.stub_imports))
    except Exception:  # noqa: BLE001 - sealing an invalid module may raise anything
        return b""


def _what_it_is(data: bytes) -> str:
    try:
        wasm.read(data)
    except ArtifactError as error:
        return error.line
    return "it is not a core module"


def _accepted(source: _Source, module: Module, request: Request, engines: _Engines, files: Files) -> Plan:
    """The plan of a valid artifact; skipped if no pass applies to it."""
    oracle, subject = engines.oracle, engines.subject
    manifest, notes = _manifest(source, files, module)
    no_direct = "only the capsule pass was requested" if request.mode == "capsule" else why_no_direct_pass(module, oracle, subject)
    no_capsule, capsules, rebuild = ONLY_DIRECT, None, None
    calls: tuple[Call, ...] = ()
    reasons: dict[str, str] = {}
    if request.mode != "direct":
        try:
            try:
                rows = _rows(module, source, request, engines)
            except CaseError:
                source = _with_usable_rows(source, module)
                rows = _rows(module, source, request, engines)
            notes, no_capsule = (*notes, *rows.notes), rows.why_none
            calls, reasons = rows.calls, rows.reasons
            rebuild = partial(_capsules, source, request=request, oracle=oracle, subject=subject)
            capsules = None if no_capsule else rebuild(module, calls)
        except ArtifactError as error:
            no_capsule = error.line
    if no_capsule and no_direct:
        whys = {"capsule": no_capsule, "direct": f"no direct pass: {no_direct}"}
        return source.skipped(whys.get(request.mode) or "; ".join(whys.values()))
    functions = len(module.all_functions) + (5 if capsules else 0)
    plan = RunnablePlan(
        case=source.case,
        sha256=source.sha256,
        limits=source.limits,
        artifact=source.artifact,
        entry=entry(module),
        no_capsule=no_capsule,
        no_direct=no_direct,
        manifest=manifest,
        notes=(*source.notes, *notes),
        functions=functions,
        memory_bytes=expected_memory(module, functions, subject.capabilities),
        module=module,
        made_by=producers.tools(module, manifest, source.digests),
    )
    if capsules is None or rebuild is None:
        return plan
    return CapsulePlan(**msgspec.structs.asdict(plan), capsules=capsules, calls=calls, rebuild=rebuild, reasons=reasons)


def _rows(module: Module, source: _Source, request: Request, engines: _Engines) -> Rows:
    """The rows to call; no rows and no reason if only instantiation is compared."""
    declared = request.calls or source.case.rows
    rows = choose(module, declared)
    if request.rows == "auto" and source.case.module is None:
        limits = msgspec.structs.replace(source.case.limits, digest_pages=1)  # memories are not compared
        trial = msgspec.structs.replace(source, case=msgspec.structs.replace(source.case, limits=limits))

        def build_trial(form: Module, calls: tuple[Call, ...]) -> Capsule:
            return _capsules(trial, form, calls, request, engines.validator, engines.subject).oracle

        planner = AutoRows(module, source.artifact, build_trial, engines.validator, source.limits, engines.host)
        rows = planner.rows(rows, declared, engines.stored)
    if source.case.module is not None or any(each.expected for each in rows.rows):
        rows = msgspec.structs.replace(rows, rows=numbered(rows.rows))
    for each in rows.calls:
        if each.expected and source.case.module is None:  # an assertion of a script that cannot hold is not met
            try:
                types = [one if isinstance(one, str) else hierarchy(module, one) for one in each.type.results]
                expectations.check(each.expected, types)
            except CaseError as error:
                raise CaseError(f"row {visible(each.name)}: {error}", hint=error.hint) from error
    if rows.why_none and (_instantiates(module) or source.case.module is not None):
        rows = msgspec.structs.replace(rows, notes=(*rows.notes, f"only instantiation is compared: {rows.why_none}"), why_none="")
    return rows


def _with_usable_rows(source: _Source, module: Module) -> _Source:
    """The source without the actions of a script that cannot be called; each of its own is noted with its line."""
    script = source.case.module
    if script is None or source.case.rows != script.rows:
        return source
    _, whys = usable(module, script.rows)
    rows = tuple(each for each in script.rows if each not in whys)
    own = [*zip((each for each in script.rows if not each.startswith(INIT)), script.lines, strict=True)]
    notes = (f"line {line}: {whys[row]}" for row, line in own if row in whys)
    script = msgspec.structs.replace(script, rows=rows, lines=tuple(line for row, line in own if row not in whys))
    case = msgspec.structs.replace(source.case, rows=rows, module=script)
    return msgspec.structs.replace(source, case=case, notes=(*source.notes, *notes))


def _instantiates(module: Module) -> bool:
    """Whether instantiation has an effect that can be compared."""
    return module.start is not None or bool(module.elements or module.data or module.globals)


def _capsules(
    source: _Source, module: Module, calls: tuple[Call, ...], request: Request, oracle: Backend, subject: Backend,
    made: Slice | None = None,
) -> Capsules:  # fmt: skip
    given = world(source.case, program_name=request.program_name, stub_imports=request.stub_imports)
    gc = (oracle.capabilities.gc and subject.capabilities.gc) or needs_gc(module)
    unwinds = bool(oracle.capabilities.exceptions and subject.capabilities.exceptions)
    form = Form(unwinds=unwinds, references="described" if gc else "nullness")
    build_form = partial(build, module, source.sha256, calls, given, made=made)
    standard = build_form(form)

    def capsule(backend: Backend) -> Capsule:
        return build_form(msgspec.structs.replace(form, prints=True)) if backend.capabilities.transport == "print" else standard

    return Capsules(standard, capsule(oracle), capsule(subject))


def _manifest(source: _Source, files: Files, module: Module) -> tuple[Manifest | None, tuple[str, ...]]:
    """The artifact's manifest and notes on it; None if it is missing, damaged or of another artifact."""
    if not source.case.manifest and not source.made_manifest:
        counted = formats.instrumentation(module).counters
        return None, (formats.NO_MANIFEST if counted else formats.NOT_INSTRUMENTED,)
    try:
        if files.no_manifest and not source.made_manifest:
            return None, (files.no_manifest,)
        data = source.made_manifest or read_regular(files.manifest, formats.MANIFEST_CAP, "the manifest", ManifestError)
        manifest = formats.read_manifest(data)
    except ManifestError as error:
        return None, (str(error),)
    why = formats.contradiction(manifest, module, source.artifact)
    if why:
        return None, (f"the manifest is of another build and not used: {why}",)
    return manifest, () if manifest.decisions or not manifest.branches else (formats.NO_DECISIONS,)
