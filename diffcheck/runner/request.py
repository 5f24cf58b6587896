"""What a run is asked to do, and what a plan says of a case: the data between the command line and the runner."""

from __future__ import annotations

from typing import Literal

import msgspec

from diffcheck.runner.builds import Build

Mode = Literal["both", "capsule", "direct"]
Rows = Literal["declared", "auto"]
Unknown = Literal["zero", "trap"]


class Request(msgspec.Struct, frozen=True):
    """A run to do: every option in its own unit.

    ``paths`` are artifacts and folders as the user wrote them, ``config_folder`` is where the configuration file in force is, empty
    for none (see ``case_ids``); ``only`` has globs over case names, none for all; ``options`` are where engines' programs are,
    by adapter, and what ``runner.engines`` adds for workers. ``program_name`` is whether a program whose case has no arguments is
    given the artifact's name as the first one; witness's own runtime gives none at all.
    ``calls`` are rows to run in place of those of the case files, none for those.
    ``stub_imports`` is what an imported function gets that no stub is known for. ``confirm`` is how often a pass that diverges is
    run again; ``known`` has the signatures that need no confirmation, each with the cases in which it is expected to show up: where
    it does not, the pass is run again too; ``known_root`` is the folder that those cases are named from, as an absolute path, empty
    where that is not known, and ``known_file`` the baseline. ``hangs`` is whether a subject that does not end is reported to hang,
    which costs longer runs. ``journal`` is the file that says what is done, empty for none; ``resume`` is whether a
    run that was stopped goes on. ``cache`` is the folder of the cache, empty for none, and ``cache_bytes`` its bound; ``keys`` are
    the engines' there, by role, and ``builds`` the engines' files, as ``run`` works them out. ``times_ns`` is what cases took
    before: the longest go first. ``shard`` is which part of the run this is, of how many: the division is by ``shard_times_ns``,
    the same on every machine. ``cluster`` is the address of a Dask scheduler, empty for this machine. ``subject_name`` is what the
    configuration file calls the subject, ``subject_version`` what its user does.
    """

    paths: tuple[str, ...]
    subject: str = "auto"
    oracle: str = "auto"
    mode: Mode = "both"
    jobs: int = 1
    deadline_s: float = 10.0
    memory_bytes: int = 4 << 30
    rows: Rows = "declared"
    calls: tuple[str, ...] = ()
    stub_imports: Unknown = "zero"
    only: tuple[str, ...] = ()
    config_folder: str = ""
    max_passes: int = 1000
    confirm: int = 0
    hangs: bool = True
    verbose: bool = False
    options: dict[str, str] = {}
    program_name: bool = True
    known: dict[str, tuple[str, ...]] = {}
    known_root: str = ""
    known_file: str = ""
    journal: str = ""
    resume: bool = False
    cache: str = ""
    cache_bytes: int = 2 << 30
    keys: dict[str, str] = {}
    builds: tuple[Build, ...] = ()
    times_ns: dict[str, int] = {}
    subject_name: str = ""
    subject_version: str = ""
    shard: tuple[int, int] | None = None
    shard_times_ns: dict[str, int] = {}
    cluster: str = ""


class PlanLine(msgspec.Struct, frozen=True):
    """What would be done with a case: ``capsule`` and ``direct`` are empty where that pass applies, else the reason why not.

    ``memory_bytes`` is what the subject is expected to need, ``passes`` the executions of the subject if nothing differs,
    ``skipped`` the reason where the case would not be run at all.
    """

    case: str
    rows: int = 0
    capsule: str = ""
    direct: str = ""
    functions: int = 0
    memory_bytes: int = 0
    passes: int = 0
    skipped: str = ""
