"""``diffcheck merge``: one report from the shards of a run."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from diffcheck import process
from diffcheck.cli import publish, run_history
from diffcheck.cli.options import options
from diffcheck.nightly import merge_shards
from diffcheck.report import console, files, json_file, model, terminal_text

if TYPE_CHECKING:
    from diffcheck.verdict import Report


@click.command("merge")
@click.argument("paths", nargs=-1, required=True, metavar="FILE.json...")
@click.option("-o", "--output", metavar="FILE", help="Write the report to this file only, not to --reports.")
@options("reports", "baseline", "strict", "html", "junit-xml", "sarif", "markdown", shorts={"reports": ""})
def command(
    paths: tuple[str, ...], output: str | None, reports: str, baseline: str | None, *, strict: bool, **given: str | None
) -> int:
    """Merge the reports of all shards of a run into one.

    FILE.json is the report.json of a shard (`diffcheck run --shard I/N`), or its folder. The baseline is applied to all cases; the
    exit code is that of a run.
    """
    named = files.wanted(given, Path(output) if output else Path(reports) / json_file.FILE_NAME)
    report = run_history.Known(baseline, strict=strict).apply(
        merge_shards.merge({path: _read(path) for path in dict.fromkeys(paths)})
    )
    if output is None:
        json_file.prepare(Path(reports))
        with process.locked(Path(reports)):
            publish.publish(report, Path(reports), named)
        return model.exit_code(report)
    process.write_atomically(output, json_file.pieces(report))
    files.write_all(report, named.items(), run_history.lives(report, Path(reports)))
    with contextlib.suppress(BrokenPipeError):
        console.render(report, terminal_text.console(), stored=output)
    return model.exit_code(report)


def _read(path: str) -> Report:
    return json_file.read(Path(path) / json_file.FILE_NAME if Path(path).is_dir() else Path(path))
