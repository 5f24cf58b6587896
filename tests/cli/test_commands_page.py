"""docs/commands.md equals --help; DIFFCHECK_RENEW=1 writes it anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
from click.testing import CliRunner

from diffcheck.cli.command_group import COMMANDS, cli

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
WIDTH = "100"
INTRODUCTION = """Options can also be set in `diffcheck.toml` (see `diffcheck config`) and by environment variables, listed at the end.

**Names.** `show`, `explain`, `localise`, `triage`, `reduce`, `reproduce`, `bisect` and `export-wast` accept an artifact's path, a case of
the last report, its signature, or a part of these that no other case has. `diffcheck show` without a name lists what diverged.

**Selecting cases.** `run -k EXPR` takes a name, a part of a name or a glob, combined by `and`, `or`, `not` and parentheses:
`-k 'leap and not (slow or *-old)'`. `--last-failed` runs the cases that failed in the last report, `-x` stops at the first failure.

**Selecting rows.** `--rows 'f=1,2'` calls a row in place of those of the case file, which need not exist. `table[5]=1` calls the function
in slot 5 of table 0. `init:malloc=64` is an init row: it is called first in each instance. `--auto-rows` adds rows that are tried under
the oracle and chosen by the functions that they enter; `diffcheck plan --auto-rows` lists them with the reasons. `--rows auto` of version
0.1 still works.

**Completion** of commands, options, paths, cases of the last report and engines:

```sh
eval "$(_DIFFCHECK_COMPLETE=bash_source diffcheck)"     # in ~/.bashrc; zsh_source in ~/.zshrc
```

For fish: `_DIFFCHECK_COMPLETE=fish_source diffcheck > ~/.config/fish/completions/diffcheck.fish`."""

OTHER_VARIABLES = (
    "| `DIFFCHECK_MELD`, `DIFFCHECK_WITNESS`, `DIFFCHECK_WASM_OPT` | paths of these tools; otherwise they are found on `PATH` |",
    "| `XDG_CACHE_HOME` | the folder of the cache's default folder; otherwise `~/.cache` |",
    "| `NO_COLOR` | output without colours |",
)


def help_of(*words: str) -> str:
    result = CliRunner(env={"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH, "NO_COLOR": "1"}).invoke(
        cli, [*words, "--help"], prog_name="diffcheck"
    )
    assert result.exit_code == 0, result.output
    lines = (line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", result.output).splitlines())
    return "\n".join(lines).strip()


def page() -> str:
    parts = ["# Commands", "", INTRODUCTION, ""]
    parts += ["```", help_of(), "```", ""]
    for name in COMMANDS:
        parts += [f"## diffcheck {name}", "", "```", help_of(name), "```", ""]
    return "\n".join([*parts, *environment(), ""])


def environment() -> list[str]:
    """The table of options and their environment variables."""
    found: dict[str, str] = {}
    for command in (cli, *(cli.get_command(click.Context(cli), name) for name in COMMANDS)):
        subcommands = {} if command is cli else getattr(command, "commands", {})
        for each in (command, *subcommands.values()):
            found |= {one.envvar: max(one.opts, key=len) for one in each.params if one.envvar}
    lines = [f"| `{flag}` | `{variable}` |" for variable, flag in sorted(found.items())]
    other = ["Variables without an option:", "", "| variable | meaning |", "| --- | --- |", *OTHER_VARIABLES]
    return ["## Environment variables", "", "| option | variable |", "| --- | --- |", *lines, "", *other]


def test_the_page_of_commands_is_what_help_says():
    if os.environ.get("DIFFCHECK_RENEW"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "run the tests once with DIFFCHECK_RENEW=1"
