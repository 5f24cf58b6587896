"""Calls, branches, conditions and exceptions by others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.runner.equivalent.replacement import Replacement
from diffcheck.wasm.encode import plain

if TYPE_CHECKING:
    from diffcheck.runner.equivalent.replacement import Replace, ReplacementSite

_MOST_LABELS: Final = 300
_EQZ: Final = plain("i32.eqz")


def _if(site: ReplacementSite) -> Replacement:
    return Replacement(code=_EQZ + _EQZ + plain("if", *site.immediates))


def _br_if(site: ReplacementSite) -> Replacement:
    label = site.immediates[0]
    if site.label(label):
        return Replacement(code=_EQZ + _EQZ + plain("br_if", label))
    return Replacement(f"@a if br {label + 1} end", inline=True)


def _select(site: ReplacementSite) -> Replacement:
    return Replacement(f"@c if (result {site.results[0]}) @a else @b end")


def _br_table(site: ReplacementSite) -> Replacement | None:
    """A chain of conditional branches."""
    *labels, default = site.immediates[0]
    if len(labels) > _MOST_LABELS:
        return None
    *values, index = site.names
    given = " ".join(f"@{each}" for each in values)
    chain = [f"@{index} i32.const {at} i32.eq if {given} br {label + 1} end" for at, label in enumerate(labels)]
    return Replacement("\n".join([*chain, given, f"br {default}"]), inline=True)


def _tee(site: ReplacementSite) -> Replacement:
    return Replacement(code=plain("local.set", *site.immediates) + plain("local.get", *site.immediates))


# Exceptions.


def _try_table(site: ReplacementSite) -> Replacement | None:
    """Each clause twice: the second is never reached."""
    type_, clauses = site.immediates
    return Replacement(code=plain("try_table", type_, tuple(each for each in clauses for _ in range(2)))) if clauses else None


def _throw(site: ReplacementSite) -> Replacement | None:
    """A branch, where a handler of the same function catches the exception without a reference to it."""
    tag = site.immediates[0]
    for depth, block in enumerate(reversed(site.blocks)):
        clause = next((each for each in block.clauses if each.tagidx in (tag, None)), None)
        if clause is not None and clause.kind.endswith("_ref"):
            return None
        if clause is not None:
            values = " ".join(f"@{each}" for each in site.names) if clause.tagidx is not None else ""
            return Replacement(f"{values} br {depth + 1 + clause.labelidx}", inline=True)
    return None


# Calls.


def _call(site: ReplacementSite) -> Replacement | None:
    """A call by reference."""
    function = site.immediates[0]
    if not site.additions.typed:
        return None
    site.additions.declare(function)
    return Replacement(f"{_all(site.names)} ref.func {function} call_ref {site.module.all_functions[function]}")


def _call_ref(site: ReplacementSite) -> Replacement:
    """A call through a table; its element is a reference that is not null."""
    return Replacement(_through_table(site, ""))


def _call_indirect(site: ReplacementSite) -> Replacement | None:
    """A call of the table's reference, cast to the type; the call itself where it traps."""
    if not site.additions.typed:
        return None
    return Replacement(_by_reference(site, site.block((), site.results), "call_ref"))


def _return_call(site: ReplacementSite) -> Replacement | None:
    function = site.immediates[0]
    if site.additions.ends_in_call(site.module.all_functions[function]):
        if not site.additions.typed:
            return None
        site.additions.declare(function)
        text = f"{_all(site.names)} ref.func {function} return_call_ref {site.module.all_functions[function]}"
        return Replacement(text, inline=True)
    return Replacement(f"{_all(site.names)} call {function} return", inline=True)


def _return_call_ref(site: ReplacementSite) -> Replacement:
    if site.additions.ends_in_call(site.immediates[0]):
        return Replacement(_through_table(site, "return_"), inline=True)
    return Replacement(f"{_all(site.names)} call_ref {site.immediates[0]} return", inline=True)


def _return_call_indirect(site: ReplacementSite) -> Replacement | None:
    typeidx, table = site.immediates
    if not site.additions.ends_in_call(typeidx):
        return Replacement(f"{_all(site.names)} call_indirect {table} (type {typeidx}) return", inline=True)
    if not site.additions.typed:
        return None
    return Replacement(_by_reference(site, "", "return_call_ref") + " unreachable", inline=True)


def _through_table(site: ReplacementSite, prefix: str) -> str:
    typeidx, (*args, reference) = site.immediates[0], site.names
    table = site.additions.table(typeidx)
    checked = f"i32.const 0 @{reference} ref.as_non_null table.set {table}"
    return f"{checked} {_all(args)} i32.const 0 {prefix}call_indirect {table} (type {typeidx})"


def _by_reference(site: ReplacementSite, block: str, call: str) -> str:
    (typeidx, table), (*args, index) = site.immediates, site.names
    t = site.operands[-1]
    found = f"@{index} table.get {table}"
    fits = f"@{index} table.size {table} {t}.lt_u if (result i32) {found} ref.test (ref {typeidx}) else i32.const 0 end"
    called = f"{_all(args)} {found} ref.cast (ref {typeidx}) {call} {typeidx}"
    return f"{fits} if {block} {called} else {_all(site.names)} raw $own end"


def _all(names: tuple[str, ...] | list[str]) -> str:
    return " ".join(f"@{each}" for each in names)


REPLACEMENTS: Final[dict[str, Replace]] = {
    "if": _if,
    "br_if": _br_if,
    "br_table": _br_table,
    "select": _select,
    "select_t": _select,
    "local.tee": _tee,
    "try_table": _try_table,
    "throw": _throw,
    "call": _call,
    "call_ref": _call_ref,
    "call_indirect": _call_indirect,
    "return_call": _return_call,
    "return_call_ref": _return_call_ref,
    "return_call_indirect": _return_call_indirect,
}
