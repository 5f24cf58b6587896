"""Programs that return objects or leave them in exported globals and tables: structs, arrays, i31, functions, shared and cyclic.

The twin describes every reference: an object that it has met before by its number, else its type and all that is in it.
"""

from __future__ import annotations

from random import Random

from tests.campaigns.program import Draft, Program

TYPES = """
  (rec
    (type $node (sub (struct (field $n (mut i32)) (field $w (mut i64)) (field $b (mut i8)) (field $next (mut (ref null $node))) (field $any (mut eqref)))))
    (type $leaf (sub $node (struct (field $n (mut i32)) (field $w (mut i64)) (field $b (mut i8)) (field $next (mut (ref null $node)))
      (field $any (mut eqref)) (field $f (mut f64)) (field $h (mut i16))))))
  (type $ints (array (mut i32)))
  (type $bytes (array (mut i8)))
  (type $refs (array (mut eqref)))
  (type $plain (func (result i32)))
"""
FUNCTIONS = 4
LOCALS = """
  (local $node0 (ref null $node)) (local $node1 (ref null $node)) (local $node2 (ref null $leaf)) (local $ints (ref null $ints))
  (local $bytes (ref null $bytes)) (local $refs (ref null $refs)) (local $t (ref null $node)) (local $x_i32 i32) (local $y_i32 i32)
  (local $e eqref)
"""
NODES = ("$node0", "$node1", "$node2")
HELPERS = """
  (type $seen_objects (array (mut eqref)))
  (global $seen (ref $seen_objects) (array.new_default $seen_objects (i32.const 1000)))
  (global $seen_count (mut i32) (i32.const 0))
  (global $place (mut i32) (i32.const 0))
  (func $say (param $bits i64) global.get $place local.get $bits call $put)
  (func $known (param $r eqref) (result i32) (local $at i32)
    block loop
      local.get $at global.get $seen_count i32.eq br_if 1
      global.get $seen local.get $at array.get $seen_objects local.get $r ref.eq if local.get $at return end
      local.get $at i32.const 1 i32.add local.set $at br 0
    end end i32.const -1)
  (func $describe (param $r eqref) (local $at i32) (local $n (ref null $node)) (local $end i32)
    local.get $r ref.is_null if i64.const 100 call $say return end
    local.get $r ref.test (ref i31) if
      i64.const 101 call $say local.get $r ref.cast (ref i31) i31.get_u i64.extend_i32_u call $say return end
    local.get $r call $known local.tee $at i32.const 0 i32.ge_s if
      i64.const 102 call $say local.get $at i64.extend_i32_u call $say return end
    global.get $seen global.get $seen_count local.get $r array.set $seen_objects
    global.get $seen_count i32.const 1 i32.add global.set $seen_count
    local.get $r ref.test (ref $node) if
      local.get $r ref.test (ref $leaf) if
        i64.const 104 call $say
        local.get $r ref.cast (ref $leaf) struct.get $leaf $f i64.reinterpret_f64 call $say
        local.get $r ref.cast (ref $leaf) struct.get_u $leaf $h i64.extend_i32_u call $say
      else i64.const 103 call $say end
      local.get $r ref.cast (ref $node) local.set $n
      local.get $n struct.get $node $n i64.extend_i32_u call $say
      local.get $n struct.get $node $w call $say
      local.get $n struct.get_u $node $b i64.extend_i32_u call $say
      local.get $n struct.get $node $next call $describe
      local.get $n struct.get $node $any call $describe return end
    local.get $r ref.cast (ref array) array.len local.tee $end i64.extend_i32_u call $say
    block loop
      local.get $at i32.const 1 i32.add local.tee $at local.get $end i32.eq br_if 1
      local.get $r ref.test (ref $ints) if local.get $r ref.cast (ref $ints) local.get $at array.get $ints i64.extend_i32_u call $say end
      local.get $r ref.test (ref $bytes) if local.get $r ref.cast (ref $bytes) local.get $at array.get_u $bytes i64.extend_i32_u call $say end
      local.get $r ref.test (ref $refs) if local.get $r ref.cast (ref $refs) local.get $at array.get $refs call $describe end
      br 0
    end end)
  (func $describe_function (param $r funcref)
    local.get $r ref.is_null if i64.const 100 call $say return end
    local.get $r ref.cast (ref $plain) call_ref $plain i64.extend_i32_u call $say)
"""
RESULTS = {
    "eqref": "{local} call $describe",
    "(ref null $node)": "{local} call $describe",
    "i31ref": "{local} call $describe",
    "anyref": "{local} ref.cast eqref call $describe",
    "externref": "{local} any.convert_extern ref.cast eqref call $describe",
    "funcref": "{local} call $describe_function",
}
"""How the twin describes a result of a type."""


def generate(seed: int) -> Program:
    """The program of a seed."""
    return _Generator(Random(seed)).program()


class _Generator(Draft):
    def program(self) -> Program:
        chance, rows, functions = self.chance, {}, []
        for at in range(chance.randint(1, 3)):
            results = ("eqref", *(chance.choice(list(RESULTS)) for _ in range(chance.randint(0, 2))))
            functions.append(self._function(f"f{at}", results))
            row = f"f{at}={chance.randrange(9)}"
            rows[row] = self._observed(row, f"f{at}", results)
        plain = "\n".join(f"(func $plain{at} (type $plain) i32.const {1000 + at})" for at in range(FUNCTIONS))
        declared = f"(elem declare func {' '.join(f'$plain{at}' for at in range(FUNCTIONS))})"
        globals_ = """
          (global $root (export "root") (mut eqref) (ref.null eq)) (global $chosen (export "chosen") (mut funcref) (ref.null func))
          (data $data "some bytes for arrays, more than one would need")
        """
        state = " ".join(
            f"i32.const {self.label('', f'global {name}')} global.set $place global.get ${name} call {how}"
            for name, how in (("root", "$describe"), ("chosen", "$describe_function"))
        )
        text = "\n".join([TYPES, globals_, declared, plain, *functions])
        state = f"i32.const 0 global.set $seen_count {state}"
        return Program(text, tuple(self.sites), rows, state, tuple(self.places), helpers=HELPERS)

    def _function(self, name: str, results: tuple[str, ...]) -> str:
        made = " ".join([self._node("$node0"), self._node("$node1"), self._leaf(), self._arrays()])
        changed = " ".join(self._change() for _ in range(self.chance.randint(2, 6)))
        objects = ("$node0", "$node1", "$node2", "$ints", "$bytes")
        kept = " ".join(
            f"local.get $refs i32.const {at} local.get {each} array.set $refs"
            for at, each in enumerate(self.chance.sample(objects, 3))
        )
        values = " ".join(["local.get $refs", *(self._result(type_) for type_ in results[1:])])
        root = f"{self._object()} global.set $root {self._func()} global.set $chosen"
        return f"""
          (func ${name} (export "{name}") (param $p i32) (result {" ".join(results)}) {LOCALS} {made} {changed}
            {root if self.chance.randrange(2) else ""} {kept} {values})
        """

    def _number(self) -> str:
        own = f"i32.const {self.chance.randint(0, 99)}"
        return self.chance.choice((own, "local.get $p", f"local.get $p {own} i32.mul"))

    def _node(self, local: str) -> str:
        new = self.site(
            "field", "struct.new $node", *(f"struct.new $node local.tee $t {each} local.get $t ref.as_non_null" for each in (
                "local.get $t struct.get $node $n i32.const 1 i32.add struct.set $node $n",
                "i64.const 5 struct.set $node $w",
                "i32.const 3 struct.set $node $b",
            ))
        )  # fmt: skip
        fields = f"{self._number()} i64.const {self.chance.getrandbits(40)} {self._number()} {self.chance.choice(('ref.null $node', 'local.get $node0'))}"
        return f"{fields} {self._i31()} {new} local.set {local}"

    def _leaf(self) -> str:
        number = self.chance.choice(("1.5", "-0x1p-1060", "nan:0x8000000000123", "-nan", "inf"))
        const = self.site("field", f"f64.const {number}", "f64.const 7", f"f64.const {number} f64.neg")
        return f"{self._number()} i64.const 9 {self._number()} local.get $node1 ref.null eq {const} i32.const 70000 struct.new $leaf local.set $node2"

    def _arrays(self) -> str:
        values = " ".join(self._number() for _ in range(4))
        fixed = "array.new_fixed $ints 4"
        wrong = (f"{fixed} local.tee $ints i32.const 2 i32.const 77 array.set $ints local.get $ints ref.as_non_null",)
        data = self.site("element", "array.new_data $bytes $data", "drop i32.const 3 array.new_data $bytes $data")
        return f"""
          {values} {self.site("element", fixed, *wrong)} local.set $ints i32.const {self.chance.randrange(9)} i32.const 8 {data} local.set $bytes
          {self._object()} i32.const {self.chance.randint(3, 6)} array.new $refs local.set $refs
        """

    def _i31(self) -> str:
        own = "ref.i31"
        return f"{self._number()} {self.site('i31', own, f'i32.const 1 i32.add {own}', f'i32.const 0x40000000 i32.xor {own}', f'drop i32.const 0 {own}')}"

    def _copied(self) -> str:
        """A local's object, or a fresh one with the same fields in its place."""
        local = self.chance.choice(NODES[:2])
        fields = " ".join(
            f"local.get {local} struct.get{'_u' if name == 'b' else ''} $node ${name}" for name in ("n", "w", "b", "next", "any")
        )
        return self.site("identity", f"local.get {local}", f"{fields} struct.new $node")

    def _object(self) -> str:
        return self.chance.choice(
            (
                self._i31,
                self._copied,
                self._copied,
                lambda: "local.get $node2",
                lambda: "local.get $ints",
                lambda: "local.get $refs",
            )
        )()

    def _func(self) -> str:
        at = self.chance.randrange(FUNCTIONS)
        return self.site("function identity", f"ref.func $plain{at}", f"ref.func $plain{(at + 1) % FUNCTIONS}", "ref.null func")

    def _change(self) -> str:
        """One write into an object."""
        node = f"local.get {self.chance.choice(NODES)}"
        start = self.chance.randrange(3)
        ints = f"local.get $ints i32.const {start}"
        return self.chance.choice((
            lambda: f"{node} {self._number()} {self._field('$n', 'i32.const 1 i32.add')}",
            lambda: f"{node} i64.const {self.chance.getrandbits(30)} {self._field('$w', 'i64.const 1 i64.xor')}",
            lambda: f"{node} {self._number()} {self._field('$b', 'i32.const 1 i32.xor')}",
            lambda: f"{node} {self._copied()} {self._field('$next', 'drop ref.null $node')}",
            lambda: f"{node} {self._object()} {self._field('$any', 'drop i32.const 5 ref.i31')}",
            lambda: f"{ints} {self._number()} {self._set('$ints')}",
            lambda: f"local.get $refs i32.const {start} {self._object()} {self._set('$refs')}",
            lambda: f"{ints} {self._number()} i32.const 1 {self._bulk('array.fill $ints', 4)}",
            lambda: f"{ints} local.get $ints i32.const 2 i32.const 1 {self._bulk('array.copy $ints $ints', 5)}",
            lambda: f"local.get $bytes i32.const {start} i32.const {self.chance.randrange(20)} i32.const 4 {self._bulk('array.init_data $bytes $data', 4)}",
        ))()  # fmt: skip

    def _bulk(self, own: str, operands: int) -> str:
        return self.site("element", own, " ".join(["drop"] * operands), f"i32.const 1 i32.sub {own}")

    def _field(self, name: str, change: str) -> str:
        own = f"struct.set $node {name}"
        return self.site("field", own, "drop drop", f"{change} {own}")

    def _set(self, type_: str) -> str:
        own = f"array.set {type_}"
        if type_ == "$ints":
            return self.site(
                "element",
                own,
                "drop drop drop",
                f"i32.const 1 i32.add {own}",
                f"local.set $x_i32 i32.const 1 i32.xor local.get $x_i32 {own}",
            )
        return self.site("element", own, "drop drop drop", f"local.set $e i32.const 1 i32.add local.get $e {own}")

    def _result(self, type_: str) -> str:
        given = {
            "eqref": self._object, "anyref": self._object, "i31ref": self._i31, "funcref": self._func,
            "(ref null $node)": lambda: self.chance.choice((self._copied(), "local.get $node2")),
            "externref": lambda: f"{self._object()} extern.convert_any",
        }  # fmt: skip
        return given[type_]()

    def _observed(self, row: str, name: str, results: tuple[str, ...]) -> str:
        argument = row.partition("=")[2]
        locals_ = " ".join(f"(local $r{at} {type_})" for at, type_ in enumerate(results))
        taken = " ".join(f"local.set $r{at}" for at in reversed(range(len(results))))
        label = {at: self.label(row, f"result {at}") for at in range(len(results))}
        afresh = "i32.const 0 global.set $seen_count"
        described = " ".join(f"{afresh} i32.const {label[at]} global.set $place {each}" for at, each in enumerate(_each(results)))
        together = f"{afresh} i32.const {self.label(row, 'sharing')} global.set $place {' '.join(_each(results))}"
        return f"{locals_} i32.const {argument} call ${name} {taken} {described} {together}"


def _each(results: tuple[str, ...]) -> list[str]:
    """The twin's code that describes each result, which are in locals."""
    return [RESULTS[type_].format(local=f"local.get $r{at}") for at, type_ in enumerate(results)]
