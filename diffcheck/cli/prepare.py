"""``diffcheck prepare``: from components and modules to corpus artifacts."""

from __future__ import annotations

import os
from pathlib import Path

import rich_click as click

from diffcheck import process
from diffcheck.cases import case_scaffold, prepare
from diffcheck.text import visible

_EPILOG = (
    "meld and witness are taken from DIFFCHECK_MELD and DIFFCHECK_WITNESS, then from PATH; they see nothing else of the "
    "environment. Exit code 2 at the first source that cannot be prepared, of which nothing is written then."
)


@click.command("prepare", epilog=_EPILOG)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("-o", "--output", default="corpus", show_default=True, metavar="DIR", envvar="DIFFCHECK_OUTPUT",
              help="The folder that artifacts are written to.")  # fmt: skip
@click.option("--replace", is_flag=True,
              help="Replace an artifact of the same name that differs; a case file that is there stays in any case.")  # fmt: skip
def command(sources: tuple[str, ...], *, output: str, replace: bool) -> int:
    """Make corpus artifacts of components and core modules: fused, instrumented, with a case file to start from.

    SOURCE is a component or a core module (.wasm). A component is fused by `meld fuse --preserve-names`; what carries no counters
    is instrumented by `witness instrument`. Their output is shown, and kept beside the artifact.
    """
    found = prepare.tools(os.environ)
    with process.private_folder() as folder:
        maker = prepare.Maker(found, prepare.live(folder))
        for source in sources:
            placed = case_scaffold.place(Path(source), Path(output), maker, replace=replace)
            case_file = "case file" if placed.new_case_file else "its case file was there and stays as it is:"
            click.echo(f"{visible(str(placed.artifact))}: {'; '.join(placed.prepared.steps)}")
            click.echo(f"  {case_file} {visible(str(placed.case_file))}")
    return 0
