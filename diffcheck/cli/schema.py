"""``diffcheck schema``: the JSON Schemas of what diffcheck writes."""

from __future__ import annotations

import json

import rich_click as click

from diffcheck.report import json_file, model


@click.command("schema")
@click.argument("name", required=False, type=click.Choice(("report",)))
def command(name: str | None) -> int:
    """Print the JSON Schema (2020-12) of a file that diffcheck writes; without NAME, list the schemas."""
    if name is None:
        click.echo(f"report  {model.SCHEMA}: {json_file.FILE_NAME} of a run")
    else:
        click.echo(json.dumps(json_file.schema(), indent=2, ensure_ascii=False))
    return 0
