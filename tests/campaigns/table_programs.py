"""Programs that write tables of functions and of i31 references; the twin reads every element."""

from __future__ import annotations

from random import Random

from tests.campaigns.program import Draft, Program

FUNCTIONS, SIZE = 6, 12
HELPERS = """
  (func $say_functions (param $label i32) (local $at i32) (local $f funcref)
    local.get $label table.size $functions i64.extend_i32_u call $put
    loop
      local.get $at table.get $functions local.set $f
      local.get $label
      local.get $f ref.is_null if (result i64) i64.const -1 else
        local.get $f ref.test (ref $plain) if (result i64)
          local.get $f ref.cast (ref $plain) call_ref $plain i64.extend_i32_u
        else i32.const 0 local.get $f ref.cast (ref $other) call_ref $other i64.extend_i32_u end
      end call $put
      local.get $at i32.const 1 i32.add local.tee $at table.size $functions i32.lt_u br_if 0
    end)
  (func $say_numbers (param $label i32) (local $at i32) (local $n i31ref)
    local.get $label table.size $numbers i64.extend_i32_u call $put
    loop
      local.get $at table.get $numbers local.set $n
      local.get $label local.get $n ref.is_null if (result i64) i64.const -1 else local.get $n i31.get_u i64.extend_i32_u end call $put
      local.get $at i32.const 1 i32.add local.tee $at table.size $numbers i32.lt_u br_if 0
    end)
"""
TABLES = ("functions", "numbers")
TYPES = {"functions": "funcref", "numbers": "i31ref"}


def generate(seed: int) -> Program:
    """The program of a seed."""
    return _Generator(Random(seed)).program()


class _Generator(Draft):
    def program(self) -> Program:
        names = [f"f{at}" for at in range(self.chance.randint(1, 2))]
        functions = [self._function(name) for name in names]
        rows = {f"{name}={self.chance.randrange(4)}": "" for name in names}
        rows = {row: self.row(row, f"i32.const {row.partition('=')[2]} call ${row.partition('=')[0]}", ("i32",)) for row in rows}
        plain = [f"(func $g{at} (type $plain) i32.const {100 + at})" for at in range(FUNCTIONS - 2)]
        plain += [f"(func $g{at} (type $other) local.get 0 i32.const {100 + at} i32.add)" for at in (FUNCTIONS - 2, FUNCTIONS - 1)]
        every = " ".join(f"$g{at}" for at in range(FUNCTIONS))
        tables = "\n".join(
            f'(table ${name} {f"""(export "{name}")""" if self.chance.randrange(2) else ""} {SIZE} 40 {TYPES[name]})'
            for name in TABLES
        )
        text = f"""
          (type $plain (func (result i32))) (type $other (func (param i32) (result i32)))
          {tables}
          (elem (table $functions) (i32.const {self.chance.randrange(4)}) func $g0 $g4 $g1)
          (elem $passive func {every})
          (elem $i31s i31ref (item i32.const 5 ref.i31) (item i32.const 6 ref.i31) (item ref.null i31) (item i32.const 7 ref.i31))
          {" ".join(plain)} {" ".join(functions)}
        """
        state = " ".join(f"i32.const {self.label('', f'table {at}')} call $say_{name}" for at, name in enumerate(TABLES))
        return Program(text, tuple(self.sites), rows, state, tuple(self.places), helpers=HELPERS)

    def _function(self, name: str) -> str:
        body = " ".join(self._write(self.chance.choice(TABLES)) for _ in range(self.chance.randint(1, 4)))
        locals_ = "(local $x_i32 i32) (local $x_functions funcref) (local $x_numbers i31ref)"
        return f'(func ${name} (export "{name}") (param $p i32) (result i32) {locals_} {body} local.get $p)'

    def _value(self, table: str) -> str:
        if table == "numbers":
            own = "ref.i31"
            return f"local.get $p i32.const {self.chance.randrange(99)} i32.add {self.site('table element', own, f'i32.const 1 i32.add {own}')}"
        at = self.chance.randrange(FUNCTIONS - 2)
        return self.site(
            "table element",
            f"ref.func $g{at}",
            f"ref.func $g{(at + 1) % (FUNCTIONS - 2)}",
            "ref.null func",
            f"ref.func $g{FUNCTIONS - 1}",
        )

    def _write(self, table: str) -> str:
        return self.chance.choice((self._set, self._fill, self._copy, self._init, self._grow, self._move))(table)

    def _set(self, table: str) -> str:
        own, value = f"table.set ${table}", f"$x_{table}"
        wrong = ("drop drop", f"local.set {value} i32.const 1 i32.add local.get {value} {own}")
        return f"i32.const {self.chance.randrange(SIZE - 1)} {self._value(table)} {self.site('table element', own, *wrong)}"

    def _fill(self, table: str) -> str:
        own = f"table.fill ${table}"
        wrong = ("drop drop drop", f"i32.const 1 i32.sub {own}")
        start = self.chance.randrange(SIZE - 4)
        return f"i32.const {start} {self._value(table)} i32.const {self.chance.randint(1, 4)} {self.site('table element', own, *wrong)}"

    def _copy(self, table: str) -> str:
        own = f"table.copy ${table} ${table}"
        wrong = ("drop drop drop", f"i32.const 1 i32.sub {own}", f"local.set $x_i32 i32.const 1 i32.add local.get $x_i32 {own}")
        to, start = (self.chance.randrange(SIZE - 5) for _ in range(2))
        return f"i32.const {to} i32.const {start} i32.const {self.chance.randint(1, 4)} {self.site('table element', own, *wrong)}"

    def _init(self, table: str) -> str:
        segment, length = ("$passive", FUNCTIONS) if table == "functions" else ("$i31s", 4)
        own = f"table.init ${table} {segment}"
        wrong = ("drop drop drop", f"i32.const 1 i32.sub {own}", f"local.set $x_i32 drop i32.const 0 local.get $x_i32 {own}")
        start = self.chance.randrange(length - 2)
        return f"i32.const {self.chance.randrange(SIZE - 3)} i32.const {start} i32.const {self.chance.randint(1, 2)} {self.site('table element', own, *wrong)}"

    def _grow(self, table: str) -> str:
        own = f"table.grow ${table}"
        null = "ref.null func" if table == "functions" else "ref.null i31"
        wrong = (f"local.set $x_i32 drop {null} local.get $x_i32 {own}", f"i32.const 1 i32.add {own}")
        return f"{self._value(table)} i32.const {self.chance.randint(1, 3)} {self.site('table element', own, *wrong)} drop"

    def _move(self, table: str) -> str:
        get = self.site("table element", f"table.get ${table}", f"i32.const 1 i32.add table.get ${table}")
        return f"i32.const {self.chance.randrange(SIZE - 1)} i32.const {self.chance.randrange(SIZE - 1)} {get} table.set ${table}"
