"""The case file of a reduced module, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit

from diffcheck.config import toml_text

if TYPE_CHECKING:
    from diffcheck.cases.discovery import Case

STDIN: str = "reduced.stdin"

_LIMITS = {"deadline_s": "deadline_s", "memory_bytes": "memory", "memory_pages": "memory_pages", "table_elements": "table_elements",
           "digest_pages": "digest_pages"}  # fmt: skip


def case_text(case: Case, rows: tuple[str, ...], purpose: str, stdin_file: str = STDIN) -> str:
    """The case file of a module that is made from ``case``: its world, with these rows; stdin is in ``stdin_file`` beside it."""
    document = tomlkit.document()
    document["purpose"] = toml_text.string(purpose)
    document.update({key: toml_text.strings(texts) for key, texts in (("rows", rows), ("args", case.args)) if texts})
    if case.env:
        document["env"] = tomlkit.inline_table()
        document["env"].update({name: toml_text.string(value) for name, value in case.env.items()})
    if case.stdin:
        document["stdin_file"] = stdin_file
    limits = {key: value for field, key in _LIMITS.items() if (value := getattr(case.limits, field)) is not None}
    if limits:
        document["limits"] = limits
    return tomlkit.dumps(document)
