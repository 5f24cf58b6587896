"""Localises in a separate process that a budget or a signal can end: ``python -m diffcheck.triage.isolated FILE``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.errors import DiffcheckError
from diffcheck.runner.request import Request
from diffcheck.text import decode, visible
from diffcheck.triage.localise.location import Localisation
from diffcheck.triage.localise_artifact import localise

if TYPE_CHECKING:
    from diffcheck.triage.reduce.interestingness import TimeBudget

_POLL_S: Final = 0.2


class LocaliseRequest(msgspec.Struct, frozen=True):
    """A request whose only path is the artifact, and the row to localise in, or empty."""

    request: Request
    row: str = ""


def localise_isolated(wanted: LocaliseRequest, reactor: process.Reactor, folder: Path, budget: TimeBudget) -> Localisation | str:
    """The localisation, or the reason why there is none; raises ``BudgetExhausted``."""
    file = folder / "localise.json"
    file.write_bytes(msgspec.json.encode(wanted))
    command, environment = process.own_program("diffcheck.triage.isolated", str(file))
    child = reactor.start(command, env=environment, cwd=Path.cwd(), deadline_s=budget.left_s(), output_bytes=4 << 20)
    try:
        while child.poll() is None:
            budget.check()
            reactor.wait_any([child], _POLL_S)
    finally:
        if child.result is None:
            child.kill()
            reactor.wait(child)
    ended = child.result
    assert ended is not None, "it has ended"  # noqa: S101
    if ended.timed_out:
        budget.check()
    if ended.exit_code != 0:
        lines = decode(ended.stderr).strip().splitlines() or ["it ended without a message"]
        return visible(lines[-1], 400)
    return msgspec.json.decode(ended.stdout, type=Localisation)


def _log(line: str) -> None:
    sys.stderr.write(f"{visible(line, 400)}\n")


def main(path: str) -> int:
    """Localise and write the result as JSON to stdout."""
    process.die_with_parent()
    wanted = msgspec.json.decode(Path(path).read_bytes(), type=LocaliseRequest)
    try:
        found = localise(wanted.request, wanted.row, _log)
    except DiffcheckError as error:
        _log(str(error))
        return error.exit_code
    sys.stdout.write(msgspec.json.encode(found).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
