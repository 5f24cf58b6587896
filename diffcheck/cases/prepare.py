"""From a component or a core module to a corpus artifact: meld fuses, witness instruments, a case file to start from is written.

The tools are the user's, trusted, and looked for as ``DIFFCHECK_MELD`` and ``DIFFCHECK_WITNESS``, then on PATH. Nothing appears in
its place before all of it is made.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.capsule.seal import check_scope
from diffcheck.capsule.stubs import OUT_OF_SCOPE
from diffcheck.cases.case_file import ARTIFACT_CAP
from diffcheck.config.input_files import read_regular
from diffcheck.errors import ArtifactError, ConfigError, EngineMissingError, ReportError
from diffcheck.text import decode, plural, visible
from diffcheck.wasm import component
from diffcheck.wasm import module as wasm
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from diffcheck.wasm.module import Module

TOOL_DEADLINE_S: Final = 60.0
SOURCE_CAP: Final = ARTIFACT_CAP
LOG: Final = ".prepare.log"
_OUTPUT_BYTES: Final = 1 << 20
_TOOL_MEMORY: Final = 16 << 30

HOW_TO_GET: Final = {
    "meld": "it comes with the meld project's releases; put it on PATH or set DIFFCHECK_MELD",
    "witness": "`cargo install witness-mcdc` gives it; put it on PATH or set DIFFCHECK_WITNESS",
}
"""The tools, and where each comes from."""


class PreparedArtifact(msgspec.Struct, frozen=True):
    """A core module with counters, and its manifest (empty where there is none); ``steps`` say what was done, ``log`` has each
    command with what it printed.
    """

    wasm: bytes
    manifest: bytes
    steps: tuple[str, ...]
    log: str = ""


def tools(environment: Mapping[str, str]) -> dict[str, str]:
    """The tools that there are, by name: full paths. ``ConfigError`` where a variable names no program."""
    found = {}
    for name in HOW_TO_GET:
        variable = f"DIFFCHECK_{name.upper()}"
        given = environment.get(variable)
        path = shutil.which(Path(given).expanduser()) if given else shutil.which(name, path=environment.get("PATH"))
        if given and path is None:
            raise ConfigError(f"{variable} names {visible(given)}, no program", hint="give the full path of the program")
        if path is not None:
            found[name] = str(Path(path).absolute())
    return found


# Making.


class Maker:
    """Makes artifacts with the tools that there are; ``run`` runs one of them in a folder and gives how it ended."""

    def __init__(self, found: Mapping[str, str], run: Callable[[Sequence[str], Path], process.ProcessResult]) -> None:
        self._tools, self._run = found, run

    def make(self, source: bytes, stem: str, work: Path) -> PreparedArtifact:
        """The artifact; raises ``ArtifactError`` or ``EngineMissingError`` with the reason. ``work`` is an empty private folder."""
        steps: list[str] = []
        log: list[str] = []
        manifest = b""
        data = source
        if component.is_component(source):
            if found := component.asynchronous(source):
                raise ArtifactError(f"{OUT_OF_SCOPE}: {found}", hint="build it for wasi 0.2")
            # Without --reproducible the file has a random id and the time in it: another artifact each night.
            data = self._step("meld", ("fuse", "--preserve-names", "--reproducible"), data, stem, work / "fused", log)
            steps.append("fused by meld")
        module = _core(data)
        if formats.instrumentation(module).counters:
            steps.append("it carries counters already" if not steps else "witness had been there already")
        else:
            data = self._step("witness", ("instrument",), data, stem, work / "instrumented", log)
            beside = process.read_output_file(formats.manifest_path(work / "instrumented" / f"{stem}.wasm"), SOURCE_CAP)
            if not isinstance(beside, bytes):
                raise ArtifactError(
                    f"witness instrument wrote no manifest: it is {beside.reason}", hint="try another version of it"
                )
            manifest = beside
            branches = len(formats.instrumentation(_core(data)).counters)
            steps.append(f"instrumented by witness, {plural(branches, 'branch', 'branches')}")
        return PreparedArtifact(data, manifest, tuple(steps), "".join(log))

    def _step(self, tool: str, arguments: tuple[str, ...], data: bytes, stem: str, folder: Path, log: list[str]) -> bytes:
        """One tool: ``data`` in, its output back."""
        path = self._tools.get(tool)
        what = " ".join((tool, *arguments))
        if path is None:
            raise EngineMissingError(f"{tool} was not found, and `{what}` is needed", hint=HOW_TO_GET[tool])
        given = folder / "source" / f"{stem}.wasm"
        given.parent.mkdir(parents=True)
        given.write_bytes(data)
        target = folder / f"{stem}.wasm"
        output = f"./{stem}.wasm" if stem.startswith("-") else f"{stem}.wasm"  # else it would be taken for an option
        words = (*arguments, f"source/{stem}.wasm", "-o", output)
        ended = self._run((path, *words), folder)
        said = decode(ended.stdout) + decode(ended.stderr)
        log.append(f"$ {' '.join((tool, *words))}\n{said}{'' if said.endswith(chr(10)) or not said else chr(10)}")
        if ended.exit_code != 0 or ended.timed_out:
            raise ArtifactError(f"`{what}` {_how(ended)}", hint=f"it says: {_last_line(said)}")
        made = process.read_output_file(target, SOURCE_CAP)
        if not isinstance(made, bytes):
            raise ArtifactError(
                f"`{what}` says that it is done, and its output is {made.reason}", hint=f"it says: {_last_line(said)}"
            )
        return made


def _core(data: bytes) -> Module:
    try:
        module = wasm.read(data)
    except ArtifactError as error:
        raise ArtifactError(f"it is not a core module: {error}", hint=error.hint) from error
    check_scope(module)
    return module


def _how(ended: process.ProcessResult) -> str:
    if ended.timed_out:
        return f"did not end within {TOOL_DEADLINE_S:g} s"
    return f"failed with exit code {ended.exit_code}" if ended.signal is None else f"was ended by signal {ended.signal}"


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return visible(lines[-1], 300) if lines else "nothing"


def quietly(reactor: process.Reactor) -> Callable[[Sequence[str], Path], process.ProcessResult]:
    """Runs a tool without showing its output."""

    def run(command: Sequence[str], folder: Path) -> process.ProcessResult:
        child = reactor.start(
            command,
            env=process.scrubbed_environment(),
            cwd=folder,
            deadline_s=TOOL_DEADLINE_S,
            resident_bytes=_TOOL_MEMORY,
            output_bytes=_OUTPUT_BYTES,
            file_bytes=SOURCE_CAP,
        )
        return reactor.wait(child)

    return run


def live(folder: Path) -> Callable[[Sequence[str], Path], process.ProcessResult]:
    """Runs a tool while its output is shown, by subprocess-tee; ``folder`` is for its files."""

    def run(command: Sequence[str], work: Path) -> process.ProcessResult:
        with process.private_folder(folder) as own:
            bounds = process.CommandLimits(
                command=tuple(command),
                env=process.scrubbed_environment(),
                cwd=str(work),
                result_file=str(own / "ended"),
                deadline_s=TOOL_DEADLINE_S,
                memory_bytes=None,
                resident_bytes=_TOOL_MEMORY,
                output_bytes=_OUTPUT_BYTES,
                output_stop_bytes=64 << 20,
                file_bytes=SOURCE_CAP,
            )
            return process.run_live(bounds, own)

    return run


# On the fly.


def on_the_fly(source: bytes, stem: str, options: Mapping[str, str], reactor: process.Reactor) -> PreparedArtifact:
    """The artifact of a component, from the cache where it was made before by the same tools; raises as ``Maker.make`` does.

    ``options`` has the tools' paths and the cache's folder under ``meld``, ``witness`` and ``cache``.
    """
    found = {name: options[name] for name in HOW_TO_GET if name in options}
    if missing := [name for name in HOW_TO_GET if name not in found]:
        hint = "; ".join(f"{name}: {HOW_TO_GET[name]}" for name in missing)
        if scope := component.asynchronous(source):
            raise ArtifactError(f"{OUT_OF_SCOPE}: {scope}", hint="build it for wasi 0.2")
        were = f"{' and '.join(missing)} {'was' if len(missing) == 1 else 'were'}"
        raise EngineMissingError(f"it is a component, and {were} not found to make a core module of it", hint=hint)
    key = _key(source, stem, found)
    place_ = Path(options["cache"]) / "prepared" / key if options.get("cache") else None
    if place_ is not None and (kept := _cached(place_, key)) is not None:
        return kept
    with process.private_folder() as work:
        prepared = Maker(found, quietly(reactor)).make(source, stem, work)
    if place_ is not None:
        _keep(place_, key, prepared)
    return prepared


def _key(source: bytes, stem: str, found: Mapping[str, str]) -> str:
    """The artifact's name is part of it, as the manifest has it."""
    digest = hashlib.sha256(hashlib.sha256(source).digest() + stem.encode(errors="backslashreplace") + b"\0")
    for name in sorted(found):
        digest.update(hashlib.sha256(read_regular(found[name], 1 << 30, name)).digest())
    return digest.hexdigest()


def _cached(place: Path, key: str) -> PreparedArtifact | None:
    data = process.read_own(place, key, SOURCE_CAP)
    if data is None:
        return None
    try:
        return msgspec.msgpack.decode(data, type=PreparedArtifact)
    except msgspec.MsgspecError:
        return None


def _keep(place: Path, key: str, prepared: PreparedArtifact) -> None:
    """In one file, so that it is there whole or not at all; a cache that cannot be written is no failure."""
    with contextlib.suppress(OSError, ReportError):
        process.write_own(place, key, msgspec.msgpack.encode(prepared))


__all__ = [
    "HOW_TO_GET",
    "LOG",
    "Maker",
    "PreparedArtifact",
    "live",
    "on_the_fly",
    "quietly",
    "tools",
]
