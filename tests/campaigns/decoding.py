"""Function bodies decoded, typed and encoded again: ``python -m tests.campaigns.decoding FILE...``, any core modules.

Prints how many instructions give the same bytes (that is, all, or the file and offset), how many are in their shortest form, how many
functions could be typed, and the time. Without files it takes the corpus. ``--smith N`` adds N modules that ``wasm-tools smith`` makes of
random bytes, by ``--seed``; ``--print`` also compares all instructions' names, in order, with what ``wasm-tools print`` has.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from diffcheck.errors import ArtifactError
from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.encode import encode
from diffcheck.wasm.typing import type_body
from tests.wasm import printed

ON = ("bulk-memory", "exceptions", "gc", "memory64", "multi-value", "reference-types", "relaxed-simd", "saturating-float-to-int",
      "sign-extension-ops", "simd", "tail-call", "threads", "wide-arithmetic")  # fmt: skip
OFF = ("compact-imports", "custom-descriptors", "custom-page-sizes")
"""The proposals that ``wasm-tools smith`` is to use, and those beyond 3.0 that are not read (an ``ArtifactError`` with its offset)."""


def made(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Generated modules, each of 4 KiB of random bytes."""
    rng = random.Random(seed)
    command = [
        printed.tool() or "wasm-tools",
        "smith",
        *(f"--{each}-enabled=true" for each in ON),
        "--max-memories=3",
        "--max-tables=3",
    ]
    command += ["--min-funcs=1", "--max-instructions=400"]
    command += [f"--{each}-enabled=false" for each in OFF]
    for at in range(count):
        ran = subprocess.run(command, input=rng.randbytes(4096), capture_output=True, check=False)
        if ran.returncode:
            raise SystemExit(f"wasm-tools smith: {ran.stderr.decode(errors='replace')}")
        yield f"generated {at}", ran.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--smith", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--print", action="store_true", dest="prints")
    given = parser.parse_args()
    files = given.files or sorted((Path(__file__).parents[2] / "corpus").glob("*/*.wasm"))
    every = [*((path.name, path.read_bytes()) for path in files), *made(given.smith, given.seed)]
    total: Counter[str] = Counter()
    wrong, untyped = [], Counter()
    begun = time.monotonic()
    for name, data in every:
        try:
            module = wasm.read(data)
        except ArtifactError as error:
            print(f"{name}: {error}")
            continue
        total["modules"] += 1
        if given.prints:
            total["named alike"] += sum(map(len, named := printed.decoded(module, data)))
            if named != printed.names(data):
                wrong.append(f"{name}: other names than wasm-tools prints")
        for at, (offset, size) in enumerate(module.bodies):
            body = data[offset : offset + size]
            total["functions"] += 1
            total["bytes"] += size
            for each in instructions(body, offset, start=read_locals(body).end):
                raw = data[each.offset : each.end]
                total["instructions"] += 1
                total["shortest"] += encode(each) == raw
                if encode(each, like=raw) != raw:
                    wrong.append(f"{name} {each.offset:#x} {each.name}: {raw.hex()} became {encode(each, like=raw).hex()}")
            try:
                type_body(module, module.n_imported("func") + at, body, offset)
                total["typed"] += 1
            except ArtifactError as error:
                untyped[f"{name}: {str(error).partition(' at ')[0]}"] += 1
    elapsed = time.monotonic() - begun
    print(
        f"{total['modules']} modules, {total['functions']:,} functions, {total['bytes']:,} bytes, {total['instructions']:,} instructions"
    )
    print(f"the same bytes: {total['instructions'] - len(wrong):,}; in their shortest form: {total['shortest']:,}")
    print(f"typed: {total['typed']:,} functions; {elapsed:.1f} s")
    if given.prints:
        print(f"named as wasm-tools prints it: {total['named alike']:,} instructions, all but those that are listed below")
    print(*wrong[:20], sep="\n")
    print(*(f"not typed, {count} functions: {why}" for why, count in untyped.most_common(10)), sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
