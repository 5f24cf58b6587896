"""``diffcheck schema``: the JSON Schemas of what diffcheck writes."""

from __future__ import annotations

import json

import rich_click as click

from diffcheck.report import json_file


@click.command("schema")
@click.argument("what", type=click.Choice(("report",)))
def command(what: str) -> int:  # noqa: ARG001 - one schema so far
    """Print the JSON Schema (2020-12) of a file that diffcheck writes."""
    click.echo(json.dumps(json_file.schema(), indent=2))
    return 0
