"""Generated programs run in this process, under the oracle and a subject with or without a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from diffcheck import process
from diffcheck.backend import contract, registry
from diffcheck.backend.contract import Oracle, RunLimits
from diffcheck.cases.discovery import Case
from diffcheck.faults.fault import Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.hunt.generate.program import Generated, generate
from diffcheck.hunt.generate.weights import Weights
from diffcheck.runner import case_run, planning
from diffcheck.runner.request import Request
from diffcheck.runner.sweep.padding import padded_module
from diffcheck.verdict import CaseReport


def programs(seed: str, count: int, weights: Weights | None = None) -> list[Generated]:
    """The first programs of a seed."""
    used = weights or Weights()
    return [generate(f"{seed} {at}", used) for at in range(count)]


class CaseBench:
    """Runs generated programs under wasmtime and a subject."""

    def __init__(self, folder: Path, subject: str = "wasmtime") -> None:
        self.folder, self._name = folder, subject

    def __enter__(self) -> Self:
        self.reactor = process.Reactor()
        self.host = contract.Host(self.reactor.__enter__(), self.folder)
        self.oracle = registry.create("wasmtime", {})
        self.inner = registry.create(self._name, {})
        self.request = Request((), subject=self._name, mode="capsule", slice="never", deadline_s=5.0, hangs=False)
        return self

    def __exit__(self, *error: object) -> None:
        self.oracle.close()
        self.inner.close()
        self.reactor.__exit__(*error)

    def binary(self, program: Generated) -> bytes:
        data = self.oracle.assemble(program.text.encode(), RunLimits(), self.host)
        return padded_module(data) if program.padded else data

    def report(self, program: Generated, fault: Fault | None = None, oracle: Oracle | None = None) -> CaseReport:
        path = self.folder / "program.wasm"
        path.write_bytes(self.binary(program))
        subject = FaultyBackend(self.inner, fault, words=False) if fault is not None else self.inner
        case = Case("program", str(path), rows=program.rows)
        oracle = oracle or self.oracle
        self.plan = planning.make(case, self.request, self.oracle, oracle, subject, self.host)
        return case_run.run(self.plan, self.request.max_passes, oracle, subject, self.host, "subject")
