"""Case ids: paths without suffix, relative to the root of the project, so that they do not depend on the paths of a run.

In 0.1 they were relative to the path of the run: such an id is the end of the present id.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from diffcheck.config.config_file import FILE_NAME as CONFIG_FILE
from diffcheck.errors import ConfigError
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


def repository(folder: str) -> str:
    """The repository of a folder: the nearest folder at or above it with ``.git``; empty if there is none."""
    return _nearest(folder, (".git",))


def root(folder: str, given: str, config_folder: str = "") -> str:
    """The folder that the ids of the artifacts in ``folder`` are relative to; all paths are absolute.

    It is the folder of the configuration file, else the repository of the working folder. For artifacts outside both it is the
    nearest folder above them with a ``diffcheck.toml`` or a ``.git``, else the working folder if it contains ``given``, else
    ``given``.
    """
    try:
        here = os.getcwd()  # noqa: PTH109 - strings are faster for 10,000 cases
    except OSError:  # it was removed
        here = ""
    own = config_folder or (here and repository(here))
    if own and is_under(own, folder):
        return own
    near = _nearest(folder, (CONFIG_FILE, ".git"))
    return near or (here if here and is_under(here, given) else given)


def is_under(place: str, path: str) -> bool:
    """Whether a path, or a case id, is ``place`` or under it; everything is under the empty place."""
    return not place or path == place or path.startswith(place.rstrip("/") + "/")


def require_same_root(own: str, known: Collection[str], root: str, ids: Collection[str], file: str) -> None:
    """Raise ``ConfigError`` if a baseline and a run have different roots, and the baseline's cases do not exist in the run's root.

    ``own`` and ``known`` are the root and the cases of the baseline ``file``; ``root`` and ``ids`` those of the run. Roots are
    absolute paths; an empty one is unknown.
    """
    if not own or not root or own == root or not known:
        return
    files = (os.path.join(root, case + suffix) for case in known for suffix in (".wasm", ".wat"))  # noqa: PTH118 - as in root
    if not set(known) & set(ids) and not any(map(os.path.isfile, files)):
        raise ConfigError(
            f"the cases of {visible(file)} are relative to {visible(own)}, those of the run to {visible(root)}: "
            "they have no case in common",
            hint="use --baseline with the baseline of this project, or `diffcheck baseline add` with a new file; "
            f'if the cases are the same, write root = "FOLDER" at the top of {visible(file)}',
        )


def renamed(before: Iterable[str], now: Iterable[str]) -> dict[str, str]:
    """Ids of ``before`` that cases of ``now`` may have had in 0.1, with the present ids; ambiguous ones are left out.

    If a case may have had several ids, the longest one counts; if several cases may have had an id, the shortest present id does.
    """
    current = set(now)
    old = set(before) - current
    found: dict[str, list[str]] = {}
    for name in current if old else ():
        parts = name.split("/")
        ends = ("/".join(parts[at:]) for at in range(1, len(parts)))
        end = next((each for each in ends if each in old), None)
        if end is not None:
            found.setdefault(end, []).append(name)
    shortest = {end: sorted(names, key=lambda name: name.count("/")) for end, names in found.items()}
    return {end: names[0] for end, names in shortest.items() if len(names) == 1 or names[0].count("/") < names[1].count("/")}


def certain(names: Mapping[str, str], places: Iterable[str]) -> dict[str, str]:
    """The entries of ``renamed`` that are certain: the ids in 0.1 in a run of the folders ``places``."""
    folders = tuple(places)
    return {old: new for old, new in names.items() if any(new == f"{folder}/{old}" for folder in folders)}


def rekeyed(values: Mapping[str, int], now: Iterable[str]) -> dict[str, int]:
    """The values by the present ids of their cases."""
    names = renamed(values, now)
    return {names.get(name, name): value for name, value in values.items()}


def _nearest(folder: str, names: tuple[str, ...]) -> str:
    """The nearest folder at or above ``folder`` with one of the names; empty if there is none."""
    while True:
        if any(os.path.lexists(os.path.join(folder, name)) for name in names):  # noqa: PTH118 - as above
            return folder
        above = os.path.dirname(folder)  # noqa: PTH120 - as above
        if above == folder:
            return ""
        folder = above
