"""Case ids: paths without suffix, relative to the project's root, so that they do not depend on the path that a run was given.

In 0.1 they were relative to the path given: such an id is the end of the id that the case has now.
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
    """The repository that a folder is in: the nearest folder above or at it that holds ``.git``; empty where there is none."""
    return _nearest(folder, (".git",))


def root(folder: str, given: str, config_folder: str = "") -> str:
    """The folder that the ids of the artifacts in ``folder`` are relative to; all paths are absolute.

    It is the folder of the configuration file in force, else the repository of the working folder. Artifacts outside both have the
    nearest folder above them with a ``diffcheck.toml`` or a ``.git``, else the working folder where it holds
    the given path, else that path.
    """
    try:
        here = os.getcwd()  # noqa: PTH109 - strings all through, 10,000 cases are listed
    except OSError:  # it was removed
        here = ""
    own = config_folder or (here and repository(here))
    if own and is_under(own, folder):
        return own
    near = _nearest(folder, (CONFIG_FILE, ".git"))
    return near or (here if here and is_under(here, given) else given)


def is_under(place: str, path: str) -> bool:
    """Whether a path, or a case's id, is ``place`` or lies under it; everything lies under the empty place."""
    return not place or path == place or path.startswith(place.rstrip("/") + "/")


def require_same_root(own: str, known: Collection[str], root: str, ids: Collection[str], file: str) -> None:
    """Raises ``ConfigError`` where a baseline's cases ``known`` are named from another root ``own`` than those of a run, ``ids``.

    Another folder with the same cases in it is accepted: one of them was run, or is a file there. Paths are absolute; ``file`` is
    the baseline's, as it was given. Nothing is known of an empty root.
    """
    if not own or not root or own == root or not known:
        return
    files = (os.path.join(root, case + suffix) for case in known for suffix in (".wasm", ".wat"))  # noqa: PTH118 - as in root
    if not set(known) & set(ids) and not any(map(os.path.isfile, files)):
        raise ConfigError(
            f"the cases of {visible(file)} are named from {visible(own)}, those of the run from {visible(root)}: none is in both",
            hint="give the baseline of this project by --baseline, or a new file's name to `diffcheck baseline add`; "
            f'where both are the same cases, write root = "FOLDER" at the top of {visible(file)}',
        )


def renamed(before: Iterable[str], now: Iterable[str]) -> dict[str, str]:
    """For each id of ``before`` that a case of ``now`` had in 0.1, the id that it has now; an ambiguous one has none.

    Of several that a case may have had it is the longest, of several cases that may have had it the one with the shortest id.
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
    """Those of ``renamed``'s names that the cases had in 0.1 in a run of the folders ``places``: no others can have been meant."""
    folders = tuple(places)
    return {old: new for old, new in names.items() if any(new == f"{folder}/{old}" for folder in folders)}


def rekeyed(values: Mapping[str, int], now: Iterable[str]) -> dict[str, int]:
    """The values by the ids that cases have now."""
    names = renamed(values, now)
    return {names.get(name, name): value for name, value in values.items()}


def _nearest(folder: str, names: tuple[str, ...]) -> str:
    """The nearest folder at or above one that holds one of the names."""
    while True:
        if any(os.path.lexists(os.path.join(folder, name)) for name in names):  # noqa: PTH118 - as above
            return folder
        above = os.path.dirname(folder)  # noqa: PTH120 - as above
        if above == folder:
            return ""
        folder = above
