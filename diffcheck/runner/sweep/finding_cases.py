"""The differences of a sweep as cases: a program of one function for each operation, with the operands as rows."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from diffcheck import process
from diffcheck.runner.sweep.programs import calls, packed, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from diffcheck.runner.sweep.programs import Row, SweepProgram

_OWN: Final = (".wat", ".wasm", ".toml")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.]+")


def write(rows: Iterable[Row], folder: Path, assemble: Callable[[SweepProgram], bytes]) -> dict[str, str]:
    """Replace the cases in ``folder``; returns the name of each operation's case.

    A packed row, of which no single operands differ, is a case of all its combinations.
    """
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.suffix in _OWN:
            path.unlink()
    process.make_folder(folder, "choose another folder with --reports")
    by_operation: dict[str, list[Row]] = defaultdict(list)
    for each in rows:
        by_operation[each.operation.name].append(each)
    names: dict[str, str] = {}
    for operation, found in by_operation.items():
        single = [each for each in found if not each.packed]
        program = calls(single) if single else packed([whole(found[0].operation)])
        name = _free(_UNSAFE.sub("_", operation)[:80], names.values())
        if program.padded:
            process.write_atomically(folder / f"{name}.wasm", [assemble(program)])
        else:
            process.write_atomically(folder / f"{name}.wat", [program.text.encode()])
        process.write_atomically(folder / f"{name}.toml", [_case_file(program, operation).encode()])
        names[operation] = name
    return names


def _free(name: str, taken: Iterable[str]) -> str:
    taken = set(taken)
    return next(each for at in range(len(taken) + 1) if (each := f"{name}_{at}" if at else name) not in taken)


def _case_file(program: SweepProgram, operation: str) -> str:
    rows = "".join(f"  {json.dumps(each.text)},\n" for each in program.rows)
    what = "all operands of a class" if program.pieces else "the operands of the rows"
    return f"purpose = {json.dumps(f'{operation} with {what}, found by diffcheck sweep')}\nrows = [\n{rows}]\n"
