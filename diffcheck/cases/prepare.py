"""From a component or a core module to a corpus artifact: meld fuses and witness instruments.

The tools are the user's and trusted. ``DIFFCHECK_MELD``, ``DIFFCHECK_WITNESS`` and ``DIFFCHECK_WASM_OPT`` are their paths, else
they are searched on PATH.
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

TOOL_DEADLINE_S: Final = 120.0
SOURCE_CAP: Final = ARTIFACT_CAP
LOG: Final = ".prepare.log"
_OUTPUT_BYTES: Final = 1 << 20
_TOOL_MEMORY: Final = 16 << 30

HOW_TO_GET: Final = {
    "meld": "install it from the releases of the meld project; put it on PATH or set DIFFCHECK_MELD",
    "witness": "install it by `cargo install witness-mcdc`; put it on PATH or set DIFFCHECK_WITNESS",
}
"""The tools that make an artifact of a component, and how to install them."""
WASM_OPT: Final = "wasm-opt"
WASM_OPT_HINT: Final = (
    "install Binaryen 119 or later (`npm install --global binaryen`); put wasm-opt on PATH or set DIFFCHECK_WASM_OPT"
)


class PreparedArtifact(msgspec.Struct, frozen=True):
    """A core module with counters, and its manifest (empty if there is none); ``steps`` describe the preparation, ``log`` has each
    command with its output. ``digests`` are the SHA-256 of the tools by name, ``fused`` is meld's output, empty for a core module.
    """

    wasm: bytes
    manifest: bytes
    steps: tuple[str, ...]
    log: str = ""
    digests: dict[str, str] = {}
    fused: bytes = b""


def tools(environment: Mapping[str, str]) -> dict[str, str]:
    """The full paths of the installed tools by name; raises ``ConfigError`` if a variable does not name a program."""
    found = {}
    for name in (*HOW_TO_GET, WASM_OPT):
        variable = f"DIFFCHECK_{name.upper().replace('-', '_')}"
        setting = environment.get(variable)
        path = shutil.which(Path(setting).expanduser()) if setting else shutil.which(name, path=environment.get("PATH"))
        if setting and path is None:
            raise ConfigError(f"{variable} names {visible(setting)}, not a program", hint="use the full path of the program")
        if path is not None:
            found[name] = str(Path(path).absolute())
    return found


# Making.


class Maker:
    """Prepares artifacts; ``run`` runs a command in a folder and returns its result."""

    def __init__(self, found: Mapping[str, str], run: Callable[[Sequence[str], Path], process.ProcessResult]) -> None:
        self._tools, self._run = found, run

    def make(self, source: bytes, stem: str, work: Path) -> PreparedArtifact:
        """Prepare ``source`` in the empty private folder ``work``; raises ``ArtifactError`` or ``EngineMissingError``."""
        steps: list[str] = []
        log: list[str] = []
        manifest = fused = b""
        data = source
        if component.is_component(source):
            if found := component.asynchronous(source):
                raise ArtifactError(f"{OUT_OF_SCOPE}: {found}", hint="build it for wasi 0.2")
            # Without --reproducible the file contains a random id and the time, and would be a new artifact each night.
            data = fused = self.step("meld", ("fuse", "--preserve-names", "--reproducible"), data, stem, work / "fused", log)
            steps.append("fused by meld")
        module = _core(data)
        if formats.instrumentation(module).counters:
            steps.append("already instrumented")
        else:
            data = self.step("witness", ("instrument",), data, stem, work / "instrumented", log)
            beside = process.read_output_file(formats.manifest_path(work / "instrumented" / f"{stem}.wasm"), SOURCE_CAP)
            if not isinstance(beside, bytes):
                raise ArtifactError(f"witness instrument wrote no manifest: it is {beside.reason}", hint="try another version")
            manifest = beside
            branches = len(formats.instrumentation(_core(data)).counters)
            steps.append(f"instrumented by witness, {plural(branches, 'branch', 'branches')}")
        return PreparedArtifact(data, manifest, tuple(steps), "".join(log), fused=fused)

    def step(self, tool: str, arguments: tuple[str, ...], data: bytes, stem: str, folder: Path, log: list[str]) -> bytes:
        """Run one tool on ``data`` and return its output."""
        path = self._tools.get(tool)
        what = " ".join((tool, *arguments))
        if path is None:
            raise EngineMissingError(
                f"{tool} was not found, but `{what}` is needed", hint={**HOW_TO_GET, WASM_OPT: WASM_OPT_HINT}[tool]
            )
        source = folder / "source" / f"{stem}.wasm"
        source.parent.mkdir(parents=True)
        source.write_bytes(data)
        target = folder / f"{stem}.wasm"
        output = f"./{stem}.wasm" if stem.startswith("-") else f"{stem}.wasm"  # else it would be an option
        words = (*arguments, f"source/{stem}.wasm", "-o", output)
        ended = self._run((path, *words), folder)
        output_text = decode(ended.stdout) + decode(ended.stderr)
        log.append(
            f"$ {' '.join((tool, *words))}\n{output_text}{'' if output_text.endswith(chr(10)) or not output_text else chr(10)}"
        )
        if ended.exit_code != 0 or ended.timed_out:
            raise ArtifactError(f"`{what}` {_failure(ended)}", hint=f"its last line: {_last_line(output_text)}")
        artifact = process.read_output_file(target, SOURCE_CAP)
        if not isinstance(artifact, bytes):
            raise ArtifactError(
                f"`{what}` succeeded, but its output is {artifact.reason}", hint=f"its last line: {_last_line(output_text)}"
            )
        return artifact


def _core(data: bytes) -> Module:
    try:
        module = wasm.read(data)
    except ArtifactError as error:
        raise ArtifactError(f"it is not a core module: {error}", hint=error.hint) from error
    check_scope(module)
    return module


def _failure(ended: process.ProcessResult) -> str:
    if ended.timed_out:
        return f"did not end within {TOOL_DEADLINE_S:g} s"
    return f"failed with exit code {ended.exit_code}" if ended.signal is None else f"was ended by signal {ended.signal}"


def _last_line(output_text: str) -> str:
    lines = [line.strip() for line in output_text.splitlines() if line.strip()]
    return visible(lines[-1], 300) if lines else "none"


def quietly(reactor: process.Reactor, search_path: str = "") -> Callable[[Sequence[str], Path], process.ProcessResult]:
    """A runner of tools that does not show their output; ``search_path`` is their PATH, empty for a fixed one."""

    def run(command: Sequence[str], folder: Path) -> process.ProcessResult:
        child = reactor.start(
            command,
            env=process.scrubbed_environment(search_path=search_path),
            cwd=folder,
            deadline_s=TOOL_DEADLINE_S,
            resident_bytes=_TOOL_MEMORY,
            output_bytes=_OUTPUT_BYTES,
            file_bytes=SOURCE_CAP,
        )
        return reactor.wait(child)

    return run


def live(folder: Path) -> Callable[[Sequence[str], Path], process.ProcessResult]:
    """A runner of tools that shows their output (subprocess-tee); ``folder`` is for its files."""

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
    """The artifact of a component, from the cache if the same tools have prepared it before; raises as ``Maker.make``.

    ``options`` has the paths of ``meld``, ``witness`` and the folder ``cache``.
    """
    found = {name: options[name] for name in HOW_TO_GET if name in options}
    if missing := [name for name in HOW_TO_GET if name not in found]:
        hint = "; ".join(f"{name}: {HOW_TO_GET[name]}" for name in missing)
        if scope := component.asynchronous(source):
            raise ArtifactError(f"{OUT_OF_SCOPE}: {scope}", hint="build it for wasi 0.2")
        were = f"{' and '.join(missing)} {'was' if len(missing) == 1 else 'were'}"
        raise EngineMissingError(f"it is a component, but {were} not found to make a core module of it", hint=hint)
    return once(
        source, stem, found, options, lambda work: Maker(found, quietly(reactor)).make(source, stem, work), "with the fused module"
    )


def once(
    source: bytes, stem: str, found: Mapping[str, str], options: Mapping[str, str], make: Callable[[Path], PreparedArtifact],
    arguments: str = "",
) -> PreparedArtifact:  # fmt: skip
    """What the tools ``found`` make of an artifact in an empty private folder, from the cache if they made it before with the same
    ``arguments``.
    """
    digests = {name: hashlib.sha256(read_regular(found[name], 1 << 30, name)).hexdigest() for name in sorted(found)}
    key = _key(source, f"{stem}{arguments}", digests)
    entry = Path(options["cache"]) / "prepared" / key if options.get("cache") else None
    if entry is not None and (cached := _cached(entry, key)) is not None:
        return cached
    with process.private_folder() as work:
        prepared = msgspec.structs.replace(make(work), digests=digests)
    if entry is not None:
        _keep(entry, key, prepared)
    return prepared


def _key(source: bytes, stem: str, digests: Mapping[str, str]) -> str:
    """The key in the cache; it contains the artifact's name, since the manifest does."""
    about = (hashlib.sha256(source).hexdigest(), *digests.values(), stem)
    return hashlib.sha256("\0".join(about).encode(errors="backslashreplace")).hexdigest()


def _cached(place: Path, key: str) -> PreparedArtifact | None:
    data = process.read_own(place, key, SOURCE_CAP)
    if data is None:
        return None
    try:
        return msgspec.msgpack.decode(data, type=PreparedArtifact)
    except msgspec.MsgspecError:
        return None


def _keep(place: Path, key: str, prepared: PreparedArtifact) -> None:
    """Store in one file, atomically; an unwritable cache is not an error."""
    with contextlib.suppress(OSError, ReportError):
        process.write_own(place, key, msgspec.msgpack.encode(prepared))


__all__ = [
    "HOW_TO_GET",
    "LOG",
    "Maker",
    "PreparedArtifact",
    "live",
    "on_the_fly",
    "once",
    "quietly",
    "tools",
]
