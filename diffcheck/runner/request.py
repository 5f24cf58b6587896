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
    """A run, with every option in its own unit."""

    paths: tuple[str, ...]
    """Artifacts and folders as the user wrote them."""
    subject: str = "auto"
    oracle: str = "auto"
    judges: tuple[str, ...] = ()
    """Further engines that are asked where subject and oracle differ."""
    mode: Mode = "both"
    jobs: int = 1
    deadline_s: float = 10.0
    memory_bytes: int = 4 << 30
    rows: Rows = "declared"
    calls: tuple[str, ...] = ()
    """Rows that replace those of the case files."""
    stub_imports: Unknown = "zero"
    """The stub of an imported function that has no functional stub."""
    slice: Slice = "auto"
    """When the capsule has only the functions that its rows execute."""
    load_check: LoadCheck = "auto"
    """Whether the subject loads the functions that a slice lacks."""
    only: tuple[str, ...] = ()
    """Expressions over case names (see ``case_filter``); with ``ids`` empty as well, all cases are selected."""
    ids: tuple[str, ...] = ()
    """Names of cases."""
    config_folder: str = ""
    """The folder of the configuration file, empty for none (see ``case_ids``)."""
    max_passes: int = 1000
    """Executions to locate the differences of a case."""
    confirm: int = 0
    """Reruns of a diverging pass."""
    hangs: bool = True
    """Whether hangs are reported, which needs longer runs."""
    deterministic: bool = True
    """Whether a pass that differs is run again in the deterministic form, if the artifact has open results."""
    verbose: bool = False
    options: dict[str, str] = {}
    """Paths of engines' programs by adapter, and what ``runner.engines`` adds for workers."""
    program_name: bool = True
    """Whether a program without arguments gets the artifact's name as its first argument; witness's own runtime passes none."""
    known: dict[str, tuple[str, ...]] = {}
    """Signatures that need no confirmation, each with the cases in which it is expected. A pass without one is rerun too."""
    known_root: str = ""
    """The folder that the cases of ``known`` are relative to, an absolute path; empty if unknown."""
    known_file: str = ""
    """The baseline."""
    journal: str = ""
    """The file of completed cases, empty for none."""
    resume: bool = False
    """Whether an interrupted run is resumed."""
    cache: str = ""
    """The folder of the cache, empty for none."""
    cache_bytes: int = 2 << 30
    """The cache's size limit."""
    keys: dict[str, str] = {}
    """The engines' keys in the cache by role."""
    builds: tuple[Build, ...] = ()
    """The engines' files."""
    times_ns: dict[str, int] = {}
    """Times of cases in an earlier run; the longest case runs first."""
    subject_name: str = ""
    """The configured name of the subject."""
    subject_version: str = ""
    """The configured version of the subject."""
    shard: tuple[int, int] | None = None
    """Index and number of shards; None without shards."""
    shard_times_ns: dict[str, int] = {}
    """The times by which cases are divided among shards."""
    cluster: str = ""
    """The address of a Dask scheduler, empty for this machine."""

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
