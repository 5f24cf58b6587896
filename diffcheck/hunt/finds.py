"""The finds of hunts: a folder under version control with one subfolder for each cause.

A subfolder is that of a triage (the reduced ``program.wasm``, its case file, ``reproduce.wast``, ``issue.md``), with ``find.toml``:
the cause, what showed it first, its state and a link. Only state and link are meant to be edited.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import tomlkit

from diffcheck import process
from diffcheck.config import toml_text
from diffcheck.config.input_files import parse_toml, read_regular
from diffcheck.errors import ConfigError, NothingToDoError
from diffcheck.text import visible
from diffcheck.verdict import Alone

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE: Final = "find.toml"
PROGRAM: Final = "program.wasm"
_CAP_BYTES: Final = 1 << 20
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.]+")
_LONGEST: Final = 80

FindState = Literal["new", "known", "fixed", "flaky"]
"""``known``: there is a link. ``fixed``: the last hunt's engine agrees. ``flaky``: it diverged only in some runs."""


class Find(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A cause. ``engine`` showed it first, on the day ``first``, with the program of ``seed``. ``section`` is the specification's.

    ``needs`` are the ingredients of the reduced program (see ``ingredients``) if no wrong instruction is known.
    ``alone`` is the engine that stands alone by the judges, empty if it is undecided or no judge was asked.
    """

    cause: str
    title: str
    engine: str
    seed: str
    first: str
    state: FindState = "new"
    link: str = ""
    section: str = ""
    needs: tuple[str, ...] = ()
    alone: Alone = ""


class FindsFolder:
    """The folder; ``finds`` are by the names of their subfolders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.finds = dict(self._read())

    def _read(self) -> Iterator[tuple[str, Find]]:
        for file in sorted(self.path.glob(f"*/{FILE}")) if self.path.is_dir() else ():
            if not file.parent.name.startswith("."):
                yield file.parent.name, read(file)

    @property
    def triage(self) -> Path:
        """The folder for the next triage, empty; it becomes a find when it is added."""
        process.make_folder(self.path, "choose another folder with --finds")
        folder = self.path / ".triage"
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    @property
    def instructions(self) -> frozenset[str]:
        """The instructions that are the cause of a find."""
        return frozenset(each.cause.partition(" ")[0] for each in self.finds.values() if not each.needs)

    def with_cause(self, cause: str) -> str:
        """The name of the find with a cause, or empty."""
        return next((name for name, each in self.finds.items() if each.cause == cause), "")

    def explains(self, ingredients: frozenset[str]) -> str:
        """The name of a find without a known instruction whose ingredients a program has, or empty."""
        return next((name for name, each in self.finds.items() if each.needs and ingredients.issuperset(each.needs)), "")

    def add(self, find: Find, triage: Path) -> str:
        """Add a find with the folder of its triage; returns its name."""
        stem = _UNSAFE.sub("_", find.cause)[:_LONGEST].strip("_.") or "find"
        name = next(
            each for at in range(len(self.finds) + 1) if not (self.path / (each := f"{stem}_{at}" if at else stem)).exists()
        )
        _write(triage / FILE, find)
        triage.rename(self.path / name)  # complete or absent, whenever the hunt is killed
        self.finds[name] = find
        return name

    def set_state(self, name: str, state: FindState) -> None:
        """Change the state of a find."""
        self.finds[name] = msgspec.structs.replace(self.finds[name], state=state)
        _write(self.path / name / FILE, self.finds[name])

    def named(self, name: str) -> tuple[str, Find]:
        """The find whose name a user gave, or the beginning of it; raises ``NothingToDoError``."""
        found = [each for each in self.finds if each == name] or [each for each in self.finds if each.startswith(name)]
        if len(found) != 1:
            what = f"{len(found)} finds begin with" if found else "there is no find"
            raise NothingToDoError(f"{what} {visible(name)}", hint="`diffcheck finds list` shows their names")
        return found[0], self.finds[found[0]]


def read(path: Path) -> Find:
    """A find's file; raises ``ConfigError`` if it is not one."""
    raw = parse_toml(read_regular(str(path), _CAP_BYTES, "the find", ConfigError), ConfigError)
    try:
        return msgspec.convert(raw, Find)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{visible(str(path))}: {visible(str(error))}", hint="restore it from version control") from error


def _write(path: Path, find: Find) -> None:
    document = tomlkit.document()
    for name, value in msgspec.to_builtins(find).items():
        document[name] = _item(value)
    process.write_atomically(path, [tomlkit.dumps(document).encode()])


def _item(value: Any) -> Any:  # noqa: ANN401 - a string or strings
    return toml_text.string(value) if isinstance(value, str) else toml_text.strings(value)
