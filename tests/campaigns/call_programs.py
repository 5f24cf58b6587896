"""Programs that call imports: with numbers and vectors, with bytes in buffers, in an order that depends on a condition."""

from __future__ import annotations

from random import Random

from tests.campaigns.program import SCRATCH, Draft, Import, Program

IMPORTS = (
    Import("env", "left", ("i32", "i64")),
    Import("env", "right", ("i32", "i64")),
    Import("env", "ask", ("f64",), ("i32",)),
    Import("env", "wide", ("v128", "f32")),
    Import("wasi_snapshot_preview1", "path_unlink_file", ("i32", "i32", "i32"), ("i32",), ((1, 2),)),
    Import("wasi_snapshot_preview1", "path_create_directory", ("i32", "i32", "i32"), ("i32",), ((1, 2),)),
)
WRONG = {
    "i32": (("add", "sub"), ("mul", "add"), ("xor", "or"), ("shl", "shr_u"), ("rotl", "rotr")),
    "i64": (("add", "sub"), ("mul", "add"), ("xor", "or"), ("shl", "shr_u"), ("sub", "add")),
    "f32": (("add", "sub"), ("mul", "add"), ("max", "min")),
    "f64": (("add", "sub"), ("mul", "add"), ("min", "max")),
}
PATHS = ("a.txt", "log/day", "x", "folder with a name")


def generate(seed: int) -> Program:
    """The program of a seed."""
    return _Generator(Random(seed)).program()


class _Generator(Draft):
    def program(self) -> Program:
        names = [f"f{at}" for at in range(self.chance.randint(1, 2))]
        functions = "\n".join(self._function(name) for name in names)
        rows: dict[str, str] = {}
        for name in names:
            for _ in range(2):
                p, q = self.chance.choice((0, 1, 3, -5)), self.chance.choice((0, 2, 9, -1))
                row = f"{name}={p},{q}"
                rows.setdefault(row, self.row(row, f"i32.const {p} i64.const {q} call ${name}", ("i32",)))
        memory = f'(memory $memory (export "memory") 1) (data (i32.const 256) "{"".join(PATHS)}")'
        return Program(f"{memory}\n{functions}", tuple(self.sites), rows, "", tuple(self.places), IMPORTS, ("memory",))

    def _function(self, name: str) -> str:
        body = " ".join(self._statement() for _ in range(self.chance.randint(2, 5)))
        return f"""
          (func ${name} (export "{name}") (param $p i32) (param $q i64) (result i32) (local $turn i32) {SCRATCH}
            i32.const {self.chance.randint(1, 3)} local.set $turn
            loop {body} local.get $turn i32.const 1 i32.sub local.tee $turn br_if 0 end
            local.get $p)
        """

    def _statement(self) -> str:
        return self.chance.choice((self._send, self._send, self._ask, self._wide, self._order, self._path))()

    def _send(self) -> str:
        one, other = self.chance.sample(("left", "right"), 2)
        call = self.site("import order", f"call ${one}", f"call ${other}")
        return f"{self._number('i32', 2)} {self._number('i64', 2)} {call}"

    def _ask(self) -> str:
        return f"{self._number('f64', 2)} call $ask local.get $p i32.add local.set $p"

    def _wide(self) -> str:
        splat = self.site("import argument", "i64x2.splat", "i64x2.splat v128.not", "i64x2.splat i64.const 5 i64x2.replace_lane 1")
        return f"{self._number('i64', 2)} {splat} {self._number('f32', 1)} call $wide"

    def _order(self) -> str:
        """The same calls, in one order or the other."""
        one = f"{self._number('i32', 1)} local.get $q call $left"
        other = f"{self._number('i32', 1)} local.get $q call $right"
        condition = self.site("import order", "i32.eqz", "", "drop i32.const 1", "drop i32.const 0")
        return f"local.get $turn i32.const 1 i32.and {condition} if {one} {other} else {other} {one} end"

    def _path(self) -> str:
        """A path that is made in memory, passed, and overwritten."""
        function = self.chance.choice(("path_unlink_file", "path_create_directory"))
        length = self.chance.randint(1, 8)
        letter = f"local.get $turn i32.const {self.chance.randint(65, 80)} i32.add"
        at = self.chance.randrange(length)
        store = f"i32.store8 offset={at}"
        wrong = (f"i32.const 1 i32.add {store}", "drop drop", f"i32.const 32 i32.xor {store}")
        copied = f"i32.const 0 i32.const {256 + self.chance.randrange(12)} i32.const {length} memory.copy"
        written = f"i32.const 0 {letter} {self.site('import buffer', store, *wrong)}"
        return f"""
          {copied} {written} i32.const 3 i32.const 0 i32.const {length} call ${function} drop
          i32.const 0 i32.const 0 i32.const {length} memory.fill
        """

    def _number(self, type_: str, depth: int) -> str:
        if depth and self.chance.randrange(3):
            own, other = self.chance.choice(WRONG[type_])
            operation = self.site("import argument", f"{type_}.{own}", f"{type_}.{other}", f"{type_}.{own} drop {type_}.const 3")
            return f"{self._number(type_, depth - 1)} {self._number(type_, depth - 1)} {operation}"
        if type_ == "i32":
            return self.chance.choice(("local.get $p", "local.get $turn", f"i32.const {self.chance.randint(-9, 99)}"))
        if type_ == "i64":
            return self.chance.choice(("local.get $q", f"i64.const {self.chance.randint(-9, 99)}"))
        own = f"{type_}.const {self.chance.randint(1, 99) / 4}"
        other = f"{type_}.const {self.chance.randint(100, 200) / 4}"
        return self.site("import argument", own, other) if self.chance.randrange(2) else f"local.get $turn {type_}.convert_i32_s"
