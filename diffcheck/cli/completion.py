"""Shell completion of option values and arguments: engines, cases of the last report, files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from diffcheck.backend import registry
from diffcheck.config import config_file
from diffcheck.errors import DiffcheckError
from diffcheck.report import json_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import rich_click as click

    from diffcheck.config.option_table import Option
    from diffcheck.verdict import CaseReport

    Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_DEFAULT_REPORTS = "reports"


def of(entry: Option) -> Completer | None:
    """The completion of an option's values; None for click's own."""
    if entry.name in ("subject", "oracle", "judge"):
        return engines
    if entry.name == "only":
        return cases
    return paths if entry.kind == "path" else None


def paths(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files and folders, completed by the shell."""
    return [CompletionItem(incomplete, type="file")]


def engines(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Installed backends, and those of the configuration file."""
    try:
        own = config_file.find(Path.cwd(), registry.options()).backends
    except (DiffcheckError, OSError):
        own = {}
    return _beginning((registry.AUTO, *registry.names(), *own), incomplete)


def cases(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The cases of the last report."""
    return _beginning((case.case for case in _last_cases(ctx)), incomplete)


def targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The cases and signatures of the last report, else last parts of cases' names that no other has; files if none matches."""
    reported = _last_cases(ctx)
    signatures = dict.fromkeys(one for case in reported for each in case.passes for one in each.signatures)
    short = Counter(case.case.rpartition("/")[2] for case in reported)
    return (
        _beginning((*(case.case for case in reported), *signatures), incomplete)
        or _beginning((name for name, count in short.items() if count == 1), incomplete)
        or paths(ctx, param, incomplete)
    )


def _beginning(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete) and name.isprintable()]


def _last_cases(ctx: click.Context) -> tuple[CaseReport, ...]:
    folder = ctx.params.get("reports") or _DEFAULT_REPORTS
    try:
        return json_file.read(Path(folder) / json_file.FILE_NAME).cases
    except DiffcheckError:
        return ()
