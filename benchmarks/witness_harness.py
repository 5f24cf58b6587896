"""Compares witness's record of a run under a backend with the one of its own run, for every instrumented artifact with decisions.

    python benchmarks/witness_harness.py [ARTIFACT...] [--backend kilnd] [--quick] [--markdown FILE]

Without ARTIFACT all of the corpus with decisions are taken. ``witness`` has to be on PATH; kilnd is DIFFCHECK_KILND or on PATH.
Each artifact runs three ways: ``witness run --harness 'diffcheck harness --full'``; ``witness run --invoke ...`` on witness's own
Wasmtime, of the sealed file where the program needs a world that witness does not give (wasi 0.2, arguments, an environment, a bound
of its memory); and ``witness run --harness kilnd`` with nothing in between. Rows that do not return are left out, since witness
writes no record then. Equal means: the hits of every branch, every decision's every row, the order of rows, the trace's size. Exit
code 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from diffcheck.runner.observe.observe_case import CaseRead, ObserveRequest, case_of, read_case
from diffcheck.wasm.module import read

CORPUS = Path(__file__).parents[1] / "corpus"
DEADLINE = ("--deadline", "120", "--memory-limit", "12GiB")


class Line(msgspec.Struct):
    """One artifact's line of the table."""

    name: str
    rows: int = 0
    left_out: int = 0
    branches: int = 0
    hit: int = 0
    decisions: int = 0
    vectors: int = 0
    against: str = ""
    equal: bool = False
    cross_check: bool = False
    alone: bool = False
    executions: int = 0
    seconds: float = 0.0
    note: str = ""


def witness(*arguments: str, stdin: bytes = b"") -> tuple[int, str]:
    ended = subprocess.run(["witness", *arguments], capture_output=True, input=stdin, check=False)
    said = ended.stderr.decode(errors="replace").strip().splitlines()
    return ended.returncode, next((line for line in said if line.startswith("error: ")), said[0] if said else "")


def record(path: Path) -> dict[str, Any]:
    """What has to be equal in two records: all but what witness itself fills otherwise for a harness."""
    found = json.loads(path.read_text())
    health = {key: value for key, value in found["trace_health"].items() if key not in ("rows", "pages_allocated")}
    return {**{key: found[key] for key in ("invoked", "branches", "decisions")}, "trace_health": health}


def rows_of(artifact: Path) -> tuple[list[str], list[str], CaseRead]:
    """The rows that return, as witness writes them and in its order (without arguments first), and those that do not."""
    seen = read_case(ObserveRequest(str(artifact), backend="wasmtime", keep_going=True, deadline_s=60))
    stopped = {stop.row for stop in seen.read.stops}
    names = [row.name for row in seen.plan.layout.rows if not row.init]
    kept = [name for name in names if name not in stopped]
    plain = [name for name in kept if "=" not in name]
    return plain + [_decimal(name) for name in kept if "=" in name], sorted(stopped), seen


def _decimal(row: str) -> str:
    """Arguments as witness takes them: decimal and signed, where a case file may have hex of 32 or 64 bits."""
    name, _, arguments = row.rpartition("=")
    words = []
    for word in arguments.split(","):
        number = int(word, 0) if word.lower().startswith(("0x", "-0x")) else None
        if number is not None:
            width = 32 if number < 1 << 32 else 64
            word = str(number - (1 << width) if number >= 1 << (width - 1) else number)  # noqa: PLW2901 - its decimal form
        words.append(word)
    return f"{name}={','.join(words)}"


def needs_sealing(artifact: Path) -> str:
    """Why witness's own runtime cannot give the program its world, or nothing."""
    case = case_of(ObserveRequest(str(artifact)))
    if any(each.module.startswith("wasi:") for each in read(artifact.read_bytes()).imports):
        return "sealed, wasi 0.2"
    if case.args or case.env:
        return "sealed, arguments"
    bounded = case.limits.memory_pages is not None or case.limits.table_elements is not None
    return "sealed, memory bound" if bounded else ""


def compared(artifact: Path, backend: str, kilnd: str, *, full: bool, folder: Path) -> Line:
    manifest = json.loads(Path(f"{artifact}.witness.json").read_text())
    line = Line(artifact.stem, branches=len(manifest["branches"]), decisions=len(manifest["decisions"]))
    rows, stopped, _ = rows_of(artifact)
    line.rows, line.left_out, line.against = len(rows), len(stopped), needs_sealing(artifact) or "own run"
    if not rows:
        line.note = "no row returns: witness writes no record either"
        return line
    stdin = case_of(ObserveRequest(str(artifact))).stdin
    own, ours, alone = folder / "own.json", folder / "ours.json", folder / "alone.json"
    plain = [word for row in rows if "=" not in row for word in ("--invoke", row)]
    typed = [word for row in rows if "=" in row for word in ("--invoke-with-args", row)]
    target = artifact
    if line.against != "own run":
        target = folder / artifact.name
        subprocess.run(
            [sys.executable, "-m", "diffcheck", "seal", str(artifact), "-o", str(target)], check=True, capture_output=True
        )
    code, said = witness("run", str(target), "-o", str(own), *plain, *typed, stdin=stdin)
    if code:
        line.note = f"witness: {said[:80]}"
        return line
    command = [sys.executable, "-m", "diffcheck", "harness", "--backend", backend, *DEADLINE]
    command += ["--full"] * full + [word for row in rows for word in ("--rows", row)]
    kept = folder / "snapshot.json"
    begun = time.monotonic()
    harness = f'{shlex.join(command)} && cp "$WITNESS_OUTPUT" {shlex.quote(str(kept))}'
    code, said = witness("run", str(artifact), "-o", str(ours), "--harness", harness)
    line.seconds = time.monotonic() - begun
    if code:
        line.note = said[:100]
        return line
    one, other = record(own), record(ours)
    line.hit = sum(branch["hits"] > 0 for branch in one["branches"])
    line.vectors = sum(len(decision["rows"]) for decision in one["decisions"])
    line.equal = one == other
    line.note = "" if line.equal else ", ".join(key for key in one if one[key] != other[key]) + " differ"
    line.cross_check = witness("cross-check", str(own), str(ours))[0] == 0
    line.executions = json.loads(kept.read_text())["source"]["executions"]
    line.alone = bool(kilnd) and witness("run", str(artifact), "-o", str(alone), "--harness", kilnd)[0] == 0
    return line


def table(lines: list[Line]) -> str:
    heads = (
        *("artifact", "rows", "branches hit", "decisions", "decision rows"),
        *("compared with", "record", "cross-check", "runs", "seconds", "kilnd alone"),
    )
    body = [
        (
            each.name, f"{each.rows}" + (f" (+{each.left_out} not returning)" if each.left_out else ""),
            f"{each.hit} of {each.branches}",
            str(each.decisions), str(each.vectors), each.against, "equal" if each.equal else each.note,
            "agrees" if each.cross_check else "-", str(each.executions), f"{each.seconds:.1f}", "yes" if each.alone else "no",
        )
        for each in lines
    ]  # fmt: skip
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, ("---",) * len(heads), *body))


def with_decisions() -> list[Path]:
    paths = (path for path in sorted(CORPUS.rglob("*.wasm")) if Path(f"{path}.witness.json").exists())
    return [path for path in paths if json.loads(Path(f"{path}.witness.json").read_text()).get("decisions")]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("artifacts", nargs="*", type=Path)
    options.add_argument("--backend", default="kilnd")
    options.add_argument("--quick", action="store_true", help="without --full: equal by digest where that is so")
    options.add_argument("--markdown", type=Path)
    given = options.parse_args()
    if not shutil.which("witness"):
        sys.exit("there is no witness on PATH")
    kilnd = os.environ.get("DIFFCHECK_KILND") or shutil.which("kilnd") or ""
    lines = []
    for artifact in given.artifacts or with_decisions():
        with tempfile.TemporaryDirectory() as folder:
            lines.append(compared(artifact.absolute(), given.backend, kilnd, full=not given.quick, folder=Path(folder)))
        print(msgspec.json.encode(lines[-1]).decode(), file=sys.stderr, flush=True)
    recorded = [each for each in lines if each.equal or each.vectors or each.hit]
    text = (
        f"{table(lines)}\n\n{sum(each.equal for each in lines)} of {len(lines)} artifacts have a record equal to witness's own; "
        f"`--harness kilnd` alone runs {sum(each.alone for each in lines)} of them.\n"
    )
    print(text)
    if given.markdown:
        given.markdown.write_text(text)
    return 0 if recorded and all(each.equal for each in recorded) else 1


if __name__ == "__main__":
    sys.exit(main())
