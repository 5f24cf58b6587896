"""Capsules made and run in the test itself, by wasmtime with all of WebAssembly 3.0."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

import msgspec
import wasmtime

from diffcheck.capsule import layout as lo
from diffcheck.capsule.build import build
from diffcheck.capsule.decode import Image, decode_image, rows, state
from diffcheck.capsule.driver import Call
from diffcheck.capsule.forms import Capsule, Form
from diffcheck.capsule.recorder.digest import digest
from diffcheck.capsule.seal import World
from diffcheck.observation import FinalState, RowRecord
from diffcheck.wasm.module import Module, read
from diffcheck.wasm.values import Value, parse
from tests.wasm.oracle import engine


class Run(msgspec.Struct, frozen=True):
    """A capsule's run: the trap if there was one, the recorder memory, the slot globals if asked for."""

    capsule: Capsule
    parameters: lo.Parameters
    trap: str
    memory: bytes
    slots: bytes = b""

    @property
    def header(self) -> lo.Header:
        return lo.read_header(self.memory[lo.HEADER_ADDRESS :])

    @property
    def view(self) -> bytes:
        return self.memory[lo.VIEW_ADDRESS : lo.VIEW_ADDRESS + lo.VIEW_BYTES]

    @property
    def image(self) -> Image:
        return decode_image(self.memory, self.capsule.layout, self.parameters.first, self.parameters.last)

    @property
    def rows(self) -> tuple[RowRecord, ...]:
        return rows(self.image, self.capsule.layout)

    @property
    def state(self) -> FinalState:
        return state(self.image, self.capsule.layout)


def binary(source: str | bytes) -> bytes:
    """A module in text form, or its bytes."""
    return bytes(wasmtime.wat2wasm(source)) if isinstance(source, str) else source


def calls(module: Module, names: Sequence[str] | None = None) -> tuple[Call, ...]:
    """The start function, then the named rows (``name`` or ``name=arg,arg``), else every export without parameters."""
    found = {each.name: each.index for each in module.exports if each.kind == "func"}
    made = [] if module.start is None else [Call("(start)", module.start, module.function_type(module.start), init=True)]
    if names is None:
        names = [each for each, index in found.items() if not module.function_type(index).params and not each.startswith("__")]
    for row in names:
        name, _, given = row.partition("=")
        type_ = module.function_type(found[name])
        words = given.split(",") if given else []
        args = [parse(word, kind if isinstance(kind, str) else "ref") for kind, word in zip(type_.params, words, strict=True)]
        made.append(Call(row, found[name], type_, tuple(args)))
    return tuple(made)


def capsule(source: str | bytes, names: Sequence[str] | None = None, world: World | None = None, *, unwind: bool = True) -> Capsule:
    """The capsule of a module."""
    data = binary(source)
    module = read(data)
    return build(module, hashlib.sha256(data).hexdigest(), calls(module, names), world or World(), Form(unwinds=unwind))


@cache
def _module(wasm: bytes) -> wasmtime.Module:
    return wasmtime.Module(engine(), wasm)


def run(
    made: Capsule | str, parameters: lo.Parameters | None = None, *, slots: bool = False, memory_bytes: int | None = None
) -> Run:
    """Run a capsule and read its recorder memory; after a trap the stream is finished by the export made for that."""
    made = capsule(made) if isinstance(made, str) else made
    parameters = parameters or lo.Parameters(0, len(made.layout.rows) - made.layout.n_init)
    wasm = made.with_parameters(parameters)
    store = wasmtime.Store(engine())
    if memory_bytes is not None:
        store.set_limits(memory_size=memory_bytes)
    exports = wasmtime.Instance(store, _module(wasm), []).exports(store)
    memory = exports[lo.MEMORY_EXPORT]
    trap = ""
    try:
        exports[lo.ENTRY](store)
    except wasmtime.Trap as error:
        trap = str(error.trap_code).rpartition(".")[2] if error.trap_code else "unknown"
        if lo.read_header(bytes(memory.read(store, lo.HEADER_ADDRESS, lo.VIEW_ADDRESS))).status != lo.FINISHED:
            exports[lo.AFTER_TRAP_EXPORT](store)
    words = b""
    if slots:
        names = [f"{lo.SLOT_PREFIX}{lo.FIRST_SLOT + at}" for at in range(lo.SLOTS)]
        words = b"".join((exports[name].value(store) % (1 << 64)).to_bytes(8, "little") for name in names)
    return Run(made, parameters, trap, bytes(memory.read(store, 0, memory.data_len(store))), words)


def results(run_: Run) -> dict[str, tuple[Value, ...]]:
    """The results by row."""
    return {row.name: row.results for row in run_.rows}


NUMBERS = """(module (type $t (func))
  (func (export "i32") (result i32) (i32.const -2))
  (func (export "i64") (result i64) (i64.const -3))
  (func (export "f32") (result f32) (f32.const nan:0x200001))
  (func (export "f64") (result f64) (f64.const -nan:0x4000000000001))
  (func (export "zero") (result f64) (f64.const -0))
  (func (export "v128") (result v128) (v128.const i64x2 0x1122334455667788 0x99aabbccddeeff00))
  (func $f (export "null") (result funcref) (ref.null func))
  (func (export "func") (result funcref) (ref.func $f))
  (func (export "extern") (result externref) (ref.null extern))
  (func (export "i31") (result (ref i31)) (ref.i31 (i32.const 5)))
  (func (export "exn") (result exnref) (ref.null exn))
  (func (export "many") (result i32 v128 f32 funcref i64 f64 v128)
    (i32.const 1) (v128.const i64x2 2 3) (f32.const 1) (ref.func $f) (i64.const 4) (f64.const 1) (v128.const i64x2 5 6))
  (func (export "none")))"""


TRACE = """(module (memory $t (export "__witness_trace") 1) (memory $m 1)
  (func (export "__witness_trace_reset") (i32.store $t (i32.const 0) (i32.const 16)) (i32.store $t offset=8 (i32.const 0) (i32.const 0)))
  (func $put (param i32) (i32.store $t (i32.load $t (i32.const 0)) (local.get 0))
    (i32.store $t (i32.const 0) (i32.add (i32.load $t (i32.const 0)) (i32.const 4))))
  (func (export "none"))
  (func (export "two") (call $put (i32.const 0x11223344)) (call $put (i32.const 0x55667788)))
  (func (export "three") (call $put (i32.const 1)) (call $put (i32.const 2)) (call $put (i32.const 3))
    (i32.store $t offset=8 (i32.const 0) (i32.const 1)))
  (func (export "all") (i32.store $t (i32.const 0) (i32.const 65536)) (i32.store $t (i32.const 65532) (i32.const 9)))
  (func (export "past") (i32.store $t (i32.const 0) (i32.const 65537)))
  (func (export "huge") (i32.store $t (i32.const 0) (i32.const -1)))
  (func (export "grown") (drop (memory.grow $t (i32.const 3))) (i32.store $t (i32.const 0) (i32.const 200000))
    (i32.store $t (i32.const 199996) (i32.const 7))))"""


def lanes(data: bytes) -> tuple[int, int]:
    """A page's digest as the stream has it: zeros are (0, 0)."""
    return digest(data) if any(data) else (0, 0)
