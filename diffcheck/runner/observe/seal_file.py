"""Sealing a file: an artifact is validated, its imports are closed, and it is written with its manifest."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from diffcheck import process
from diffcheck.backend.contract import RunLimits, local_host
from diffcheck.capsule.sealed_artifact import close
from diffcheck.cases.discovery import read_artifact
from diffcheck.config.input_files import read_regular
from diffcheck.errors import ArtifactError, ManifestError, UnrunnableError
from diffcheck.observation import sentence
from diffcheck.runner.engines import preferred_oracle
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.plan import world
from diffcheck.text import plural, visible
from diffcheck.wasm import module as wasm
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from diffcheck.capsule.sealed_artifact import ClosedArtifact
    from diffcheck.runner.request import Unknown

_COMPONENT: Final = b"\0asm\x0d\0\x01\0"


def seal(artifact: Path, output: Path, unknown_stubs: Unknown, limits: RunLimits) -> Iterator[str]:
    """Write the sealed artifact and its manifest; yields lines for the user. Raises ``DiffcheckError``."""
    data = read_artifact(artifact)
    if data.startswith(_COMPONENT):
        raise ArtifactError(
            f"{visible(str(artifact))} is a component", hint="make it a core module by `meld fuse --preserve-names`"
        )
    case = case_of(ObserveRequest(str(artifact)))
    manifest = None
    if case.manifest:
        manifest = read_regular(case.manifest, formats.MANIFEST_CAP, f"the manifest {visible(case.manifest)}", ManifestError)
    _require_valid(data, "it", limits)
    closed = close(wasm.read(data), world(case, program_name=False, stub_imports=unknown_stubs))
    _require_valid(closed.wasm, "the sealed artifact, which is a defect of diffcheck,", limits)
    process.write_atomically(output, closed.wasm)
    if manifest is not None:
        process.write_atomically(formats.manifest_path(output), manifest)
    yield from _summary(closed, output, manifest is not None)


def _require_valid(data: bytes, what: str, limits: RunLimits) -> None:
    """Raise ``RunFailedError`` for an invalid module. Sealing could make an invalid artifact valid, so it is checked before."""
    with local_host() as host, closing(preferred_oracle({})) as validator:
        refusal = validator.validate(data, limits, host)
    if refusal is not None:
        raise UnrunnableError(f"{validator.identity().name} refuses {what}: {sentence(refusal)}")


def _summary(closed: ClosedArtifact, output: Path, has_manifest: bool) -> Iterator[str]:  # noqa: FBT001 - one caller
    beside = f", and {visible(formats.manifest_path(output).name)}" if has_manifest else "; there is no manifest"
    yield f"wrote {visible(str(output))} ({len(closed.wasm):,} bytes){beside}"
    kinds = {kind: sum(stub.kind == kind for stub in closed.stubs) for kind in ("functional", "zero", "trap")}
    yield f"{plural(len(closed.stubs), 'imported function')}: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    for stub in closed.stubs:
        if stub.kind != "functional":
            yield f"  {stub.kind}: {visible(stub.module)} {visible(stub.name)}"
    if closed.may_exit:
        yield "an exit stores its code in the stubs' memory and traps, since a sealed artifact has no driver"
