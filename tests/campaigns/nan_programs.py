"""Programs with NaNs in results, integers, memory, vectors, control flow and arguments of imports, generated from a seed.

Every instruction that carries or makes a NaN is a site for faults. What a program does beside that is the same on all engines.
"""

from __future__ import annotations

from random import Random

from tests.campaigns.nan_texts import changes
from tests.campaigns.nan_values import DEPTH, FLOATS, LOADED_BYTES, Values, float_bits, text_of
from tests.campaigns.program import NUMBERS, SCRATCH, ZERO, Import, Program

LOCALS = " ".join(
    [*(f"(local ${name}_{type_} {type_})" for type_ in NUMBERS for name in "ab"), "(local $turns1 i32) (local $turns2 i32)"]
)
IMPORTS = (
    Import("env", "take_f32", ("f32",)),
    Import("env", "take_f64", ("f64", "i32")),
    Import("env", "take_v128", ("v128",)),
    Import("env", "give_f64", ("i64",), ("f64",)),
)


def generate(seed: int) -> Program:
    """The program of a seed."""
    return _Generator(Random(seed)).program()


class _Generator(Values):
    def program(self) -> Program:
        chance = self.chance
        helpers = [self._helper(at) for at in range(2)]
        rows: dict[str, str] = {}
        functions = []
        for at in range(chance.randint(1, 3)):
            params = tuple(chance.choice(NUMBERS[:4]) for _ in range(chance.randint(0, 2)))
            results = tuple(chance.choice(NUMBERS) for _ in range(chance.randint(1, 3)))
            functions.append(self._function(f"f{at}", params, results))
            for _ in range(chance.randint(1, 2)):
                values = [self._argument(type_) for type_ in params]
                name = f"f{at}={','.join(values)}" if values else f"f{at}"
                call = " ".join(f"{type_}.const {value}" for type_, value in zip(params, values, strict=True))
                if name not in rows:
                    rows[name] = self.row(name, f"{call} call $f{at}", results)
        state = self.globals({f"g_{type_}": type_ for type_ in NUMBERS})
        text = "\n".join([self._memory(), self._globals(), *helpers, *functions])
        return Program(text, tuple(self.sites), rows, state, tuple(self.places), IMPORTS, ("memory",))

    def _argument(self, type_: str) -> str:
        chance = self.chance
        return (
            text_of(type_, float_bits(chance, type_))
            if type_ in FLOATS
            else str(chance.choice((0, 1, -1, 7, chance.getrandbits(31))))
        )

    def _memory(self) -> str:
        data = b"".join(self._float_bytes() for _ in range(LOADED_BYTES // 8))[:LOADED_BYTES]
        text = "".join(f"\\{byte:02x}" for byte in data)
        return f'(memory $memory (export "memory") 1) (data (i32.const 0) "{text}")'

    def _float_bytes(self) -> bytes:
        chance = self.chance
        if chance.randrange(2):
            return float_bits(chance, "f64").to_bytes(8, "little")
        return b"".join(float_bits(chance, "f32").to_bytes(4, "little") for _ in range(2))

    def _globals(self) -> str:
        found = [f'(global $g_{type_} (export "g_{type_}") (mut {type_}) ({self._const(type_)}))' for type_ in NUMBERS]
        return "\n".join(found)

    def _helper(self, at: int) -> str:
        """A function whose result a call gives on."""
        self.calls = 99  # no helper calls another
        body = self.value("f32", 2) + " " + self.value("f64", 2)
        return f"(func $h{at} (param $p f32) (param $q f64) (result f32 f64) {LOCALS} {SCRATCH} {body})"

    def _function(self, name: str, params: tuple[str, ...], results: tuple[str, ...]) -> str:
        self.calls = 0
        given = " ".join(f"(param $p{at} {type_})" for at, type_ in enumerate(params))
        taken = " ".join(f"local.get $p{at} local.set $a_{type_}" for at, type_ in enumerate(params))
        body = " ".join(self.statement(2) for _ in range(self.chance.randint(2, 5)))
        values = " ".join(self.value(type_, DEPTH) for type_ in results)
        return f'(func ${name} (export "{name}") {given} (result {" ".join(results)}) {LOCALS} {SCRATCH} {taken} {body} {values})'

    # Statements.

    def statement(self, depth: int) -> str:
        """One that leaves nothing on the stack."""
        chance = self.chance
        kinds = [self._set_local, self._set_local, self._set_global, self._store, self._store, self._take]
        if depth > 0:
            kinds += [self._branch, self._branch, self._loop]
        return chance.choice(kinds)(depth)

    def _set_local(self, _depth: int) -> str:
        type_ = self.chance.choice(NUMBERS)
        name = f"${self.chance.choice('ab')}_{type_}"
        if type_ in ZERO and type_ not in FLOATS:
            return f"{self.value(type_, DEPTH)} local.set {name}"
        tee = self.site("local", f"local.tee {name}", *(f"{each} local.tee {name}" for each in changes(type_)))
        return f"{self.value(type_, DEPTH)} {tee} drop"

    def _set_global(self, _depth: int) -> str:
        type_ = self.chance.choice((*FLOATS, "v128", "i64"))
        if type_ == "i64":
            return f"{self.value(type_, DEPTH)} global.set $g_i64"
        own = f"global.set $g_{type_}"
        return f"{self.value(type_, DEPTH)} {self.site('global', own, *(f'{each} {own}' for each in changes(type_)))}"

    def _store(self, _depth: int) -> str:
        type_ = self.chance.choice(NUMBERS)
        own = f"{type_}.store offset={LOADED_BYTES + 16 * self.chance.randrange(16)}"
        text = f"i32.const 0 {self.value(type_, DEPTH)} "
        if type_ in FLOATS or type_ == "v128":
            return text + self.site("store", own, *(f"{each} {own}" for each in changes(type_)))
        return text + own

    def _take(self, _depth: int) -> str:
        text = {
            "take_f32": lambda: f"{self.value('f32', DEPTH)} call $take_f32",
            "take_f64": lambda: f"{self.value('f64', DEPTH)} {self.value('i32', 2)} call $take_f64",
            "take_v128": lambda: f"{self.value('v128', DEPTH)} call $take_v128",
        }
        return text[self.chance.choice(sorted(text))]()

    def _branch(self, depth: int) -> str:
        return f"{self._condition()} if {self.statement(depth - 1)} else {self.statement(depth - 1)} end"

    def _loop(self, depth: int) -> str:
        """Three turns; each depth has a counter of its own."""
        turns = f"$turns{depth}"
        body = self.statement(depth - 1)
        return f"i32.const 3 local.set {turns} loop {body} local.get {turns} i32.const 1 i32.sub local.tee {turns} br_if 0 end"
