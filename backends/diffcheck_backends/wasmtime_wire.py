"""What a worker and its wasmtime server say to each other: one request, one reply, as msgpack frames.

Kept apart from the server so that the worker never imports wasmtime, which costs 77 ms and 30 MB of address space.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from diffcheck.observation import Execution, Outcome

Target = Literal["native", "pulley64"]


class Variant(msgspec.Struct, frozen=True):
    """One configuration of wasmtime; each has an engine and compiled modules of its own in the server."""

    target: Target = "native"
    stack_bytes: int | None = None
    count_fuel: bool = False


class Compile(msgspec.Struct, frozen=True, tag="compile"):
    """Compile a module, to be run as ``sha256``: a request of its own, so that the caller knows where a deadline was met."""

    variant: Variant
    sha256: str
    wasm: bytes


class Run(msgspec.Struct, frozen=True, tag="run"):
    """Run the program that was compiled as ``sha256``.

    ``parameters`` are written to the recorder memory of a capsule before its entry is called.
    """

    variant: Variant
    kind: Literal["capsule", "direct"]
    sha256: str
    entry: str
    parameters: bytes
    parameters_address: int
    deadline_s: float
    memory_bytes: int


class Validate(msgspec.Struct, frozen=True, tag="validate"):
    """Judge a module."""

    variant: Variant
    wasm: bytes


class Assemble(msgspec.Struct, frozen=True, tag="assemble"):
    """Turn WebAssembly text into a binary."""

    text: bytes


Request = Compile | Run | Validate | Assemble


class Ran(msgspec.Struct, frozen=True, tag="ran"):
    """A program's execution, and where in the module it trapped, as a byte offset."""

    execution: Execution
    trap_offset: int | None = None


class WasmWanted(msgspec.Struct, frozen=True, tag="wasm-wanted"):
    """The module is not compiled here, or no longer."""


class Judged(msgspec.Struct, frozen=True, tag="judged"):
    """None where the module is valid, or was compiled."""

    refusal: Outcome | None


class Assembled(msgspec.Struct, frozen=True, tag="assembled"):
    """The binary, or why there is none."""

    wasm: bytes = b""
    error: str = ""


Answer = Ran | WasmWanted | Judged | Assembled
