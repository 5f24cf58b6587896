"""The case to triage, by an artifact's path, or a case or signature of the last report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from diffcheck.cases import case_names, scripts
from diffcheck.cases.discovery import SUFFIXES, item_at, load_case
from diffcheck.errors import NothingToDoError
from diffcheck.text import visible

if TYPE_CHECKING:
    from diffcheck.cases.discovery import Case
    from diffcheck.verdict import CaseReport, Report


class Target(msgspec.Struct, frozen=True):
    """A case; ``row``, ``kind`` and ``signature`` are those of the divergence if the user named a signature, else empty."""

    case: Case
    row: str = ""
    kind: str = ""
    signature: str = ""


def find(name: str, report: Report | None, reports: str) -> Target:
    """The target that ``name`` identifies; raises ``NothingToDoError`` if there is none."""
    path = Path(name)
    if path.is_file() or (scripts.is_script(name) and Path(scripts.split(name)[0]).is_file()):
        return Target(_case(path))
    if path.suffix in SUFFIXES or scripts.is_script(name):
        raise NothingToDoError(
            f"{visible(name)} does not exist", hint="check the path, or give a case or signature of the last report"
        )
    if report is None:
        raise NothingToDoError(
            f"{visible(name)} is not a file, and there is no report in {visible(reports)}",
            hint="give an artifact, or run `diffcheck run` first",
        )
    found = case_names.find(report, name)
    return _of(found.case, found.signature)


def _case(path: Path) -> Case:
    return load_case(item_at(path))


def _of(case: CaseReport, signature: str) -> Target:
    path = Path(case.artifact)
    if not Path(scripts.split(case.artifact)[0]).exists():
        raise NothingToDoError(
            f"the artifact of {visible(case.case)} is no longer at {visible(case.artifact)}",
            hint="run diffcheck in the folder in which the run was started, or run it again",
        )
    every = [each for one in case.passes for each in one.divergences]
    chosen = next((each for each in every if each.signature == signature), None)
    if chosen is None:
        return Target(_case(path))
    return Target(_case(path), chosen.where.row, chosen.kind, chosen.signature)
