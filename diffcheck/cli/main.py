"""The entry point: answers ``--version`` at once, loads a command only when it is called, and words every error."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from diffcheck import __version__

_BROKEN_PIPE = 141  # what a shell makes of SIGPIPE


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"diffcheck {__version__}")  # noqa: T201 - before anything is imported that could print
        raise SystemExit(0)
    raise SystemExit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line ``arguments``; returns the exit code and raises nothing, a bug of our own included."""
    import click  # noqa: PLC0415 - after --version

    from diffcheck.cli.group import cli  # noqa: PLC0415 - as above
    from diffcheck.errors import EXIT_INTERRUPTED, EXIT_USAGE, DiffcheckError  # noqa: PLC0415 - as above

    _never_fail_to_print()
    try:
        code = cli.main(args=arguments, prog_name="diffcheck", standalone_mode=False)
    except DiffcheckError as error:
        return _say(str(error), error.hint, error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "diffcheck"
        return _say(error.format_message().rstrip("."), f"run `{command} --help`", EXIT_USAGE)
    except click.ClickException as error:
        return _say(error.format_message(), "", error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _say("interrupted", "", EXIT_INTERRUPTED)
    except BrokenPipeError:
        code = _BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - Python would exit with 1, which says that something diverged
        code = _defect(error)
    return _flushed(code if isinstance(code, int) else 0)


def _flushed(code: int) -> int:
    """The exit code; a reader that has gone, as ``| head`` does, is no error, and nothing is said to it at the end."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _say(message: str, hint: str, code: int) -> int:
    from diffcheck.text import visible  # noqa: PLC0415 - after --version

    lines = [f"error: {visible(message, 2000)}"] + ([f"hint: {visible(hint, 2000)}"] if hint else [])
    sys.stderr.write("\n".join(lines) + "\n")
    return code


def _defect(error: Exception) -> int:
    """Show where a bug of our own struck."""
    import traceback  # noqa: PLC0415 - after --version

    from diffcheck.errors import EXIT_USAGE  # noqa: PLC0415 - as above
    from diffcheck.text import visible  # noqa: PLC0415 - as above

    trace = "".join(traceback.format_exception(error)).splitlines()
    sys.stderr.write("".join(f"{visible(line, 2000)}\n" for line in trace))
    return _say("this is a defect of diffcheck, not a result", "report it with the lines above", EXIT_USAGE)


def _never_fail_to_print() -> None:
    """Characters that the terminal's encoding lacks are escaped, so that no name ends a run."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
