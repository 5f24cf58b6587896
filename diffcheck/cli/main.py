"""The entry point: answers ``--version`` at once, loads a command only when it is called, and words every error."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final, NoReturn

from diffcheck.cli import standard_streams
from diffcheck.cli.standard_streams import OutputError
from diffcheck.config.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click import UsageError

_BROKEN_PIPE: Final = 141  # what a shell makes of SIGPIPE


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    standard_streams.prepare()
    if sys.argv[1:] in (["--version"], ["-V"]):
        raise SystemExit(_flushed(_version()))
    raise SystemExit(run(sys.argv[1:]))


def _version() -> int:
    print(f"diffcheck {__version__}")  # noqa: T201 - before anything is imported that could print
    return 0


def run(arguments: list[str]) -> int:
    """Run the command line ``arguments``; returns the exit code and raises nothing, a bug of our own included."""
    from diffcheck.errors import EXIT_INTERRUPTED  # noqa: PLC0415 - after --version

    with _interrupts() as received:
        try:
            return _command(arguments)
        except KeyboardInterrupt:
            pass
        except Exception as error:  # noqa: BLE001 - Python would exit with 1, which says that something diverged
            # Python discards a KeyboardInterrupt in the execution of a deferred module, which is incomplete from then on.
            if not received:
                return _defect(error)
        sys.stderr.write("error: interrupted\n")  # by itself: any module may be incomplete
        return _flushed(EXIT_INTERRUPTED)


def _command(arguments: list[str]) -> int:
    import click  # noqa: PLC0415 - after --version

    from diffcheck.cli.command_group import cli  # noqa: PLC0415 - as above
    from diffcheck.errors import EXIT_USAGE, DiffcheckError  # noqa: PLC0415 - as above

    try:
        code = cli.main(args=arguments, prog_name="diffcheck", standalone_mode=False)
    except DiffcheckError as error:
        code = _say(str(error), error.hint, error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = EXIT_USAGE
    except click.NoSuchOption as error:
        near = f" Did you mean {error.possibilities[0]!r}?" if error.possibilities else ""
        command = error.ctx.command_path if error.ctx else "diffcheck"
        code = _say(f"{error.message}{near}", f"run `{command} --help`", EXIT_USAGE)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "diffcheck"
        code = _say(f"{error.format_message().rstrip('.')}{_variable(error)}", f"run `{command} --help`", EXIT_USAGE)
    except click.ClickException as error:
        code = _say(error.format_message(), "", error.exit_code)
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except OutputError as error:
        code = _no_output(error)
    except OSError as error:
        code = _system(error)
    return _flushed(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """SIGTERM, as CI sends it, ends a command as Ctrl-C does. Yields a list of the signals that raised KeyboardInterrupt.

    Outside the main thread no signal is handled, and an ignored one stays ignored.
    """
    received: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in handled:
        signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)


def _variable(error: UsageError) -> str:
    """The environment variable that a bad value comes from; empty for the command line."""
    param = getattr(error, "param", None)
    if param is None or error.ctx is None or not param.name or not param.envvar:
        return ""
    source = error.ctx.get_parameter_source(param.name)
    return f" (from {param.envvar})" if source is not None and source.name == "ENVIRONMENT" else ""


def _flushed(code: int) -> int:
    """The exit code, once all that was printed is written."""
    try:
        sys.stdout.flush()
    except OutputError as error:
        return _no_output(error)
    return code


def _no_output(error: OutputError) -> int:
    """The exit code where standard output failed: a reader that has gone, as ``| head`` does, is no error of ours."""
    from diffcheck.errors import EXIT_USAGE  # noqa: PLC0415 - after --version

    standard_streams.abandon_output()
    if error.reason.errno == errno.EPIPE:
        return _BROKEN_PIPE
    return _say(f"standard output cannot be written: {error.reason.strerror}", "free some space, or write elsewhere", EXIT_USAGE)


def _system(error: OSError) -> int:
    """An error of the machine with what to do; anything else that the system refuses is a defect."""
    from diffcheck.errors import EXIT_USAGE, MACHINE_ERRORS  # noqa: PLC0415 - after --version

    try:
        os.getcwd()  # noqa: PTH109 - only whether there is one
    except OSError:
        return _say("the working folder no longer exists", "change to another folder", EXIT_USAGE)
    if error.errno not in MACHINE_ERRORS:
        return _defect(error)
    where = f" ({error.filename})" if error.filename else ""
    return _say(f"the system reports: {error.strerror}{where}", MACHINE_ERRORS[error.errno], EXIT_USAGE)


def _say(message: str, hint: str, code: int) -> int:
    from diffcheck.text import visible, visible_lines  # noqa: PLC0415 - after --version

    lines = [f"error: {visible_lines(message, 2000)}"] + ([f"hint: {visible(hint, 2000)}"] if hint else [])
    sys.stderr.write("\n".join(lines) + "\n")
    return code


def _defect(error: Exception) -> int:
    """Report an error of an adapter, or show the traceback of a bug of our own."""
    import traceback  # noqa: PLC0415 - after --version

    from diffcheck.backend.adapter_errors import of_adapter  # noqa: PLC0415 - as above
    from diffcheck.errors import EXIT_USAGE  # noqa: PLC0415 - as above
    from diffcheck.text import visible  # noqa: PLC0415 - as above

    if (adapter := of_adapter(error)) is not None:
        return _say(str(adapter), adapter.hint, adapter.exit_code)
    trace = "".join(traceback.format_exception(error)).splitlines()
    sys.stderr.write("".join(f"{visible(line, 2000)}\n" for line in trace))
    return _say("this is a defect of diffcheck, not a result", "report it with the lines above", EXIT_USAGE)
