"""docs/commands.md is what --help says; DIFFCHECK_RENEW=1 writes it anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

from click.testing import CliRunner

from diffcheck.cli.command_group import COMMANDS, cli

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
WIDTH = "100"


def help_of(*words: str) -> str:
    result = CliRunner(env={"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH, "NO_COLOR": "1"}).invoke(
        cli, [*words, "--help"], prog_name="diffcheck"
    )
    assert result.exit_code == 0, result.output
    lines = (line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", result.output).splitlines())
    return "\n".join(lines).strip()


def page() -> str:
    parts = ["# Commands", "", "Every option can also be given by the environment variable that stands with it.", ""]
    parts += ["```", help_of(), "```", ""]
    for name in COMMANDS:
        parts += [f"## diffcheck {name}", "", "```", help_of(name), "```", ""]
    return "\n".join(parts)


def test_the_page_of_commands_is_what_help_says():
    if os.environ.get("DIFFCHECK_RENEW"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "run the tests once with DIFFCHECK_RENEW=1"
