"""What engines print when a module traps, refuses to load or runs out of memory, by engine, in the shared terms.

Tables of regular expressions, tried in order: the first that is found in the engine's words is the meaning. Each table
says where its words are from. They serve the engines that are only a command to us (``harness:`` and ``wasi:``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.observation import Outcome, Refused, Stage, TrapKind, Trapped
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

WASMTIME: Final[tuple[tuple[str, TrapKind], ...]] = (
    # The Trap enum's Display in wasmtime 50; the CLI and Pulley say the same after "wasm trap: ".
    (r"wasm trap: wasm `?unreachable`? instruction executed", "unreachable"),
    (r"wasm trap: integer divide by zero", "integer divide by zero"),
    (r"wasm trap: integer overflow", "integer overflow"),
    (r"wasm trap: invalid conversion to integer", "invalid conversion to integer"),
    (r"wasm trap: out of bounds memory access", "out of bounds memory access"),
    (r"wasm trap: undefined element: out of bounds table access", "out of bounds table access"),
    (r"wasm trap: uninitialized element", "uninitialized element"),
    (r"wasm trap: indirect call type mismatch", "indirect call type mismatch"),
    (r"wasm trap: call stack exhausted", "call stack exhausted"),
    (r"wasm trap: null reference", "null reference"),
    (r"wasm trap: cast failure", "cast failure"),
    (r"wasm trap: out of bounds array access", "out of bounds array access"),
    (r"wasm trap: allocation size too large", "allocation too large"),
    (r"wasm trap: unaligned atomic", "unaligned atomic"),
    (r"(?:wasm trap: )?(?:unhandled|uncaught|thrown) Wasm exception", "uncaught exception"),
)

V8: Final[tuple[tuple[str, TrapKind], ...]] = (
    # V8's message templates (kTrap...), as Node 20 prints them after "RuntimeError: "; measured with Node 20.20.
    (r"RuntimeError: unreachable", "unreachable"),
    (r"RuntimeError: (?:divide|remainder) by zero", "integer divide by zero"),
    (r"RuntimeError: divide result unrepresentable", "integer overflow"),
    # V8 does not tell a NaN from a number that is too large: one of the two kinds, which compare must not tell apart.
    (r"RuntimeError: float unrepresentable in integer range", "unknown"),
    (r"RuntimeError: memory access out of bounds", "out of bounds memory access"),
    (r"RuntimeError: table index is out of bounds", "out of bounds table access"),
    (r"RuntimeError: table access out of bounds|RuntimeError: table (?:initializer )?.*out of bounds", "out of bounds table access"),
    # V8 says the same of a null entry and of one with another signature.
    (r"RuntimeError: null function or function signature mismatch", "unknown"),
    (r"RangeError: Maximum call stack size exceeded", "call stack exhausted"),
    (r"RuntimeError: dereferencing a null pointer", "null reference"),
    (r"RuntimeError: illegal cast", "cast failure"),
    (r"RuntimeError: array element access out of bounds", "out of bounds array access"),
    (r"RuntimeError: requested new array is too large", "allocation too large"),
    (r"RuntimeError: operation does not support unaligned accesses", "unaligned atomic"),
    (r"WebAssembly\.Exception", "uncaught exception"),
)
