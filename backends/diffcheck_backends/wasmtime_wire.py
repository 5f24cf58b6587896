"""The messages between a worker and its wasmtime server: one request, one reply, as msgpack frames.

They are in their own module so that the worker never imports wasmtime, which takes 77 ms and 30 MB of address space.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from diffcheck.backend.contract import CallProgram, CallResults, RunLimits
from diffcheck.observation import Execution, Outcome

Target = Literal["native", "pulley64"]


class Variant(msgspec.Struct, frozen=True):
    """One configuration of wasmtime; the server has a separate engine and compiled modules for each."""

    target: Target = "native"
    stack_bytes: int | None = None
    count_fuel: bool = False


class Compile(msgspec.Struct, frozen=True, tag="compile"):
    """Compile a module under the name ``sha256``: a separate request, so that the caller knows which step reached a deadline.

    ``cache`` is the folder of compiled modules, an absolute path, empty for none.
    """

    variant: Variant
    sha256: str
    wasm: bytes
    cache: str = ""


class RunRequest(msgspec.Struct, frozen=True, tag="run"):
    """Run the program compiled as ``sha256``.

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
    """Request: is ``wasm`` valid under ``variant``? Answered by ``ValidationResult``."""

    variant: Variant
    wasm: bytes


class Assemble(msgspec.Struct, frozen=True, tag="assemble"):
    """Request: the binary of WebAssembly text."""

    text: bytes


Request = Compile | RunRequest | Validate | Assemble


class RunResult(msgspec.Struct, frozen=True, tag="ran"):
    """An execution, and the byte offset of a trap in the module."""

    execution: Execution
    trap_offset: int | None = None


class ModuleMissing(msgspec.Struct, frozen=True, tag="wasm-wanted"):
    """The server does not have the compiled module."""


class ValidationResult(msgspec.Struct, frozen=True, tag="judged"):
    """The result of validating or compiling: the refusal, or None."""

    refusal: Outcome | None


class AssemblyResult(msgspec.Struct, frozen=True, tag="assembled"):
    """The binary, or the error."""

    wasm: bytes = b""
    error: str = ""


Answer = RunResult | ModuleMissing | ValidationResult | AssemblyResult


class CallRequest(msgspec.Struct, frozen=True):
    """A program for ``wasmtime_calls``, and its limits."""

    program: CallProgram
    limits: RunLimits


class CallAnswer(msgspec.Struct, frozen=True):
    """The results, or the error with which the program was refused."""

    results: CallResults | None = None
    error: str = ""
