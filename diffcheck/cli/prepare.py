"""``diffcheck prepare``: from components and modules to corpus artifacts."""

from __future__ import annotations

import os
from pathlib import Path

import rich_click as click

from diffcheck import process
from diffcheck.cases import case_scaffold, prepare
from diffcheck.text import visible

_EPILOG = (
    "meld and witness are found by DIFFCHECK_MELD and DIFFCHECK_WITNESS, then on PATH, and run without the rest of the "
    "environment. Exit code 2 at the first source that cannot be prepared; nothing is written for it."
)


@click.command("prepare", epilog=_EPILOG)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("-o", "--output", default="corpus", show_default=True, metavar="DIR", envvar="DIFFCHECK_OUTPUT",
              help="Folder for the artifacts.")  # fmt: skip
@click.option("--replace", is_flag=True,
              help="Replace a different artifact of the same name; case files are never replaced.")  # fmt: skip
def command(sources: tuple[str, ...], *, output: str, replace: bool) -> int:
    """Make corpus artifacts from components and core modules: fused, instrumented, with an initial case file.

    SOURCE is a component or a core module (.wasm). A component is fused by `meld fuse --preserve-names`; a module without counters
    is instrumented by `witness instrument`. Their output is shown and stored beside the artifact.
    """
    found = prepare.tools(os.environ)
    with process.private_folder() as folder:
        maker = prepare.Maker(found, prepare.live(folder))
        for source in sources:
            placed = case_scaffold.place(Path(source), Path(output), maker, replace=replace)
            case_file = "case file" if placed.new_case_file else "existing case file, unchanged:"
            click.echo(f"{visible(str(placed.artifact))}: {'; '.join(placed.prepared.steps)}")
            click.echo(f"  {case_file} {visible(str(placed.case_file))}")
    return 0
