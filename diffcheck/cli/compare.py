"""``diffcheck compare``: the differences of two stored runs."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from diffcheck.nightly import run_diff
from diffcheck.report import history_tables, json_file, terminal_text


@click.command("compare", epilog="Exit codes: 0 both runs are the same; 1 they differ; 2 a report cannot be read.")
@click.argument("one", metavar="A.json")
@click.argument("other", metavar="B.json")
def command(one: str, other: str) -> int:
    """Compare two runs: clusters and cases that appeared, disappeared or changed.

    A.json and B.json are stored reports, the earlier first. Use it to find the version of the subject that introduced a bug.
    """
    before, after = (json_file.read(Path(each)) for each in (one, other))
    diff = run_diff.diff(before, after)
    history_tables.between(diff, before, after, terminal_text.console())
    return 0 if diff.same else 1
