"""The request for a run and the line of a plan: the data between the command line and the runner."""

from __future__ import annotations

from typing import Literal

import msgspec

from diffcheck.backend import registry
from diffcheck.runner.engine_files import Build

Mode = Literal["both", "capsule", "direct"]
Rows = Literal["declared", "auto"]
Unknown = Literal["zero", "trap"]
Slice = Literal["auto", "always", "never"]
LoadCheck = Literal["auto", "never"]


class Request(msgspec.Struct, frozen=True):
    """A run, with every option in its own unit.

    ``paths``: artifacts and folders as the user wrote them. ``config_folder``: the folder of the configuration file, empty for none
    (see ``case_ids``). ``only``: expressions over case names (see ``case_filter``),
    ``ids``: names of cases; none of either selects all. ``calls``: rows that replace those of the case files.
    ``options``: paths of engines' programs by adapter, and what ``runner.engines`` adds for workers. ``program_name``: whether a
    program without arguments gets the artifact's name as its first argument; witness's own runtime passes no argument.
    ``judges``: further engines that are asked where subject and oracle differ.
    ``stub_imports``: the stub of an imported function that has no functional stub. ``slice``: when the capsule has only the
    functions that its rows execute. ``load_check``: whether the subject loads the functions that a slice lacks.

    ``confirm``: reruns of a diverging pass. ``known``: signatures that need no confirmation, each with the cases in which it is
    expected; a pass without an expected signature is rerun too. ``known_root``: the folder that these cases are relative to, an
    absolute path, empty if unknown. ``known_file``: the baseline. ``hangs``: whether hangs are reported, which needs longer runs.
    ``deterministic``: whether a pass that differs is run again in the deterministic form, if the artifact has open results.

    ``journal``: the file of completed cases, empty for none. ``resume``: whether an interrupted run is resumed. ``cache``: the
    folder of the cache, empty for none; ``cache_bytes``: its size limit; ``keys``: the engines' keys in it by role. ``builds``: the
    engines' files. ``times_ns``: times of cases in an earlier run; the longest case runs first. ``shard``: index and number of
    shards, divided by ``shard_times_ns``. ``cluster``: the address of a Dask scheduler, empty for this machine. ``subject_name``
    and ``subject_version``: the configured name and version of the subject.
    """

    paths: tuple[str, ...]
    subject: str = "auto"
    oracle: str = "auto"
    judges: tuple[str, ...] = ()
    mode: Mode = "both"
    jobs: int = 1
    deadline_s: float = 10.0
    memory_bytes: int = 4 << 30
    rows: Rows = "declared"
    calls: tuple[str, ...] = ()
    stub_imports: Unknown = "zero"
    slice: Slice = "auto"
    load_check: LoadCheck = "auto"
    only: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    config_folder: str = ""
    max_passes: int = 1000
    confirm: int = 0
    hangs: bool = True
    deterministic: bool = True
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

    @property
    def expected_of(self) -> str:
        """The subject under ``[expect]``. An engine agrees with itself, and with another build of it, whatever a case expects of it
        against another engine.
        """
        adapters = {spec.partition(":")[0] for spec in (self.subject, self.oracle)}
        builds = len(adapters) == 1 and registry.engine(self.subject) == registry.engine(self.oracle)
        if self.subject == self.oracle or (builds and not self.subject_name):
            return "default"
        return self.subject_name or self.subject


class PlanLine(msgspec.Struct, frozen=True):
    """The plan of a case. ``capsule`` and ``direct`` are the reasons why a pass does not apply, empty if it applies.

    ``memory_bytes`` is the expected memory of the subject, ``passes`` its executions if nothing differs, ``skipped`` the reason
    why the case is not run, ``bad_input`` whether its artifact or case file is to blame. ``planned`` are the rows with the reasons
    why they were chosen, if they were planned.
    """

    case: str
    rows: int = 0
    capsule: str = ""
    direct: str = ""
    functions: int = 0
    memory_bytes: int = 0
    passes: int = 0
    skipped: str = ""
    planned: tuple[tuple[str, str], ...] = ()
    bad_input: bool = False
