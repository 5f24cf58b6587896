"""Start a child in its own session, with resource limits and a minimal environment, so that it dies with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import io
import os
import resource
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from diffcheck.errors import DiffcheckError
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LINUX = sys.platform.startswith("linux")

_MALLOC = "GLIBC_TUNABLES"
_PATH = "/usr/local/bin:/usr/bin:/bin"
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_EXIT_PARENT_GONE = 127
_MAX_DESCRIPTOR = 1 << 30
_EXIT_BROKEN = 1

# A Python built with a shared library (as on hosted CI runners) does not start without these.
_PYTHON_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")

# Loaded at import: between fork and exec, the dynamic loader's lock may belong to a thread that no longer exists.
_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None

has_keeper = False
"""Whether this process has a keeper, which ends all its descendants; see ``keeper``."""


class SpawnError(DiffcheckError):
    """A child could not be started: the system's reason, and a hint."""


class ChildPipes(msgspec.Struct, frozen=True):
    """A running child: its pid, and the parent's non-blocking ends of its pipes. ``stdin`` is None if it is /dev/null."""

    pid: int
    stdin: int | None
    stdout: int
    stderr: int


def _prctl(option: int, value: int) -> bool:
    return _libc is not None and _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0


def become_subreaper() -> bool:
    """Re-parent orphaned descendants to this process, so that it can find and kill them; False where unsupported."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent_pid: int | None = None, *, by: signal.Signals = signal.SIGKILL) -> None:
    """End this process with the signal ``by`` when the thread that started it ends; exit at once if ``parent_pid`` is gone.

    Outside Linux only the check is made. Main loops there end when their stdin ends.
    """
    _prctl(_PR_SET_PDEATHSIG, by)
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(_EXIT_PARENT_GONE)


def name_process(name: str) -> None:
    """Set the name that ``ps -e`` and ``top`` display for this process, at most 15 bytes."""
    if _libc is not None:
        _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0)


def scrubbed_environment(
    extra: Mapping[str, str] | None = None, *, home: str | os.PathLike[str] = "/nonexistent", search_path: str = ""
) -> dict[str, str]:
    """Return the whole environment of an engine: PATH, LANG, HOME, and ``extra``: WITNESS_* variables and settings of malloc.

    PATH is ``search_path`` or a fixed default. ValueError for any other name in ``extra``.
    """
    for name in extra or {}:
        if not name.startswith("WITNESS_") and name != _MALLOC:
            raise ValueError(f"{visible(name)} must not be passed to an engine: only WITNESS_* variables and {_MALLOC} are")
    return {"PATH": search_path or _PATH, "LANG": "C.UTF-8", "HOME": os.fspath(home), **(extra or {})}


def own_program(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return command and environment to run a module of diffcheck as a worker or server.

    The environment has this process's import path and PATH, and none of its other variables, which may hold secrets.
    """
    folders = [folder for folder in sys.path if folder and Path(folder).is_absolute() and Path(folder).exists()]
    package = str(Path(__file__).resolve().parents[2])
    inherited = {name: os.environ[name] for name in _PYTHON_VARIABLES if name in os.environ}
    paths = os.pathsep.join(dict.fromkeys([*folders, package]))
    command = [sys.executable, "-P", "-m", module, *arguments]
    search_path = os.environ.get("PATH", "")
    return command, {
        **scrubbed_environment(search_path=search_path),
        **inherited,
        "PYTHONPATH": paths,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    memory_bytes: int | None,
    file_bytes: int | None,
    wants_stdin: bool,
) -> ChildPipes:
    """Start ``command`` as a session leader with exactly the environment ``env`` and the descriptors 0, 1 and 2.

    If this process has a keeper, the child is started by vfork and its limits are set just after its start.
    """
    limits = _limits(memory_bytes, file_bytes)
    quick = has_keeper and not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            stdin, their_stdin = (None, subprocess.DEVNULL)
            if wants_stdin:
                their_stdin, stdin = _pipe(theirs, ours, child_reads=True)
            their_stdout, stdout = _pipe(theirs, ours, child_reads=False)
            their_stderr, stderr = _pipe(theirs, ours, child_reads=False)
            process = subprocess.Popen(
                list(command),
                stdin=their_stdin,
                stdout=their_stdout,
                stderr=their_stderr,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=None if quick else _before_exec(limits),  # noqa: PLW1509 - workers have one thread
            )
            if quick:
                _limit(process.pid, limits)
            # The reactor reaps with wait4 to get the rusage, so Popen must neither warn nor wait.
            process.returncode = 0
            ours.pop_all()
            return ChildPipes(process.pid, stdin, stdout, stderr)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise _spawn_error(command, cwd, error) from error


def fork(work: Callable[[], int]) -> ChildPipes:
    """Fork a child that calls ``work``, in its own session, with pipes as descriptors 0, 1 and 2 and no other open file.

    The child exits with the result of ``work`` and dies with this process, which must have only one thread.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # otherwise the child would write the buffer again
    parent = os.getpid()
    try:
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            their_stdin, stdin = _pipe(theirs, ours, child_reads=True)
            their_stdout, stdout = _pipe(theirs, ours, child_reads=False)
            their_stderr, stderr = _pipe(theirs, ours, child_reads=False)
            pid = os.fork()
            if not pid:
                run_child(lambda: _begin(parent, (their_stdin, their_stdout, their_stderr)) or work())
            ours.pop_all()
            return ChildPipes(pid, stdin, stdout, stderr)
    except OSError as error:
        raise _spawn_error((sys.executable,), None, error) from error


def run_child(work: Callable[[], int]) -> NoReturn:
    """Call ``work`` in a forked child and exit with its result, skipping the parent's pending clean-up."""
    code = _EXIT_BROKEN
    try:
        code = work()
    except SystemExit as request:
        code = request.code if isinstance(request.code, int) else _EXIT_BROKEN
    except BaseException:  # noqa: BLE001 - no exception may reach the parent's code
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _begin(parent: int, pipes: tuple[int, int, int]) -> int:
    """Replace, in a forked child, the parent's session, signal handlers, descriptors and standard streams."""
    os.setsid()
    die_with_parent(parent)
    _close_all_but(pipes)  # first, because the calls below need free descriptors
    moved = [fcntl.fcntl(pipe, fcntl.F_DUPFD, 3) for pipe in pipes]  # a pipe may itself be descriptor 0, 1 or 2
    for descriptor, pipe in enumerate(moved):
        os.dup2(pipe, descriptor)
    _close_all_but((0, 1, 2))
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for which, values in _limits(None, None):
        resource.setrlimit(which, values)
    sys.stdin = None
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(number, "w", closefd=False), errors="backslashreplace", write_through=True) for number in (1, 2)
    )
    return 0


def _close_all_but(descriptors: tuple[int, ...]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    end = _MAX_DESCRIPTOR if hard == resource.RLIM_INFINITY else hard
    start = 0
    for stop in (*sorted(descriptors), end):
        if start < stop:  # os.closerange(0, 0) would close everything
            os.closerange(start, stop)
        start = stop + 1


def _pipe(theirs: contextlib.ExitStack, ours: contextlib.ExitStack, *, child_reads: bool) -> tuple[int, int]:
    """Open a pipe and return (the child's end, the parent's non-blocking end)."""
    reader, writer = os.pipe()
    child, own = (reader, writer) if child_reads else (writer, reader)
    theirs.callback(os.close, child)
    ours.callback(os.close, own)
    os.set_blocking(own, False)
    return child, own


def _limits(memory_bytes: int | None, file_bytes: int | None) -> tuple[tuple[int, tuple[int, int]], ...]:
    """Return the resource limits to set. Address space comes last, since the forked interpreter may fail under it."""
    wanted = [(resource.RLIMIT_CORE, 0)]
    if file_bytes is not None:
        wanted.append((resource.RLIMIT_FSIZE, file_bytes))
    if memory_bytes is not None and LINUX:
        wanted.append((resource.RLIMIT_AS, memory_bytes))
    return tuple((which, _at_most_hard(which, value)) for which, value in wanted)


def _at_most_hard(which: int, value: int) -> tuple[int, int]:
    hard = resource.getrlimit(which)[1]
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    return allowed, allowed


def _limit(pid: int, limits: tuple[tuple[int, tuple[int, int]], ...]) -> None:
    for which, values in limits:
        with contextlib.suppress(OSError):  # the child has already ended
            resource.prlimit(pid, which, values)


def _before_exec(limits: tuple[tuple[int, tuple[int, int]], ...]) -> Callable[[], None]:
    parent = os.getpid()

    def prepare() -> None:
        die_with_parent(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for which, values in limits:
            resource.setrlimit(which, values)

    return prepare


_REASONS = {
    errno.ENOENT: (
        "it was not found",
        "give the full path; if the file exists, its interpreter or loader is missing",
    ),
    errno.EACCES: ("it is not executable", "check its permissions (chmod +x), and that its file system is not mounted noexec"),
    errno.EPERM: ("the system does not permit it", "check its permissions and the limits of the sandbox or container"),
    errno.ENOEXEC: (
        "it is not a program for this machine",
        "check that it was built for this platform, or that its first line starts with #!",
    ),
    errno.EAGAIN: ("too many processes are running", "use fewer --jobs, or raise the limit of processes (ulimit -u)"),
    errno.ENOMEM: ("there is not enough memory", "use fewer --jobs, or give the case a larger memory limit"),
    errno.EMFILE: ("too many files are open", "use fewer --jobs, or raise the limit of open files (ulimit -n)"),
    errno.ENFILE: ("the system has too many files open", "use fewer --jobs, or raise fs.file-max"),
    errno.E2BIG: ("its arguments and environment are too long", "use fewer or shorter arguments (at most 128 KiB each)"),
    errno.ENOTDIR: ("part of its path is not a folder", "give the full path"),
    errno.ETXTBSY: ("it is still being written", "retry when it has been built or copied"),
}


def _spawn_error(command: Sequence[str], cwd: str | os.PathLike[str] | None, error: Exception) -> SpawnError:
    program = visible(command[0]) if command else "an empty command"
    if not isinstance(error, OSError):
        return SpawnError(f"{program} could not be started: {visible(str(error))}", hint="check the command and its limits")
    # exec's failures name the program, chdir's the folder.
    if cwd is not None and error.filename is not None and os.fspath(error.filename) == os.fspath(cwd) and not Path(cwd).is_dir():
        return SpawnError(
            f"{program} could not be started: its working folder no longer exists", hint="check the folder for temporary files"
        )
    fallback = (visible(error.strerror or str(error)), "check the command and the system's limits")
    reason, hint = _REASONS.get(error.errno or 0, fallback)
    return SpawnError(f"{program} could not be started: {reason}", hint=hint)
