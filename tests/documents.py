"""The commands of the documents: fenced blocks of shell, and sessions with prompts."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "corpus" / "README.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "tests" / "campaigns" / "README.md",
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LANGUAGES = {"sh", "console", "toml", "python", "pycon", "text"}


@dataclass(frozen=True)
class Block:
    """The commands of a fenced block; ``fails`` has the numbers of those that are shown to fail."""

    page: str
    line: int
    commands: tuple[str, ...]
    fails: frozenset[int] = frozenset()

    def __str__(self):
        return f"{self.page}:{self.line}"


def fences():
    """(page, line, language, text) of each fenced block."""
    for page in PAGES:
        text = page.read_text()
        for match in FENCE.finditer(text):
            yield str(page.relative_to(ROOT)), text.count("\n", 0, match.start()) + 1, match[1], match[2]


def blocks():
    """All blocks with commands, in order; a script is one command."""
    for page, line, language, text in fences():
        if language == "sh":
            yield Block(page, line, (text,) if text.startswith("set -") else tuple(_complete(text.splitlines())))
        elif language == "console":
            yield _session(page, line, text)


def _session(page, line, text):
    """A session: a line with a prompt is a command, and lines without one are its output."""
    commands, fails = [], set()
    for each in text.splitlines():
        if each.startswith("$ "):
            commands.append(each.removeprefix("$ "))
        elif each.lower().startswith("error"):
            fails.add(len(commands) - 1)
    return Block(page, line, tuple(commands), frozenset(fails))


def _complete(lines):
    """Complete commands: lines are joined until the shell can parse them."""
    command = ""
    for line in lines:
        command += f"{line}\n"
        if (
            not command.endswith("\\\n")
            and subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False).returncode == 0
        ):
            if not command.startswith("#") and command.strip():
                yield command.strip()
            command = ""
    assert not command.strip(), f"the shell cannot parse {command!r}"
