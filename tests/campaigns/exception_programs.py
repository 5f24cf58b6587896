"""Programs whose exports throw: tags of the same and of other types, payloads of numbers, exceptions thrown again on their way."""

from __future__ import annotations

from random import Random

from tests.campaigns.program import BITS, SCRATCH, Draft, Program

TAGS = (("i32",), ("i32",), ("i64", "f32"), ("i64", "f32"), (), (), ("f64", "i32"))
"""The types of the payloads, by tag."""
CHANGED = {
    "i32": "i32.const 1 i32.add",
    "i64": "i64.const 0x100000000 i64.xor",
    "f32": "f32.neg",
    "f64": "f64.const 1 f64.add",
}


def generate(seed: int) -> Program:
    """The program of a seed."""
    return _Generator(Random(seed)).program()


class _Generator(Draft):
    def program(self) -> Program:
        tags = "\n".join(
            f'(tag $e{at} {f"""(export "e{at}")""" if self.chance.randrange(2) else ""} (param {" ".join(types)}))'
            for at, types in enumerate(TAGS)
        )
        names = [f"f{at}" for at in range(self.chance.randint(1, 2))]
        functions = "\n".join(self._function(name) for name in names)
        rows: dict[str, str] = {}
        for name in names:
            for _ in range(2):
                row = f"{name}={self.chance.randrange(4)}"
                rows.setdefault(row, self._observed(row, name))
        state = self.globals({"steps": "i32"})
        text = f'{tags}\n(global $steps (export "steps") (mut i32) (i32.const 0))\n{functions}'
        return Program(text, tuple(self.sites), rows, state, tuple(self.places))

    def _function(self, name: str) -> str:
        """An export that calls a thrower, in no, one or two blocks that catch some tags and throw them again."""
        thrower = f"{name}_throws"
        body = f"local.get $p call ${thrower}"
        for _ in range(self.chance.randrange(3)):
            body = self._thrown_again(body)
        throws = " ".join(self._throw() for _ in range(self.chance.randint(1, 3)))
        return f"""
          (func ${thrower} (param $p i32) (result i32) {SCRATCH}
            global.get $steps i32.const 1 i32.add global.set $steps {throws} local.get $p)
          (func ${name} (export "{name}") (param $p i32) (result i32) {SCRATCH} {body})
        """

    def _throw(self) -> str:
        """A throw where the argument is above a bound."""
        tag = self.chance.randrange(len(TAGS))
        twins = [at for at, types in enumerate(TAGS) if types == TAGS[tag] and at != tag]
        payload = " ".join(self._payload(type_) for type_ in TAGS[tag])
        throw = (
            self.site("exception tag", f"throw $e{tag}", *(f"throw $e{other}" for other in twins)) if twins else f"throw $e{tag}"
        )
        return f"local.get $p i32.const {self.chance.randrange(3)} i32.gt_s if {payload} {throw} end"

    def _payload(self, type_: str) -> str:
        if type_ == "i32" and self.chance.randrange(2):
            own, other = self.chance.choice((("i32.mul", "i32.add"), ("i32.sub", "i32.add"), ("i32.xor", "i32.and")))
            return f"local.get $p i32.const {self.chance.randint(2, 9)} {self.site('exception payload', own, other)}"
        own = f"{type_}.const {self.chance.randint(1, 999)}"
        return self.site("exception payload", own, f"{own} {CHANGED[type_]}")

    def _thrown_again(self, body: str) -> str:
        """Around a body that gives an i32: one tag is caught and thrown again, as it is or by its reference."""
        if self.chance.randrange(2):
            again = self.site("exception tag", "throw_ref", "drop i32.const 7 throw $e0", "drop throw $e4")
            return f"block (result exnref) try_table (result i32) (catch_all_ref 0) {body} end return end {again}"
        tag = self.chance.choice((0, 1))
        change = self.site("exception payload", "local.tee $x_i32", "i32.const 2 i32.add local.tee $x_i32")
        throw = self.site("exception tag", f"throw $e{tag}", f"throw $e{1 - tag}")
        return f"block (result i32) try_table (result i32) (catch $e{tag} 0) {body} end return end {change} {throw}"

    def _observed(self, row: str, name: str) -> str:
        """The twin's row: which tag, with what; an exception ends the instance."""
        argument = row.partition("=")[2]
        result, thrown = self.label(row, "result 0"), self.label(row, "exception")
        blocks = " ".join(f"block $b{at} (result {' '.join(types)})" for at, types in reversed(list(enumerate(TAGS))))
        catches = " ".join(f"(catch $e{at} $b{at})" for at in range(len(TAGS)))
        handlers = []
        for at, types in enumerate(TAGS):
            taken = " ".join(f"local.set $x_{type_}" for type_ in reversed(types))
            logged = " ".join(f"i32.const {thrown} local.get $x_{type_} {BITS[type_]} call $put" for type_ in types)
            handlers.append(f"end {taken} i32.const {thrown} i64.const {at} call $put {logged} br $ended")
        return f"""
          {SCRATCH} block $ended {blocks}
            try_table {catches}
              i32.const {argument} call ${name} local.set $x_i32
              i32.const {result} local.get $x_i32 i64.extend_i32_u call $put return
            end
            unreachable
          {" ".join(handlers)}
          end
          i32.const 1 global.set $ended
        """
