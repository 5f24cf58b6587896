"""The HTML page: one file that works from disk and fetches nothing.

The template renders causes, totals, charts and lists, so they can be read without JavaScript. Cases are JSON that the script shows
as text, a part at a time. A content security policy with the digests of our own script and style is the second defence: even if a
name got through as markup, none of it would run or be fetched.
"""

from __future__ import annotations

import functools
import hashlib
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from itertools import count, islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from diffcheck.config import option_table
from diffcheck.report import page_data, summary, terminal_text
from diffcheck.report.cause_rows import CauseRow, cause_rows
from diffcheck.report.charts import SIDE, charts
from diffcheck.report.matrices import matrix as matrices
from diffcheck.report.model import agreement, clusters, conclusion, settled
from diffcheck.report.page_data import Life
from diffcheck.runner.sweep.coverage import OUTCOMES
from diffcheck.text import duration, plural, size, visible
from diffcheck.verdict import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diffcheck.runner.sweep.coverage import Cell, SweepMap
    from diffcheck.verdict import Report

_NOTHING_KNOWN: Final[Mapping[str, Life]] = MappingProxyType({})
_HERE: Final = b"<!--data-->"  # no name can contain it: the template escapes every <
_MAX_LIST: Final = 300
_SEVERITY: Final = ("diverge", "flaky", "inconclusive", "oracle", "known", "agree", "skipped")


def render(report: Report, lives: Mapping[str, Life] = _NOTHING_KNOWN) -> bytes:
    """The HTML page in UTF-8. ``lives`` are the states and histories of signatures, from the baseline and earlier runs."""
    return b"".join(pieces(report, lives))


def pieces(report: Report, lives: Mapping[str, Life] = _NOTHING_KNOWN) -> Iterator[bytes]:
    """The page in parts, a case at a time."""
    standings = {key: page_data.life(each, ()) for key, each in summary.standings(report).items()}
    rows = cause_rows(report, clusters(report), {**standings, **lives})
    head, place, tail = _frame(report, rows).encode().partition(_HERE)
    if not place:
        raise RuntimeError("the template has no place for the data")
    yield head
    yield from _script("index", page_data.index(report, _states(rows)))
    yield from _blocks(page_data.cases(report, option_table.defaults()))
    yield tail


def sweep(done: SweepMap) -> bytes:
    """The page of a sweep's map in UTF-8: instructions by family, with the classes of their operands."""
    families: dict[str, dict[str, list[Cell]]] = {}
    for cell in done.cells:
        families.setdefault(cell.family, {}).setdefault(cell.instruction, []).append(cell)
    return _page(
        "sweep.html.j2",
        map=done,
        families=families,
        outcomes=[(each, len(done.of(each))) for each in OUTCOMES],
        subject=terminal_text.engine(done.subject),
        oracle=terminal_text.engine(done.oracle),
    )


def matrix(found: matrices.Matrix) -> bytes:
    """The page of a matrix in UTF-8."""
    return _page(
        "matrix.html.j2",
        matrix=found,
        oracle=terminal_text.engine(found.oracle),
        verdicts=[word for word in VERDICTS if any(each.totals.get(word) for each in found.engines)],
        cell=matrices.cell,
    )


def _page(template: str, **values: object) -> bytes:
    """A page without a script."""
    environment = _environment()
    style = _asset(environment, "report.css")
    values |= {"style": Markup(style), "style_digest": _digest(style)}  # noqa: S704 - our own file
    return environment.get_template(template).render(values).encode()


def _states(rows: Iterable[CauseRow]) -> dict[int, str]:
    """The most urgent state of each case's causes, by the case's place in the report."""
    states: dict[int, str] = {}
    for row in rows:
        for at in row.cases:
            states.setdefault(at, row.state)
    return states


def _blocks(items: Iterator[bytes]) -> Iterator[bytes]:
    """The details of all cases, ``page_data.BLOCK`` of them in one element: what is not looked at is not parsed."""
    for number in count():
        block = list(islice(items, page_data.BLOCK))
        if not block:
            return
        yield from _script(f"block-{number}", block)


def _script(name: str, items: Iterable[bytes]) -> Iterator[bytes]:
    """A list as a data element. ``<`` and ``>`` are only in strings, and as escapes they cannot end the element."""
    yield f'<script type="application/json" id="{name}">['.encode()
    for at, item in enumerate(items):
        yield b",\n" if at else b"\n"
        yield item.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    yield b"]</script>\n"


def _frame(report: Report, rows: tuple[CauseRow, ...]) -> str:
    """The page without the cases."""
    environment = _environment()
    style, script = (_asset(environment, name) for name in ("report.css", "report.js"))
    exit_code, why = conclusion(report)
    oracle, subject = terminal_text.columns(report)
    oracle_cost, subject_cost = summary.total_costs(report)
    attention = [case for case in report.cases if not settled(case) or case.verdict != "agree"]
    return environment.get_template("report.html.j2").render(
        report=report,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        style_digest=_digest(style),
        script_digest=_digest(script),
        subject=terminal_text.engine(report.subject),
        oracle=terminal_text.engine(report.oracle),
        columns={"oracle": oracle, "subject": subject},
        exit_code=exit_code,
        why=why,
        verdicts=[(word, report.totals.get(word, 0)) for word in VERDICTS],
        bar=[(word, report.totals.get(word, 0)) for word in _SEVERITY],
        compared=terminal_text.compared(agreement(report)),
        costs=[(oracle, "oracle", oracle_cost), (subject, "subject", subject_cost)],
        charts=charts(report),
        side=SIDE,
        limit=_MAX_LIST,
        rows=rows,
        states=Counter(row.state for row in rows),
        attention=attention,
        allowances=summary.allowances(report),
        stubs=summary.stubs(report),
        left_out=summary.left_out(report),
    )


@functools.cache
def _environment() -> Environment:
    loader = PackageLoader("diffcheck.report")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"visible": visible, "moment": _moment, "duration": _duration_ns, "size": size}
    made.filters |= {"plural": plural, "number": _number, "prose": prose}
    return made


def prose(text: str) -> Markup:
    """A sentence with the parts in backquotes as code, everything escaped."""
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))


def _asset(environment: Environment, name: str) -> str:
    loader = environment.loader
    if loader is None:
        raise RuntimeError("templates have a loader")
    return loader.get_source(environment, name)[0]


def _digest(source: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


def _duration_ns(nanoseconds: int) -> str:
    return duration(nanoseconds / 1e9)


def _number(value: int) -> str:
    return f"{value:,}"


def _moment(text: str) -> str:
    """A time as ``2026-01-31 04:05 UTC``; other text is shown as it is."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return visible(text, 40)
