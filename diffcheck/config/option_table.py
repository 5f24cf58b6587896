"""Every option in one table: its name, type, default, unit, environment variable and help.

The command line builds its options from this table, and from the programs of engines that ``registry`` adds.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.errors import ConfigError
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["text", "path", "choice", "count", "number", "seconds", "size", "flag", "shard", "executor", "causes"]

ENV_PREFIX: Final = "DIFFCHECK_"
_MOST_CAUSES: Final = 4096


class Option(msgspec.Struct, frozen=True):
    """One option. ``default`` is its text as a user would write it, None where there is none to write.

    ``default_help`` says a default that is worked out at the start. ``recorded`` is whether a report keeps the value: what cannot
    change a verdict (the number of jobs, where reports go) is left out, so that a report does not depend on it. ``multiple`` is
    whether it can be given several times.
    """

    name: str
    kind: Kind
    help: str
    default: str | None = None
    default_help: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    short: str = ""
    recorded: bool = True
    multiple: bool = False

    @property
    def flag(self) -> str:
        """The option as it is written on the command line."""
        return f"--{self.name}"

    @property
    def env(self) -> str:
        """The environment variable that sets the option."""
        return ENV_PREFIX + self.name.replace("-", "_").upper()

    @property
    def key(self) -> str:
        """The option's name as a Python identifier."""
        return self.name.replace("-", "_")


OPTIONS: Final = (
    Option(
        "subject",
        "text",
        "The engine under test: a name from `diffcheck backends`, or harness:COMMAND or wasi:COMMAND. "
        "auto takes the preferred one that is found; the run says where that is the oracle's own engine.",
        default="auto",
        metavar="NAME",
    ),
    Option(
        "subject-version",
        "text",
        "What the subject's version is called in reports, the baseline and the history (a release, a commit), for an engine that "
        "does not report one.",
        default_help="what the engine says",
        metavar="TEXT",
    ),
    Option("oracle", "text", "The engine that is taken to be right; auto is the preferred one.", default="auto", metavar="NAME"),
    Option(
        "mode",
        "choice",
        "What is run of each artifact: capsule is a self-contained copy that records everything, direct is the file as it is.",
        default="both",
        choices=("both", "capsule", "direct"),
    ),
    Option("jobs", "count", "How many cases run at once.", default_help="number of CPUs", metavar="N", recorded=False),
    Option(
        "executor",
        "executor",
        "Where cases are run: local, or dask:ADDRESS for the workers of a Dask cluster (extra wasm-diffcheck[dask]), which need "
        "the same engines and the same diffcheck.",
        default="local",
        metavar="local|dask:ADDRESS",
        recorded=False,
    ),
    Option("deadline", "seconds", "Time for one execution of an engine, in seconds.", default="10", metavar="SECONDS"),
    Option(
        "memory-limit",
        "size",
        "Memory for one execution of an engine, in bytes or with a unit (512MiB, 4GB).",
        default="4GiB",
        metavar="SIZE",
    ),
    Option(
        "rows",
        "choice",
        "Which calls are made: declared takes those of the case file or of the exports without parameters, "
        "auto adds boundary values for exports with parameters.",
        default="declared",
        choices=("declared", "auto"),
    ),
    Option(
        "stub-imports",
        "choice",
        "What an imported function gets that no stub is known for: zeros as its results, or a trap when it is called.",
        default="zero",
        choices=("zero", "trap"),
    ),
    Option(
        "only",
        "text",
        "Run only the cases whose name matches this pattern (*, ?, [...]); can be repeated.",
        default_help="all",
        metavar="GLOB",
        multiple=True,
    ),
    Option(
        "max-passes",
        "count",
        "How many executions a case may cost the subject to locate differences. What is not located is inconclusive.",
        default="1000",
        metavar="N",
    ),
    Option(
        "confirm",
        "number",
        "How often a divergence that is not known is run again before it is told; what does not repeat is flaky. 0 is never.",
        default="3",
        metavar="N",
    ),
    Option(
        "reports",
        "path",
        "The folder that report.json and report.html are written to.",
        default="reports",
        metavar="DIR",
        recorded=False,
    ),
    Option(
        "shard",
        "shard",
        "Run only part I of N of the cases: parts take about the same time, and are the same on every machine that has the same "
        "cases (see --timings). `diffcheck merge` joins their reports.",
        default_help="all",
        metavar="I/N",
    ),
    Option(
        "timings",
        "path",
        "A report.json of an earlier run, the same one for every shard, that says how long each case takes. Without it, shards go "
        "by the size of artifacts and the number of rows, and longest cases first by the last report in the folder for reports.",
        default_help="none",
        metavar="FILE",
        recorded=False,
    ),
    Option(
        "resume",
        "flag",
        "Go on with the run that was stopped in the folder for reports; begin anew where there is none.",
        default_help="off",
        recorded=False,
    ),
    Option(
        "cache",
        "path",
        "The folder in which what engines did is kept: nothing is run again while artifact, rows, limits and engine are the same.",
        default_help="diffcheck in XDG_CACHE_HOME, else in ~/.cache",
        metavar="DIR",
        recorded=False,
    ),
    Option("no-cache", "flag", "Run everything, and keep nothing of it.", default_help="off", recorded=False),
    Option(
        "cache-limit",
        "size",
        "How large the cache may grow; what was not used for longest goes first.",
        default="2GiB",
        metavar="SIZE",
        recorded=False,
    ),
    Option("html", "path", "Write the HTML page to this file as well.", default_help="none", metavar="FILE", recorded=False),
    Option("junit-xml", "path", "Write JUnit XML to this file.", default_help="none", metavar="FILE", recorded=False),
    Option(
        "sarif", "path", "Write SARIF 2.1.0 to this file, for code scanning.", default_help="none", metavar="FILE", recorded=False
    ),
    Option(
        "markdown",
        "path",
        "Write a short summary in Markdown to this file, for a CI job.",
        default_help="none",
        metavar="FILE",
        recorded=False,
    ),
    Option(
        "baseline",
        "path",
        "What is known (see `diffcheck baseline`): the exit code is then 1 only for what is new.",
        default_help="baseline.toml beside diffcheck.toml, if there",
        metavar="FILE",
        recorded=False,
    ),
    Option(
        "causes",
        "causes",
        "How many new clusters are localised to the wrong instruction, to group those with one cause. Each takes about ten runs of "
        "the subject. auto: as many as a minute allows; 0: none.",
        default="auto",
        metavar="auto|N",
        recorded=False,
    ),
    Option(
        "strict",
        "flag",
        "Exit with 1 also for what is fixed, for an entry of the baseline that is stale, expired or too narrow, "
        "and for a vacuous agreement.",
        default_help="off",
        recorded=False,
    ),
    Option(
        "verbose",
        "flag",
        "Say more; with a single artifact, show the engine's own output as it comes.",
        default_help="off",
        short="-v",
        recorded=False,
    ),
)
"""The options of a run, in the order that ``--help`` has."""

BY_NAME: Final = {option.name: option for option in OPTIONS}

_SIZE: Final = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>[a-z]*)\Z", re.IGNORECASE)
_UNITS: Final = {
    "": 1,
    "b": 1,
    **{unit + end: 1000**power for power, unit in enumerate("kmgt", 1) for end in ("", "b")},
    **{f"{unit}i{end}": 1024**power for power, unit in enumerate("kmgt", 1) for end in ("", "b")},
}
_SHARD: Final = re.compile(r"([0-9]{1,4})/([0-9]{1,4})\Z")
_MAX_SHARDS: Final = 1000
_MIN_MEMORY: Final = 1 << 20
_MAX_MEMORY: Final = 1 << 50


def parse_size(text: str) -> int:
    """The number of bytes that a text says; raises ``ConfigError`` for anything else.

    Units are powers of ten (``kB``, ``MB``, ``GB``, ``TB``) or of two (``KiB`` ...), in any case, with or without the B.
    """
    match = _SIZE.match(text.strip()) if len(text) < 40 else None  # noqa: PLR2004 - no size is that long
    if match is None or match["unit"].lower() not in _UNITS:
        raise ConfigError(f"{visible(text, 60)!r} is no size", hint="write a number and a unit, as in 512MiB or 4GB")
    size = int(float(match["number"]) * _UNITS[match["unit"].lower()])
    if not _MIN_MEMORY <= size <= _MAX_MEMORY:
        raise ConfigError(f"{visible(text, 60)} is out of range", hint="give between 1MiB and 1PiB")
    return size


def parse_shard(text: str) -> tuple[int, int]:
    """Which part of how many a text such as ``2/3`` says; raises ``ConfigError`` for anything else."""
    match = _SHARD.match(text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= _MAX_SHARDS:
        raise ConfigError(f"{visible(text, 60)!r} is no shard", hint="write I/N, as in 1/3, 2/3 and 3/3")
    return int(match[1]), int(match[2])


def parse_executor(text: str) -> str:
    """The address of a Dask scheduler that a text such as ``dask:tcp://host:8786`` says, empty for ``local``."""
    kind, _, address = text.strip().partition(":")
    if text.strip() == "local":
        return ""
    if kind != "dask" or not address:
        raise ConfigError(
            f"{visible(text, 60)!r} is no executor", hint="write local, or dask:ADDRESS as in dask:tcp://localhost:8786"
        )
    return address


def parse_causes(text: str) -> int | None:
    """The number of clusters to localise; None for ``auto``, a limit by time."""
    if text.strip() == "auto":
        return None
    if not text.strip().isdecimal() or int(text) > _MOST_CAUSES:
        raise ConfigError(f"{visible(text, 60)!r} is not a number of clusters", hint=f"use auto, or a number up to {_MOST_CAUSES}")
    return int(text)


def default_jobs() -> int:
    """The number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def defaults() -> dict[str, str]:
    """The recorded options' defaults as a report has their values, for telling which ones were changed."""
    return {
        entry.name: str(parse_size(entry.default)) if entry.kind == "size" and entry.default else entry.default or ""
        for entry in OPTIONS
        if entry.recorded
    }


def cache_folder(environment: Mapping[str, str]) -> str:
    """Where artifacts that were made on the fly are kept: ``XDG_CACHE_HOME``, else ``~/.cache``; empty where there is neither."""
    base = environment.get("XDG_CACHE_HOME") or ""
    if not Path(base).is_absolute():  # as its specification has it, a relative one does not count
        home = environment.get("HOME") or ""
        base = str(Path(home) / ".cache") if Path(home).is_absolute() else ""
    return str(Path(base) / "diffcheck") if base else ""
