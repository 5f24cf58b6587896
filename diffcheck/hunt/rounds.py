"""A round of a hunt: some generated programs as artifacts with case files, and what their report says about the generator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from zlib import crc32

import msgspec

from diffcheck import process
from diffcheck.backend.contract import RunLimits
from diffcheck.cases.discovery import Case
from diffcheck.errors import DiffcheckError
from diffcheck.hunt.generate.program import Generated, generate
from diffcheck.runner.sweep.padding import padded_module
from diffcheck.triage.writeup.case_text import case_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffcheck.backend.contract import Host, Oracle
    from diffcheck.hunt.generate.weights import Weights
    from diffcheck.verdict import CaseReport

_JUDGED: Final = frozenset({"agree", "diverge"})


_TENTH: Final = 10


class Round(msgspec.Struct, frozen=True):
    """The programs of a round by the stem of their files in ``folder``; ``new_cells`` were in no earlier program. ``invalid`` are
    the seeds of programs that the oracle does not accept, which are not run.
    """

    folder: Path
    programs: dict[str, Generated]
    new_cells: int
    invalid: tuple[str, ...] = ()

    @property
    def sample(self) -> tuple[str, ...]:
        """The paths of one in ten programs, chosen by the program's seed."""
        chosen = (name for name, each in self.programs.items() if crc32(each.seed.encode()) % _TENTH == 0)
        return tuple(str(self.folder / f"{name}.wasm") for name in chosen)

    def without(self, artifacts: Iterable[str]) -> Round:
        """The round without some programs; their files are removed."""
        stems = {Path(each).stem for each in artifacts}
        for stem in stems:
            (self.folder / f"{stem}.wasm").unlink()
        return msgspec.structs.replace(self, programs={name: each for name, each in self.programs.items() if name not in stems})

    def seed(self, artifact: str) -> str:
        """The seed of the program in a file."""
        return self.programs[Path(artifact).stem].seed if Path(artifact).stem in self.programs else ""


def written(folder: Path, seed: int, number: int, count: int, weights: Weights, oracle: Oracle, host: Host) -> Round:
    """Generate and write the programs of a round; they depend on the seed, the number and the weights."""
    process.make_folder(folder, "choose another folder with --reports")
    programs, invalid, before = {}, [], len(weights.seen)
    for at in range(count):
        program = generate(f"{seed} {number} {at}", weights)
        data = _binary(program, oracle, host)
        if not data:
            invalid.append(program.seed)
            continue
        stem = f"r{number}p{at}"
        path = folder / f"{stem}.wasm"
        process.write_atomically(path, [data])
        text = case_text(Case(stem, str(path)), program.rows, f"generated from seed {program.seed}")
        process.write_atomically(path.with_suffix(".toml"), [text.encode()])
        programs[stem] = program
    return Round(folder, programs, len(weights.seen) - before, tuple(invalid))


def _binary(program: Generated, oracle: Oracle, host: Host) -> bytes:
    """The module of a program; empty if it is not valid."""
    try:
        data = oracle.assemble(program.text.encode(), RunLimits(), host)
    except DiffcheckError:
        return b""
    data = padded_module(data) if program.padded else data
    return data if oracle.validate(data, RunLimits(), host) is None else b""


def learn(weights: Weights, programs: dict[str, Generated], report: CaseReport) -> None:
    """Enter the outcome of a program: its functions before the first that diverges agreed, those after it are not judged.

    A difference without a row is one of all functions.
    """
    program = programs.get(Path(report.artifact).stem)
    if program is None or report.verdict not in _JUDGED:
        return
    rows = [each.where.row for one in report.passes for each in one.divergences]
    if rows and not any(rows):
        for names in program.tags.values():
            weights.judge(names, agreed=False)
        return
    first = min((program.rows.index(each) for each in rows if each in program.rows), default=len(program.rows))
    before = {each.partition("=")[0] for each in program.rows[:first]}
    own = program.rows[first].partition("=")[0] if first < len(program.rows) else ""
    for name, names in program.tags.items():
        if name == own or name in before:
            weights.judge(names, agreed=name != own)
