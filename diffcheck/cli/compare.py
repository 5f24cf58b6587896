"""``diffcheck compare``: two stored runs told apart."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from diffcheck import between
from diffcheck.report import json_, over_time, words


@click.command("compare", epilog="Exit codes: 0 both runs say the same; 1 they differ; 2 a report cannot be read.")
@click.argument("one", metavar="A.json")
@click.argument("other", metavar="B.json")
def command(one: str, other: str) -> int:
    """Tell two runs apart: which clusters and cases appeared, are gone, changed, or are the same.

    A.json and B.json are stored reports, the earlier first; for finding the version of the subject that brought a bug.
    """
    before, after = (json_.read(Path(each)) for each in (one, other))
    told = between.between(before, after)
    over_time.between(told, before, after, words.console())
    return 0 if told.same else 1
