"""A survey of imports: how the capsule and each engine implement them, and how often the case calls them.

An engine's own functions are probed on request, by one generated module for each function (``diffcheck.probe.wasi``).
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend import registry
from diffcheck.backend.contract import Host, RunLimits, local_host
from diffcheck.backend.registry import create
from diffcheck.capsule.seal import close_functions
from diffcheck.capsule.stubs import out_of_scope
from diffcheck.cases.discovery import discover, read_artifact
from diffcheck.errors import ArtifactError, DiffcheckError, EngineMissingError
from diffcheck.observation import Identity
from diffcheck.probe import engine_check, wasi
from diffcheck.probe.wasi import CheckResult, ImportVerdicts
from diffcheck.probe.wasi_module import ProbedImport
from diffcheck.runner.engines import preferred_oracle
from diffcheck.runner.observe.observe_case import ObserveRequest, read_case
from diffcheck.text import visible
from diffcheck.wasm import module as wasm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from diffcheck.backend.contract import Backend, HostEngine
    from diffcheck.capsule.layout import Stub
    from diffcheck.cases.discovery import Item

_NUMBERS: Final = ("i32", "i64", "f32", "f64")


class EngineResult(msgspec.Struct, frozen=True):
    """The result of probing an import in an engine. ``how`` is the engine and its mode; ``indirect`` is the result of
    ``call_indirect``, None if only a direct call was probed.
    """

    how: str
    call: CheckResult
    indirect: CheckResult | None = None


class ImportResult(msgspec.Struct, frozen=True):
    """An imported function: ``stub`` is functional, zero or trap, with a reason; ``calls`` is None if the case was not run."""

    interface: str
    function: str
    signature: str
    stub: str
    reason: str
    calls: int | None
    native: tuple[EngineResult, ...] = ()


class ArtifactImports(msgspec.Struct, frozen=True):
    """The imports of an artifact. ``not_run`` is why the case was not run, ``problem`` why the artifact cannot be read; ``others``
    is the number of other imports by kind, which the capsule defines with their types.
    """

    path: str
    sha256: str = ""
    imports: tuple[ImportResult, ...] = ()
    others: dict[str, int] = {}
    out_of_scope: str = ""
    not_run: str = ""
    problem: str = ""


class Survey(msgspec.Struct, frozen=True):
    """The result of a survey. ``probed`` are the results for the engine's own functions; without them ``missing`` is the reason."""

    artifacts: tuple[ArtifactImports, ...]
    probed: tuple[ImportVerdicts, ...] = ()
    label: str = ""
    engine: Identity | None = None
    missing: str = ""
    kept: str = ""


class SurveyRequest(msgspec.Struct, frozen=True):
    """The artifacts to survey. ``subject`` is the engine to probe, empty for the preferred one; ``keep`` is a folder for the
    modules and results of probes.
    """

    paths: tuple[str, ...]
    probe: bool = False
    subject: str = ""
    keep: str = ""
    limits: RunLimits = RunLimits()


def survey(request: SurveyRequest, note: Callable[[str], None] = lambda _: None) -> Survey:
    """Survey each artifact, and with ``probe`` the engine; ``note`` receives a line before a long step."""
    items = discover([Path(each) for each in request.paths]).items if request.paths else ()
    artifacts = tuple(_artifact(each, request) for each in items)
    if not request.probe:
        return Survey(artifacts, missing="the engine was not probed; use --probe")
    spec = request.subject or registry.preferred("subject")
    with local_host() as host, closing(create(spec, {})) as subject:
        engine_check.require(subject, spec, host, request.limits)
        return _probed(artifacts, subject, host, request, note)


def _probed(
    artifacts: Sequence[ArtifactImports], subject: Backend, host: Host, request: SurveyRequest, note: Callable[[str], None]
) -> Survey:  # fmt: skip
    engine = subject.host_engine()
    identity = subject.identity()
    functions = tuple(dict.fromkeys((each.interface, each.function) for one in artifacts for each in one.imports))
    probed: tuple[ImportVerdicts, ...] = ()
    label, missing = "", f"the adapter of {identity.name} does not support its own host functions"
    if engine is not None:
        label, missing = engine.label, ""
        probed = _probe(engine, host, request, functions, note)
    by_import = {(each.module, each.name): each for each in probed}
    unmodified = _unmodified(artifacts, subject, host, request)
    complete = tuple(
        msgspec.structs.replace(one, imports=tuple(_with_native(each, by_import, label, unmodified) for each in one.imports))
        for one in artifacts
    )
    return Survey(complete, probed, label, identity, missing, request.keep)


def _probe(
    engine: HostEngine, host: Host, request: SurveyRequest, functions: Iterable[tuple[str, str]], note: Callable[[str], None]
) -> tuple[ImportVerdicts, ...]:
    entries = list(wasi.all_entries())
    known = {(each.probe.function.module, each.probe.function.name) for each in entries}
    entries += list(wasi.at_versions(entries, (pair for pair in functions if pair not in known)))
    prober = wasi.Prober(engine, host, request.limits, Path(request.keep) if request.keep else None)
    if problem := prober.control():
        raise EngineMissingError(
            f"{engine.label} cannot be probed: an empty module did not return ({problem})",
            hint="run `diffcheck doctor`, or use a larger --deadline or --memory-limit",
        )
    note(f"probing {len(entries)} functions, which takes about a minute")
    return tuple(prober.probe(entries))


def _unmodified(
    artifacts: Sequence[ArtifactImports], subject: Backend, host: Host, request: SurveyRequest
) -> dict[tuple[str, str, str], tuple[EngineResult, ...]]:
    """The results of each import when diffcheck runs the unmodified artifact under subject and oracle."""
    found: dict[tuple[str, str, str], tuple[EngineResult, ...]] = {}
    with closing(preferred_oracle({})) as oracle:
        for each in (each for one in artifacts for each in one.imports):
            key = (each.interface, each.function, each.signature)
            function = _function(each)
            if key not in found and function is not None:
                found[key] = tuple(
                    EngineResult(one.identity().name, wasi.natively(one, function, host, request.limits))
                    for one in (subject, oracle)
                )
    return found


def _function(each: ImportResult) -> ProbedImport | None:
    """The import as a function of numbers; None if it has other types."""
    params: list[str] = []
    results: list[str] = []
    for part in each.signature.replace("(", " ").replace(")", " ").split():
        if part in ("param", "result"):
            into = params if part == "param" else results
        elif part in _NUMBERS:
            into.append(part)
        else:
            return None
    return ProbedImport(each.interface, each.function, tuple(params), tuple(results))


def _with_native(
    each: ImportResult,
    probed: Mapping[tuple[str, str], ImportVerdicts],
    label: str,
    unmodified: Mapping[tuple[str, str, str], tuple[EngineResult, ...]],
) -> ImportResult:
    own = probed.get((each.interface, each.function))
    given = unmodified.get((each.interface, each.function, each.signature), ())
    if own is not None:
        given = (EngineResult(label, CheckResult(own.verdict, own.why), CheckResult(own.indirect, own.why_indirect)), *given)
    return msgspec.structs.replace(each, native=given)


# Artifacts.


def _artifact(item: Item, request: SurveyRequest) -> ArtifactImports:
    try:
        data = read_artifact(item.artifact)
    except DiffcheckError as error:
        return ArtifactImports(item.artifact, problem=_words(error))
    found = ArtifactImports(item.artifact, hashlib.sha256(data).hexdigest())
    try:
        oracle = registry.preferred("oracle")
        observed = read_case(ObserveRequest(item.artifact, backend=oracle, keep_going=True, deadline_s=request.limits.deadline_s))
    except DiffcheckError as error:
        try:
            module = wasm.read(data)
            stubs = tuple(each.stub for each in close_functions(module, "zero"))
        except ArtifactError:
            return msgspec.structs.replace(found, problem=_words(error))
        return _with_imports(found, module, stubs, None, _words(error))
    stubs = observed.plan.layout.stubs
    calls = [0] * len(stubs)
    for instance in observed.read.instances:
        for at, count in enumerate(instance.stub_calls):
            calls[at] += count
    return _with_imports(found, observed.plan.module, stubs, calls, "")


def _with_imports(
    found: ArtifactImports, module: wasm.Module, stubs: Sequence[Stub], calls: Sequence[int] | None, not_run: str
) -> ArtifactImports:
    others: dict[str, int] = {}
    for each in module.imports:
        if each.kind != "func":
            others[each.kind] = others.get(each.kind, 0) + 1
    scope = next((why for each in stubs if (why := out_of_scope(each.module, each.name))), "")
    return msgspec.structs.replace(
        found,
        imports=tuple(
            ImportResult(each.module, each.name, each.signature, each.kind, each.reason, calls[at] if calls is not None else None)
            for at, each in enumerate(stubs)
        ),
        others=others,
        out_of_scope=scope,
        not_run=not_run,
    )


def _words(error: DiffcheckError) -> str:
    return visible(error.line, 500)


__all__ = ["ArtifactImports", "EngineResult", "ImportResult", "Survey", "SurveyRequest", "survey"]
