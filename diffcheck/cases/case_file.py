"""Case files: ``<stem>.toml`` beside an artifact. They are read strictly, since an ignored key would be a test that is not run.

A case file never names a command. The files that it may name, ``stdin_file`` and ``link``, must be in its own folder.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from diffcheck.cases.link import LinkedModule
from diffcheck.config import option_table
from diffcheck.config.input_files import check_keys, nearest, parse_toml, read_regular
from diffcheck.errors import CaseError, ConfigError
from diffcheck.text import plural, visible
from diffcheck.verdict import VERDICTS, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

CASE_FILE_CAP: Final = 1 << 20
STDIN_CAP: Final = 16 << 20
ARTIFACT_CAP: Final = 1 << 30
TEXT_CAP: Final = 128 << 20
"""The limit for artifacts in text form: at 1 GiB a worker and its server took 3.2 GB and more than 30 s (2026-11-27)."""
_MAX_LINKED: Final = 100
_MAX_ROWS: Final = 10_000

Check: TypeAlias = "Callable[[str, object], Any]"
"""From a key and its value to the value in the type of ``CaseSettings``; raises ``CaseError``."""


class CaseLimits(msgspec.Struct, frozen=True):
    """The limits of a case; None means the limit of the run.

    ``deadline_s`` and ``memory_bytes`` limit the subject; ``memory_pages`` (of 64 KiB) and ``table_elements`` limit memories and
    tables; ``digest_pages`` is the number of digested pages.
    """

    deadline_s: float | None = None
    memory_bytes: int | None = None
    memory_pages: int | None = None
    table_elements: int | None = None
    digest_pages: int | None = None


class KnownFinding(msgspec.Struct, frozen=True):
    """A known divergence of the case: what the subject does wrong, and the section of the specification."""

    what: str
    subject: str = ""
    spec: str = ""


class CaseSettings(msgspec.Struct, frozen=True):
    """The contents of a case file.

    ``link`` are modules, in the order of instantiation, from which the artifact imports. ``requirements`` are the names of the
    requirements that the case tests.
    """

    purpose: str = ""
    rows: tuple[str, ...] = ()
    stdin: bytes = b""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    limits: CaseLimits = CaseLimits()
    expect: dict[str, Verdict] = {}
    findings: tuple[KnownFinding, ...] = ()
    link: tuple[LinkedModule, ...] = ()
    requirements: tuple[str, ...] = ()


def read_settings(path: str) -> CaseSettings:
    """The settings in the case file at ``path``; ``CaseError`` names the file, the key and a similar valid key."""
    try:
        raw = parse_toml(read_regular(path, CASE_FILE_CAP, "the case file", CaseError), CaseError)
        found = _checked(raw, _KEYS, "")
        if "stdin_file" in found:
            found["stdin"] = _read_stdin(path, found.pop("stdin_file"), alone="stdin" not in found)
        if "link" in found:
            found["link"] = _read_modules(path, found["link"])
    except CaseError as error:
        raise CaseError(f"{visible(path)}: {error}", hint=error.hint) from error
    findings = found.pop("finding", ())
    return CaseSettings(**found, findings=findings)


def _checked(raw: dict[str, object], keys: dict[str, Check], table: str) -> dict[str, Any]:
    check_keys(raw, keys, CaseError, table)
    return {key: keys[key](f"{table}{key}", value) for key, value in raw.items()}


def _wrong(key: str, wanted: str, value: object) -> CaseError:
    given = {str: "a string", bool: "true or false", int: "an integer", float: "a float", list: "an array", dict: "a table"}
    words = given.get(type(value), "a date or time")
    if isinstance(value, str):
        words += f" ({visible(repr(value[:80]), 40)})"
    elif isinstance(value, (int, float)):
        words += f" ({str(value).lower()})"
    return CaseError(f"{visible(key)} must be {wanted}, not {words}")


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(key, "a string", value)
    return value


def _word(key: str, value: object) -> str:
    text = _text(key, value)
    if "\0" in text:
        raise CaseError(f"{visible(key)} contains NUL, which ends arguments and environment variables")
    return text


def _array(item: Check, what: str, most: int = _MAX_ROWS) -> Check:
    def check(key: str, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _wrong(key, f"an array of {what}", value)
        if len(value) > most:
            raise CaseError(f"{key} has {plural(len(value), 'item')}, the limit is {most:,}")
        return tuple(item(f"{key}[{index}]", each) for index, each in enumerate(value))

    return check


def _table(key: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(key, "a table", value)
    return value


def _environment(key: str, value: object) -> dict[str, str]:
    table = _table(key, value)
    for name in table:
        if not name or "=" in name or "\0" in name:
            raise CaseError(f"{visible(repr(name))} is not a valid name of an environment variable")
    return {name: _word(f"{key}.{name}", each) for name, each in table.items()}


def _expect(key: str, value: object) -> dict[str, Verdict]:
    return {name: _verdict(f"{key}.{name}", word) for name, word in _table(key, value).items()}


def _verdict(key: str, value: object) -> Verdict:
    found = next((word for word in VERDICTS if word == value), None)
    if found is None:
        meant = nearest(_text(key, value), VERDICTS)
        hint = f"did you mean {meant}?" if meant else f"the verdicts are {', '.join(VERDICTS)}"
        raise CaseError(f"{visible(key)} is not a verdict: {visible(repr(value), 40)}", hint=hint)
    return found


def _limits(key: str, value: object) -> CaseLimits:
    found = _checked(_table(key, value), _LIMITS, f"{key}.")
    if "memory" in found:
        found["memory_bytes"] = found.pop("memory")
    return CaseLimits(**found)


def _finding(key: str, value: object) -> KnownFinding:
    found = _checked(_table(key, value), _FINDING, f"{key}.")
    if "what" not in found:
        raise CaseError(f"{key} has no description", hint='add what = "..."')
    return KnownFinding(**found)


def _integer(least: int, most: int) -> Check:
    def check(key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _wrong(key, f"an integer from {least:,} to {most:,}", value)
        return value

    return check


def _seconds(key: str, value: object) -> float:
    most = 86_400.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or not 0 < value <= most:
        raise _wrong(key, f"a number of seconds above 0 and up to {most:,.0f}", value)
    return float(value)


def _memory(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise _wrong(key, "a size such as '4GiB', '512MB' or a number of bytes", value)
    try:
        return option_table.parse_size(str(value))
    except ConfigError as error:
        raise CaseError(f"{key}: {error}", hint=error.hint) from error


_LIMITS: Final[dict[str, Check]] = {
    "deadline_s": _seconds,
    "memory": _memory,
    "memory_pages": _integer(0, 65_536),
    "table_elements": _integer(0, 10_000_000),
    "digest_pages": _integer(0, 65_536),
}
_FINDING: Final[dict[str, Check]] = {"subject": _text, "spec": _text, "what": _text}
_KEYS: Final[dict[str, Check]] = {
    "purpose": _text,
    "rows": _array(_text, "strings"),
    "stdin": lambda key, value: _text(key, value).encode(),
    "stdin_file": _word,
    "args": _array(_word, "strings"),
    "env": _environment,
    "link": _array(_word, "strings", _MAX_LINKED),
    "limits": _limits,
    "expect": _expect,
    "requirements": _array(_text, "strings", 1000),
    "finding": _array(_finding, "tables, [[finding]]", 1000),
}


def _read_stdin(case_file: str, name: str, *, alone: bool) -> bytes:
    if not alone:
        raise CaseError("stdin and stdin_file are both set", hint="keep one of them")
    return read_regular(_beside(case_file, "stdin_file", name), STDIN_CAP, f"stdin_file {visible(repr(name))}", CaseError)


def _read_modules(case_file: str, names: tuple[str, ...]) -> tuple[LinkedModule, ...]:
    """The modules of ``link``, each of which may import from earlier ones by the names of their files without suffix."""
    stems = [os.path.basename(name).removesuffix(".wasm") for name in names]  # noqa: PTH119 - as in _beside
    if len(set(stems)) < len(stems):
        raise CaseError("link names two files with the same name")
    paths = [_beside(case_file, "link", name) for name in names]
    data = [read_regular(path, ARTIFACT_CAP, f"link {visible(repr(path))}", CaseError) for path in paths]
    return tuple(LinkedModule(each, stems[at], {stems[to]: to for to in range(at)}, deferred=True) for at, each in enumerate(data))


def _beside(case_file: str, key: str, name: str) -> str:
    """The path of a file that ``key`` names, which must be in the folder of the case file."""
    folder = os.path.realpath(os.path.dirname(case_file) or ".")  # noqa: PTH120 - strings are faster for 10,000 cases
    target = os.path.realpath(os.path.join(folder, name))  # noqa: PTH118 - as above
    if not name or os.path.isabs(name) or ".." in name.split("/") or not inside(target, folder):  # noqa: PTH117 - as above
        raise CaseError(f"{key} is not in the folder of the case: {visible(repr(name))}", hint="put the file beside the case file")
    return target


def inside(path: str, folder: str) -> bool:
    """Whether a resolved path lies in a resolved folder."""
    return path.startswith(folder.rstrip("/") + "/")
