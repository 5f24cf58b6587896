"""The files that ``diffcheck prepare`` adds to a corpus: an artifact, its manifest, the log of the tools, and a case file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.cases.prepare import LOG, SOURCE_CAP, PreparedArtifact
from diffcheck.cases.rows import choose, signature
from diffcheck.config import toml_text
from diffcheck.config.input_files import read_regular
from diffcheck.errors import ArtifactError, ReportError
from diffcheck.text import visible
from diffcheck.wasm import module as wasm
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from diffcheck.cases.prepare import Maker
    from diffcheck.wasm.module import Module

_MAX_SHOWN: Final = 40
_PLUMBING: Final = re.compile(rf"{re.escape(formats.PREFIX)}|cabi_|[0-9]+\Z")  # meld's adapter shims are numbers


class PreparedCase(msgspec.Struct, frozen=True):
    """The written artifact and case file; ``new_case_file`` is whether the case file was written."""

    artifact: Path
    case_file: Path
    new_case_file: bool
    prepared: PreparedArtifact


def place(source: Path, target: Path, maker: Maker, *, replace: bool = False) -> PreparedCase:
    """Prepare the artifact of ``source`` in the folder ``target``.

    A different artifact is only replaced with ``replace``; an existing case file stays.
    """
    data = read_regular(str(source), SOURCE_CAP, visible(str(source)))
    stem = source.name.removesuffix(".wasm").removesuffix(".component") or "artifact"
    with process.private_folder() as work:
        prepared = maker.make(data, stem, work)
    if not prepared.manifest and (beside := formats.manifest_path(source)).is_file():
        manifest = read_regular(str(beside), SOURCE_CAP, visible(str(beside)))
        prepared = msgspec.structs.replace(prepared, manifest=manifest)
    artifact = target / f"{stem}.wasm"
    case_file = target / f"{stem}.toml"
    if not replace and artifact.exists() and artifact.read_bytes() != prepared.wasm:
        raise ArtifactError(f"{visible(str(artifact))} exists and differs", hint="use --replace, or another folder")
    files = {
        formats.manifest_path(artifact): prepared.manifest,
        target / f"{stem}{LOG}": prepared.log.encode(),
        case_file: b"" if case_file.exists() else case_text(prepared, stem, source.name).encode(),
        artifact: prepared.wasm,
    }
    new = bool(files[case_file])
    _publish(target, {path: content for path, content in files.items() if content})
    return PreparedCase(artifact, case_file, new, prepared)


def _publish(target: Path, files: Mapping[Path, bytes]) -> None:
    """Write all files, then rename them to their places, in order."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        with process.private_folder(target) as folder:
            for path, content in files.items():
                (folder / path.name).write_bytes(content)
                (folder / path.name).chmod(0o644)
            for path in files:
                (folder / path.name).replace(path)
    except OSError as error:
        reason = visible(error.strerror or str(error))
        raise ReportError(f"{visible(str(target))} cannot be written to: {reason}", hint="choose another folder") from error


def case_text(prepared: PreparedArtifact, stem: str, source: str) -> str:
    """A case file with the default rows, and other keys as comments."""
    module = wasm.read(prepared.wasm)
    rows = choose(module)
    lines = [
        f"# The case of {visible(stem)}.wasm, prepared by `diffcheck prepare` from {visible(source)}: {', '.join(prepared.steps)}.",
        "# Comments show further keys; delete those that are not needed.",
        "",
        '# purpose = "what this case tests"',
        "",
        "# The exports to call, in this order, all on one instance.",
        *_rows([call.name for call in rows.rows], rows.why_none),
        *_others(module, {call.function for call in rows.rows}),
        "",
        '# args = ["program", "first argument"]',
        '# stdin = "its input"',
        "",
        "# [env]",
        '# NAME = "value"',
        "",
        "# [limits]",
        "# deadline_s = 10",
        "# memory_pages = 256",
        "",
        "# [expect]",
        '# default = "agree"',
    ]
    return "\n".join(lines) + "\n"


def _rows(names: Sequence[str], why_none: str) -> list[str]:
    if not names:
        return [f"# No default row: {why_none}", "# rows = []"]
    return [f"rows = {toml_text.strings(names, multiline=True).as_string()}"]


def _others(module: Module, called: set[int]) -> Iterator[str]:
    """Comments on exports with parameters."""
    own = [
        each
        for each in module.exports
        if each.kind == "func" and each.index not in called and not _PLUMBING.match(each.name)
        if module.function_type(each.index).params
    ]
    if own:
        yield "# Exports with parameters: a row is the name, =, and the arguments, separated by commas."
    yield from (f"#   {visible(each.name)}{signature(module.function_type(each.index))}" for each in own[:_MAX_SHOWN])
    if len(own) > _MAX_SHOWN:
        yield f"#   and {len(own) - _MAX_SHOWN:,} more"
