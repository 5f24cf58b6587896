"""The pinned toolchain: versions or digests of engines and tools, compared with those of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.text import plural, visible
from diffcheck.verdict import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diffcheck.verdict import Report


def tools(report: Report) -> dict[Tool, tuple[str, ...]]:
    """The tools that made the artifacts of a run, each with the cases."""
    found: dict[Tool, list[str]] = {}
    for case in report.cases:
        for each in case.made_by:
            found.setdefault(each, []).append(case.case)
    return {tool: tuple(found[tool]) for tool in sorted(found, key=msgspec.structs.astuple)}


def with_pins(report: Report, pins: Mapping[str, str]) -> Report:
    """The report, whose notice names what differs from the pins; a pin is a version or ``sha256:`` and a digest."""
    lines = list(dict.fromkeys(_differences(report, pins)))
    return msgspec.structs.replace(report, notice=" ".join(filter(None, (report.notice, *lines)))) if lines else report


def _differences(report: Report, pins: Mapping[str, str]) -> Iterator[str]:
    for engine in (report.subject, report.oracle, *report.judges):
        if _differs(engine.name, engine.version, engine.sha256, pins):
            yield f"{engine.name} is pinned to {pins[engine.name]}, but {engine.version or 'an unknown version'} ran."
    for tool, cases in tools(report).items():
        if _differs(tool.name, tool.version, tool.sha256, pins):
            what = f"{plural(len(cases), 'artifact')}, such as that of {visible(cases[0], 120)}"
            yield f"{tool.name} is pinned to {pins[tool.name]}, but {tool.version or 'an unknown version'} made {what}."


def _differs(name: str, version: str, sha256: str, pins: Mapping[str, str]) -> bool:
    """Whether there is a pin for a name and it is another one; what follows a version's first word is not compared."""
    return name in pins and pins[name] not in (version, version.partition(" ")[0], f"sha256:{sha256}")
