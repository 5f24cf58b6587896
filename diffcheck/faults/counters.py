"""Counter faults of both passes: the choice of a counter, and the code that changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.faults import module_edit
from diffcheck.wasm.module import read
from diffcheck.wasm.values import Value, is_nan

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from diffcheck.wasm.module import Module

WIDTHS: Final = {"i32": 32, "i64": 64}


def add_to_counter(index: int, type_: str, change: int) -> bytes:
    """Return instructions that add ``change`` to a counter's global."""
    return module_edit.instructions(f"global.get $g {type_}.const $d {type_}.add global.set $g", g=index, d=change)


def set_counter(index: int, type_: str, value: int) -> bytes:
    """Return instructions that set a counter's global to ``value``."""
    width = WIDTHS[type_]
    value %= 1 << width
    return module_edit.instructions(f"{type_}.const $v global.set $g", g=index, v=value - (value >> width - 1 << width))


def comparable(counters: dict[int, int]) -> list[int]:
    """Return the ids of counters that do not hold the bits of a NaN, which the specification leaves open."""
    return sorted(id_ for id_, value in counters.items() if not is_nan(Value("f64", value)))


def reported_value(value: int) -> str:
    """Return a counter's value as in a report; empty for the bits of a NaN, which the deterministic form makes canonical."""
    return "" if is_nan(Value("f64", value)) else str(value)


def unequal_pair(counters: dict[int, int], chance: Random) -> tuple[int, int] | None:
    """Choose two ids with unequal values, in ascending order; None if there are none."""
    ids = comparable(counters)
    first = chance.choice(ids) if ids else 0
    others = [id_ for id_ in ids if counters[id_] != counters[first]]
    if not others:
        return None
    second = chance.choice(others)
    return min(first, second), max(first, second)


def counting_sites(module: Module, wasm: bytes, counters: dict[int, tuple[int, str]]) -> dict[int, tuple[int, int]]:
    """Return id -> (function, offset of the constant 1) for each counter that exactly one place increments."""
    ids = {index: id_ for id_, (index, _) in counters.items()}
    sites: dict[int, list[tuple[int, int]]] = {}
    for function in range(len(module.bodies)):
        listed = module_edit.listing(module_edit.body(module, wasm, function))
        for get, one, add, put in zip(listed, listed[1:], listed[2:], listed[3:], strict=False):
            names = (get.name, one.name[3:], add.name[3:], put.name)
            if (
                names == ("global.get", ".const", ".add", "global.set")
                and get.immediates == put.immediates
                and one.immediates == (1,)
                and get.immediates[0] in ids
            ):
                sites.setdefault(ids[get.immediates[0]], []).append((function, one.end - 1))
    return {id_: places[0] for id_, places in sites.items() if len(places) == 1}


def change_step(counter: int, counters: dict[int, tuple[int, str]], step: int) -> Callable[[bytes], bytes]:
    """Return an edit that increments a counter by ``step`` instead of 1."""

    def change(wasm: bytes) -> bytes:
        module = read(wasm)
        function, at = counting_sites(module, wasm, counters)[counter]
        data = bytearray(module_edit.body(module, wasm, function))
        data[at] = step
        return module_edit.rewrite(module, wasm, {function: bytes(data)})

    return change
