"""The export that witness's harness protocol calls, and whether the protocol can run an unmodified artifact."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diffcheck.backend.contract import HARNESS_ENTRIES
from diffcheck.text import is_digits, plural

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend
    from diffcheck.wasm.module import Module

_COUNTER = re.compile(r"__witness_counter_(.*)\Z", re.DOTALL)


def entry(module: Module) -> str | None:
    """The harness entry: the first of ``HARNESS_ENTRIES`` that is an exported function."""
    functions = {each.name for each in module.exports if each.kind == "func"}
    return next((name for name in HARNESS_ENTRIES if name in functions), None)


def why_no_direct_pass(module: Module, oracle: Backend, subject: Backend) -> str:
    """Why an artifact has no direct pass; empty if it has one."""
    for side, backend in (("subject", subject), ("oracle", oracle)):
        if not backend.capabilities.direct:
            return f"the {side} cannot run an unmodified artifact"
    if module.imports:
        return plural(len(module.imports), "import")
    name = entry(module)
    if name is None:
        return f"no harness entry ({', '.join(HARNESS_ENTRIES)})"
    index = next(each.index for each in module.exports if each.kind == "func" and each.name == name)
    if module.function_type(index).params:
        return f"its harness entry {name} takes parameters"
    for each in module.exports:
        match = _COUNTER.match(each.name) if each.kind == "global" else None
        if match and (not is_digits(match[1]) or int(match[1]) >> 32 or module.all_globals[each.index].value not in ("i32", "i64")):
            return f"its global {each.name[:60]} is not a counter that the harness protocol supports"
    return ""
