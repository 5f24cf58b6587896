"""The survey of imports as tables for a terminal, as JSON, and as a Markdown page."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from diffcheck.config.version import __version__
from diffcheck.probe.wasi import VERDICTS
from diffcheck.report import markdown, terminal_text
from diffcheck.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

    from diffcheck.probe.wasi import ImportVerdicts
    from diffcheck.runner.observe.import_survey import ArtifactImports, EngineResult, ImportResult, Survey

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9 :/@.,$()\[\]_+-]+")
_PLAIN_TEXT: Final = re.compile(r"(?!\[)(?:[A-Za-z0-9 /@.,;$()%'-]|(?<=\w)_(?=\w)|:(?!/)|\[|\](?!\())*")
_NUMBERED: Final = re.compile(r"\$[0-9]+\Z")
STYLES: Final = {"real": "green", "stub": "yellow", "broken": "bold red", "absent": "dim"}
MEANINGS: Final = {
    "real": "the call returned and had its effect, observed from outside: bytes on stdout, a file, a second answer "
    "that differs from the first",
    "stub": "the call was accepted and did nothing, or returns the same for every argument",
    "broken": "wrong arguments, a wrong result, damage to the caller's memory or stack, or a failure where it should succeed",
    "absent": "there is no such function",
}


def as_json(survey: Survey) -> str:
    """The survey as a JSON document."""
    built = msgspec.to_builtins(survey)
    return json.dumps({"schema": "diffcheck-imports-v1", "tool": f"diffcheck {__version__}", **built}, indent=2)


# Terminal.


def show(survey: Survey, console: Console) -> None:
    """Print a table for each artifact, then the engine's functions by interface."""
    for each in survey.artifacts:
        count = "" if each.problem else f"  {_count(each)}"
        console.print(Text.assemble("\n", terminal_text.safe(each.path, terminal_text.HEADING), count))
        for line in _notes(each):
            console.print(terminal_text.safe(line, "yellow", 600))
        if each.imports:
            console.print(_table(each.imports))
    if survey.probed:
        console.print(Text(f"\nHost functions of {survey.label}, as measured", terminal_text.HEADING))
        console.print(_by_interface(survey.probed))
        console.print(_details(survey.probed))
    if survey.missing:
        console.print(terminal_text.safe(survey.missing, terminal_text.QUIET, 300))
    if survey.kept:
        console.print(terminal_text.safe(f"modules, commands and output: {survey.kept}", terminal_text.QUIET, 300))


def _count(artifact: ArtifactImports) -> str:
    others = "".join(f", {plural(count, kind)}" for kind, count in artifact.others.items())
    return plural(len(artifact.imports), "imported function") + others


def _notes(artifact: ArtifactImports) -> Iterator[str]:
    if artifact.problem:
        yield artifact.problem
    if artifact.out_of_scope:
        yield f"out of scope: {artifact.out_of_scope}"
    if artifact.not_run:
        yield f"not run: {artifact.not_run}"


def _table(imports: Iterable[ImportResult]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, header_style="bold")
    table.add_column("function", ratio=6, overflow="fold")
    table.add_column("signature", ratio=4, overflow="fold")
    table.add_column("in the capsule", ratio=4, overflow="fold")
    table.add_column("calls", justify="right", no_wrap=True)
    table.add_column("in the engines", ratio=4, overflow="fold")
    for interface, group in _grouped(imports):
        table.add_row(terminal_text.Name(interface, terminal_text.HEADING))
        for each in group:
            table.add_row(
                terminal_text.Name(each.function, indent=2),
                terminal_text.safe(each.signature, terminal_text.QUIET),
                terminal_text.safe(_stub(each), "" if each.stub == "functional" else "yellow", 300),
                _calls(each),
                _natives(each.native),
            )
    return table


def _grouped(imports: Iterable[ImportResult]) -> list[tuple[str, list[ImportResult]]]:
    """Group by interface, in the order of first imports: a fused module imports an interface once for each component."""
    found: dict[str, list[ImportResult]] = {}
    for each in imports:
        found.setdefault(each.interface, []).append(each)
    return list(found.items())


def _stub(each: ImportResult) -> str:
    return f"{each.stub}: {each.reason}" if each.reason else each.stub


def _calls(each: ImportResult) -> str:
    return "not run" if each.calls is None else f"{each.calls:,}"


def _natives(native: Sequence[EngineResult]) -> Text:
    if not native:
        return Text("not measured", terminal_text.QUIET)
    text = Text()
    for each in native:
        text.append("\n" if text else "")
        text.append(f"{each.how}: ").append(each.call.verdict, STYLES[each.call.verdict])
        if each.indirect is not None and each.indirect.verdict != each.call.verdict:
            text.append(", by call_indirect ").append(each.indirect.verdict, STYLES[each.indirect.verdict])
    return text


def _by_interface(probed: Sequence[ImportVerdicts]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("package")
    for verdict in VERDICTS:
        table.add_column(verdict, justify="right", style=STYLES[verdict])
    for package, counted in _counted(probed, indirect=False):
        table.add_row(terminal_text.safe(package), *(f"{counted[each]:,}" for each in VERDICTS))
    return table


def _details(probed: Iterable[ImportVerdicts]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, header_style="bold")
    table.add_column("function", ratio=5, overflow="fold")
    table.add_column("call", no_wrap=True)
    table.add_column("call_indirect", no_wrap=True)
    table.add_column("observation", ratio=6, overflow="fold")
    for module, group in groupby(probed, lambda each: each.module):
        table.add_row(terminal_text.Name(module, terminal_text.HEADING))
        for each in group:
            one, other = (Text(verdict, STYLES[verdict]) for verdict in (each.verdict, each.indirect))
            table.add_row(terminal_text.Name(each.name, indent=2), one, other, terminal_text.safe(observation(each), limit=400))
    return table


# Both.


def observation(each: ImportVerdicts) -> str:
    """The reason of the verdict in one sentence; of both calls if they differ."""
    if each.why == each.why_indirect:
        return each.why
    ways = ((f"call: {each.why}" if each.why else ""), (f"call_indirect: {each.why_indirect}" if each.why_indirect else ""))
    return "; ".join(way for way in ways if way)


def _package(each: ImportVerdicts) -> str:
    return each.module.partition("/")[0].partition("@")[0]


def _counted(probed: Sequence[ImportVerdicts], *, indirect: bool) -> list[tuple[str, Counter[str]]]:
    """Count the functions of each package by verdict.

    A function probed at several versions counts once. A name numbered by the fusing of components does not count.
    """
    once = {(each.interface, each.name): each for each in reversed(probed) if not _NUMBERED.search(each.name)}
    found: dict[str, Counter[str]] = {}
    for each in reversed(once.values()):
        found.setdefault(_package(each), Counter())[each.indirect if indirect else each.verdict] += 1
    return list(found.items())


# Markdown.


def as_markdown(survey: Survey, day: dt.date, *, version: str = "") -> str:
    """The survey as a Markdown page: method, summary and all functions, then the imports of each artifact."""
    return "\n".join([*_page(survey, day, version), *(line for each in survey.artifacts for line in _artifact(each)), ""])


def _code(name: str) -> str:
    """A name as code; in backquotes, which are easier to read, if it has no special characters."""
    return f"`{name}`" if _PLAIN_NAME.fullmatch(name) else markdown.code(name)


def _prose(value: str, limit: int = 200) -> str:
    """A text, escaped unless it is short and has no special characters."""
    return value if len(value) <= limit and _PLAIN_TEXT.fullmatch(value) else markdown.text(value, limit)


def _page(survey: Survey, day: dt.date, version: str) -> Iterator[str]:
    engine = survey.engine
    if engine is None or not survey.probed:
        yield from ("# Imports", "", _prose(survey.missing, 400))
        return
    name = f"{_prose(engine.name)} {_prose(version or engine.version)}".rstrip()
    yield f"# WASI imports that {name} provides"
    yield from ("", f"Measured on {day.isoformat()} with diffcheck {__version__} by `diffcheck imports --probe`, on the binary", "")
    yield f"    sha256 {engine.sha256}"
    yield ""
    total = sum(counted.total() for _, counted in _counted(survey.probed, indirect=False))
    yield (
        f"{plural(total, 'function')} were probed, each by a generated module run with "
        f"{_code(survey.label)}. A verdict states observed behaviour, not what the engine claims to have. "
        "`--keep DIR` stores each module, its command and its output."
    )
    yield ""
    yield from (f"- **{verdict}**: {meaning}." for verdict, meaning in MEANINGS.items())
    yield ""
    yield (
        "Each function is called by `call`, and again by `call_indirect`, which is how the shims of a componentised program call "
        "its imports: an engine may treat the two differently. The arguments of a call have distinct values; where the engine's "
        "own log shows that they arrive in another order, the verdict says so. Where the call that would create a handle fails, "
        "the function is called with an invalid handle; accepting it has the verdict stub."
    )
    for indirect in (False, True):
        yield from _summary(survey.probed, indirect=indirect)
    yield from _what_to_stub(survey.probed)
    for module, group in groupby(survey.probed, lambda each: each.module):
        yield from (
            "",
            f"## {_code(module)}",
            "",
            "| function | call | call_indirect | observation |",
            "| --- | --- | --- | --- |",
        )
        for each in group:
            yield f"| {_code(each.name)} | {each.verdict} | {each.indirect} | {_prose(observation(each), 600)} |"


def _summary(probed: Sequence[ImportVerdicts], *, indirect: bool) -> Iterator[str]:
    way = "call_indirect" if indirect else "call"
    yield from ("", f"## By package, for `{way}`", "")
    yield f"| package | {' | '.join(VERDICTS)} |"
    yield "| --- " + "| ---: " * len(VERDICTS) + "|"
    sums: Counter[str] = Counter()
    for package, counted in _counted(probed, indirect=indirect):
        sums += counted
        yield f"| {_code(package)} | {' | '.join(str(counted[each]) for each in VERDICTS)} |"
    yield f"| all | {' | '.join(str(sums[each]) for each in VERDICTS)} |"


def _what_to_stub(probed: Sequence[ImportVerdicts]) -> Iterator[str]:
    """A table of interfaces: the number of functions that need no stub, for both ways of calling."""
    yield from ("", "## Which interfaces are real, and which need stubs", "")
    yield "An interface needs no stubs if all its functions are real both ways.\n"
    yield "| interface | functions | real both ways | real by `call_indirect` | to be stubbed |"
    yield "| --- | ---: | ---: | ---: | --- |"
    found: dict[str, dict[str, ImportVerdicts]] = {}
    for each in probed:
        if not _NUMBERED.search(each.name):
            found.setdefault(each.interface, {}).setdefault(each.name, each)
    for interface, functions in found.items():
        indirect = sum(each.indirect == "real" for each in functions.values())
        both = sum(each.verdict == each.indirect == "real" for each in functions.values())
        stubs = "none" if both == len(functions) else "all" if not indirect else "some"
        yield f"| {_code(interface)} | {len(functions)} | {both} | {indirect} | {stubs} |"


def _artifact(artifact: ArtifactImports) -> Iterator[str]:
    yield from ("", f"## Imports of {_code(artifact.path)}", "", _count(artifact) + ".")
    for line in _notes(artifact):
        yield from ("", _prose(line, 600))
    if not artifact.imports:
        return
    yield from (
        "",
        "| interface | function | signature | in the capsule | calls | in the engines |",
        "| --- " * 4 + "| ---: | --- |",
    )
    for each in (each for _, group in _grouped(artifact.imports) for each in group):
        native = "; ".join(_native_words(given) for given in each.native) or "not measured"
        cells = (
            _code(each.interface),
            _code(each.function),
            _code(each.signature or "()"),
            _prose(_stub(each), 300),
            _calls(each),
            _prose(native, 400),
        )
        yield f"| {' | '.join(cells)} |"


def _native_words(given: EngineResult) -> str:
    call, indirect = given.call.verdict, given.indirect
    return f"{given.how}: {call}" + (f" ({indirect.verdict} by call_indirect)" if indirect and indirect.verdict != call else "")


__all__ = ["as_json", "as_markdown", "observation", "show"]
