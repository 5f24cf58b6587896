"""Merge shard reports into one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend import registry
from diffcheck.errors import ConfigError
from diffcheck.text import is_digits, visible
from diffcheck.verdict import Cause, totals, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diffcheck.verdict import CaseReport, PassReport, Report, Verdict

_SHARD: Final = "shard"
_OWN: Final = (_SHARD, *(option.name for option in registry.options() if option.kind == "path"))
"""Options that may differ between shards: the index, and paths on the machine; engines are compared by digest."""


def merge(reports: Mapping[str, Report]) -> Report:
    """The report of all shards, which are given by names for messages; raises ``ConfigError`` if they are not all of one run.

    No baseline is applied, since that needs all cases. The start is the earliest, the time the longest; it is interrupted if a
    shard is.
    """
    _check_whole(reports)
    _check_same(reports)
    shards = list(reports.values())
    cases = tuple(sorted((_unapplied(case) for each in shards for case in each.cases), key=lambda case: case.case))
    first = shards[0]
    return msgspec.structs.replace(
        first,
        started=min(each.started for each in shards),
        elapsed_ns=max(each.elapsed_ns for each in shards),
        options={name: value for name, value in first.options.items() if name != _SHARD},
        totals=totals(cases),
        engine_findings=tuple(dict.fromkeys(finding for each in shards for finding in each.engine_findings)),
        cases=cases,
        interrupted=any(each.interrupted for each in shards),
        failed_fast=any(each.failed_fast for each in shards),
        planned=sum(each.planned for each in shards) if all(each.planned for each in shards) else 0,
        error=next((each.error for each in shards if each.error), ""),
        baseline=None,
        causes=_causes(each for report in shards for each in report.causes),
        division="",
        places=tuple(dict.fromkeys(place for each in shards for place in each.places)),
    )


def _causes(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """The causes of all shards, one a name, the one with most clusters first."""
    found: dict[str, dict[str, str]] = {}
    first: dict[str, Cause] = {}
    for each in causes:
        first.setdefault(each.name, each)
        for signature, place in zip(each.signatures, each.places, strict=True):
            found.setdefault(each.name, {}).setdefault(signature, place)
    joined = [
        msgspec.structs.replace(first[name], signatures=tuple(places), places=tuple(places.values()))
        for name, places in found.items()
    ]
    return tuple(sorted(joined, key=lambda each: (-len(each.signatures), each.name)))


def _check_whole(reports: Mapping[str, Report]) -> None:
    """Check that every shard is there once."""
    hint = "name the report.json of every shard of one run"
    seen: dict[str, str] = {}
    for name, report in reports.items():
        shard = report.options.get(_SHARD, "")
        if not shard:
            raise ConfigError(f"{visible(name)} is not the report of a shard", hint=hint)
        if shard in seen:
            raise ConfigError(f"{visible(seen[shard])} and {visible(name)} are both shard {visible(shard)}", hint=hint)
        seen[shard] = name
    counts = {shard.partition("/")[2] for shard in seen}
    if len(counts) != 1:
        raise ConfigError(f"these are shards of {' and of '.join(visible(each) for each in sorted(counts))}", hint=hint)
    (count,) = counts
    missing = [f"{at}/{count}" for at in range(1, int(count) + 1) if f"{at}/{count}" not in seen] if is_digits(count) else [count]
    if missing:
        raise ConfigError(f"shard {', '.join(visible(each) for each in missing)} is missing", hint=hint)


def _check_same(reports: Mapping[str, Report]) -> None:
    """Check that all shards have the same division, diffcheck, engines and options."""
    first, *others = reports.items()
    for name, report in others:
        for what, hint in _WHAT.items():
            one, other = (_property(each, what) for each in (first[1], report))
            if one != other:
                where = f"{visible(first[0])} has {visible(str(one), 200)}, {visible(name)} has {visible(str(other), 200)}"
                raise ConfigError(f"the shards differ in {what}: {where}", hint=hint)


_WHAT: Final = {
    "diffcheck": "run all shards with the same version",
    "subject": "run all shards with the same build",
    "oracle": "run all shards with the same version",
    "options": "run all shards with the same options",
    "division": "run all shards over the same cases, with the same --timings",
}


def _property(report: Report, what: str) -> object:
    if what in ("subject", "oracle"):
        engine = report.subject if what == "subject" else report.oracle
        return engine.name, engine.version, engine.sha256[:12]  # without the path, which depends on the machine
    if what == "options":
        return sorted((name, value) for name, value in report.options.items() if name not in _OWN)
    return report.tool.version if what == "diffcheck" else report.division


def _unapplied(case: CaseReport) -> CaseReport:
    """The case without the baseline of its shard's report."""
    if not any(each.verdict == "known" for each in case.passes):
        return case
    passes = tuple(msgspec.structs.replace(each, verdict=_own(each)) if each.verdict == "known" else each for each in case.passes)
    return msgspec.structs.replace(case, passes=passes, verdict=worst([each.verdict for each in passes if each.applicable]))


def _own(each: PassReport) -> Verdict:
    """The verdict of a known pass: flaky where its runs were not all the same, since all that they have in common is known."""
    same = all((run.verdict, set(run.signatures)) == ("diverge", set(each.signatures)) for run in each.repeats)
    return "diverge" if same else "flaky"
