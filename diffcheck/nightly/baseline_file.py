"""Reads and writes ``baseline.toml``. Unchanged entries keep their text, so that comments and order stay."""

from __future__ import annotations

import re
from bisect import bisect
from typing import TYPE_CHECKING, Any, Final

import msgspec
import tomlkit
from tomlkit.items import Array

from diffcheck import process
from diffcheck.config import toml_text
from diffcheck.config.input_files import check_keys, parse_toml
from diffcheck.errors import ConfigError
from diffcheck.nightly.baseline import Baseline, BaselineEntry, Engine
from diffcheck.text import visible

if TYPE_CHECKING:
    from pathlib import Path

_CAP_BYTES: Final = 16 << 20
_HEAD: Final = """\
# Known divergences: one table for each signature, in the order of signatures, so that additions of two branches merge.
# Written by `diffcheck baseline`; notes, issues and comments may be edited by hand.

"""
_ENTRY: Final = re.compile(r"^(?:[ \t]*#[^\n]*\n)*[ \t]*\[\[[ \t]*known[ \t]*\]\]", re.MULTILINE)
"""The header of an entry, with the comment lines directly above it."""


def read(path: Path) -> Baseline:
    """The baseline in a file; ``ConfigError`` names the entry, the key and a similar valid key."""
    data = process.read_output_file(path.resolve(), _CAP_BYTES)
    if isinstance(data, process.Unreadable):
        raise ConfigError(f"the baseline {visible(str(path))} cannot be read: {data.reason}", hint="check the path")
    try:
        return parse(data)
    except ConfigError as error:
        raise ConfigError(f"{visible(str(path))}: {error}", hint=error.hint) from error


def parse(data: bytes) -> Baseline:
    """The baseline in a TOML text."""
    raw = parse_toml(data, ConfigError)
    check_keys(raw, ("root", "known"), ConfigError)
    root = raw.get("root", "")
    if not isinstance(root, str):
        raise ConfigError("root must be a string", hint="name the folder that ids of cases are relative to")
    tables = raw.get("known", [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ConfigError("known must be an array of tables", hint="write [[known]] above each entry")
    entries: dict[str, BaselineEntry] = {}
    for number, table in enumerate(tables, 1):
        try:
            entry = _entry(table)
        except ConfigError as error:
            signature = table.get("signature")
            name = f"entry {number} ({visible(signature, 40)})" if isinstance(signature, str) else f"entry {number}"
            raise ConfigError(f"{name}: {error}", hint=error.hint) from error
        if entry.signature in entries:
            raise ConfigError(
                f"the signature {visible(entry.signature)} has two entries", hint="merge them, with the cases of both"
            )
        entries[entry.signature] = entry
    return Baseline(entries, root)


def _entry(table: dict[str, object]) -> BaselineEntry:
    check_keys(table, BaselineEntry.__struct_fields__, ConfigError)
    for key in ("since", "fixed"):
        engine = table.get(key)
        if isinstance(engine, dict):
            check_keys(engine, Engine.__struct_fields__, ConfigError, f"{key}.")
    try:
        entry = msgspec.convert(table, BaselineEntry)
    except msgspec.ValidationError as error:
        raise ConfigError(visible(str(error)), hint="use `diffcheck baseline add` to write entries") from error
    if not entry.signature or not entry.cases:
        raise ConfigError(f"it has no {'cases' if entry.signature else 'signature'}", hint="remove or complete the entry")
    return entry


def write(baseline: Baseline, path: Path) -> None:
    """Update the file atomically; raises ``ReportError``."""
    before = path.read_text("utf-8") if path.exists() else ""
    process.write_atomically(path, render(baseline, before).encode())


def render(baseline: Baseline, before: str = "") -> str:
    """The baseline as TOML. Entries of ``before`` keep their place, comments and unchanged keys; a new entry is put before the
    first one with a larger signature. Each case has its own line, so that changes are small diffs.
    """
    known = parse(before.encode()).entries
    head, blocks = _blocks(before, list(known))
    if baseline.root and parse(head.encode()).root != baseline.root:
        head += f"root = {toml_text.string(baseline.root).as_string()}\n\n"
    kept = {key: _changed(blocks[key], known[key], entry) for key, entry in baseline.entries.items() if key in blocks}
    order = [key for key in blocks if key in kept]
    for key in sorted(baseline.entries.keys() - kept.keys()):
        kept[key] = _table(baseline.entries[key])
        order.insert(next((at for at, each in enumerate(order) if each > key), len(order)), key)
    return head + "\n".join(f"{kept[key].rstrip()}\n" for key in order)


def _blocks(text: str, signatures: list[str]) -> tuple[str, dict[str, str]]:
    """The text before the first entry, and the text of each entry by signature; no entries if the text cannot be split."""
    starts = [each.start() for each in _ENTRY.finditer(text)]
    if not starts or len(starts) != len(signatures):  # an inline array, or a string that contains a header
        return _HEAD, {}
    ends = [*starts[1:], len(text)]
    return text[: starts[0]], {key: text[at:end] for key, at, end in zip(signatures, starts, ends, strict=True)}


def _values(entry: BaselineEntry) -> dict[str, Any]:
    """The keys of an entry in order, without empty ones."""
    engines = {
        key: {name: getattr(engine, name) for name in Engine.__struct_fields__}
        for key, engine in (("since", entry.since), ("fixed", entry.fixed))
        if engine is not None
    }
    values = {
        "signature": entry.signature,
        "what": entry.what,
        "issue": entry.issue,
        "note": entry.note,
        "cases": sorted(set(entry.cases)),
        "modes": sorted(set(entry.modes)),
        "rows": sorted(set(entry.rows)),
        **engines,
        "expires": entry.expires,
        "flaky": entry.flaky,
    }
    return {key: value for key, value in values.items() if value or key == "signature"}


def _item(key: str, value: Any) -> Any:  # noqa: ANN401 - TOML's types
    if isinstance(value, str):
        return toml_text.string(value)
    if isinstance(value, list):
        return toml_text.strings(value, multiline=key == "cases")
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update({name: toml_text.string(each) for name, each in value.items()})
        return table
    return value


def _table(entry: BaselineEntry) -> str:
    table = tomlkit.table()
    for key, value in _values(entry).items():
        table.add(key, _item(key, value))
    return f"[[known]]\n{table.as_string()}"


def _changed(block: str, before: BaselineEntry, entry: BaselineEntry) -> str:
    """The text of an entry with changed keys updated; arrays are changed in place, so that their comments stay."""
    old, new = _values(before), _values(entry)
    if old == new:
        return block
    document: Any = tomlkit.parse(block)
    table = document["known"][0]
    for key in old.keys() - new.keys():
        del table[key]
    for key, value in new.items():
        if isinstance(array := table.get(key), Array) and old[key] != value:
            _set(array, value)
        elif old.get(key) != value:
            table[key] = _item(key, value)
    return tomlkit.dumps(document)


def _set(array: Array, values: list[str]) -> None:
    for gone in [each for each in array if each not in values]:
        array.remove(gone)
    for each in values:
        if each not in array:
            array.insert(bisect(list(array), each), toml_text.string(each))
