"""The charts of the HTML page: the subject's cost over the oracle's, as coordinates that the template draws."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.report.summary import costs
from diffcheck.text import duration, plural, size, visible
from diffcheck.verdict import worst

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.verdict import CaseReport, Report, Verdict

SIDE: Final = 260
"""Width and height of a chart's square, in the units of its drawing."""
_CELLS: Final = 52
_MIN_RADIUS: Final = 2.6
_MAX_RADIUS: Final = 7.0


class Tick(msgspec.Struct, frozen=True):
    """A line of an axis: its coordinate and its label."""

    at: float
    label: str


class Mark(msgspec.Struct, frozen=True):
    """Cases of about the same cost."""

    x: float
    y: float
    radius: float
    verdict: Verdict
    title: str


class Chart(msgspec.Struct, frozen=True):
    """Oracle on the x axis, subject on the y axis, both on the same logarithmic scale; ``summary`` is the text alternative."""

    name: str
    summary: str
    ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]


def charts(report: Report) -> tuple[Chart, ...]:
    """The charts of time and of memory; a chart without a case measured on both engines is omitted."""
    measured = [(case, *costs(case)) for case in report.cases]
    times = [(case, one.elapsed_ns / 1e9, other.elapsed_ns / 1e9) for case, one, other in measured]
    memory = [(case, float(one.peak_bytes), float(other.peak_bytes)) for case, one, other in measured]
    drawn = (_chart("time", times, duration, _seconds), _chart("memory", memory, size, size))
    return tuple(chart for chart in drawn if chart is not None)


def _chart(
    name: str, measured: list[tuple[CaseReport, float, float]], words: Callable[[float], str], axis: Callable[[float], str]
) -> Chart | None:  # fmt: skip
    points = [(case, oracle, subject) for case, oracle, subject in measured if oracle > 0 and subject > 0]
    if not points:
        return None
    low = math.floor(math.log10(min(min(oracle, subject) for _, oracle, subject in points)))
    high = math.ceil(math.log10(max(max(oracle, subject) for _, oracle, subject in points)))
    high = max(high, low + 1)

    def place(value: float) -> float:
        return (math.log10(value) - low) / (high - low) * SIDE

    cells: dict[tuple[int, int], list[tuple[CaseReport, float, float]]] = {}
    for point in points:
        _, oracle, subject = point
        cells.setdefault((int(place(oracle) / SIDE * _CELLS), int(place(subject) / SIDE * _CELLS)), []).append(point)
    marks = [_mark(members, place, words) for members in cells.values()]
    step = 1 + (high - low) // 6
    ticks = tuple(Tick(round(place(10.0**power), 1), axis(10.0**power).replace(".0 ", " ")) for power in range(low, high + 1, step))
    ratios = sorted(subject / oracle for _, oracle, subject in points)
    median, low_ratio, high_ratio = (_times(ratios[at]) for at in (len(ratios) // 2, 0, -1))
    text = f"{plural(len(points), 'case')}; subject/oracle {name}: median {median}, range {low_ratio} to {high_ratio}"
    return Chart(name, text, ticks, tuple(sorted(marks, key=lambda mark: -mark.radius)))


def _seconds(seconds: float) -> str:
    """A power of ten for an axis: seconds only, since ``1 min 40 s`` is not a round number."""
    if seconds >= 1:
        return f"{seconds:,.0f} s"
    return f"{seconds * 1e3:g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:g} µs"  # noqa: PLR2004 - a thousandth


def _times(ratio: float) -> str:
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.2g}×"  # noqa: PLR2004, RUF001 - two digits; the sign of multiplication


def _mark(members: list[tuple[CaseReport, float, float]], place: Callable[[float], float], words: Callable[[float], str]) -> Mark:
    """The mark of the cases in one cell, at the position of the first; the radius grows with their number."""
    case, oracle, subject = members[0]
    more = f" and {plural(len(members) - 1, 'more case')}" if len(members) > 1 else ""
    title = f"{visible(case.case, 80)}{more}: {words(oracle)} and {words(subject)}"
    radius = min(_MAX_RADIUS, _MIN_RADIUS * (1 + math.log10(len(members))))
    verdict = worst([each.verdict for each, _, _ in members])
    return Mark(round(place(oracle), 1), round(SIDE - place(subject), 1), round(radius, 1), verdict, title)
