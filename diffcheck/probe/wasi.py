"""Probe an engine's host functions, with one generated module for each function of wasi 0.2.

Every function is called in two ways, by ``call`` and by ``call_indirect``, since an engine may treat them differently and the shims
of componentised programs use the second. Verdicts are based on observed effects, never on what the engine claims to support.
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
from diffcheck.probe.wasi_module import AREA, N_WORDS, SENTINEL, ImportCollector, ProbeCall, ProbedImport, decode_words
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
    """A function's verdicts and their reasons, for ``call`` and for ``call_indirect``."""

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
    """One run of the engine: the process result, the decoded host result, and the files afterwards."""

    export: str
    command: tuple[str, ...]
    process: ProcessResult
    host: HostResult
    files: dict[str, bytes]


def all_entries(*, preview1: bool = True) -> tuple[CallCheck, ...]:
    """Return the probes of all functions of wasi 0.2 and, with ``preview1``, of preview 1."""
    return (*wasi_calls.entries(), *(wasi_preview1.entries() if preview1 else ()))


def at_versions(entries: Iterable[CallCheck], wanted: Iterable[tuple[str, str]]) -> Iterator[CallCheck]:
    """Yield the probes for an artifact's imports (module, name), with their versions and component numbers."""
    by_name = {stubs.canonical(each.probe.function.module, each.probe.function.name): each for each in entries}
    for module, name in wanted:
        entry = by_name.get(stubs.canonical(module, name))
        if entry is not None:
            function = msgspec.structs.replace(entry.probe.function, module=module, name=name)
            yield msgspec.structs.replace(entry, probe=msgspec.structs.replace(entry.probe, function=function))


class Prober:
    """Probes one engine. With ``keep``, every module, command and output is written to that folder."""

    def __init__(self, engine: HostEngine, host: Host, limits: RunLimits, keep: Path | None = None) -> None:
        self._engine, self._host, self._limits, self._keep = engine, host, limits, keep
        self._texts, self._data = wasi_checks.texts()

    def probe(self, entries: Sequence[CallCheck]) -> Iterator[ImportVerdicts]:
        """Yield the verdicts, in order. Several engines run at once."""
        for at in range(0, len(entries), _AT_ONCE):
            batch = entries[at : at + _AT_ONCE]
            runs = self._batch([(each, export) for each in batch for export in _EXPORTS], [{} for _ in batch], batch)
            bare = [(each, f"bare{way}") for each, ran in zip(batch, runs, strict=True) for way in _bare(each, ran)]
            again = [(each, "again") for each, ran in zip(batch, runs, strict=True) if _wants_again(each, ran)]
            runs = self._batch(bare + again, runs, batch)
            for entry, ran in zip(batch, runs, strict=True):
                direct, indirect = _judge(entry, ran, "run"), _judge(entry, ran, "indirect")
                self._write_evidence(entry, ran, {"run": direct, "indirect": indirect})
                function = entry.probe.function
                yield ImportVerdicts(function.module, function.name, direct.verdict, direct.why, indirect.verdict, indirect.why)

    def control(self) -> str:
        """Run a module of the same form without calls; returns the failure that prevents probing, or empty."""
        entry = CallCheck(ProbeCall(ProbedImport("diffcheck", "nothing", (), ()), ()), lambda _: REAL)
        run = self._start(entry, "idle").wait()
        if run.host.values is not None and len(run.host.values) == N_WORDS and run.host.values[0] == SENTINEL:
            return ""
        return run.host.failure or _death(run.process)

    def _batch(
        self, wanted: Sequence[tuple[CallCheck, str]], before: list[dict[str, _Run]], batch: Sequence[CallCheck]
    ) -> list[dict[str, _Run]]:
        """Run ``wanted``, and return the earlier and the new runs of each entry of the batch."""
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

    def _write_evidence(self, entry: CallCheck, runs: dict[str, _Run], verdicts: dict[str, CheckResult]) -> None:
        if self._keep is None:
            return
        function = entry.probe.function
        folder = self._keep / _file_name(function)
        folder.mkdir(parents=True, exist_ok=True)
        process.write_atomically(folder / "module.wasm", ImportCollector(entry.probe, self._texts).build(self._data))
        lines = [f"{function}", ""]
        for way, each in verdicts.items():
            lines.append(f"verdict of {'call' if way == 'run' else 'call_indirect'}: {each.verdict}; {each.why}".rstrip("; "))
        lines += [
            "",
            f"stdin: {STDIN!r}",
            f"environment: {'='.join(VARIABLE)}",
            f"folder: {', '.join([*FILES, 'link -> probe.txt'])}",
        ]
        for export, run in runs.items():
            ended = f"exit code {run.process.exit_code}" if run.process.signal is None else f"signal {run.process.signal}"
            lines += ["", f"== {export}", f"$ {shlex.join(run.command)}", ended + ", timed out" * run.process.timed_out]
            changed = sorted(each for each in {*run.files, *FILES} if run.files.get(each) != FILES.get(each) and each != "link")
            lines += [f"file {each}: {run.files.get(each)!r}" for each in changed]
            for name, data in (("stdout", run.process.stdout), ("stderr", run.process.stderr)):
                lines += [f"-- {name}", *(visible(each, 2000) for each in decode(data).splitlines())]
        process.write_atomically(folder / "ran.txt", ("\n".join(lines) + "\n").encode())


class _Pending:
    """A started engine that runs one export, in its own folder."""

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
            result = self._host.reactor.wait(self._child)
            files = _read_files(self._files)
        finally:
            self._private.__exit__(None, None, None)
        host_result = HostResult() if result.timed_out or result.flooded else self._engine.host_result(result)
        home = str(self._files.parent)
        command = tuple(each.replace(home, "FOLDER") for each in self._command)
        return _Run(self._export, command, _anonymise(result, home), host_result, files)


def _anonymise(result: ProcessResult, home: str) -> ProcessResult:
    """Replace the name of the temporary folder in the output."""
    out, err = (each.replace(home.encode(), b"FOLDER") for each in (result.stdout, result.stderr))
    return msgspec.structs.replace(result, stdout=out, stderr=err)


def _lay_out(folder: Path) -> None:
    folder.mkdir()
    for name, content in FILES.items():
        if name.endswith("/"):
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
    (folder / "link").symlink_to("probe.txt")


def _read_files(folder: Path) -> dict[str, bytes]:
    """Read the files in the folder. A link has the content of its target if that is in the folder."""
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
    """Return the suffixes of the exports without handle creation to run: those whose normal run failed."""
    ways = {"": "run", "_indirect": "indirect"}
    return [way for way, export in ways.items() if entry.probe.setup and ran[export].host.values is None]


def _wants_again(entry: CallCheck, ran: dict[str, _Run]) -> bool:
    return entry.probe.traps_again and any(each.host.values is not None for each in ran.values())


def _file_name(function: ProbedImport) -> str:
    text = re.sub(r"[^A-Za-z0-9.@-]+", "_", f"{function.module}-{function.name}")
    return text.strip("_")


# Verdicts.


def _judge(entry: CallCheck, runs: dict[str, _Run], way: str) -> CheckResult:
    run = runs[way]
    if run.process.timed_out:
        return CheckResult("broken", "it does not return")
    if entry.exit_code is not None:
        return _exit(entry, run)
    if run.host.values is None:
        return _failure(entry, run, runs.get("bare" if way == "run" else "bare_indirect"))
    checked = _check(entry, run)
    again = runs.get("again")
    if checked.verdict == "real" and again is not None and again.host.values is not None:
        return CheckResult("stub", "it is accepted, and so is dropping the same handle again")
    return checked


def _check(entry: CallCheck, run: _Run) -> CheckResult:
    """Judge a call that returned."""
    order = _order(entry, run)
    assert run.host.values is not None, "the call returned"  # noqa: S101
    if len(run.host.values) != N_WORDS:
        return CheckResult("broken", f"the module returned {len(run.host.values)} values, not {N_WORDS}")
    observation = decode_words(run.host.values)
    if any(observation.sentinels[at] != SENTINEL for at in range(entry.probe.calls)):
        return CheckResult("broken", f"it pushes an additional value onto the caller's stack{order}")
    try:
        checked = entry.check(ProbeRun(observation, run.process.stdout, run.process.stderr, run.files))
    except (IndexError, ValueError, ArithmeticError):
        checked = CheckResult("broken", "its result is malformed")
    return CheckResult("broken", checked.why + order) if checked.verdict != "real" and order else checked


def _exit(entry: CallCheck, run: _Run) -> CheckResult:
    if run.host.unknown:
        return CheckResult("absent")
    if run.host.values is not None:
        return CheckResult("stub", "the program continues")
    if run.host.failure:
        return CheckResult("broken", run.host.failure)
    if run.process.exit_code == entry.exit_code:
        return REAL
    return CheckResult("broken", f"the process ended with {run.process.exit_code}, not {entry.exit_code}")


def _failure(entry: CallCheck, run: _Run, bare: _Run | None) -> CheckResult:
    """Judge a call that did not return. ``bare`` is the run without handle creation, if any."""
    function = entry.probe.function
    decisive = bare or run
    if decisive.host.unknown and _last(decisive, function):
        return CheckResult("absent")
    failure = run.host.failure or _death(run.process)
    if bare is None or _last(run, function):
        return CheckResult("broken", failure + _order(entry, run))
    creator = (
        f"{run.host.calls[-1].function}, which creates its handle, fails" if run.host.calls else f"its handle fails ({failure})"
    )
    if bare.host.values is None:
        return CheckResult("broken", f"{bare.host.failure or _death(bare.process)}{_order(entry, bare)}; {creator}")
    checked = _check(entry, bare)
    if checked.verdict == "real":
        return CheckResult("stub", f"it accepts an invalid handle; {creator}")
    return CheckResult(checked.verdict, f"{checked.why}; {creator}")


def _last(run: _Run, function: ProbedImport) -> bool:
    """Whether the function was called last, according to the engine's log, if any."""
    return not run.host.calls or run.host.calls[-1].function == f"{function.module.partition('@')[0]} {function.name}"


def _death(ended: ProcessResult) -> str:
    if ended.signal is not None:
        return f"the engine was killed by signal {ended.signal}"
    return f"the engine exited with code {ended.exit_code} without a reason"


def _order(entry: CallCheck, run: _Run) -> str:
    """Describe a wrong order of arguments in the engine's log; empty otherwise."""
    function = entry.probe.function
    expected = [int(match[1], 0) if (match := _CONSTANT.match(each.replace("AREA", f"i32.const {AREA}"))) else None
                for each in entry.probe.args]  # fmt: skip
    if len(expected) < 2:  # noqa: PLR2004 - a single argument has no order
        return ""
    name = f"{function.module.partition('@')[0]} {function.name}"
    call = next((each for each in run.host.calls if each.function == name), None)
    if call is None or len(call.args) != len(expected) or _matches(call.args, expected):
        return ""
    way = "in reverse" if _matches(call.args[::-1], expected) else "in another order"
    return f"; the arguments arrive {way}"


def _matches(args: Sequence[int], expected: Sequence[int | None]) -> bool:
    return all(each is None or arg == each for arg, each in zip(args, expected, strict=True))


def natively(backend: Backend, function: ProbedImport, host: Host, limits: RunLimits) -> CheckResult:
    """Test an import in a direct run of a backend: absent, or accepted (a stub)."""
    args = " ".join(f"{kind}.const {at + 3}" for at, kind in enumerate(function.params))
    wasm = programs.imports_one(function.module, function.name, function.params, function.results, args)
    outcome = backend.execute(Program(kind="direct", wasm=wasm), limits, host).outcome
    if isinstance(outcome, Refused):
        return CheckResult("absent", "it refuses the module")
    return CheckResult("stub", "accepted") if isinstance(outcome, Returned) else CheckResult("absent", sentence(outcome))


__all__ = ["VERDICTS", "CheckResult", "ImportVerdicts", "Prober", "all_entries", "at_versions", "natively"]
