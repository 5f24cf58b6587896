"""Finds artifacts with their manifests and case files, and loads cases; files are only read when a case is loaded.

In a folder every ``.wasm`` file is an artifact. A ``.wat`` file is one if it has a case file; others are sources. A file named by
its own path is an artifact in both forms. Each module of a script (``.wast``) is a case. Hidden folders are ignored.
"""

from __future__ import annotations

import os
import stat
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.cases import case_filter, case_ids, scripts
from diffcheck.cases.case_file import ARTIFACT_CAP, TEXT_CAP, CaseLimits, CaseSettings, KnownFinding, inside, read_settings
from diffcheck.cases.link import LinkedModule
from diffcheck.cases.scripts import ScriptModule
from diffcheck.config.input_files import nearest, read_regular
from diffcheck.errors import ArtifactError, CaseError, ConfigError, NothingToDoError
from diffcheck.text import listed, plural, visible
from diffcheck.verdict import Verdict
from diffcheck.witness.formats import manifest_path

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

SUFFIXES: Final = (".wasm", ".wat")
_MOST_NAMED: Final = 5
_FOREIGN_TOML: Final = frozenset({"Cargo", "pyproject", "diffcheck", "rust-toolchain", "rustfmt", "clippy", "wasm-pack"})


class Item(msgspec.Struct, frozen=True):
    """An artifact, not yet read: the id of its case, its path, the path of its case file or "", and the folder of the search."""

    id: str
    artifact: str
    case_file: str
    root: str


class Discovery(msgspec.Struct, frozen=True):
    """The items under some paths, notes on ignored files, and the number of items that were not selected.

    ``root`` is the folder that ids are relative to; of several roots that of the working folder, or else the first. ``places`` are
    the searched paths, written as ids: all cases under them are in ``items`` or not selected.
    """

    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    left_out: int = 0
    places: tuple[str, ...] = ()
    root: str = ""


class Case(msgspec.Struct, frozen=True):
    """An artifact with its rows and environment, ready to be sent to a worker: paths and settings without file contents.

    ``rows`` are those of the case file, empty for the default rules; ``manifest`` and ``case_file`` are "" if missing. ``notes``
    are on ignored files. ``module`` is the artifact if it is in a script, ``link`` as in ``CaseSettings``.
    """

    id: str
    artifact: str
    manifest: str = ""
    case_file: str = ""
    purpose: str = ""
    rows: tuple[str, ...] = ()
    stdin: bytes = b""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    limits: CaseLimits = CaseLimits()
    expect: dict[str, Verdict] = {}
    findings: tuple[KnownFinding, ...] = ()
    notes: tuple[str, ...] = ()
    module: ScriptModule | None = None
    link: tuple[LinkedModule, ...] = ()
    requirements: tuple[str, ...] = ()

    def expected(self, subject: str) -> Verdict:
        """The expected verdict with a subject: that of ``NAME:ARGUMENT``, else of NAME, else ``default``, else agree."""
        names = subject, subject.partition(":")[0], "default"
        return next((self.expect[name] for name in names if name in self.expect), "agree")


def discover(
    paths: Sequence[Path], only: Sequence[str] = (), config_folder: str = "", ids: Collection[str] = ()
) -> Discovery:  # fmt: skip
    """The artifacts under ``paths``, without duplicates; ``only`` has expressions that select some (see ``case_filter``), ``ids``
    the ids to select, empty for all.

    Ids are unique: the path without suffix, relative to the root of the project (see ``case_ids.root``; ``config_folder`` is the
    folder of the configuration file). If two roots lead to the same id, the name of the folder is put before it. Raises
    ``ConfigError`` for a path that cannot be used, ``NothingToDoError`` if nothing is left.
    """
    notes: list[str] = []
    items: dict[str, Item] = {}
    known: set[str] = set()
    places: dict[str, dict[str, None]] = {}
    namer = _Ids(config_folder)
    for path in paths:
        root, place, found = _under(path, namer, notes)
        places.setdefault(root, {})[place] = None
        for item in found:
            own = os.path.abspath(item.artifact)  # noqa: PTH100 - not resolve(): a link inside a folder is a separate case
            if own not in known:
                known.add(own)
                unique = _unique(item, items)
                items[unique.id] = unique
    if not items:
        raise NothingToDoError(
            f"no artifact under {', '.join(visible(str(path)) for path in paths) or 'no path'}", hint=_why_none(notes)
        )
    selected = case_filter.select({item.id: _names(item) for item in items.values()}, only) if only else items
    kept = tuple(item for item in items.values() if item.id in selected and (not ids or item.id in ids))
    if not kept:
        what = " or ".join(visible(repr(each)) for each in only) if only else "a case of the last report"
        near = nearest(only[0], items) if only else ""
        raise NothingToDoError(
            f"none of {plural(len(items), 'case')} matches {what}",
            hint=f"ids look like {visible(near or next(iter(items)))}; a glob's * also matches a slash",
        )
    here = os.path.abspath("")  # noqa: PTH100 - as above
    root = next((each for each in places if case_ids.is_under(each, here)), next(iter(places)))
    return Discovery(kept, tuple(notes), len(items) - len(kept), tuple(places[root]), os.path.realpath(root))


def item_at(path: Path, name: str = "") -> Item:
    """The item of an artifact named by its own path; its id is ``name``, else the file name without suffix."""
    if scripts.is_script(str(path)):
        return Item(name or path.name, str(path), "", str(path.parent))
    case_file = str(path.with_suffix(".toml"))
    return Item(name or path.stem, str(path), case_file if os.path.lexists(case_file) else "", str(path.parent))


class _Ids:
    """The ids of folders, independent of the path to them."""

    def __init__(self, config_folder: str) -> None:
        self._config_folder = config_folder

    def of(self, folder: str, given: str) -> tuple[str, str]:
        """The root of a folder, and its path below the root (empty for the root); ``given`` is the folder that the user named."""
        place, top = os.path.abspath(folder), os.path.abspath(given)  # noqa: PTH100 - as in _walk
        root = case_ids.root(place, top, self._config_folder)
        return root, place[len(root.rstrip("/")) + 1 :]


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def load_case(item: Item) -> Case:
    """The case of an item; raises ``CaseError`` for a wrong case file."""
    notes: tuple[str, ...] = ()
    settings = CaseSettings()
    if scripts.is_script(item.artifact):
        try:
            module = scripts.module(item.artifact)
        except ArtifactError as error:
            raise CaseError(str(error), hint=error.hint) from error
        return Case(item.id, item.artifact, rows=module.rows, module=module)
    if item.case_file:
        if _leads_out(item.case_file, item.root):
            raise CaseError(f"{visible(item.case_file)} is a link that leads outside the folder", hint="copy the case file")
        settings = read_settings(item.case_file)
    manifest = str(manifest_path(Path(item.artifact)))
    if not os.path.lexists(manifest):
        manifest = ""
    elif _leads_out(manifest, item.root):
        notes = (f"the manifest {visible(manifest)} is a link that leads outside the folder: not followed",)
        manifest = ""
    fields = {name: getattr(settings, name) for name in CaseSettings.__struct_fields__}
    return Case(item.id, item.artifact, manifest, item.case_file, **fields, notes=notes)


def read_artifact(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an artifact; ``ArtifactError`` unless it is a regular, unchanging file of at most 1 GiB (text: 128 MiB)."""
    name = os.fspath(path)
    if scripts.is_script(name):
        return scripts.module(name).wasm
    return read_regular(name, TEXT_CAP if name.endswith(".wat") else ARTIFACT_CAP, "the artifact")


def _under(path: Path, ids: _Ids, notes: list[str]) -> tuple[str, str, list[Item]]:
    """The root of a path, the path as an id, and the items under it."""
    given = str(path)
    try:
        given.encode()
        mode = Path(scripts.split(given)[0]).stat().st_mode
    except UnicodeEncodeError as error:
        raise ConfigError(f"{visible(given)} is not a name in UTF-8", hint="rename it") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL
        why = (getattr(error, "strerror", None) or "not a usable path").lower()
        raise ConfigError(f"{visible(given)} cannot be used: {why}", hint=_similar(path)) from error
    if stat.S_ISDIR(mode):
        return *ids.of(given, given), _walk(given, ids, notes)
    if scripts.is_script(given):
        root, place = ids.of(str(path.parent), str(path.parent))
        return root, _joined(place, path.name), _script(given, place, str(path.parent), notes, named=True)
    if path.suffix not in SUFFIXES:
        hint = "name the artifact; its case file is found beside it" if path.suffix == ".toml" else "name an artifact or a folder"
        raise ConfigError(f"{visible(given)} is neither .wasm nor .wat nor .wast", hint=hint)
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{visible(given)} is not a regular file", hint="name an artifact or a folder")
    root, place = ids.of(str(path.parent), str(path.parent))
    name = _joined(place, path.stem)
    return root, name, [item_at(path, name)]


def _walk(root: str, ids: _Ids, notes: list[str]) -> list[Item]:
    """The items of a folder, sorted by the parts of their ids."""
    # Strings, since a Path for each entry costs more than the whole listing.
    items: list[Item] = []
    real_root = os.path.realpath(root)
    folders = [root]
    sources: list[str] = []
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise ConfigError(f"{visible(root)} cannot be listed: {(error.strerror or '').lower()}") from error
            notes.append(f"{visible(folder)} cannot be listed: {(error.strerror or '').lower()}")
            continue
        files = {}
        for entry in ordered:
            kind = _kind(entry, real_root, notes)
            if kind == "folder" and not entry.name.startswith("."):
                folders.append(entry.path)
            # Anything with the name of a case file counts: running its artifact without it would be another case.
            if kind == "file" or (entry.name.endswith(".toml") and _artifact_beside(entry.path)):
                files[entry.name] = entry.path
        sources += _sources(files)
        items += _items(files, root, ids.of(folder, root)[1] if files else "", notes)
    if sources:
        names = listed(sources, _MOST_NAMED)
        what = plural(len(sources), ".wat file has no case file and is not run", ".wat files have no case file and are not run")
        notes.append(f"{what}: {names}")
    return sorted(items, key=lambda item: item.id.split("/"))


def _kind(entry: os.DirEntry[str], real_root: str, notes: list[str]) -> str:
    """``file``, ``folder``, or empty for an ignored entry, with a note if it has the name of an artifact."""
    artifact = entry.name.endswith((*SUFFIXES, scripts.SUFFIX))
    reason = ""
    if not entry.is_symlink():
        if entry.is_dir():
            return "folder"
        reason = "" if entry.is_file() else "is not a regular file"
    elif entry.name.endswith(".toml"):
        return "file"  # load_case refuses one that leads outside
    elif os.path.isdir(entry.path):  # noqa: PTH112 - entry.is_dir() raises for a link to itself
        # A linked folder inside the root is listed at its real path.
        artifact = not inside(f"{os.path.realpath(entry.path)}/", real_root)
        reason = "is a link to a folder outside: not followed"
    elif not inside(os.path.realpath(entry.path), real_root):
        reason = "is a link that leads outside the folder: not followed"
    elif not os.path.isfile(entry.path):  # noqa: PTH113 - as above
        reason = "is a link to a missing file"
    if not reason and not entry.path.isascii() and any("\ud800" <= char <= "\udfff" for char in entry.path):
        reason = "is not a name in UTF-8: ignored"
    if reason and artifact:
        notes.append(f"{visible(entry.path)} {reason}")
    return "" if reason else "file"


def _artifact_beside(case_file: str) -> bool:
    base = case_file.removesuffix(".toml")
    return any(os.path.isfile(base + suffix) for suffix in SUFFIXES)  # noqa: PTH113 - as in _walk


def _sources(files: dict[str, str]) -> list[str]:
    """The ``.wat`` files of a folder that are neither artifacts nor sources of a ``.wasm`` file."""
    return [
        path
        for name, path in files.items()
        if name.endswith(".wat") and not {name[:-4] + end for end in (".wasm", ".toml")} & files.keys()
    ]


def _items(files: dict[str, str], root: str, place: str, notes: list[str]) -> list[Item]:
    """The items among the files of a folder, given as name to path; ``place`` is the folder as an id."""
    items = []
    for name, path in files.items():
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - as in _walk
        if suffix == scripts.SUFFIX:
            items += _script(path.removeprefix("./"), place, root, notes)
        described = f"{stem}.toml" in files
        if suffix == ".wasm" or (suffix == ".wat" and described and f"{stem}.wasm" not in files):
            base = path[: -len(suffix)]
            case_file = f"{base}.toml".removeprefix("./") if described else ""
            items.append(Item(_joined(place, stem), path.removeprefix("./"), case_file, root))
    if items:
        for name, path in files.items():
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - as in _walk
            if suffix == ".toml" and stem not in _FOREIGN_TOML and not any(stem + each in files for each in SUFFIXES):
                notes.append(f"{visible(path)} is a case file without an artifact")
    return items


def _script(path: str, place: str, root: str, notes: list[str], *, named: bool = False) -> list[Item]:
    """The items of the modules of a script, or of the one that ``path`` names; ``named`` is whether the user named the file."""
    script, one = scripts.split(path)
    try:
        found = scripts.read(script)
        if one:
            scripts.module(path)
    except ArtifactError as error:
        if named:
            raise ConfigError(f"{visible(path)}: {error}", hint=error.hint) from error
        notes.append(f"{visible(path)} is not run: {error.line}")
        return []
    name = os.path.basename(script)  # noqa: PTH119 - as in _walk
    untested = {
        "the text format": found.text_only, "linking": found.linking, "rules that WebAssembly 3.0 no longer has": found.former,
    }  # fmt: skip
    if not one and any(untested.values()):
        what = ", ".join(f"{plural(count, 'assertion')} of {topic}" for topic, count in untested.items() if count)
        notes.append(f"{visible(path)}: skipped, not tests of an engine: {what}")
    if not one and found.other_reasons:
        names = listed([each or "''" for each in dict.fromkeys(found.other_reasons)], _MOST_NAMED)
        count = plural(len(found.other_reasons), "assertion accepts", "assertions accept")
        notes.append(f"{visible(path)}: {count} any trap: unknown trap reason {names}")
    lines = [one] if one else found.modules
    return [Item(_joined(place, f"{name}:{line}"), f"{script}:{line}", "", root) for line in lines]


def _unique(item: Item, taken: dict[str, Item]) -> Item:
    if item.id not in taken:
        return item
    base = f"{Path(item.root).absolute().name}/{item.id}"
    names = chain((base,), (f"{base}~{number}" for number in count(2)))
    return msgspec.structs.replace(item, id=next(name for name in names if name not in taken))


def _names(item: Item) -> tuple[str, ...]:
    """The names of a case in expressions: its id, and its path below the searched folder, each with and without suffix."""
    suffix = item.artifact[item.artifact.rindex(".") :]
    if scripts.is_script(item.artifact):
        return item.id, item.id.rpartition(":")[0]
    path = os.path.relpath(item.artifact, item.root)
    return item.id, item.id + suffix, path.removesuffix(suffix), path


def _leads_out(path: str, root: str) -> bool:
    """Whether a file beside an artifact is a link out of the searched folder."""
    return os.path.islink(path) and not inside(os.path.realpath(path), os.path.realpath(root))  # noqa: PTH114 - as in _walk


def _why_none(notes: list[str]) -> str:
    if notes:
        more = f" (and {len(notes) - _MOST_NAMED} more)" if len(notes) > _MOST_NAMED else ""
        return f"{'; '.join(notes[:_MOST_NAMED])}{more}; name a file by its own path, or add a case file beside a .wat file"
    return "name a .wasm file or a folder with .wasm files; a .wat file in a folder needs a case file beside it"


def _similar(path: Path) -> str:
    try:
        names = os.listdir(path.parent)  # noqa: PTH208 - only names are needed
    except (OSError, ValueError):
        return "check the path"
    meant = nearest(path.name, names)
    return f"did you mean {visible(str(path.parent / meant))}?" if meant else "check the path"
