"""The case of a report that a user names: by id, artifact, signature, or a part of these that no other case has."""

from __future__ import annotations

import difflib
import os
import re
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.cases.case_ids import renamed
from diffcheck.errors import NothingToDoError
from diffcheck.text import visible
from diffcheck.verdict import CaseReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.verdict import Report

_SIGNATURE_PART: Final = re.compile(r"[0-9a-f]{4,12}\Z")
_SHOWN: Final = 8


class NamedCase(msgspec.Struct, frozen=True):
    """A case, and the signature that named it, empty if something else did."""

    case: CaseReport
    signature: str = ""


def find(report: Report, name: str) -> NamedCase:
    """The case that ``name`` names; raises ``NothingToDoError`` with the most similar names if there is none or several."""
    by_id = {case.case: case for case in report.cases}
    old = renamed([name], by_id).get(name, name)
    exact = by_id.get(name) or by_id.get(old) or next((case for case in report.cases if name == visible(case.case)), None)
    if exact is not None:
        return NamedCase(exact)
    by_path = [case for case in report.cases if _is_artifact(case, name)]
    if by_path:
        return NamedCase(by_path[0])
    by_signature = _by_signature(report, name)
    if len(by_signature) == 1:
        signature, case = next(iter(by_signature.items()))
        return NamedCase(case, signature)
    parts = [case for case in report.cases if name in case.case or name in visible(case.case)]
    if len(parts) == 1:
        return NamedCase(parts[0])
    raise _no_case(name, list(by_id), [case.case for case in parts] or list(by_signature))


def _is_artifact(case: CaseReport, name: str) -> bool:
    return os.path.normpath(case.artifact) == os.path.normpath(name) or (
        os.path.exists(name) and os.path.realpath(case.artifact) == os.path.realpath(name)  # noqa: PTH110 - strings all through
    )


def _by_signature(report: Report, name: str) -> dict[str, CaseReport]:
    """The signatures that ``name`` is, or begins, each with its first case."""
    found: dict[str, CaseReport] = {}
    for case in report.cases:
        for signature in (one for each in case.passes for one in each.signatures):
            if signature == name or (_SIGNATURE_PART.match(name) and signature.startswith(name)):
                found.setdefault(signature, case)
    return {name: found[name]} if name in found else found


def _no_case(name: str, known: Sequence[str], several: Sequence[str]) -> NothingToDoError:
    near = several or difflib.get_close_matches(name, known, 5, 0.4)
    some = ", ".join(visible(each, 80) for each in (near or known)[:_SHOWN])
    what = f"{len(several)} cases match {visible(name)!r}" if several else f"the report has no case {visible(name)!r}"
    hint = f"{'did you mean' if near else 'the cases are'} {some}{'?' if near else ''}" if some else "the report has no cases"
    return NothingToDoError(what, hint=f"{hint}; `diffcheck show` lists what diverged" if several or not near else hint)
