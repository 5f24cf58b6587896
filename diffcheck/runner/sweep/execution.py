"""Programs of a sweep as cases on the workers of a run."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Host, RunLimits
from diffcheck.capsule.deterministic.form import deterministic
from diffcheck.cases.discovery import Case, Item
from diffcheck.errors import ArtifactError
from diffcheck.runner.case_run import skipped
from diffcheck.runner.events import CaseFinished
from diffcheck.runner.pool import Pool
from diffcheck.runner.sweep.padding import padded_module
from diffcheck.wasm import module as wasm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diffcheck.backend.contract import Oracle
    from diffcheck.runner.request import Request
    from diffcheck.runner.sweep.programs import SweepProgram
    from diffcheck.verdict import CaseReport

_RELAXED: Final = "relaxed"


def artifact(program: SweepProgram, validator: Oracle, host: Host) -> bytes:
    """The program as a module; raises ``ArtifactError`` if the oracle cannot assemble it.

    It is in the deterministic form, so that legal choices of NaN bits cost no further runs; not with relaxed instructions, whose
    number of replaced results may differ.
    """
    data = validator.assemble(program.text.encode(), RunLimits(), host)
    if program.padded:
        return padded_module(data)
    if _RELAXED in program.text:
        return data
    try:
        form = deterministic(wasm.read(data))
    except ArtifactError:  # an instruction that only the oracle knows
        return data
    return data if form is None else form.wasm


class PoolExecution:
    """Runs programs on the workers of a pool. ``request`` names the chosen engines."""

    def __init__(self, request: Request, validator: Oracle, host: Host, stopped: Callable[[], bool]) -> None:
        self._request = msgspec.structs.replace(request, mode="capsule", slice="never", confirm=0, known={}, judges=())
        self._validator, self._host, self._stopped = validator, host, stopped
        self._numbers = count()

    def __call__(self, programs: Sequence[SweepProgram], until: float | None) -> Iterator[tuple[SweepProgram, CaseReport]]:
        """Each program with its report, in order of completion."""
        by_id: dict[str, tuple[SweepProgram, Case]] = {}

        def is_over() -> bool:
            return self._stopped() or (until is not None and time.monotonic() > until)

        for program in programs:
            if is_over():
                return
            name = str(next(self._numbers))
            path = Path(self._host.folder) / f"{name}.wasm"
            case = Case(name, str(path), rows=tuple(each.text for each in program.rows))
            try:
                path.write_bytes(artifact(program, self._validator, self._host))
            except ArtifactError as error:
                yield program, skipped(case, error.line, "")
                continue
            by_id[name] = program, case
        items = [Item(name, case.artifact, "", str(self._host.folder)) for name, (_, case) in by_id.items()]
        pool = Pool(
            self._request, self._host.reactor, str(self._host.folder), is_over, load=lambda item: (by_id[item.id][1], None)
        )  # fmt: skip
        for event in pool.events(items, probe=False) if items else ():
            if isinstance(event, CaseFinished):
                program, case = by_id[event.report.case]
                Path(case.artifact).unlink()
                yield program, event.report
