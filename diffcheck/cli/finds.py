"""``diffcheck finds``: the finds of hunts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import rich_click as click

from diffcheck import process
from diffcheck.cli.command_group import SuggestingGroup
from diffcheck.config import input_files
from diffcheck.errors import ConfigError
from diffcheck.hunt import finds as hunt_finds
from diffcheck.text import visible, visible_lines

_CAP_BYTES: Final = 1 << 20
_folder_option = click.option(
    "--finds", "folder", default="finds", show_default=True, envvar="DIFFCHECK_FINDS", metavar="DIR", help="Folder of the finds."
)


@click.group("finds", cls=SuggestingGroup)
def command() -> None:
    """List and show the finds of hunts, and add them to a corpus."""


@command.command("list")
@_folder_option
def list_(folder: str) -> int:
    """List the finds with their states."""
    finds = hunt_finds.FindsFolder(Path(folder)).finds
    width = max(map(len, finds), default=0)
    for name, each in finds.items():
        link = f"  {each.link}" if each.link else ""
        alone = "  (the oracle stands alone)" if each.alone == "oracle" else ""
        click.echo(visible(f"{each.state:<6} {name:<{width}}  {each.title}{alone}{link}", 400))
    click.echo(f"{len(finds)} finds")
    return 0


@command.command("show")
@click.argument("name")
@_folder_option
def show(name: str, folder: str) -> int:
    """Show a find: its file and its issue. NAME may be abbreviated."""
    found, find = hunt_finds.FindsFolder(Path(folder)).named(name)
    click.echo(visible(f"{find.cause} ({find.state}), first shown by {find.engine} on {find.first}, program {find.seed}", 400))
    issue = Path(folder) / found / "issue.md"
    if issue.is_file():
        click.echo(
            visible_lines(
                input_files.read_regular(str(issue), _CAP_BYTES, "the issue").decode(errors="backslashreplace"), _CAP_BYTES
            )
        )
    return 0


@command.command("promote")
@click.argument("name")
@click.argument("corpus", metavar="DIR")
@_folder_option
def promote(name: str, corpus: str, folder: str) -> int:
    """Copy a find's program into the folder DIR of a corpus, as a case that is expected to diverge under its engine."""
    found, find = hunt_finds.FindsFolder(Path(folder)).named(name)
    program, target = Path(folder) / found / hunt_finds.PROGRAM, Path(corpus) / f"{found}.wasm"
    if target.exists() or not program.is_file():
        reason = f"{visible(str(target))} exists" if target.exists() else f"{visible(str(program))} is missing"
        raise ConfigError(reason, hint="choose another folder, or restore the find")
    process.make_folder(Path(corpus), "choose another folder")
    shutil.copyfile(program, target)
    engine = find.engine.split(" ")[0]
    case = program.with_suffix(".toml").read_text("utf-8")
    process.write_atomically(target.with_suffix(".toml"), [f'{case}\n[expect]\n{engine} = "diverge"\n'.encode()])
    click.echo(f"written {visible(str(target))}, expected to diverge under {visible(engine, 60)}")
    return 0
