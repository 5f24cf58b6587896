"""Every option in one table: its name, type, default, unit, environment variable and help.

The command line builds its options from this table and from the engines' programs that ``registry`` adds.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.errors import ConfigError
from diffcheck.text import is_digits, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["text", "path", "choice", "count", "number", "seconds", "size", "flag", "shard", "executor", "causes"]

ENV_PREFIX: Final = "DIFFCHECK_"
_MOST_CAUSES: Final = 4096


class Option(msgspec.Struct, frozen=True):
    """One option of the command line, the environment and the configuration file.

    ``default`` is its text as a user would write it, None for none; ``default_help`` describes a default computed at the start.
    ``recorded`` options are stored in the report: all that can change a verdict. A ``multiple`` one can be repeated. ``panel`` is
    its group in ``--help``.
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
    panel: str = ""

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

    @property
    def default_text(self) -> str:
        """The default for a reader."""
        return self.default_help or self.default or ("off" if self.kind == "flag" else "none")


ENGINES: Final = "Engines"
CASES: Final = "Cases"
EXECUTION: Final = "Execution"
OUTPUT: Final = "Output"
BASELINE: Final = "Baseline"
PANELS: Final = (ENGINES, CASES, EXECUTION, OUTPUT, BASELINE)
"""The groups of options in ``--help``, in order."""

OPTIONS: Final = (
    Option(
        "subject",
        "text",
        "Engine tested: NAME, harness:COMMAND, wasi:COMMAND.",
        default="auto",
        metavar="NAME",
        panel=ENGINES,
    ),
    Option(
        "subject-version",
        "text",
        "The subject's version, if it reports none.",
        metavar="TEXT",
        panel=ENGINES,
    ),
    Option("oracle", "text", "Reference engine (self: subject).", default="auto", metavar="NAME", panel=ENGINES),
    Option(
        "judge",
        "text",
        "Engine to run where they differ; repeatable.",
        metavar="NAME",
        multiple=True,
        panel=ENGINES,
    ),
    Option(
        "rows",
        "text",
        "Call EXPORT or EXPORT=arg,arg; repeatable; replaces the case file's.",
        metavar="ROW",
        multiple=True,
        panel=CASES,
    ),
    Option("auto-rows", "flag", "Add rows by the functions that they enter.", panel=CASES),
    Option(
        "only",
        "text",
        "Cases to run: name, part of it, glob; and, or, not; repeatable.",
        metavar="EXPR",
        short="-k",
        multiple=True,
        panel=CASES,
    ),
    Option("last-failed", "flag", "Only the cases that failed in the last report.", panel=CASES),
    Option(
        "shard",
        "shard",
        "Only shard I of N; see `diffcheck merge`.",
        metavar="I/N",
        panel=CASES,
    ),
    Option(
        "timings",
        "path",
        "report.json whose times divide the shards.",
        metavar="FILE",
        recorded=False,
        panel=CASES,
    ),
    Option(
        "mode",
        "choice",
        "capsule (self-contained copy), direct or both.",
        default="both",
        metavar="MODE",
        choices=("both", "capsule", "direct"),
        panel=EXECUTION,
    ),
    Option(
        "stub-imports",
        "choice",
        "Unknown imports return zeros (zero) or trap (trap).",
        default="zero",
        metavar="WHAT",
        choices=("zero", "trap"),
        panel=EXECUTION,
    ),
    Option(
        "slice",
        "choice",
        "Load only executed functions.",
        default="auto",
        metavar="WHEN",
        choices=("auto", "always", "never"),
        panel=EXECUTION,
    ),
    Option(
        "load-check",
        "choice",
        "Load what a slice leaves out.",
        default="auto",
        metavar="WHEN",
        choices=("auto", "never"),
        panel=EXECUTION,
    ),
    Option(
        "jobs",
        "count",
        "Cases run at once.",
        default_help="number of CPUs",
        metavar="N",
        short="-j",
        recorded=False,
        panel=EXECUTION,
    ),
    Option(
        "executor",
        "executor",
        "local, or a Dask cluster, dask:ADDRESS.",
        default="local",
        metavar="NAME",
        recorded=False,
        panel=EXECUTION,
    ),
    Option(
        "deadline",
        "seconds",
        "Time limit of one execution.",
        default="10",
        metavar="SECONDS",
        panel=EXECUTION,
    ),
    Option(
        "memory-limit",
        "size",
        "Memory limit of one execution.",
        default="4GiB",
        metavar="SIZE",
        panel=EXECUTION,
    ),
    Option(
        "max-passes",
        "count",
        "Executions to find differences.",
        default="1000",
        metavar="N",
        panel=EXECUTION,
    ),
    Option(
        "confirm",
        "number",
        "Reruns to confirm a divergence.",
        default="3",
        metavar="N",
        panel=EXECUTION,
    ),
    Option("fail-fast", "flag", "Stop at the first failing case.", short="-x", recorded=False, panel=EXECUTION),
    Option("resume", "flag", "Resume the interrupted run under --reports.", recorded=False, panel=EXECUTION),
    Option(
        "cache",
        "path",
        "Cache of executions.",
        default_help="~/.cache/diffcheck",
        metavar="DIR",
        recorded=False,
        panel=EXECUTION,
    ),
    Option("no-cache", "flag", "Neither read nor write the execution cache.", recorded=False, panel=EXECUTION),
    Option(
        "cache-limit",
        "size",
        "Maximum size of the cache.",
        default="2GiB",
        metavar="SIZE",
        recorded=False,
        panel=EXECUTION,
    ),
    Option(
        "reports",
        "path",
        "Folder of reports and history.",
        default="reports",
        short="-o",
        metavar="DIR",
        recorded=False,
        panel=OUTPUT,
    ),
    Option("html", "path", "Write the HTML page to this file as well.", metavar="FILE", recorded=False, panel=OUTPUT),
    Option("junit-xml", "path", "Write JUnit XML.", metavar="FILE", recorded=False, panel=OUTPUT),
    Option("sarif", "path", "Write SARIF 2.1.0, for code scanning.", metavar="FILE", recorded=False, panel=OUTPUT),
    Option("markdown", "path", "Write a summary in Markdown, for a CI job.", metavar="FILE", recorded=False, panel=OUTPUT),
    Option("evidence", "path", "Write evidence, an in-toto statement.", metavar="FILE", recorded=False, panel=OUTPUT),
    Option("requirements", "path", "Write results by requirement, as YAML.", metavar="FILE", recorded=False, panel=OUTPUT),
    Option("quiet", "flag", "No progress; only the totals and unusable files.", short="-q", recorded=False, panel=OUTPUT),
    Option("verbose", "flag", "Full details; engine output of a single case.", short="-v", recorded=False, panel=OUTPUT),
    Option(
        "baseline",
        "path",
        "Known divergences; only new ones fail.",
        default_help="beside diffcheck.toml",
        metavar="FILE",
        recorded=False,
        panel=BASELINE,
    ),
    Option(
        "causes",
        "causes",
        "Localise up to N new clusters; auto: for a minute.",
        default="auto",
        metavar="N",
        recorded=False,
        panel=BASELINE,
    ),
    Option(
        "strict",
        "flag",
        "Also fail on outdated entries and vacuous agreements.",
        recorded=False,
        panel=BASELINE,
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
    """A text such as ``512MiB`` as a number of bytes; raises ``ConfigError`` for anything else.

    Units are powers of ten (``kB``, ``MB``, ``GB``, ``TB``) or of two (``KiB`` ...), in any case, with or without the B.
    """
    match = _SIZE.match(text.strip()) if len(text) < 40 else None  # noqa: PLR2004 - no size is that long
    if match is None or match["unit"].lower() not in _UNITS:
        raise ConfigError(f"{visible(text, 60)!r} is not a size", hint="write a number and a unit, as in 512MiB or 4GB")
    size = int(float(match["number"]) * _UNITS[match["unit"].lower()])
    if not _MIN_MEMORY <= size <= _MAX_MEMORY:
        raise ConfigError(f"{visible(text, 60)} is out of range", hint="give between 1MiB and 1PiB")
    return size


def parse_shard(text: str) -> tuple[int, int]:
    """The part and the number of parts in a text such as ``2/3``; raises ``ConfigError`` for anything else."""
    match = _SHARD.match(text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= _MAX_SHARDS:
        raise ConfigError(f"{visible(text, 60)!r} is not a shard", hint="write I/N, as in 1/3, 2/3 and 3/3")
    return int(match[1]), int(match[2])


def parse_executor(text: str) -> str:
    """The scheduler's address in a text such as ``dask:tcp://host:8786``; empty for ``local``."""
    kind, _, address = text.strip().partition(":")
    if text.strip() == "local":
        return ""
    if kind != "dask" or not address:
        raise ConfigError(
            f"{visible(text, 60)!r} is not an executor", hint="write local, or dask:ADDRESS as in dask:tcp://localhost:8786"
        )
    return address


def parse_causes(text: str) -> int | None:
    """The number of clusters to localise; None for ``auto``, a limit by time."""
    if text.strip() == "auto":
        return None
    if not is_digits(text.strip()) or int(text) > _MOST_CAUSES:
        raise ConfigError(f"{visible(text, 60)!r} is not a number of clusters", hint=f"use auto, or a number up to {_MOST_CAUSES}")
    return int(text)


def default_jobs() -> int:
    """The number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def defaults() -> dict[str, str]:
    """The defaults of the recorded options, as a report stores their values."""
    return {
        entry.name: str(parse_size(entry.default)) if entry.kind == "size" and entry.default else entry.default or ""
        for entry in OPTIONS
        if entry.recorded
    }


def cache_folder(environment: Mapping[str, str]) -> str:
    """The default folder of the cache, below ``XDG_CACHE_HOME`` or ``~/.cache``; empty if neither variable is set."""
    base = environment.get("XDG_CACHE_HOME") or ""
    if not Path(base).is_absolute():  # the XDG specification ignores a relative path
        home = environment.get("HOME") or ""
        base = str(Path(home) / ".cache") if Path(home).is_absolute() else ""
    return str(Path(base) / "diffcheck") if base else ""
