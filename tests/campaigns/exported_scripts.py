"""Findings exported as scripts: each fails on the subject and passes on the other engines.

    python -m tests.campaigns.exported_scripts [--engine SUBJECT ...] [CASE ...]

The subject is kilnd, the cases those of ``corpus/09-engine``. The engines to pass are wasmtime's interpreter and those given, for example
``--engine 'wasi:node --no-warnings docs/engines/javascript.mjs'`` for V8.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE

CORPUS = Path("corpus/09-engine")


def diffcheck(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with its reports in ``folder``."""
    command = [sys.executable, "-m", "diffcheck", *arguments, "--reports", str(folder / "reports")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def exported(artifact: Path, folder: Path) -> Path | None:
    """The script of a case that diverges on kilnd; None if there is none, with the reason printed."""
    made = diffcheck(folder, "export-wast", str(artifact), "--subject", "kilnd")
    if made.returncode != EXIT_DIVERGE:
        print(f"{artifact.stem:24} no script: {made.stderr.strip().splitlines()[-1:]}", flush=True)
        return None
    script = folder / f"{artifact.stem}.wast"
    script.write_text(made.stdout)
    return script


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", action="append", default=[], help="a further subject that the scripts must pass on")
    parser.add_argument("cases", nargs="*", type=Path)
    given = parser.parse_args()
    engines = {"kilnd": EXIT_DIVERGE, "wasmtime-pulley": EXIT_AGREE, **dict.fromkeys(given.engine, EXIT_AGREE)}
    right = scripts = 0
    with tempfile.TemporaryDirectory() as name:
        for artifact in given.cases or sorted(CORPUS.glob("*.wasm")):
            script = exported(artifact, Path(name))
            if script is None:
                continue
            codes = {each: diffcheck(Path(name), "run", str(script), "--subject", each).returncode for each in engines}
            scripts, right = scripts + 1, right + (codes == engines)
            words = ("passes", "fails")
            print(
                f"{artifact.stem:24}",
                *(f"{each}: {words[code] if code < len(words) else code}" for each, code in codes.items()),
                flush=True,
            )
    print(f"{right} of {scripts} scripts fail on kilnd and pass on every other engine")
    return int(right < scripts or not scripts)


if __name__ == "__main__":
    sys.exit(main())
