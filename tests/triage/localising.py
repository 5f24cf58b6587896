"""Localising in a program that an engine with a fault runs, for the tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import wasmtime

from diffcheck.backend import registry
from diffcheck.backend.contract import Backend, Host
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner import planning
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.request import Request
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.triage.localise.location import Localisation
from diffcheck.wasm import section as ids
from diffcheck.wasm.code import Instruction, instructions, read_locals
from diffcheck.wasm.leb import u
from diffcheck.wasm.module import read
from tests.doubles.semantic_faults import program_functions

Edit = Callable[[bytes], bytes]


def localised(
    host: Host,
    program: str | bytes,
    edit: Edit,
    tmp_path: Path,
    *,
    rows: str = "",
    row: str = "",
    subject: Backend | None = None,
    words: bool = False,
) -> Localisation:
    """What localising reports for a program whose bytes the engine (wasmtime, where no other is named) changes before it runs them.

    With ``words`` the engine carries windows of the stream, and nothing at a trap.
    """
    with localiser(host, program, edit, tmp_path, rows=rows, subject=subject, words=words) as work:
        return work.localise(row)


def changed(change: Callable[[Instruction, bytes], bytes], *, own: bool = False) -> Edit:
    """The edit that gives every instruction other bytes, of the tool's own functions as well unless ``own``; ``change`` is given its
    bytes.
    """

    def edit(data: bytes) -> bytes:
        module, bodies = read(data), []
        count = program_functions(module) if own else len(module.all_functions)
        for at, (offset, size) in enumerate(module.bodies, module.n_imported("func")):
            body = data[offset : offset + size]
            start = read_locals(body).end
            code = [change(each, body[each.offset : each.end]) for each in instructions(body, start=start)]
            bodies.append(body[:start] + b"".join(code) if at < count else body)
        content = u(len(bodies)) + b"".join(u(len(each)) + each for each in bodies)
        return ids.write([ids.section(ids.CODE, content) if each.id == ids.CODE else each for each in ids.split(data)])

    return edit


@contextmanager
def localiser(
    host: Host,
    program: str | bytes,
    edit: Edit,
    tmp_path: Path,
    *,
    rows: str = "",
    subject: Backend | None = None,
    words: bool = False,
):
    """A localiser in a program, as above."""
    path = tmp_path / "program.wasm"
    path.write_bytes(wasmtime.wat2wasm(program) if isinstance(program, str) else program)
    if rows:
        (tmp_path / "program.toml").write_text(f"rows = [{rows}]\n")
    oracle = registry.create("wasmtime", {})
    request = Request((), subject="wasmtime", mode="capsule", deadline_s=60.0)
    try:
        plan = planning.make(case_of(ObserveRequest(str(path))), request, oracle, oracle, oracle, host)
        faulty = FaultyBackend(subject or oracle, Fault("", "", Expected(), edit=edit), words=words)
        yield Localiser(plan, request, oracle, faulty, host)
    finally:
        oracle.close()
