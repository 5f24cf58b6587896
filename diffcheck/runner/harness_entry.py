"""Which export witness's harness protocol calls, and whether it can carry an artifact as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diffcheck.backend.contract import HARNESS_ENTRIES

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend
    from diffcheck.wasm.module import Module

_COUNTER = re.compile(r"__witness_counter_(.*)\Z", re.DOTALL)


def entry(module: Module) -> str | None:
    """The harness entry: the first of ``HARNESS_ENTRIES`` that is an exported function."""
    functions = {each.name for each in module.exports if each.kind == "func"}
    return next((name for name in HARNESS_ENTRIES if name in functions), None)


def why_no_direct_pass(module: Module, oracle: Backend, subject: Backend) -> str:
    """The reason why an artifact has no direct pass; empty where it has one."""
    for side, backend in (("subject", subject), ("oracle", oracle)):
        if not backend.capabilities.direct:
            return f"the {side} cannot run an artifact as it is"
    if module.imports:
        return f"it has {len(module.imports)} import{'s' if len(module.imports) > 1 else ''}"
    name = entry(module)
    if name is None:
        return f"it has no harness entry ({', '.join(HARNESS_ENTRIES)})"
    index = next(each.index for each in module.exports if each.kind == "func" and each.name == name)
    if module.function_type(index).params:
        return f"its harness entry {name} takes parameters"
    for each in module.exports:
        match = _COUNTER.match(each.name) if each.kind == "global" else None
        if match and (
            not match[1].isdecimal() or int(match[1]) >> 32 or module.all_globals[each.index].value not in ("i32", "i64")
        ):
            return f"its global {each.name[:60]} is no counter that the harness protocol can carry"
    return ""
