"""``diffcheck compare``: two stored runs compared."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from diffcheck.nightly import run_diff
from diffcheck.report import json_file, styles, trends


@click.command("compare", epilog="Exit codes: 0 both runs say the same; 1 they differ; 2 a report cannot be read.")
@click.argument("one", metavar="A.json")
@click.argument("other", metavar="B.json")
def command(one: str, other: str) -> int:
    """Compare two runs: which clusters and cases appeared, are gone, changed, or are the same.

    A.json and B.json are stored reports, the earlier first; for finding the version of the subject that brought a bug.
    """
    before, after = (json_file.read(Path(each)) for each in (one, other))
    told = run_diff.between(before, after)
    trends.between(told, before, after, styles.console())
    return 0 if told.same else 1
