"""Starts a child in a session of its own, with limits and nothing inherited but what is given; ties it to its parent's life."""

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

_PATH = "/usr/local/bin:/usr/bin:/bin"
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_EXIT_PARENT_GONE = 127
_MAX_DESCRIPTOR = 1 << 30
_EXIT_BROKEN = 1

# A Python that was built with a shared library (as on hosted CI runners) does not start without these.
_OF_OUR_PYTHON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")

# Loaded now and not between fork and exec, where the dynamic loader's lock may be held by nobody who is still there.
_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None

kept = False
"""Whether this process has a keeper, so that what it starts ends with it whatever happens; see ``keeper``."""


class SpawnError(DiffcheckError):
    """A child that could not be started, with the system's reason and what to do about it."""


class Spawned(msgspec.Struct, frozen=True):
    """A child that runs: its pid, and our ends of its pipes (non-blocking; ``stdin`` is None when it is /dev/null)."""

    pid: int
    stdin: int | None
    stdout: int
    stderr: int


def _prctl(option: int, value: int) -> bool:
    return _libc is not None and _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0


def become_subreaper() -> bool:
    """Have orphaned descendants re-parented to this process, so that they can be found and killed; False where unsupported."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent_pid: int | None = None, *, by: signal.Signals = signal.SIGKILL) -> None:
    """Have this process ended ``by`` a signal when the thread that started it ends, or exit at once if ``parent_pid`` is gone.

    Elsewhere than on Linux this does only the check: main loops end there at the end of their stdin.
    """
    _prctl(_PR_SET_PDEATHSIG, by)
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(_EXIT_PARENT_GONE)


def name_process(name: str) -> None:
    """Have this process, which was forked, told from the others in ``ps -e`` and ``top``: at most 15 bytes."""
    if _libc is not None:
        _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0)


def scrubbed_environment(
    extra: Mapping[str, str] | None = None, *, home: str | os.PathLike[str] = "/nonexistent", search_path: str = ""
) -> dict[str, str]:
    """The whole environment of an engine: PATH (``search_path``, else a fixed one), LANG and HOME, and ``extra``, all WITNESS_*."""
    for name in extra or {}:
        if not name.startswith("WITNESS_"):
            raise ValueError(f"{visible(name)} must not be passed to an engine: only WITNESS_* is")
    return {"PATH": search_path or _PATH, "LANG": "C.UTF-8", "HOME": os.fspath(home), **(extra or {})}


def own_program(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Give command and environment to run one of our modules as a worker or server, with our import path and no secret."""
    folders = [folder for folder in sys.path if folder and Path(folder).is_absolute() and Path(folder).exists()]
    package = str(Path(__file__).resolve().parents[2])
    kept = {name: os.environ[name] for name in _OF_OUR_PYTHON if name in os.environ}
    paths = os.pathsep.join(dict.fromkeys([*folders, package]))
    command = [sys.executable, "-P", "-m", module, *arguments]
    return command, {**scrubbed_environment(), **kept, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str] | None,
    memory_bytes: int | None,
    file_bytes: int | None,
    wants_stdin: bool,
) -> Spawned:
    """Start ``command`` as the leader of a session of its own; its environment is exactly ``env``, its descriptors 0, 1 and 2.

    Where a keeper sees to its end it is started by vfork, and its limits hold from just after its start.
    """
    limits = _limits(memory_bytes, file_bytes)
    quick = kept and not signal.pthread_sigmask(signal.SIG_BLOCK, ())
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
            # The reactor reaps by wait4, for the rusage; Popen must neither warn nor wait.
            process.returncode = 0
            ours.pop_all()
            return Spawned(process.pid, stdin, stdout, stderr)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise _spawn_error(command, cwd, error) from error


def fork(work: Callable[[], int]) -> Spawned:
    """Start a copy of this process that does ``work``: a session of its own, pipes for descriptors 0, 1 and 2, nothing else open.

    It exits with what ``work`` returns, and dies with this process. For a process of one thread.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # else it would be there twice
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
            return Spawned(pid, stdin, stdout, stderr)
    except OSError as error:
        raise _spawn_error((sys.executable,), None, error) from error


def run_child(work: Callable[[], int]) -> NoReturn:
    """Do a forked child's work and exit; nothing of what its parent had begun is done on the way out."""
    code = _EXIT_BROKEN
    try:
        code = work()
    except SystemExit as given:
        code = given.code if isinstance(given.code, int) else _EXIT_BROKEN
    except BaseException:  # noqa: BLE001 - whatever it is, it must not reach the parent's code
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _begin(parent: int, pipes: tuple[int, int, int]) -> int:
    """Leave behind, in a forked child, what is its parent's: session, signals, descriptors, streams."""
    os.setsid()
    die_with_parent(parent)
    _close_all_but(pipes)  # first, since there may be no descriptor left for what follows
    moved = [fcntl.fcntl(pipe, fcntl.F_DUPFD, 3) for pipe in pipes]  # one of them may stand where another is to be
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
        io.TextIOWrapper(io.FileIO(each, "w", closefd=False), errors="backslashreplace", write_through=True) for each in (1, 2)
    )
    return 0


def _close_all_but(descriptors: tuple[int, ...]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    end = _MAX_DESCRIPTOR if hard == resource.RLIM_INFINITY else hard
    start = 0
    for each in (*sorted(descriptors), end):
        if start < each:  # an empty range at 0 would be taken for all
            os.closerange(start, each)
        start = each + 1


def _pipe(theirs: contextlib.ExitStack, ours: contextlib.ExitStack, *, child_reads: bool) -> tuple[int, int]:
    """Open a pipe: (the child's end, our end); our end does not block."""
    reader, writer = os.pipe()
    child, own = (reader, writer) if child_reads else (writer, reader)
    theirs.callback(os.close, child)
    ours.callback(os.close, own)
    os.set_blocking(own, False)
    return child, own


def _limits(memory_bytes: int | None, file_bytes: int | None) -> tuple[tuple[int, tuple[int, int]], ...]:
    """Give the resource limits to set, the address space last: under it our forked interpreter may do nothing else."""
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
        with contextlib.suppress(OSError):  # it has ended already
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
        "give the full path; if the file is there, the interpreter or loader that it names is missing",
    ),
    errno.EACCES: ("it may not be executed", "check its permissions (chmod +x), and that its file system is not mounted noexec"),
    errno.EPERM: ("the system forbids it", "check its permissions and the limits of the sandbox or container"),
    errno.ENOEXEC: (
        "it is not a program for this machine",
        "check that it was built for this platform, or that its first line is #!",
    ),
    errno.EAGAIN: ("too many processes are running", "use fewer --jobs, or raise the limit of processes (ulimit -u)"),
    errno.ENOMEM: ("memory is short", "use fewer --jobs, or give the case a larger memory limit"),
    errno.EMFILE: ("too many files are open", "use fewer --jobs, or raise the limit of open files (ulimit -n)"),
    errno.ENFILE: ("the system has too many files open", "use fewer --jobs, or raise fs.file-max"),
    errno.E2BIG: ("its arguments and environment are too long", "give it fewer or shorter arguments (one may have 128 KiB)"),
    errno.ENOTDIR: ("part of its path is not a folder", "give the full path"),
    errno.ETXTBSY: ("it is still being written", "run again when it has been built or copied"),
}


def _spawn_error(command: Sequence[str], cwd: str | os.PathLike[str] | None, error: Exception) -> SpawnError:
    program = visible(command[0]) if command else "an empty command"
    if not isinstance(error, OSError):
        return SpawnError(f"{program} could not be started: {visible(str(error))}", hint="check the command and its limits")
    # exec's failures name the program, chdir's the folder.
    if cwd is not None and error.filename is not None and os.fspath(error.filename) == os.fspath(cwd) and not Path(cwd).is_dir():
        return SpawnError(
            f"{program} could not be started: its working folder is gone", hint="check the folder for temporary files"
        )
    fallback = (visible(error.strerror or str(error)), "check the command and the system's limits")
    reason, hint = _REASONS.get(error.errno or 0, fallback)
    return SpawnError(f"{program} could not be started: {reason}", hint=hint)
