"""What faults of counters have in common, in a capsule or in the program as it is: which may be chosen, how code changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.faults import edit
from diffcheck.values import Value, is_nan
from diffcheck.wasm.module import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from diffcheck.wasm.module import Module

WIDTHS: Final = {"i32": 32, "i64": 64}


def add_to_counter(index: int, type_: str, change: int) -> bytes:
    """Instructions that add to a counter's global."""
    return edit.instructions(f"global.get $g {type_}.const $d {type_}.add global.set $g", g=index, d=change)


def set_counter(index: int, type_: str, value: int) -> bytes:
    """Instructions that set a counter's global."""
    width = WIDTHS[type_]
    value %= 1 << width
    return edit.instructions(f"{type_}.const $v global.set $g", g=index, v=value - (value >> width - 1 << width))


def comparable(counters: dict[int, int]) -> list[int]:
    """The ids of counters that show no NaN's bits, which are open."""
    return sorted(id_ for id_, value in counters.items() if not is_nan(Value("f64", value)))


def shown(value: int) -> str:
    """A counter's value as a report has it; empty for a NaN's bits, which the deterministic form makes canonical."""
    return "" if is_nan(Value("f64", value)) else str(value)


def pair_that_differs(counters: dict[int, int], chance: Random) -> tuple[int, int] | None:
    """Two ids with unequal values, ascending."""
    ids = comparable(counters)
    first = chance.choice(ids) if ids else 0
    others = [id_ for id_ in ids if counters[id_] != counters[first]]
    if not others:
        return None
    second = chance.choice(others)
    return min(first, second), max(first, second)


def counting_sites(module: Module, wasm: bytes, counters: dict[int, tuple[int, str]]) -> dict[int, tuple[int, int]]:
    """Where the code counts: id to (function, offset of the constant 1) for counters that are counted in one place only."""
    ids = {index: id_ for id_, (index, _) in counters.items()}
    found: dict[int, list[tuple[int, int]]] = {}
    for function in range(len(module.bodies)):
        listed = edit.listing(edit.body(module, wasm, function))
        for get, one, add, put in zip(listed, listed[1:], listed[2:], listed[3:], strict=False):
            names = (get.name, one.name[3:], add.name[3:], put.name)
            if (
                names == ("global.get", ".const", ".add", "global.set")
                and get.immediates == put.immediates
                and one.immediates == (1,)
                and get.immediates[0] in ids
            ):
                found.setdefault(ids[get.immediates[0]], []).append((function, one.end - 1))
    return {id_: sites[0] for id_, sites in found.items() if len(sites) == 1}


def counting(counter: int, counters: dict[int, tuple[int, str]], step: int) -> Callable[[bytes], bytes]:
    """The edit that makes the place where a counter is counted count by another step."""

    def change(wasm: bytes) -> bytes:
        module = read(wasm)
        function, at = counting_sites(module, wasm, counters)[counter]
        data = bytearray(edit.body(module, wasm, function))
        data[at] = step
        return edit.rewritten(module, wasm, {function: bytes(data)})

    return change
