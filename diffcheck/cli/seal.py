"""``diffcheck seal``: an artifact without imports, for witness, wasmtime or anyone to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from diffcheck.backend import contract
from diffcheck.cli.options import options
from diffcheck.runner.observe import seal_file

_EPILOG = (
    "The sealed file has the artifact's exports, start section and code, unchanged. Arguments, environment and stdin are those of "
    "the case file beside the artifact. A program that exits stores its exit code and traps."
)


@click.command("seal", epilog=_EPILOG)
@click.argument("artifact", metavar="ARTIFACT")
@click.option("-o", "--output", required=True, metavar="FILE", help="Output file; the manifest is written beside it.")
@options("stub-imports", "deadline", "memory-limit")
def command(artifact: str, output: str, stub_imports: Any, **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Replace an artifact's imports by built-in stubs; its exports are kept.

    The result is self-contained: `witness run FILE --invoke ...` runs it, wasi 0.2 included.
    """
    limits = contract.RunLimits(deadline_s=given["deadline"], memory_bytes=given["memory_limit"])
    for line in seal_file.seal(Path(artifact), Path(output), stub_imports, limits):
        click.echo(line)
    return 0
