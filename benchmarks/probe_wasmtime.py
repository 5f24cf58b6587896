"""Puts the probes of ``diffcheck imports --probe`` to Wasmtime's own wasi 0.2, which must be found real: it tests the probes.

    python benchmarks/probe_wasmtime.py WIT_FOLDER

``WIT_FOLDER`` has the packages of wasi 0.2 under ``deps``, as the sources of wasmtime-wasi have them in ``src/p2/wit``; ``wasm-tools``
has to be on PATH. Each probe becomes a component that imports what it calls. Sockets are left out: the Python package gives no
network. Exit code 1 where a function is not real and not one of ``EXPECTED``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from diffcheck.probe import wasi
from diffcheck.probe.wasi_checks import ARGUMENTS, FILES, STDIN, VARIABLE, CallCheck, CheckResult, ProbeRun, texts
from diffcheck.probe.wasi_module import N_WORDS, SENTINEL, ImportCollector, seen

NO_TERMINAL = "get-terminal-stdin get-terminal-stdout get-terminal-stderr"
EXPECTED = {
    **dict.fromkeys(("initial-cwd", *NO_TERMINAL.split()), "stub"),  # it has no folder; there is no terminal
    # A handle that nobody gave traps.
    **dict.fromkeys(("[resource-drop]terminal-input", "[resource-drop]terminal-output"), "broken"),
    **dict.fromkeys(("display", "utc-offset"), "broken"),  # wasi:clocks/timezone is unstable, and Wasmtime has it not
}
RUN = """
import json, sys, wasmtime
from wasmtime import component
folder = sys.argv[1]
config = wasmtime.WasiConfig()
config.argv, config.env = json.loads(sys.argv[2]), json.loads(sys.argv[3])
config.stdin_file, config.stdout_file = f"{folder}/in", f"{folder}/out"
config.preopen_dir(f"{folder}/files", "/")
store = wasmtime.Store()
store.set_wasi(config)
linker = component.Linker(store.engine)
linker.add_wasip2()
instance = linker.instantiate(store, component.Component.from_file(store.engine, f"{folder}/component.wasm"))
try:
    print(json.dumps(instance.get_func(store, "run")(store)))
except wasmtime.ExitTrap as left:
    sys.exit(left.code)
"""


def componentise(entry: CallCheck, wits: Path, folder: Path) -> None:
    """The probe as a component of a world that imports what it calls."""
    places, data = texts()
    builder = ImportCollector(entry.probe, places)
    (folder / "core.wasm").write_bytes(builder.build(data, stored=True))
    imports = dict.fromkeys(each.module for each in builder.imports)
    lines = "".join(f"  import {each};\n" for each in imports)
    (folder / "wit").mkdir()
    (folder / "wit" / "world.wit").write_text(
        f"package probe:probe;\nworld probe {{\n{lines}  export run: func() -> list<u64>;\n}}\n"
    )
    (folder / "wit" / "deps").symlink_to(wits / "deps")
    for command in (
        ("embed", "--all-features", "wit", "--world", "probe", "core.wasm", "-o", "typed.wasm"),
        ("new", "typed.wasm", "-o", "component.wasm"),
    ):
        subprocess.run(["wasm-tools", "component", *command], cwd=folder, check=True, capture_output=True)


def judged(entry: CallCheck, wits: Path) -> CheckResult:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "files").mkdir()
        for file, content in FILES.items():
            if file.endswith("/"):
                (folder / "files" / file).mkdir()
            else:
                (folder / "files" / file).write_bytes(content)
        (folder / "files" / "link").symlink_to("probe.txt")
        (folder / "in").write_bytes(STDIN)
        try:
            componentise(entry, wits, folder)
        except subprocess.CalledProcessError as error:
            return CheckResult("broken", f"no component: {error.stderr.decode()[-300:]}")
        world = (json.dumps(["probe", *ARGUMENTS]), json.dumps([VARIABLE]))
        ended = subprocess.run([sys.executable, "-c", RUN, name, *world], capture_output=True, check=False, timeout=60)
        if entry.exit_code is not None:
            right = ended.returncode == entry.exit_code and not ended.stderr
            return CheckResult("real" if right else "broken", f"it ended with {ended.returncode}")
        if ended.returncode:
            return CheckResult("broken", ended.stderr.decode().strip()[-300:])
        words = json.loads(ended.stdout)
        came = seen(words)
        if len(words) != N_WORDS or any(came.sentinels[at] != SENTINEL for at in range(entry.probe.calls)):
            return CheckResult("broken", "the words are not those of a probe")
        files = {
            each.name + "/" * (each.is_dir() and not each.is_symlink()): each.read_bytes() if each.is_file() else b""
            for each in (folder / "files").iterdir()
        }
        return entry.check(ProbeRun(came, (folder / "out").read_bytes(), b"", files))


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    wits = Path(sys.argv[1]).absolute()
    version = re.search(r"^package wasi:io@(\S+);", (wits / "deps" / "io.wit").read_text(), re.MULTILINE)
    if version is None:
        sys.exit(f"{wits}/deps/io.wit is not that of wasi:io")
    entries = [each for each in wasi.all_entries(preview1=False) if "sockets" not in each.probe.function.module]
    names = [(f"{each.probe.function.module.partition('@')[0]}@{version[1]}", each.probe.function.name) for each in entries]
    counted: Counter[str] = Counter()
    wrong = 0
    for entry in wasi.at_versions(entries, names):
        found = judged(entry, wits)
        counted[found.verdict] += 1
        as_expected = found.verdict == EXPECTED.get(entry.probe.function.name, "real")
        wrong += not as_expected
        print(f"{'' if as_expected else '!! '}{entry.probe.function}: {found.verdict}; {found.why}".rstrip("; "), flush=True)
    print(", ".join(f"{count} {verdict}" for verdict, count in counted.items()), f"{wrong} not as expected", sep="; ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
