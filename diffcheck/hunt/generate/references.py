"""Casts, i31 and external references, over all types of structures and arrays that the module has."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from diffcheck.hunt.generate.draft import EVENLY, after

if TYPE_CHECKING:
    from diffcheck.hunt.generate.draft import ProgramDraft, Scope

_NULLS: Final = {"anyref": "none", "eqref": "none", "i31ref": "none", "externref": "noextern"}
_ABSTRACT: Final = ("i31", "struct", "array", "eq", "none")


def declare(draft: ProgramDraft) -> None:
    """Offer conversions among all reference types."""
    concrete = [each for each in draft.made if each.startswith("(ref $o")]
    draft.variables += ["anyref", "externref"]
    draft.offer("references", "ref.i31", "i31ref", after(("i32",), "ref.i31"))
    draft.offer("references", "ref.i31", "(ref i31)", after(("i32",), "ref.i31"))
    draft.reference("(ref i31)", lambda scope: f"i32.const {scope.chance.getrandbits(31)} ref.i31")
    for type_, heap in _NULLS.items():
        draft.reference(type_, after((), f"ref.null {heap}"))
    for sign in ("_s", "_u"):
        draft.offer("references", f"i31.get{sign}", "i32", after(("(ref i31)",), f"i31.get{sign}"))
    for type_ in (*concrete, "i31ref", "(ref i31)"):
        draft.offer("references", f"any of {_word(type_)}", "anyref", partial(_widened, type_))
        draft.offer("references", f"eq of {_word(type_)}", "eqref", partial(_widened, type_))
    draft.offer("references", "extern.convert_any", "externref", after(("anyref",), "extern.convert_any"))
    draft.offer("references", "any.convert_extern", "anyref", after(("externref",), "any.convert_extern"))
    draft.offer("references", "ref.is_null of any", "i32", after(("anyref",), "ref.is_null"))
    draft.offer("references", "ref.eq of any", "i32", after(("eqref", "eqref"), "ref.eq"))
    for heap in (*_ABSTRACT, *(each.removeprefix("(ref ").removesuffix(")") for each in concrete)):
        for null in ("", "null "):
            type_ = f"(ref {null}{heap})"
            draft.offer(
                "references",
                f"ref.test {null}{_heap(heap)}",
                "i32",
                after(("anyref",), f"ref.test {type_}"),
            )
        if draft.traps:
            draft.offer("traps", f"ref.cast {_heap(heap)}", "i32",
                        after(("anyref",), f"ref.cast (ref {heap}) ref.is_null"))  # fmt: skip
    for type_ in (*concrete, "(ref i31)"):
        draft.offer("references", f"br_on_cast {_word(type_)}", type_, partial(_cast, type_))
        draft.offer("references", f"br_on_cast_fail {_word(type_)}", type_, partial(_cast_fail, type_))
        draft.offer("references", f"ref.cast {_word(type_)}", type_, partial(_there_and_back, type_))


def _word(type_: str) -> str:
    return "a type" if "$" in type_ else type_


def _heap(heap: str) -> str:
    return "a type" if "$" in heap else heap


def _widened(type_: str, scope: Scope) -> str:
    return scope.value(type_)


def _cast(type_: str, scope: Scope) -> str:
    """The reference if it has the type, else a new one."""
    label, source = scope.draft.name("k"), scope.chance.choice(("anyref", "eqref"))
    other = scope.draft.made[type_](scope)
    return f"block {label} (result {type_}) {scope.value(source)} br_on_cast {label} {source} {type_} drop {other} end"


def _cast_fail(type_: str, scope: Scope) -> str:
    label, done = scope.draft.name("k"), scope.draft.name("k")
    inner = f"block {label} (result anyref) {scope.value('anyref')} br_on_cast_fail {label} anyref {type_} br {done} end drop"
    return f"block {done} (result {type_}) {inner} {scope.draft.made[type_](scope)} end"


def _there_and_back(type_: str, scope: Scope) -> str:
    """A cast of what is known to have the type, by way of an external reference as well."""
    way = "extern.convert_any any.convert_extern" if scope.chance.random() < EVENLY else ""
    return f"block (result anyref) {scope.value(type_)} {way} end ref.cast {type_}"
