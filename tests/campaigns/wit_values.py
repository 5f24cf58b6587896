"""Rows of components in WIT values: the component, meld's and witness's output, the capsule and a subject return the same values.

    python -m tests.campaigns.wit_values [--signatures 30] [--values 10] [--seed 1] [--subject kilnd]

Each signature is a function that returns its argument, of a type with every kind of WIT in turn. Further components are a source in C and
one in Rust. meld and witness are needed, the compilers where they are installed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec

from diffcheck.backend import contract, registry
from diffcheck.backend.contract import CallProgram, RunLimits
from diffcheck.cases import prepare
from diffcheck.cases.discovery import item_at, load_case
from diffcheck.runner.request import Request
from diffcheck.triage.reduce.interestingness import TimeBudget
from diffcheck.triage.session import Session
from diffcheck.triage.target import Target
from diffcheck.triage.triage_folder import TriageFolder
from diffcheck.triage.workflow import TriageWorkflow
from diffcheck.wasm.wit import wave
from diffcheck.wasm.wit.types import WitFunction
from tests.components import ALLOCATOR, compiled, component, wat
from tests.wit_programs import SCALARS, SHAPES, World, draw_type, draw_value, identity

GROUP = 3
"""The signatures of a component, since each row is a function, which takes memory in an engine."""
SOURCES = Path(__file__).parents[1] / "component_sources"


def groups(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """The world and the core module of each component."""
    rng = Random(seed)
    kinds = (*SHAPES, *SCALARS)
    for first in range(0, count, GROUP):
        world, core = World(), []
        for at in range(first, min(first + GROUP, count)):
            type_ = draw_type(rng, kinds[at % len(kinds)])
            world.export(f"same{at}", WitFunction((type_,), type_))
            core.append(identity(f"same{at}", type_))
        allocator = ALLOCATOR.replace('(func (export "cabi_realloc")', '(func $realloc (export "cabi_realloc")')
        yield "\n".join(world.lines), wat(f"(module {allocator} {' '.join(core)})")


def rows(path: Path, values: int, seed: int) -> list[str]:
    """Rows with drawn values for each function of a component."""
    rng = Random(seed)
    with contract.local_host() as host:
        functions = registry.create("wasmtime", {}).call(CallProgram(path.read_bytes()), RunLimits(), host).functions
    return [
        f"{name}({', '.join(wave.text(each, draw_value(rng, each)) for each in function.params)})"
        for name, function in functions.items()
        for _ in range(values)
    ]


def result(path: Path, subject: str, folder: Path) -> str:
    """What a triage says of a component; empty if all agree."""
    options = prepare.tools(os.environ)
    request = Request((str(path),), subject=subject, options=options, deadline_s=60.0, cache=str(folder / "cache"))
    with Session(request, Target(load_case(item_at(path))), TimeBudget(None, lambda: None), lambda _: None) as session:
        steps = TriageWorkflow(session, TriageFolder(folder / "triage"), lambda _: None)
        diverges = steps.find()
        steps.blame()
        blame = steps.state.blame
        if blame is None or (not diverges and steps.report().verdict != "agree"):
            return f"not compared: {steps.report().reason}"
        return str(blame) if diverges or blame.culprit or blame.notes or not blame.what.endswith("wasmtime") else ""


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signatures", type=int, default=30, help="signatures (default: 30)")
    parser.add_argument("--values", type=int, default=10, help="values of each signature (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="a number that all types and values follow from (default: 1)")
    parser.add_argument("--subject", default="kilnd", help="the subject (default: kilnd)")
    given = parser.parse_args()
    begun, differing, count = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as name:
        programs = [*groups(given.signatures, given.seed)]
        world = (SOURCES / "stock.wit").read_text()
        sources = [compiled(Path(name), SOURCES / f"stock.{language}") for language in ("c", "rs")]
        programs += [(world, each) for each in sources if each is not None]
        for at, (wit, core) in enumerate(programs):
            folder = Path(name) / str(at)
            folder.mkdir()
            path = component(folder, wit, core)
            drawn = rows(path, given.values, given.seed + at)
            path.with_suffix(".toml").write_bytes(b"rows = " + msgspec.json.encode(drawn) + b"\n")
            words = result(path, given.subject, folder)
            differing, count = differing + bool(words), count + len(drawn)
            print(f"{'DIFFERS' if words else 'agree'}  component {at}, {len(drawn)} rows  {words}", flush=True)
    print(f"{len(programs)} components, {count} rows: {differing} differ, in {time.monotonic() - begun:.0f} s")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
