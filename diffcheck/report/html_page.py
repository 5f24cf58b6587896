"""The HTML page: one file that works from disk and asks the network for nothing.

The template says what stands once (totals, charts, engine findings, lists); clusters and cases are JSON that the page's script
shows as text, a part at a time. A content security policy with the digests of our own script and style is the second wall: even
where a name came through as markup, nothing of it would run or be fetched.
"""

from __future__ import annotations

import functools
import hashlib
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from diffcheck.config import option_table
from diffcheck.report import page_data, styles, summary
from diffcheck.report.charts import SIDE, charts
from diffcheck.report.model import agreement, clusters, conclusion
from diffcheck.report.page_data import Life
from diffcheck.text import duration, plural, size, visible
from diffcheck.verdict import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diffcheck.report.model import Cluster
    from diffcheck.verdict import Report

_NOTHING_KNOWN: Final[Mapping[str, Life]] = MappingProxyType({})
_HERE: Final = b"<!--data-->"  # no name can contain it: the template escapes every <
_MAX_LIST: Final = 500
_SEVERITY: Final = ("diverge", "flaky", "inconclusive", "known", "agree", "skipped")


def render(report: Report, lives: Mapping[str, Life] = _NOTHING_KNOWN) -> bytes:
    """The page; ``lives`` has what is known of clusters by signature, where there are a baseline or earlier runs."""
    return b"".join(pieces(report, lives))


def pieces(report: Report, lives: Mapping[str, Life] = _NOTHING_KNOWN) -> Iterator[bytes]:
    """The same in parts, a case at a time."""
    found = clusters(report)
    head, found_place, tail = _frame(report, found, lives).encode().partition(_HERE)
    if not found_place:
        raise RuntimeError("the template has no place for the data")
    yield head
    yield from _data(report, found, lives)
    yield tail


def _data(report: Report, found: tuple[Cluster, ...], lives: Mapping[str, Life]) -> Iterator[bytes]:
    yield b'{"cases":['
    yield from _listed(page_data.cases(report, option_table.defaults()))
    yield b'],"clusters":['
    yield from _listed(page_data.clusters(report, found, lives))
    yield f'],"clusters_total":{len(found)}}}'.encode()


def _listed(items: Iterable[bytes]) -> Iterator[bytes]:
    """Items with commas between. ``<`` and ``>`` stand only in strings, and as escapes they cannot end the script element."""
    for at, item in enumerate(items):
        yield b",\n" if at else b"\n"
        yield item.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def _frame(report: Report, found: tuple[Cluster, ...], lives: Mapping[str, Life]) -> str:
    """The page without its data."""
    environment = _environment()
    style, script = (_asset(environment, name) for name in ("report.css", "report.js"))
    exit_code, why = conclusion(report)
    oracle, subject = styles.columns(report)
    oracle_cost, subject_cost = summary.total_costs(report)
    return environment.get_template("report.html.j2").render(
        report=report,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        style_digest=_digest(style),
        script_digest=_digest(script),
        subject=styles.engine(report.subject),
        oracle=styles.engine(report.oracle),
        columns={"oracle": oracle, "subject": subject},
        exit_code=exit_code,
        why=why,
        verdicts=[(word, report.totals.get(word, 0)) for word in VERDICTS],
        bar=[(word, report.totals.get(word, 0)) for word in _SEVERITY],
        compared=styles.compared(agreement(report)),
        costs=[(oracle, "oracle", oracle_cost), (subject, "subject", subject_cost)],
        charts=charts(report),
        side=SIDE,
        limit=_MAX_LIST,
        states=summary.states(report),
        runs=min(max((len(life.strip) for life in lives.values()), default=0), page_data.STRIP),
        entries=page_data.entries(report, found, lives),
        allowances=summary.allowances(report),
        stubs=summary.stubs(report),
        left_out=summary.left_out(report),
    )


@functools.cache
def _environment() -> Environment:
    loader = PackageLoader("diffcheck.report")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"visible": visible, "moment": _moment, "duration": _duration_ns, "size": size}
    made.filters |= {"plural": plural, "number": _number}
    return made


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
    """A time as ``2026-01-31 04:05 UTC``; what is no time is shown as it is."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return visible(text, 40)
