"""Every instruction that changes state, one program each: what it leaves is read into results, or is state that is compared as it is.

``SETTING`` has what the programs share. A wrong sequence does nothing, or the write to another place, of another value, of less.
"""

from __future__ import annotations

import re
from random import Random

from diffcheck.wasm.opcodes import OPS
from tests.campaigns.program import SCRATCH, Draft, Program

SETTING = """
  (type $pair (struct (field $n (mut i32)) (field $b (mut i8))))
  (type $ints (array (mut i32)))
  (type $refs (array (mut eqref)))
  (memory $memory (export "memory") 1 20)
  (data (i32.const 0) "the first bytes of this memory, which are not all of them")
  (data $data "a passive segment with bytes")
  (table $table (export "table") 8 20 funcref)
  (elem (table $table) (i32.const 1) func $g0 $g1 $g2)
  (elem $elem func $g2 $g1 $g0)
  (elem $eqrefs eqref (item i32.const 4 ref.i31) (item i32.const 9 ref.i31) (item ref.null eq))
  (global $g_i64 (export "g_i64") (mut i64) (i64.const 5))
  (global $g_f32 (export "g_f32") (mut f32) (f32.const 2.5))
  (global $g_v128 (export "g_v128") (mut v128) (v128.const i64x2 1 2))
  (func $g0 (result i32) i32.const 100) (func $g1 (result i32) i32.const 101) (func $g2 (result i32) i32.const 102)
"""
GLOBALS = {"g_i64": "i64", "g_f32": "f32", "g_v128": "v128"}
LOCALS = f"(local $a (ref null $ints)) (local $r (ref null $refs)) (local $s (ref null $pair)) (local $f funcref) {SCRATCH}"
HELPERS = """
  (func $say_table (param $label i32) (local $at i32) (local $f funcref)
    local.get $label table.size $table i64.extend_i32_u call $put
    loop
      local.get $at table.get $table local.set $f
      local.get $label
      local.get $f ref.is_null if (result i64) i64.const -1 else
        local.get $f ref.cast (ref $result) call_ref $result i64.extend_i32_u
      end call $put
      local.get $at i32.const 1 i32.add local.tee $at table.size $table i32.lt_u br_if 0
    end)
  (type $result (func (result i32)))
"""
CHANGED = {"i32": "i32.const 1 i32.xor", "i64": "i64.const 0x11 i64.xor", "f32": "f32.neg", "f64": "f64.neg", "v128": "v128.not"}
_STATE = re.compile(
    r"(\.store|\.atomic\.rmw)|^(memory\.(grow|fill|copy|init)|table\.(set|grow|fill|copy|init)|(data|elem)\.drop|global\.set"
    r"|local\.(set|tee)|struct\.set|array\.(set|fill|copy|init_data|init_elem))$"
)
INSTRUCTIONS = tuple(op.name for op in OPS if _STATE.search(op.name))
"""All instructions of the opcode table that change state."""


class _Shape:
    """Operands of an instruction, its immediates, what it leaves, wrong sequences, and rows that follow its own."""

    def __init__(self, operands: str, own: str, *wrong: str, then: str = "") -> None:
        self.operands, self.own, self.wrong, self.then = operands, own, wrong, then


def generate(seed: int) -> Program:
    """The program of a seed; seeds in turn have the instructions in turn."""
    return of_instruction(INSTRUCTIONS[seed % len(INSTRUCTIONS)], Random(seed))


def of_instruction(name: str, chance: Random) -> Program:
    """A program with the instruction."""
    draft = Draft(chance)
    shape = _shape(name, chance)
    site = draft.site("write", shape.own, *shape.wrong)
    noise = f"i32.const {chance.randrange(99)} i32.const {chance.randint(2, 9)} i32.mul drop"
    body = f"""
      (func $run (export "run") (param $p i32) (result i32) {LOCALS}
        i32.const {chance.randrange(50)} i32.const 6 array.new $ints local.set $a
        ref.null eq i32.const 6 array.new $refs local.set $r
        i32.const 7 i32.const 8 struct.new $pair local.set $s
        {noise} {shape.operands} {site} {shape.then or "local.get $p"})
      (func $after (export "after") (result i32) {LOCALS}
        i32.const 1024 i32.const 0 i32.const {chance.randint(1, 9)} memory.init $data
        i32.const 0 i32.const 0 i32.const 2 table.init $table $elem
        memory.size)
    """
    argument = chance.randrange(9)
    rows = {f"run={argument}": f"i32.const {argument} call $run"}
    if chance.randrange(2) or name in ("data.drop", "elem.drop"):
        rows["after"] = "call $after"
    texts = {row: draft.row(row, call, ("i32",)) for row, call in rows.items()}
    state = f"{draft.globals(GLOBALS)} i32.const {draft.label('', 'table 0')} call $say_table"
    return Program(SETTING + body, tuple(draft.sites), texts, state, tuple(draft.places), memories=("memory",), helpers=HELPERS)


def _shape(name: str, chance: Random) -> _Shape:
    if ".atomic.rmw" in name:
        return _atomic(name, chance)
    if ".store" in name:
        return _store(name, chance)
    return _other(name, chance)


def _store(name: str, chance: Random) -> _Shape:
    type_ = name.split(".", maxsplit=1)[0]
    lane = f" {chance.randrange(2)}" if name.endswith("lane") else ""
    own, further = (f"{name} offset={offset}{lane}" for offset in (64, 128))
    value = {
        "v128": f"v128.const i64x2 {chance.getrandbits(60) | 1} {chance.getrandbits(60) | 1}",
        "f32": "f32.const -1.5",
        "f64": "f64.const 2.25",
    }.get(type_, f"{type_}.const {chance.randint(1, 99)}")
    return _Shape(f"i32.const 0 {value}", own, "drop drop", further, f"{CHANGED[type_]} {own}")


def _atomic(name: str, chance: Random) -> _Shape:
    type_, _, rest = name.partition(".atomic.rmw")
    width, _, operation = rest.partition(".")
    load = f"{type_}.atomic.load{width}{'_u' if width else ''} offset=8"
    own = f"{name} offset=8"
    value = f"{type_}.const {chance.randint(1, 99)}"
    left = "drop local.get $p"
    if "cmpxchg" in operation:
        expected = f"i32.const 0 {load}"
        return _Shape(f"i32.const 0 {expected} {value}", own, f"drop drop {load}", f"{CHANGED[type_]} {own}", then=left)
    other = operation.replace("add", "sub") if "add" in operation else operation.replace(operation.split("_")[0], "add")
    return _Shape(f"i32.const 0 {value}", own, f"drop {load}", f"{type_}.atomic.rmw{width}.{other} offset=8", then=left)


def _other(name: str, chance: Random) -> _Shape:
    n = chance.randint(1, 3)
    less = "i32.const 1 i32.sub"
    read = "local.get $a i32.const 2 array.get $ints local.get $a i32.const 3 array.get $ints i32.const 5 i32.shl i32.add"
    numbers = "local.get $r i32.const 1 array.get $refs ref.cast i31ref ref.is_null"
    function = f"ref.func $g{chance.randrange(3)}"
    shapes = {
        "memory.grow": lambda: _Shape(f"i32.const {n}", name, "drop i32.const 0 memory.grow", f"{less} {name}", "drop i32.const -1", then="drop memory.size"),
        "memory.fill": lambda: _Shape(f"i32.const 70 i32.const {n} i32.const {n + 4}", name, "drop drop drop", f"{less} {name}"),
        "memory.copy": lambda: _Shape(f"i32.const 70 i32.const {n} i32.const {n + 4}", name, "drop drop drop", f"{less} {name}"),
        "memory.init": lambda: _Shape(f"i32.const 70 i32.const {n} i32.const {n + 4}", f"{name} $data", "drop drop drop", f"{less} {name} $data"),
        "data.drop": lambda: _Shape("", f"{name} $data", ""),
        "elem.drop": lambda: _Shape("", f"{name} $elem", ""),
        "table.set": lambda: _Shape(f"i32.const {n + 3} {function}", f"{name} $table", "drop drop", "drop ref.null func table.set $table"),
        "table.grow": lambda: _Shape(f"{function} i32.const {n}", f"{name} $table", "drop drop table.size $table", f"{less} {name} $table", then="drop local.get $p"),
        "table.fill": lambda: _Shape(f"i32.const {n + 3} {function} i32.const 2", f"{name} $table", "drop drop drop", f"{less} {name} $table"),
        "table.copy": lambda: _Shape(f"i32.const {n + 4} i32.const 1 i32.const 2", f"{name} $table $table", "drop drop drop", f"{less} {name} $table $table"),
        "table.init": lambda: _Shape(f"i32.const {n + 4} i32.const 0 i32.const 2", f"{name} $table $elem", "drop drop drop", f"{less} {name} $table $elem"),
        "global.set": lambda: chance.choice((
            _Shape(f"i64.const {n + 9}", f"{name} $g_i64", "drop", f"i64.const 1 i64.sub {name} $g_i64"),
            _Shape("f32.const -8", f"{name} $g_f32", "drop", f"f32.neg {name} $g_f32"),
            _Shape("v128.const i64x2 7 8", f"{name} $g_v128", "drop", f"v128.not {name} $g_v128"),
        )),
        "local.set": lambda: _Shape(f"i32.const {n + 40}", f"{name} $p", "drop", f"{less} {name} $p"),
        "local.tee": lambda: _Shape(f"i32.const {n + 40}", f"{name} $p", "", f"{less} {name} $p", then="local.get $p i32.add"),
        "struct.set": lambda: _Shape(f"local.get $s i32.const {n + 20}", f"{name} $pair $n", "drop drop", f"{less} {name} $pair $n", then="local.get $s struct.get $pair $n"),
        "array.set": lambda: _Shape(f"local.get $a i32.const 2 i32.const {n + 60}", f"{name} $ints", "drop drop drop", f"{less} {name} $ints", then=read),
        "array.fill": lambda: _Shape(f"local.get $a i32.const 2 i32.const {n + 60} i32.const 2", f"{name} $ints", "drop drop drop drop", f"{less} {name} $ints", then=read),
        "array.copy": lambda: _Shape(f"local.get $a i32.const 2 i32.const {n + 60} i32.const 4 array.new $ints i32.const 0 i32.const 2", f"{name} $ints $ints", "drop drop drop drop drop", f"{less} {name} $ints $ints", then=read),
        "array.init_data": lambda: _Shape(f"local.get $a i32.const 2 i32.const {n} i32.const 2", f"{name} $ints $data", "drop drop drop drop", f"{less} {name} $ints $data", then=read),
        "array.init_elem": lambda: _Shape("local.get $r i32.const 0 i32.const 0 i32.const 2", f"{name} $refs $eqrefs", "drop drop drop drop", f"{less} {name} $refs $eqrefs", then=numbers),
    }  # fmt: skip
    return shapes[name]()
