"""Programs that write state and then trap: what they wrote is state at the trap."""

from __future__ import annotations

from random import Random

from tests.campaigns.program import SCRATCH, Draft, Program

TRAPS = (
    "unreachable",
    "i32.const 0 i32.const 0 i32.div_u drop",
    "i32.const -1 i32.load drop",
    "f32.const inf i32.trunc_f32_s drop",
    "i32.const 99 call_indirect $table (type $nothing)",
)
GLOBALS = {"g_i32": "i32", "g_i64": "i64", "g_f64": "f64"}
SETTING = """
  (type $nothing (func))
  (memory $memory (export "memory") 1)
  (table $table 2 funcref)
  (global $g_i32 (export "g_i32") (mut i32) (i32.const 1))
  (global $g_i64 (export "g_i64") (mut i64) (i64.const 2))
  (global $g_f64 (export "g_f64") (mut f64) (f64.const 3))
"""


def generate(seed: int) -> Program:
    """The program of a seed: a row that returns, one or two that trap, and sometimes one that returns behind them."""
    draft = Draft(Random(seed))
    chance = draft.chance
    rows: dict[str, str] = {}
    functions = []
    for at, traps in enumerate((False, True, *(chance.randrange(2) == 0 for _ in range(chance.randrange(3))))):
        writes = " ".join(_write(draft) for _ in range(chance.randint(1, 4)))
        end = chance.choice(TRAPS) if traps else ""
        functions.append(f'(func $f{at} (export "f{at}") (result i32) {SCRATCH} {writes} {end} i32.const {at})')
        rows[f"f{at}"] = draft.row(f"f{at}", f"call $f{at}", ("i32",))
    state = draft.globals(GLOBALS)
    return Program(SETTING + "\n".join(functions), tuple(draft.sites), rows, state, tuple(draft.places), memories=("memory",))


def _write(draft: Draft) -> str:
    chance = draft.chance
    kind = chance.randrange(3)
    if kind == 0:
        name = chance.choice(sorted(GLOBALS))
        type_ = GLOBALS[name]
        own = f"global.set ${name}"
        return f"{type_}.const {chance.randint(5, 99)} {draft.site('state before a trap', own, 'drop', f'{type_}.const 1 {type_}.add {own}')}"
    type_, name = chance.choice((("i32", "i32.store"), ("i64", "i64.store16"), ("f64", "f64.store"), ("i32", "i32.store8")))
    own = f"{name} offset={8 * chance.randrange(40)}"
    wrong = ("drop drop", f"{type_}.const 1 {type_}.add {own}", f"{name} offset={400 + 8 * chance.randrange(40)}")
    return f"i32.const 0 {type_}.const {chance.randint(5, 99)} {draft.site('state before a trap', own, *wrong)}"
