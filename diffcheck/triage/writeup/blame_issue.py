"""The text of an issue for meld, witness or diffcheck: results that change although the engines agree."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from diffcheck.config.version import __version__
from diffcheck.text import visible

if TYPE_CHECKING:
    from diffcheck.triage.blame.blame import Blame
    from diffcheck.triage.session import Session


def blame_issue(session: Session, found: Blame) -> str:
    """The issue in Markdown."""
    name = visible(session.plan.case.artifact.rpartition("/")[2])
    oracle = session.engines.oracle_identity
    tools = [f"- {visible(' '.join(filter(None, (each.name, each.version))))}" for each in getattr(session.plan, "made_by", ())]
    lines = [
        f"# {found.culprit} changes the results of {name}",
        "",
        f"`{visible(found.what, 1000).replace('`', chr(39))}`",
        "",
        "### Steps to reproduce",
        "",
        "```sh",
        f"meld fuse --preserve-names --reproducible {name} -o fused.wasm",
        "witness instrument fused.wasm -o instrumented.wasm",
        f"diffcheck triage {name}",
        "```",
        "",
        "### Versions",
        "",
        *tools,
        f"- {visible(oracle.name)} {visible(oracle.version)}, which ran all artifacts; diffcheck {__version__}",
        f"- {name}: sha256 {hashlib.sha256(session.component).hexdigest()}",
        "",
        *(f"- {visible(each, 400)}" for each in found.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"
