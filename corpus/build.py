#!/usr/bin/env python3
"""Rebuild every artifact of the corpus from its source under `src/`.

    python corpus/build.py                 all cases
    python corpus/build.py leap_year ...   only these
    python corpus/build.py --check         build elsewhere and compare with what is here, change nothing

`src/<theme>/<stem>.c` or `.wat` becomes `<theme>/<stem>.wasm` and its manifest `<stem>.wasm.witness.json`; the case file
`<stem>.toml` is written by hand. C is compiled and linked in two steps, because clang's driver would run wasm-opt after
linking where it finds one, which strips the debug information that witness takes its decisions from.

A line `// build: word ...` (C) or `;; build: word ...` (text format) near the top of a source changes how it is built:
`wasi` links wasi-libc and a command's start file; `plain` leaves out instrumentation, for what witness cannot read (the
reason stands beside it); `dwarf` gives a text-format source line information; anything that starts with `-` is passed to clang.

Tools come from PATH or from these variables: CLANG, WASM_LD, WITNESS, WASM_TOOLS, WASI_SYSROOT (holds include/wasm32-wasi and
lib/wasm32-wasi), WASI_BUILTINS (libclang_rt.builtins-wasm32.a).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

CORPUS = Path(__file__).resolve().parent
SRC = CORPUS / "src"
# Artifacts that are kept as they came out of a longer chain; PROVENANCE.md says which. Their sources are not built here.
KEPT = {"json_check"}
TIMEOUT_S = 120.0


class BuildError(Exception):
    """A tool is missing or failed; the text says what to do."""


def tool(variable: str, *names: str) -> str:
    """The path of the first tool that exists: `variable`'s value, or one of `names` on PATH."""
    wanted = (os.environ[variable],) if os.environ.get(variable) else names
    for name in wanted:
        if found := shutil.which(name):
            return found
    raise BuildError(f"{' or '.join(wanted)} was not found: install it, or set {variable} to its path")


def sysroot() -> Path:
    """The folder with wasi-libc's include/wasm32-wasi and lib/wasm32-wasi."""
    places = [os.environ["WASI_SYSROOT"]] if os.environ.get("WASI_SYSROOT") else ["/usr", "/opt/wasi-sdk/share/wasi-sysroot"]
    for place in map(Path, places):
        if (place / "lib/wasm32-wasi/crt1-command.o").is_file():
            return place
    raise BuildError(f"no wasi-libc in {', '.join(places)}: install wasi-libc, or set WASI_SYSROOT")


def builtins(clang: str) -> Path:
    """Clang's run-time library for wasm32, where 128-bit multiplication and the like live."""
    if given := os.environ.get("WASI_BUILTINS"):
        return Path(given)
    resources = Path(run([clang, "--print-resource-dir"], cwd=SRC).strip())
    for found in (
        resources / "lib/wasi/libclang_rt.builtins-wasm32.a",
        resources / "lib/wasm32-unknown-wasi/libclang_rt.builtins.a",
    ):
        if found.is_file():
            return found
    raise BuildError("no libclang_rt.builtins-wasm32.a: install libclang-rt for wasm32, or set WASI_BUILTINS to its path")


def run(command: list[str], cwd: Path) -> str:
    """Standard output of a command that must succeed, with nothing of the environment that could change its output."""
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", ""), "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"}
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{Path(command[0]).name} took more than {TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)}\n{done.stderr.strip()}")
    return done.stdout


def directives(source: Path) -> list[str]:
    """The words of the source's `build:` line."""
    head = source.read_text(encoding="utf-8")[:2000]
    found = re.search(r"^(?://|;;) build: (.*)$", head, re.MULTILINE)
    return found[1].split() if found else []


def compile_c(source: Path, words: list[str], work: Path) -> Path:
    """A linked module from one C source, with names and DWARF."""
    clang, linker = tool("CLANG", "clang-19", "clang"), tool("WASM_LD", "wasm-ld-19", "wasm-ld")
    shutil.copy(source, work / source.name)
    shutil.copy(SRC / "row.h", work / "row.h")
    flags = [word for word in words if word.startswith("-")]
    target = (
        ["--target=wasm32-wasi", f"--sysroot={sysroot()}"]
        if "wasi" in words
        else ["--target=wasm32", "-ffreestanding", "-nostdlib"]
    )
    run([clang, *target, "-O1", "-g", f"-ffile-prefix-map={work}=.", "-fno-ident", *flags, "-c", source.name, "-o", "case.o"], work)
    out = work / f"{source.stem}.wasm"
    if "wasi" in words:
        lib = sysroot() / "lib/wasm32-wasi"
        run([linker, f"-L{lib}", str(lib / "crt1-command.o"), "case.o", "-lc", str(builtins(clang)), "-o", out.name], work)
    else:
        run([linker, "--no-entry", "-z", "stack-size=8192", "case.o", str(builtins(clang)), "-o", out.name], work)
    return out


def assemble(source: Path, words: list[str], work: Path) -> Path:
    """A module from the text format."""
    out = work / f"{source.stem}.wasm"
    if "dwarf" in words:
        shutil.copy(source, work / source.name)
        run([tool("WASM_TOOLS", "wasm-tools"), "parse", "-g", source.name, "-o", out.name], work)
        return out
    try:
        import wasmtime  # noqa: PLC0415 - only the text-format sources need it
    except ImportError as error:
        raise BuildError("the Python package wasmtime was not found: it assembles the text-format sources") from error
    try:
        out.write_bytes(wasmtime.wat2wasm(source.read_text(encoding="utf-8")))
    except wasmtime.WasmtimeError as error:
        raise BuildError(f"{source.name}: {error}") from error
    return out


def build(source: Path, target: Path) -> None:
    """Build one source into `target`, a folder of its theme."""
    words = directives(source)
    with tempfile.TemporaryDirectory(prefix="corpus-") as name:
        work = Path(name)
        module = compile_c(source, words, work) if source.suffix == ".c" else assemble(source, words, work)
        target.mkdir(parents=True, exist_ok=True)
        if "plain" in words:
            shutil.copy(module, target / module.name)
            return
        out = work / "out"
        out.mkdir()
        run([tool("WITNESS", "witness"), "instrument", module.name, "-o", f"out/{module.name}"], work)
        for made in sorted(out.iterdir()):
            shutil.copy(made, target / made.name)


def sources() -> list[Path]:
    """Every source that is built here, in the order of the corpus."""
    return [path for path in sorted(SRC.glob("*/*")) if path.suffix in {".c", ".wat"} and path.stem not in KEPT]


def differing(built: Path) -> list[str]:
    """The artifacts in the corpus that are not what the build gives."""
    return [
        str(path.relative_to(built))
        for path in sorted(built.glob("*/*"))
        if not (CORPUS / path.relative_to(built)).is_file() or (CORPUS / path.relative_to(built)).read_bytes() != path.read_bytes()
    ]


def versions() -> list[str]:
    """One line a tool, for PROVENANCE.md."""
    clang = tool("CLANG", "clang-19", "clang")
    lines = [
        run([name, "--version"], SRC).splitlines()[0]
        for name in (clang, tool("WASM_LD", "wasm-ld-19", "wasm-ld"), tool("WITNESS", "witness"))
    ]
    return [*lines, f"wasmtime (Python package, for the text format) {importlib.metadata.version('wasmtime')}"]


def between(page: Path, mark: str, lines: list[str]) -> None:
    """Put lines between the marks of a page, which the rest of the page stays around."""
    start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    head, _, rest = page.read_text(encoding="utf-8").partition(start)
    _, _, tail = rest.partition(end)
    page.write_text(head + start + "\n".join(lines) + "\n" + end + tail, encoding="utf-8")


def write_provenance() -> None:
    """Tool versions and digests into PROVENANCE.md."""
    lines = [f"- {line}" for line in versions()] + ["", "| artifact | bytes | sha256 |", "| --- | ---: | --- |"]
    for path in sorted(CORPUS.glob("[0-9]*/*.wasm")):
        data = path.read_bytes()
        lines.append(f"| `{path.relative_to(CORPUS)}` | {len(data)} | `{hashlib.sha256(data).hexdigest()}` |")
    between(CORPUS / "PROVENANCE.md", "built", lines)


def write_table() -> None:
    """The table of cases into README.md, from the case files."""
    lines = ["| case | purpose | rows | expected |", "| --- | --- | ---: | --- |"]
    for path in sorted(CORPUS.glob("[0-9]*/*.toml")):
        case = tomllib.loads(path.read_text(encoding="utf-8"))
        expect = case["expect"]
        verdict = ", ".join(
            [expect["default"], *(f"{subject}: {what}" for subject, what in expect.items() if subject != "default")]
        )
        rows = len(case["rows"]) if "rows" in case else "default"
        lines.append(f"| `{path.relative_to(CORPUS).with_suffix('')}` | {case['purpose']} | {rows} | {verdict} |")
    between(CORPUS / "README.md", "cases", lines)


def main(arguments: list[str]) -> int:
    """Exit code 0: built, or equal with `--check`; 1: something differs; 2: a tool is missing or failed."""
    check = "--check" in arguments
    wanted = {name for name in arguments if name != "--check"}
    unknown = wanted - {path.stem for path in sources()}
    if unknown:
        print(f"no source for {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="corpus-check-") as name:
        root = Path(name) if check else CORPUS
        try:
            for source in sources():
                if not wanted or source.stem in wanted:
                    build(source, root / source.parent.name)
                    print(f"built {source.parent.name}/{source.stem}", file=sys.stderr)
            if not check:
                write_provenance()
                write_table()
        except BuildError as error:
            print(f"build.py: {error}", file=sys.stderr)
            return 2
        if check and (changed := differing(root)):
            print("\n".join(["these differ from what the build gives:", *changed]))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
