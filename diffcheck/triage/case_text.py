"""A case file for a reduced module, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.casefile import CaseLimits
from diffcheck.text import toml_string

if TYPE_CHECKING:
    from diffcheck.corpus import Case

STDIN: str = "reduced.stdin"

_LIMITS = {"deadline_s": "deadline_s", "memory_bytes": "memory", "memory_pages": "memory_pages", "table_elements": "table_elements",
           "digest_pages": "digest_pages"}  # fmt: skip


def case_text(case: Case, rows: tuple[str, ...], purpose: str) -> str:
    """The case file of a module that is reduced from ``case``: its world, with these rows; stdin stands in ``STDIN`` beside it."""
    lines = [f"purpose = {toml_string(purpose)}"]
    if rows:
        lines.append(f"rows = [{', '.join(map(toml_string, rows))}]")
    if case.args:
        lines.append(f"args = [{', '.join(map(toml_string, case.args))}]")
    if case.env:
        lines.append(
            "env = { " + ", ".join(f"{toml_string(name)} = {toml_string(value)}" for name, value in case.env.items()) + " }"
        )
    if case.stdin:
        lines.append(f"stdin_file = {toml_string(STDIN)}")
    limits = [f"{key} = {value:g}" if isinstance(value, float) else f"{key} = {value}" for key, value in _set(case.limits)]
    if limits:
        lines += ["", "[limits]", *limits]
    return "\n".join([*lines, ""])


def _set(limits: CaseLimits) -> list[tuple[str, float | int]]:
    return [(key, value) for field, key in _LIMITS.items() if (value := getattr(limits, field)) is not None]
