"""100,000 counters from the end of a run to values in Python: the recorder's stream against ``Instance.exports``.

    python benchmarks/counters.py [--counters 100000] [--rounds 1]

Two ratios, both of the way through ``Instance.exports`` to diffcheck's: reading alone, from the moment the run has ended; and with all
that the recorder adds to compiling and running the module counted on diffcheck's side (a capsule is larger than its artifact). The
values have to be equal, and the stream is decoded with all its checks. ``Instance.exports`` takes time that grows with the square of
the number, so a round of 100,000 takes most of a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time

import common
import wasmtime

from diffcheck.capsule import layout as lo
from diffcheck.capsule.build import build
from diffcheck.capsule.decode import decode_image, state
from diffcheck.capsule.seal import World
from diffcheck.cases.rows import choose
from diffcheck.wasm import module as wasm

PREFIX = "__witness_counter_"


def engine() -> wasmtime.Engine:
    """wasmtime as the oracle has it, as far as speed goes."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.parallel_compilation = False
    return wasmtime.Engine(config)


def by_exports(data: bytes) -> tuple[float, float, dict[int, int]]:
    """Seconds to compile and run the artifact itself, seconds to read its counters through ``Instance.exports``, the counters."""
    begun = time.perf_counter()
    made = engine()
    store = wasmtime.Store(made)
    store.set_epoch_deadline(1)
    instance = wasmtime.Linker(made).instantiate(store, wasmtime.Module(made, data))
    linker = wasmtime.Linker(made)
    linker.define_instance(store, "", instance)
    row = linker.get(store, "", "run_row_0")
    assert isinstance(row, wasmtime.Func)
    row(store)
    ran = time.perf_counter()
    exports = instance.exports(store)
    values = {}
    for name, item in exports.items():
        if name.startswith(PREFIX):
            assert isinstance(item, wasmtime.Global)
            values[int(name.removeprefix(PREFIX))] = item.value(store) % (1 << 64)
    return ran - begun, time.perf_counter() - ran, values


def by_recorder(data: bytes) -> tuple[float, float, dict[int, int]]:
    """The same of its capsule, whose sealing counts as compiling, through the recorder's memory."""
    begun = time.perf_counter()
    module = wasm.read(data)
    capsule = build(module, hashlib.sha256(data).hexdigest(), choose(module).calls, World())
    made = engine()
    store = wasmtime.Store(made)
    store.set_epoch_deadline(1)
    linker = wasmtime.Linker(made)
    linker.define_instance(
        store, "", linker.instantiate(store, wasmtime.Module(made, capsule.with_parameters(lo.Parameters(0, 1))))
    )
    start, memory = linker.get(store, "", lo.ENTRY), linker.get(store, "", lo.MEMORY_EXPORT)
    assert isinstance(start, wasmtime.Func)
    assert isinstance(memory, wasmtime.Memory)
    start(store)
    ran = time.perf_counter()
    header = lo.read_header(bytes(memory.read(store, lo.HEADER_ADDRESS, lo.HEADER_ADDRESS + lo.HEADER.size)))
    image = decode_image(bytes(memory.read(store, 0, header.address + header.length)), capsule.layout, 0, 1)
    values = state(image, capsule.layout).counters
    return ran - begun, time.perf_counter() - ran, values


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counters", type=int, default=100_000, help="how many (default: 100000)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is measured, in turns (default: 1)")
    given = parser.parse_args()
    data = common.counters_only(given.counters)
    by_recorder(common.counters_only(10))  # first uses of the assembler and of wasmtime are no part of it
    plain, recorded = [], []
    for _ in range(given.rounds):
        plain.append(by_exports(data))
        recorded += [by_recorder(data) for _ in range(3)]
    assert all(each[2] == plain[0][2] for each in (*plain, *recorded)), "both read the same values"
    assert len(plain[0][2]) == given.counters
    recorded.sort(key=lambda each: each[1])
    run, read, _ = min(plain, key=lambda each: each[1])
    own_run, own_read, _ = recorded[len(recorded) // 2]
    added = max(0.0, own_run - run)
    detail = f"{given.counters} counters; {read:.1f} s through Instance.exports, {own_read * 1e3:.0f} ms through the recorder"
    lines = (
        common.Line("reading counters, Instance.exports to recorder", read / own_read, 100, least=True, unit=" times", detail=detail),
        common.Line(
            "the same with all that the recorder adds", read / (own_read + added), 5, least=True, unit=" times",
            detail=f"sealing, compiling and running take {added:.2f} s more than the artifact alone; {common.load()}",
        ),
    )  # fmt: skip
    return common.show(*lines)


if __name__ == "__main__":
    sys.exit(main())
