"""What ``diffcheck prepare`` puts into a corpus: an artifact, its manifest, the log of its making and a case file to start from."""

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


class Placed(msgspec.Struct, frozen=True):
    """What was written: the artifact, whether its case file was written or was there already, and what was done."""

    artifact: Path
    case_file: Path
    new_case_file: bool
    prepared: PreparedArtifact


def place(source: Path, target: Path, maker: Maker, *, replace: bool = False) -> Placed:
    """Make the artifact of ``source`` in the folder ``target``.

    An artifact that is there and differs is only replaced with ``replace``; a case file that is there is the user's and stays.
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
        raise ArtifactError(f"{visible(str(artifact))} is there and differs", hint="give --replace, or another folder")
    files = {
        formats.manifest_path(artifact): prepared.manifest,
        target / f"{stem}{LOG}": prepared.log.encode(),
        case_file: b"" if case_file.exists() else case_text(prepared, stem, source.name).encode(),
        artifact: prepared.wasm,
    }
    new = bool(files[case_file])
    _publish(target, {path: content for path, content in files.items() if content})
    return Placed(artifact, case_file, new, prepared)


def _publish(target: Path, files: Mapping[Path, bytes]) -> None:
    """Write all of the files, then rename them to their places, the last one last."""
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
        raise ReportError(f"{visible(str(target))} could not be written to: {reason}", hint="choose another folder") from error


def case_text(prepared: PreparedArtifact, stem: str, source: str) -> str:
    """A case file with the rows that are found, and the rest to be filled in as comments."""
    module = wasm.read(prepared.wasm)
    rows = choose(module)
    lines = [
        f"# The case of {visible(stem)}.wasm, made by `diffcheck prepare` from {visible(source)}: {', '.join(prepared.steps)}.",
        "# What is commented out shows the form; a line that is not needed can go.",
        "",
        '# purpose = "what this case is to show"',
        "",
        "# Which exports are called, in this order, each on the instance that the ones before it left.",
        *_rows([call.name for call in rows.rows], rows.why_none),
        *_others(module, {call.function for call in rows.rows}),
        "",
        '# args = ["program", "first argument"]',
        '# stdin = "what it can read"',
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
        return [f"# None was found: {why_none}", "# rows = []"]
    return [f"rows = {toml_text.strings(names, multiline=True).as_string()}"]


def _others(module: Module, called: set[int]) -> Iterator[str]:
    """Exports that take arguments, with their types."""
    own = [
        each
        for each in module.exports
        if each.kind == "func" and each.index not in called and not _PLUMBING.match(each.name)
        if module.function_type(each.index).params
    ]
    if own:
        yield "# Exports that take arguments: a row is the name, =, and the arguments with commas between them."
    yield from (f"#   {visible(each.name)}{signature(module.function_type(each.index))}" for each in own[:_MAX_SHOWN])
    if len(own) > _MAX_SHOWN:
        yield f"#   and {len(own) - _MAX_SHOWN:,} more"
