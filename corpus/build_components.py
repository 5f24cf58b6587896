#!/usr/bin/env python3
"""Rebuild the artifacts that are fuses of components, `10-components/`, from `src/10-components/`.

    python corpus/build_components.py            all
    python corpus/build_components.py --check    build elsewhere and compare with what is here, change nothing

A folder `src/10-components/<stem>/` becomes `10-components/<stem>.wasm` and its manifest: every C source in it becomes a core
module, that a component of the world that its `// build: WORLD` line names (`wasi.wit`), all of them one core module again, by
meld, and that an instrumented one, by witness. The components take wasi 0.2 functions directly, so no adapter is needed.

Tools come from PATH or from the variables of `build.py`, and MELD.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from build import CORPUS, SRC, BuildError, builtins, directives, run, tool

THEME = "10-components"
FLAGS = ("--target=wasm32", "-ffreestanding", "-nostdlib", "-O1", "-g", "-fno-ident", "-Wall", "-Werror")


def component(source: Path, work: Path) -> Path:
    """Make one source a component."""
    words = directives(source)
    if len(words) != 1:
        raise BuildError(f"{source.name} needs a line `// build: WORLD`")
    clang, tools = tool("CLANG", "clang-19", "clang"), tool("WASM_TOOLS", "wasm-tools")
    for each in (source, *(SRC / THEME).glob("*.h"), *(SRC / THEME).glob("*.wit")):
        shutil.copy(each, work / each.name)
    stem = source.stem
    run([clang, *FLAGS, f"-ffile-prefix-map={work}=.", "-c", source.name, "-o", f"{stem}.o"], work)
    linker = tool("WASM_LD", "wasm-ld-19", "wasm-ld")
    run([linker, "--no-entry", "-z", "stack-size=8192", f"{stem}.o", str(builtins(clang)), "-o", f"{stem}.core.wasm"], work)
    embed = [tools, "component", "embed", "wasi.wit", "--world", words[0], f"{stem}.core.wasm", "-o", f"{stem}.typed.wasm"]
    run(embed, work)
    run([tools, "component", "new", f"{stem}.typed.wasm", "-o", f"{stem}.component.wasm"], work)
    return work / f"{stem}.component.wasm"


def build(folder: Path, target: Path) -> None:
    """Build the artifact of one folder, with its manifest, into `target`."""
    with tempfile.TemporaryDirectory(prefix="components-") as name:
        work = Path(name)
        parts = [component(source, work).name for source in sorted(folder.glob("*.c"))]
        artifact = f"{folder.name}.wasm"
        # Memories stay apart, as they are in the components; meld would otherwise decide by itself.
        options = ["--memory", "multi", "--preserve-names", "--reproducible", "--validate"]
        run([tool("MELD", "meld"), "fuse", *options, *parts, "-o", artifact], work)
        (work / "out").mkdir()
        run([tool("WITNESS", "witness"), "instrument", artifact, "-o", f"out/{artifact}"], work)
        target.mkdir(parents=True, exist_ok=True)
        for made in sorted((work / "out").iterdir()):
            shutil.copy(made, target / made.name)


def main(arguments: list[str]) -> int:
    """Exit code 0: built, or equal with `--check`; 1: something differs; 2: a tool is missing or failed."""
    if arguments not in ([], ["--check"]):
        print("build_components.py: the only option is --check", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="components-check-") as name:
        root = Path(name) if arguments else CORPUS
        try:
            for folder in sorted(path for path in (SRC / THEME).iterdir() if path.is_dir()):
                build(folder, root / THEME)
                print(f"built {THEME}/{folder.name}", file=sys.stderr)
        except BuildError as error:
            print(f"build_components.py: {error}", file=sys.stderr)
            return 2
        made = sorted((root / THEME).glob("*.wasm*"))
        changed = [each.name for each in made if each.read_bytes() != _kept(each.name)]
        if changed:
            print("\n".join(["these differ from what the build gives:", *changed]))
            return 1
    return 0


def _kept(name: str) -> bytes:
    path = CORPUS / THEME / name
    return path.read_bytes() if path.is_file() else b""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
