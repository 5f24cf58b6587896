"""``diffcheck cache``: the execution cache."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from diffcheck.cli.command_group import SuggestingGroup
from diffcheck.cli.options import cache_folder, options
from diffcheck.errors import ConfigError
from diffcheck.report import command_tables, terminal_text
from diffcheck.runner.persist import cache_files
from diffcheck.text import plural, visible


@click.group("cache", cls=SuggestingGroup)
def command() -> None:
    """Show or clear the execution cache.

    Executions are reused while artifact, rows, limits and engine binary are the same; of a script, its text and the programs that
    it names by full path. Executions that timed out, ran out of memory or were flaky are not cached.
    """


@command.command("info")
@options("cache", "cache-limit")
def info(cache: str | None, cache_limit: int) -> int:
    """Show the cache's folder, its size and its engines."""
    folder = _folder(cache)
    command_tables.cache(str(folder), cache_files.Store(folder).kept(), cache_limit, terminal_text.console())
    return 0


@command.command("clear")
@options("cache")
def clear(cache: str | None) -> int:
    """Remove all cached executions; a run in progress continues."""
    folder = _folder(cache)
    removed = cache_files.Store(folder).clear()
    click.echo(f"{plural(removed, 'entry', 'entries')} removed from {visible(str(folder))}")
    return 0


def _folder(given: str | None) -> Path:
    folder = cache_folder(given)
    if not folder:
        raise ConfigError("there is no folder for the cache: neither XDG_CACHE_HOME nor HOME is set", hint="use --cache DIR")
    return Path(folder)
