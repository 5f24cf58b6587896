"""``diffcheck matrix``: all engines on all cases."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import rich_click as click

from diffcheck import process
from diffcheck.backend import registry
from diffcheck.cli import completion, config_defaults, run
from diffcheck.cli.options import PROGRAMS, options, programs
from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE, EXIT_INTERRUPTED, EXIT_USAGE, ConfigError, EngineMissingError
from diffcheck.report import html_page, json_file, terminal_text
from diffcheck.report.matrices import matrix as matrices
from diffcheck.report.matrices import matrix_console
from diffcheck.text import file_name, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER: Final = "matrix"
_EPILOG: Final = (
    "Exit codes: 0 no engine diverges; 1 an engine diverges; 2 usage, configuration, missing engine or unusable file; "
    "130 interrupted."
)


@click.command("matrix", epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", shell_complete=completion.paths)
@click.option(
    "--engine", "names", multiple=True, metavar="NAME", envvar="DIFFCHECK_ENGINE", show_default="all that are found",
    help="Engine of a column: a backend, harness:COMMAND or wasi:COMMAND; repeatable.",
)  # fmt: skip
@options(
    "oracle", PROGRAMS, "only", "jobs", "deadline", "memory-limit", "max-passes", "confirm", "cache", "no-cache", "cache-limit",
    "reports", "causes",
)  # fmt: skip
@click.pass_context
def command(
    context: click.RichContext,
    /,
    paths: tuple[str, ...],
    names: tuple[str, ...],
    reports: str,
    oracle: str,
    **given: Any,  # noqa: ANN401 - the options of the table
) -> int:
    """Run all engines on all cases: conformance by family, speed and memory, divergences by cause.

    Writes DIR/matrix/: matrix.html, matrix.json, and a report for each engine. The oracle runs once for all of them.
    """
    oracle = registry.preferred("oracle") if oracle == registry.AUTO else oracle
    columns = {name: config_defaults.engine("engine", name) for name in names} or _found(oracle, programs(given))
    if not columns:
        raise ConfigError("no engine was found besides the oracle", hint="name some with --engine")
    folder = Path(reports) / _FOLDER
    done: list[matrices.EngineReport] = []
    codes = set()
    with _cache(given):
        for name, spec in columns.items():
            label = _label(name, [each.name for each in done])
            click.echo(f"{visible(label)}: {visible(spec)}", err=True)
            own = folder / file_name(label)
            code = context.invoke(run.command, paths=paths, subject=spec, oracle=oracle, reports=str(own), quiet=True, **given)
            if code == EXIT_INTERRUPTED:
                click.echo("stopped   interrupted; no matrix was written")
                return EXIT_INTERRUPTED
            codes.add(code)
            done.append(matrices.EngineReport(label, registry.engine(spec), json_file.read(own / json_file.FILE_NAME)))
    found = matrices.matrix(done, registry.engine(oracle))
    process.write_atomically(folder / "matrix.json", [msgspec.json.format(msgspec.json.encode(found), indent=2), b"\n"])
    process.write_atomically(folder / "matrix.html", [html_page.matrix(found)])
    matrix_console.render(found, terminal_text.console())
    click.echo(f"page: {visible(str(folder / 'matrix.html'))}")
    if any(each.totals["diverge"] for each in found.engines):
        return EXIT_DIVERGE
    return EXIT_USAGE if EXIT_USAGE in codes else EXIT_AGREE


def _found(oracle: str, paths: dict[str, str]) -> dict[str, str]:
    """The installed engines that can be created, without the oracle, and those of the configuration file."""
    found = {}
    for name in registry.names():
        with contextlib.suppress(EngineMissingError, ConfigError):
            registry.create(name, paths)
            found[name] = name
    found.update(config_defaults.in_force().backends)
    return {name: spec for name, spec in found.items() if spec != oracle}


def _label(name: str, taken: list[str]) -> str:
    """A short name for a column: that of the backend, or of the engine that a command runs, with a number if it is taken."""
    short = registry.engine(name) if ":" in name else name
    return short if short not in taken else f"{short} {1 + sum(each.startswith(short) for each in taken)}"


@contextlib.contextmanager
def _cache(given: dict[str, Any]) -> Iterator[None]:
    """Without a cache, one for this matrix only, so that the oracle runs once for all engines."""
    if not given["no_cache"]:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        given.update(no_cache=False, cache=folder)
        yield
