"""``diffcheck hunt``: generate programs until a time is up, and turn what diverges into finds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, Final

import rich_click as click

from diffcheck import process
from diffcheck.backend import contract
from diffcheck.cli.option_types import SEED, Time
from diffcheck.cli.options import PROGRAMS, options, request
from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE, EXIT_INTERRUPTED
from diffcheck.hunt import finds as hunt_finds
from diffcheck.hunt import hunt
from diffcheck.report import json_file, terminal_text
from diffcheck.runner import engines
from diffcheck.text import visible

_EPILOG = (
    "Exit codes: 0 no new find, or the oracle stands alone in each; 1 new finds; 2 usage, configuration or missing engine; "
    "130 interrupted (resume by --resume)."
)
_FOLDER: Final = "hunt"
_HOUR_S: Final = 3600.0


@click.command("hunt", epilog=_EPILOG)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--time", "time_s", type=Time(), default=_HOUR_S, show_default="1h", envvar="DIFFCHECK_TIME", metavar="TIME",
              help="How long to hunt, as in 90 (seconds), 10m or 8h.")  # fmt: skip
@click.option("--seed", type=SEED, metavar="N", default=1, show_default=True, envvar="DIFFCHECK_SEED", help="Seed of the programs.")
@click.option("--sources", default="all", show_default=True, envvar="DIFFCHECK_SOURCES", metavar="NAMES",
              help="all, or some of sweep, generate and mutate, separated by commas.")  # fmt: skip
@click.option("--finds", "finds_folder", default="finds", show_default=True, envvar="DIFFCHECK_FINDS", metavar="DIR",
              help="Folder of the finds, one subfolder for each cause.")  # fmt: skip
@options(
    "subject", "oracle", PROGRAMS, "judge", "jobs", "executor", "deadline", "memory-limit", "confirm", "resume", "reports", "quiet"
)
def command(
    paths: tuple[str, ...], time_s: float, seed: int, sources: str, finds_folder: str, reports: str, *, resume: bool,
    **given: Any,  # noqa: ANN401 - the options of the table
) -> int:  # fmt: skip
    """Hunt for divergences with generated programs; each new cause becomes a find, reduced and ready to file.

    Mutants are made of the finds and of each PATH, an artifact, a script or a folder of them.
    A hunt begins by running all finds again and reports which are fixed. The same seed and engines give the same programs.
    """
    folder = Path(reports) / _FOLDER
    json_file.prepare(folder)
    chosen = engines.choose(request(paths, given))
    console = terminal_text.console(stderr=True)

    def say(line: str) -> None:
        if not given["quiet"]:
            console.print(terminal_text.safe(line, terminal_text.QUIET), soft_wrap=True)

    identity = chosen.subject_identity
    engine = f"{identity.name} {identity.version}".strip()
    finds = hunt_finds.FindsFolder(Path(finds_folder))
    with process.locked(folder), process.interruptible() as stopped:
        state = hunt.resumed(folder, engine) if resume else hunt.HuntState(seed, engine, tuple(finds.finds))
        if resume:
            say(f"resumed   {state.line}")
        with contract.local_host() as host, closing(engines.preferred_oracle(chosen.request.options)) as oracle:
            hunting = hunt.Hunt(chosen.request, state, finds, folder, time_s, say, stopped)
            hunting.run(_chosen(sources), oracle, host)
    _summarise(hunting, finds, Path(finds_folder))
    of_subject = [name for name in hunting.new if finds.finds[name].alone != "oracle"]
    return EXIT_INTERRUPTED if hunting.interrupted else EXIT_DIVERGE if of_subject else EXIT_AGREE


def _chosen(sources: str) -> tuple[str, ...]:
    names = hunt.SOURCES if sources == "all" else tuple(sources.split(","))
    if unknown := [each for each in names if each not in hunt.SOURCES]:
        raise click.BadParameter(f"{visible(unknown[0], 40)} is not a source; the sources are {', '.join(hunt.SOURCES)}")
    return names


def _summarise(hunting: hunt.Hunt, finds: hunt_finds.FindsFolder, folder: Path) -> None:
    state, new = hunting.state, hunting.new
    for name in new:
        alone = ", the oracle stands alone" if finds.finds[name].alone == "oracle" else ""
        click.echo(f"new       {visible(finds.finds[name].title, 200)} ({visible(name, 100)}{alone})")
    own = f"; own cost {max(0.0, state.total_s - state.engine_s) / state.engine_s:.0%} of the engines'" if state.engine_s else ""
    click.echo(f"{state.line}{own}")
    where = f"{visible(str(folder))}: " if finds.finds else ""
    click.echo(f"finds     {where}{len(new)} new, {len(finds.finds)} in all")
    if hunting.interrupted:
        click.echo("stopped   interrupted; the same command with --resume continues")
