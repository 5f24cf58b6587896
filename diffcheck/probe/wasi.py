"""Asks an engine what its own host functions do: one generated module a function of wasi 0.2, run, looked at and judged.

Every function is called in two ways, by ``call`` and by ``call_indirect``, since an engine may treat them differently, and the
shims of componentised programs use the second. The verdict of each way is by what was seen, never by what the engine says it has.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.backend.contract import HostResult, HostWorld, Program
from diffcheck.capsule import stubs
from diffcheck.observation import Refused, Returned, sentence
from diffcheck.probe import programs, wasi_calls, wasi_checks, wasi_preview1
from diffcheck.probe.wasi_checks import ARGUMENTS, FILES, REAL, STDIN, VARIABLE, VERDICTS, CallCheck, CheckResult, ProbeRun, Verdict
from diffcheck.probe.wasi_module import AREA, N_WORDS, SENTINEL, ImportCollector, ProbeCall, ProbedImport, seen
from diffcheck.text import decode, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diffcheck.backend.contract import Backend, Host, HostEngine, RunLimits
    from diffcheck.process import ProcessResult

_CONSTANT: Final = re.compile(r"i(?:32|64)\.const (-?\w+)\Z")
_OUTPUT_BYTES: Final = 1 << 20
_AT_ONCE: Final = 8
_FILE_CAP: Final = 1 << 20
_EXPORTS: Final = ("run", "indirect")


class ImportVerdicts(msgspec.Struct, frozen=True):
    """A function's verdicts: of a direct ``call``, and of ``call_indirect``; ``why`` and ``why_indirect`` are their reasons."""

    module: str
    name: str
    verdict: Verdict
    why: str
    indirect: Verdict
    why_indirect: str

    @property
    def interface(self) -> str:
        """The module without its version."""
        return self.module.partition("@")[0]


class _Run(msgspec.Struct, frozen=True):
    """One start of the engine: what it said, and what was left of it."""

    export: str
    command: tuple[str, ...]
    ended: ProcessResult
    said: HostResult
    files: dict[str, bytes]


def all_entries(*, preview1: bool = True) -> tuple[CallCheck, ...]:
    """The probes of every function, of wasi 0.2 and then of preview 1."""
    return (*wasi_calls.entries(), *(wasi_preview1.entries() if preview1 else ()))


def at_versions(entries: Iterable[CallCheck], wanted: Iterable[tuple[str, str]]) -> Iterator[CallCheck]:
    """The probes for functions as an artifact imports them: module and name, at its version and with a component's number."""
    by_name = {stubs.canonical(each.probe.function.module, each.probe.function.name): each for each in entries}
    for module, name in wanted:
        entry = by_name.get(stubs.canonical(module, name))
        if entry is not None:
            function = msgspec.structs.replace(entry.probe.function, module=module, name=name)
            yield msgspec.structs.replace(entry, probe=msgspec.structs.replace(entry.probe, function=function))


class Prober:
    """Puts probes to one engine; with ``keep`` every module, command and answer is left in that folder."""

    def __init__(self, engine: HostEngine, host: Host, limits: RunLimits, keep: Path | None = None) -> None:
        self._engine, self._host, self._limits, self._keep = engine, host, limits, keep
        self._texts, self._data = wasi_checks.texts()

    def probe(self, entries: Sequence[CallCheck]) -> Iterator[ImportVerdicts]:
        """The verdicts, in order; a few engines run at once."""
        for at in range(0, len(entries), _AT_ONCE):
            batch = entries[at : at + _AT_ONCE]
            runs = self._batch([(each, export) for each in batch for export in _EXPORTS], [{} for _ in batch], batch)
            bare = [(each, f"bare{way}") for each, ran in zip(batch, runs, strict=True) for way in _bare(each, ran)]
            again = [(each, "again") for each, ran in zip(batch, runs, strict=True) if _wants_again(each, ran)]
            runs = self._batch(bare + again, runs, batch)
            for entry, ran in zip(batch, runs, strict=True):
                one, other = _judge(entry, ran, "run"), _judge(entry, ran, "indirect")
                self._note(entry, ran, {"run": one, "indirect": other})
                function = entry.probe.function
                yield ImportVerdicts(function.module, function.name, one.verdict, one.why, other.verdict, other.why)

    def control(self) -> str:
        """Why this engine cannot be probed: what a module of the same form that calls nothing comes to; empty where it can be."""
        entry = CallCheck(ProbeCall(ProbedImport("diffcheck", "nothing", (), ()), ()), lambda _: REAL)
        run = self._start(entry, "idle").wait()
        if run.said.values is not None and len(run.said.values) == N_WORDS and run.said.values[0] == SENTINEL:
            return ""
        return run.said.failure or _death(run.ended)

    def _batch(
        self, wanted: Sequence[tuple[CallCheck, str]], before: list[dict[str, _Run]], batch: Sequence[CallCheck]
    ) -> list[dict[str, _Run]]:
        """What was run before for each of the batch, and what is wanted now."""
        done = self._run(wanted)
        return [
            {**ran, **{run.export: run for each, run in done if each is entry}} for entry, ran in zip(batch, before, strict=True)
        ]

    def _run(self, wanted: Sequence[tuple[CallCheck, str]]) -> list[tuple[CallCheck, _Run]]:
        done: list[tuple[CallCheck, _Run]] = []
        for at in range(0, len(wanted), _AT_ONCE):
            started = [(entry, self._start(entry, export)) for entry, export in wanted[at : at + _AT_ONCE]]
            done += [(entry, each.wait()) for entry, each in started]
        return done

    def _start(self, entry: CallCheck, export: str) -> _Pending:
        wasm = ImportCollector(entry.probe, self._texts).build(self._data, idle=export == "idle")
        return _Pending(self._engine, self._host, self._limits, wasm, export)

    def _note(self, entry: CallCheck, runs: dict[str, _Run], found: dict[str, CheckResult]) -> None:
        if self._keep is None:
            return
        function = entry.probe.function
        folder = self._keep / _file_name(function)
        folder.mkdir(parents=True, exist_ok=True)
        process.write_atomically(folder / "module.wasm", ImportCollector(entry.probe, self._texts).build(self._data))
        lines = [f"{function}", ""]
        for way, each in found.items():
            lines.append(f"verdict of {'call' if way == 'run' else 'call_indirect'}: {each.verdict}; {each.why}".rstrip("; "))
        lines += [
            "",
            f"stdin: {STDIN!r}",
            f"environment: {'='.join(VARIABLE)}",
            f"folder: {', '.join([*FILES, 'link -> probe.txt'])}",
        ]
        for export, run in runs.items():
            ended = f"exit code {run.ended.exit_code}" if run.ended.signal is None else f"signal {run.ended.signal}"
            lines += ["", f"== {export}", f"$ {shlex.join(run.command)}", ended + ", timed out" * run.ended.timed_out]
            changed = sorted(each for each in {*run.files, *FILES} if run.files.get(each) != FILES.get(each) and each != "link")
            lines += [f"file {each}: {run.files.get(each)!r}" for each in changed]
            for name, data in (("stdout", run.ended.stdout), ("stderr", run.ended.stderr)):
                lines += [f"-- {name}", *(visible(each, 2000) for each in decode(data).splitlines())]
        process.write_atomically(folder / "ran.txt", ("\n".join(lines) + "\n").encode())


class _Pending:
    """An engine that runs one export, in a folder of its own."""

    def __init__(self, engine: HostEngine, host: Host, limits: RunLimits, wasm: bytes, export: str) -> None:
        self._engine, self._host, self._export = engine, host, export
        self._private = process.private_folder(host.folder)
        folder = self._private.__enter__()
        try:
            self._files = folder / "files"
            _lay_out(self._files)
            module = folder / "module.wasm"
            module.write_bytes(wasm)
            world = HostWorld(str(self._files), ARGUMENTS, (VARIABLE[0],))
            self._command = engine.host_command(module, export, world)
            self._child = host.reactor.start(
                self._command,
                env=process.scrubbed_environment(dict([VARIABLE])),
                cwd=folder,
                deadline_s=limits.deadline_s,
                memory_bytes=limits.memory_bytes,
                resident_bytes=limits.memory_bytes,
                output_bytes=_OUTPUT_BYTES,
                file_bytes=_FILE_CAP,
                stdin=STDIN,
            )
        except BaseException:
            self._private.__exit__(None, None, None)
            raise

    def wait(self) -> _Run:
        try:
            ended = self._host.reactor.wait(self._child)
            files = _look(self._files)
        finally:
            self._private.__exit__(None, None, None)
        said = HostResult() if ended.timed_out or ended.flooded else self._engine.host_result(ended)
        home = str(self._files.parent)
        command = tuple(each.replace(home, "FOLDER") for each in self._command)
        return _Run(self._export, command, _without(ended, home), said, files)


def _without(ended: ProcessResult, home: str) -> ProcessResult:
    """The same without the name of a folder that is gone."""
    out, err = (each.replace(home.encode(), b"FOLDER") for each in (ended.stdout, ended.stderr))
    return msgspec.structs.replace(ended, stdout=out, stderr=err)


def _lay_out(folder: Path) -> None:
    folder.mkdir()
    for name, content in FILES.items():
        if name.endswith("/"):
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
    (folder / "link").symlink_to("probe.txt")


def _look(folder: Path) -> dict[str, bytes]:
    """What is in the folder: a link gives the file that it names, as long as that is here."""
    files: dict[str, bytes] = {}
    for each in sorted(os.scandir(folder), key=lambda each: each.name):
        if each.is_dir(follow_symlinks=False):
            files[f"{each.name}/"] = b""
            continue
        target = folder / Path(each.path).readlink() if each.is_symlink() else Path(each.path)
        data = process.read_output_file(target, _FILE_CAP) if target.parent == folder else b""
        files[each.name] = data if isinstance(data, bytes) else b""
    return files


def _bare(entry: CallCheck, ran: dict[str, _Run]) -> list[str]:
    """Which ways are to be tried without the calls that make handles: those whose run came to nothing."""
    ways = {"": "run", "_indirect": "indirect"}
    return [way for way, export in ways.items() if entry.probe.setup and ran[export].said.values is None]


def _wants_again(entry: CallCheck, ran: dict[str, _Run]) -> bool:
    return entry.probe.traps_again and any(each.said.values is not None for each in ran.values())


def _file_name(function: ProbedImport) -> str:
    text = re.sub(r"[^A-Za-z0-9.@-]+", "_", f"{function.module}-{function.name}")
    return text.strip("_")


# Judging.


def _judge(entry: CallCheck, runs: dict[str, _Run], way: str) -> CheckResult:
    run = runs[way]
    if run.ended.timed_out:
        return CheckResult("broken", "it does not come back")
    if entry.exit_code is not None:
        return _exit(entry, run)
    if run.said.values is None:
        return _failure(entry, run, runs.get("bare" if way == "run" else "bare_indirect"))
    found = _answer(entry, run)
    again = runs.get("again")
    if found.verdict == "real" and again is not None and again.said.values is not None:
        return CheckResult("stub", "it is accepted, and so is dropping the same handle again")
    return found


def _answer(entry: CallCheck, run: _Run) -> CheckResult:
    """What a call that came back is worth."""
    order = _order(entry, run)
    assert run.said.values is not None, "it came back"  # noqa: S101
    if len(run.said.values) != N_WORDS:
        return CheckResult("broken", f"the module returned {len(run.said.values)} values, not {N_WORDS}")
    came = seen(run.said.values)
    if any(came.sentinels[at] != SENTINEL for at in range(entry.probe.calls)):
        return CheckResult("broken", f"it leaves a value on the caller's stack that the function does not give{order}")
    try:
        found = entry.check(ProbeRun(came, run.ended.stdout, run.ended.stderr, run.files))
    except (IndexError, ValueError, ArithmeticError):
        found = CheckResult("broken", "its answer makes no sense")
    return CheckResult("broken", found.why + order) if found.verdict != "real" and order else found


def _exit(entry: CallCheck, run: _Run) -> CheckResult:
    if run.said.unknown:
        return CheckResult("absent")
    if run.said.values is not None:
        return CheckResult("stub", "the program goes on")
    if run.said.failure:
        return CheckResult("broken", run.said.failure)
    if run.ended.exit_code == entry.exit_code:
        return REAL
    return CheckResult("broken", f"the process ended with {run.ended.exit_code}, not {entry.exit_code}")


def _failure(entry: CallCheck, run: _Run, bare: _Run | None) -> CheckResult:
    """What a call that did not come back means; ``bare`` is the same without the calls before it, where there are some."""
    function = entry.probe.function
    decisive = bare or run
    if decisive.said.unknown and _last(decisive, function):
        return CheckResult("absent")
    why = run.said.failure or _death(run.ended)
    if bare is None or _last(run, function):
        return CheckResult("broken", why + _order(entry, run))
    needs = f"{run.said.calls[-1].function}, which would give its handle, fails" if run.said.calls else f"its handle fails ({why})"
    if bare.said.values is None:
        return CheckResult("broken", f"{bare.said.failure or _death(bare.ended)}{_order(entry, bare)}; {needs}")
    found = _answer(entry, bare)
    if found.verdict == "real":
        return CheckResult("stub", f"it takes a handle that nobody gave; {needs}")
    return CheckResult(found.verdict, f"{found.why}; {needs}")


def _last(run: _Run, function: ProbedImport) -> bool:
    """Whether the function was the last that was called, as far as the engine has a log."""
    return not run.said.calls or run.said.calls[-1].function == f"{function.module.partition('@')[0]} {function.name}"


def _death(ended: ProcessResult) -> str:
    if ended.signal is not None:
        return f"the engine was ended by signal {ended.signal}"
    return f"the engine ended with {ended.exit_code} and gave no reason"


def _order(entry: CallCheck, run: _Run) -> str:
    """How the arguments arrived, if the engine's log shows that it was not in their order; empty otherwise."""
    function = entry.probe.function
    wanted = [int(match[1], 0) if (match := _CONSTANT.match(each.replace("AREA", f"i32.const {AREA}"))) else None
              for each in entry.probe.args]  # fmt: skip
    if len(wanted) < 2:  # noqa: PLR2004 - one has no order
        return ""
    name = f"{function.module.partition('@')[0]} {function.name}"
    call = next((each for each in run.said.calls if each.function == name), None)
    if call is None or len(call.args) != len(wanted) or _fits(call.args, wanted):
        return ""
    way = "in reverse" if _fits(call.args[::-1], wanted) else "in another order"
    return f"; the arguments arrive {way}"


def _fits(args: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return all(each is None or arg == each for arg, each in zip(args, wanted, strict=True))


def natively(backend: Backend, function: ProbedImport, host: Host, limits: RunLimits) -> CheckResult:
    """What a backend does with an import where diffcheck runs an artifact under it as it is: absent, or accepted (a stub)."""
    args = " ".join(f"{kind}.const {at + 3}" for at, kind in enumerate(function.params))
    wasm = programs.imports_one(function.module, function.name, function.params, function.results, args)
    outcome = backend.execute(Program(kind="direct", wasm=wasm), limits, host).outcome
    if isinstance(outcome, Refused):
        return CheckResult("absent", "it refuses the module")
    return CheckResult("stub", "accepted") if isinstance(outcome, Returned) else CheckResult("absent", sentence(outcome))


__all__ = ["VERDICTS", "CheckResult", "ImportVerdicts", "Prober", "all_entries", "at_versions", "natively"]
