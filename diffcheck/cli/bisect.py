"""``diffcheck bisect``: the first build of an engine with a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import rich_click as click

from diffcheck import process
from diffcheck.backend import registry
from diffcheck.cli.options import PROGRAMS, options
from diffcheck.cli.triage_session import named, row_option, target_argument
from diffcheck.errors import EXIT_AGREE, EXIT_INCONCLUSIVE, ConfigError
from diffcheck.text import file_name, plural, visible
from diffcheck.triage.bisect import bisection, builds

_EPILOG: Final = (
    "Exit codes: 0 the build was found; 2 usage, configuration, or the bad build does not diverge; 3 no answer, with the reason; "
    "130 interrupted."
)


@click.command("bisect", epilog=_EPILOG)
@target_argument
@row_option
@click.option("--engines", default=None, metavar="DIR", envvar="DIFFCHECK_ENGINES",
              help="Folder of builds, ordered by name or by the file builds.txt in it.")  # fmt: skip
@click.option("--command", "build_command", default=None, metavar="COMMAND", envvar="DIFFCHECK_COMMAND",
              help="Builds the git revision {rev} and prints the program's path.")  # fmt: skip
@click.option("--good", default="", metavar="BUILD", envvar="DIFFCHECK_GOOD", show_default="the first of the folder",
              help="A build without the fault.")  # fmt: skip
@click.option("--bad", default="", metavar="BUILD", envvar="DIFFCHECK_BAD", show_default="the last of the folder",
              help="A build with the fault.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Write the answer as JSON.")
@options("subject", "oracle", PROGRAMS, "deadline", "memory-limit", "rows", "auto-rows", "stub-imports", "slice", "max-passes",
         "confirm", "reports")  # fmt: skip
def command(
    target: str,
    row: str,
    engines: str | None,
    build_command: str | None,
    good: str,
    bad: str,
    *,
    as_json: bool,
    subject: str,
    **given: Any,  # noqa: ANN401 - the options of the table
) -> int:
    """Find the first build with a fault. A build is bad only if it shows the same cause, not if the case merely fails.

    Builds are the files of a folder, or revisions of the git repository in this folder. --subject may be a spec with {} for the
    program, such as 'harness:{} --jit'. Rerun to resume.
    """
    if (engines is None) == (build_command is None):
        raise ConfigError("give either --engines or --command", hint="see `diffcheck bisect --help`")
    spec = f"{registry.programs()[0].name}:{bisection.PLACE}" if subject == registry.AUTO else subject
    if bisection.PLACE not in spec:
        raise ConfigError(
            f"--subject {visible(spec)} does not contain {bisection.PLACE}",
            hint=f"write {bisection.PLACE} where the program's path goes",
        )
    found, wanted = named(target, {**given, "no_cache": True, "jobs": 1})
    folder = Path(given["reports"]) / "bisect"
    process.make_folder(folder, "use another folder for --reports")
    state = folder / f"{file_name(found.case.id)}.json"
    with process.Reactor() as reactor:
        if engines is not None:
            chosen = builds.of_folder(Path(engines), good, bad)
        else:
            chosen = builds.of_command(build_command or "", good, bad, reactor)
        bisector = bisection.Bisector(
            chosen, wanted, spec, state, bisection.about(found, row, spec, wanted), found.case.id,
            lambda line: click.echo(visible(line, 600), err=True),
        )  # fmt: skip
        done = bisector.run("" if row else found.signature, row)
    click.echo(msgspec.json.encode(done).decode() if as_json else "\n".join(_lines(done)))
    return EXIT_AGREE if done.found is not None and not done.found.why else EXIT_INCONCLUSIVE


def _lines(done: bisection.Bisection) -> list[str]:
    assert done.found is not None, "it was run to its end"  # noqa: S101
    answer = done.found
    lines = [f"fault      {visible(str(done.fault), 600)}"]
    if answer.why:
        lines.append(f"no answer  {visible(answer.why, 600)}")
    else:
        lines += [f"last good  {visible(answer.last_good)}", f"first bad  {visible(answer.first_bad)}"]
    reasons = {each.trial.build: each.trial for each in done.trials}
    lines += [
        f"between    {visible(name)}: {reasons[name].answer}, {visible(reasons[name].why, 300)}"
        for name in answer.between
        if name in reasons
    ]
    left = [name for name in answer.between if name not in reasons]
    if left:
        lines.append(f"between    {plural(len(left), 'build')} not run: many were unclear or unusable; rerun to try more of them")
    lines.append(f"runs       {done.runs} of {plural(len(done.builds), 'build')}")
    return lines
