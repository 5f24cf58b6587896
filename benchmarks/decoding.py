"""Function bodies decoded, typed and encoded again: ``benchmarks/decoding.py FILE...``, any core modules.

Prints how many instructions give the same bytes (that is, all, or the file and offset), how many are in their shortest form, how many
functions could be typed, and the time. Without files it takes the corpus.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from diffcheck.errors import ArtifactError
from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.encode import encode
from diffcheck.wasm.typing import type_body


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    files = parser.parse_args().files or sorted((Path(__file__).parents[1] / "corpus").glob("*/*.wasm"))
    total: Counter[str] = Counter()
    wrong, untyped = [], Counter()
    begun = time.monotonic()
    for path in files:
        data = path.read_bytes()
        try:
            module = wasm.read(data)
        except ArtifactError as error:
            print(f"{path.name}: {error}")
            continue
        total["modules"] += 1
        for at, (offset, size) in enumerate(module.bodies):
            body = data[offset : offset + size]
            total["functions"] += 1
            total["bytes"] += size
            for each in instructions(body, offset, start=read_locals(body).end):
                raw = data[each.offset : each.end]
                total["instructions"] += 1
                total["shortest"] += encode(each) == raw
                if encode(each, like=raw) != raw:
                    wrong.append(f"{path.name} {each.offset:#x} {each.name}: {raw.hex()} became {encode(each, like=raw).hex()}")
            try:
                type_body(module, module.n_imported("func") + at, body, offset)
                total["typed"] += 1
            except ArtifactError as error:
                untyped[f"{path.name}: {str(error).partition(' at ')[0]}"] += 1
    elapsed = time.monotonic() - begun
    print(
        f"{total['modules']} modules, {total['functions']:,} functions, {total['bytes']:,} bytes, {total['instructions']:,} instructions"
    )
    print(f"the same bytes: {total['instructions'] - len(wrong):,}; in their shortest form: {total['shortest']:,}")
    print(f"typed: {total['typed']:,} functions; {elapsed:.1f} s")
    print(*wrong[:20], sep="\n")
    print(*(f"not typed, {count} functions: {why}" for why, count in untyped.most_common(10)), sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
