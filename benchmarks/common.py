"""What the benchmark commands share: artifacts to measure with, measuring in turns, and one line a figure.

Figures are ratios of two things that were measured in turns in the same run, so that another load on the machine strikes both. A
figure is the median over the rounds: a single round on a busy machine says little.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from diffcheck import process
from diffcheck.backend import contract, registry
from diffcheck.cases.discovery import discover, load_case
from diffcheck.runner import plan as plans
from diffcheck.runner import planning
from diffcheck.runner.request import Request
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link
from diffcheck.wasm.leb import s, u

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diffcheck.runner.plan import CapsulePlan

os.environ.setdefault("DIFFCHECK_NO_CACHE", "1")  # what is measured is run
CORPUS = Path(__file__).resolve().parent.parent / "corpus"


class Line(msgspec.Struct, frozen=True):
    """A figure with its target: reached where it is at most the target, or at least it where ``least`` is set."""

    name: str
    value: float
    target: float
    least: bool = False
    unit: str = ""
    detail: str = ""

    @property
    def reached(self) -> bool:
        """Whether the figure is as good as the target."""
        return self.value >= self.target if self.least else self.value <= self.target

    def __str__(self) -> str:
        """One line for the reader."""
        word = "at least" if self.least else "at most"
        detail = f"  ({self.detail})" if self.detail else ""
        return (
            f"{self.name}: {self.value:.3g}{self.unit}, target {word} {self.target:g}{self.unit}: "
            f"{'reached' if self.reached else 'NOT REACHED'}{detail}"
        )


def show(*lines: Line) -> int:
    """Print the lines; gives the exit code, 1 where a target was not reached."""
    for line in lines:
        print(line, flush=True)
    return 0 if all(line.reached for line in lines) else 1


def note(text: str) -> None:
    """Say what is under way, on stderr."""
    print(text, file=sys.stderr, flush=True)


def in_turns(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """What each of ``measures`` gave in each round; their order is turned around from round to round."""
    found: list[list[float]] = [[] for _ in measures]
    for turn in range(rounds):
        order = range(len(measures)) if turn % 2 == 0 else reversed(range(len(measures)))
        for at in order:
            found[at].append(measures[at]())
    return found


def ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def own_cpu_s() -> float:
    """User and system time of this process alone, without its children."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def spread(values: Sequence[float], unit: str = "") -> str:
    """Median, least and largest of the rounds."""
    return f"{statistics.median(values):.3g}{unit}, {min(values):.3g} to {max(values):.3g} in {len(values)} rounds"


def load() -> str:
    """The machine's load, which a reader of a figure wants to know."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def diffcheck() -> list[str]:
    """The command line of the diffcheck that belongs to this Python."""
    beside = Path(sys.executable).with_name("diffcheck")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "diffcheck"]


def kilnd(given: str | None) -> str:
    """The path of kilnd: the option's, else DIFFCHECK_KILND, else on PATH; ends the command where there is none."""
    path = given or os.environ.get("DIFFCHECK_KILND") or shutil.which("kilnd")
    if not path:
        raise SystemExit("kilnd was not found: give --kilnd PATH or set DIFFCHECK_KILND")
    return path


# Artifacts.

_BODY = """
  local.get $n i32.const {seed} i32.add local.set $n
  block
    loop
      local.get $n i32.const 1 i32.and local.tee $c
      global.set {brval}
      global.get {brcnt} i32.const 1 i32.add global.set {brcnt}
      local.get $c
      if
        global.get {counter} i64.const 1 i64.add global.set {counter}
        local.get $x i32.const 3 i32.mul local.get $n i32.xor local.set $x
      else
        local.get $x i32.const 5 i32.add i32.const 7 i32.rotl local.set $x
      end
      local.get $n i32.const 1 i32.shr_u local.tee $n
      br_if 0
    end
  end
  local.get $x
  {call}
"""


def artifact(functions: int, number: int) -> bytes:
    """An instrumented module of ``functions`` functions, in witness's form: a counter, a brval and a brcnt for each branch.

    Each function has one branch and calls the next one; the first is the row ``run_row_0``. ``number`` makes it another module.
    With one function alone there is no reset function either, so it has exactly that one.
    """
    draw = random.Random(number * 1000 + functions)
    resets = functions > 1
    own = functions - resets
    bodies = []
    for at in range(own):
        call = f"call {at + 1} i32.add" if at + 1 < own else ""
        text = _BODY.format(seed=draw.randrange(1 << 20), brval=3 * at, brcnt=3 * at + 1, counter=3 * at + 2, call=call)
        bodies.append(link(assemble(text, locals=(("n", "i32"), ("x", "i32"), ("c", "i32"))), {}))
    if resets:
        zero = " ".join(f"i32.const 0 global.set {3 * at} i32.const 0 global.set {3 * at + 1}" for at in range(own))
        bodies.append(link(assemble(zero), {}))
    branch = b"\x7f\x01\x41\x00\x0b" * 2 + b"\x7e\x01\x42\x00\x0b"
    exports = [_export("run_row_0", 0, 0)] + [_export("__witness_row_reset", 0, own)] * resets
    for at in range(own):
        names = ("brval", "brcnt", "counter")
        exports += [_export(f"__witness_{name}_{at}", 3, 3 * at + index) for index, name in enumerate(names)]
    types = [0] * own + [1] * resets
    return b"\0asm\x01\0\0\0" + b"".join(
        (
            _section(1, [b"\x60\x00\x01\x7f", b"\x60\x00\x00"]),
            _section(3, [u(each) for each in types]),
            _section(5, [b"\x00" + u(1)]),
            _section(6, [branch] * own, count=3 * own),
            _section(7, exports),
            _section(10, bodies),
        )
    )


def counters_only(number: int) -> bytes:
    """A module with as many exported i64 counters, each set to a value of its own by ``run_row_0``."""
    sets = b"".join(b"\x42" + s(at * 7919 + 1) + b"\x24" + u(at) for at in range(number))
    body = b"\x00" + sets + b"\x0b"
    exports = [_export("run_row_0", 0, 0)] + [_export(f"__witness_counter_{at}", 3, at) for at in range(number)]
    return b"\0asm\x01\0\0\0" + b"".join(
        (
            _section(1, [b"\x60\x00\x00"]),
            _section(3, [u(0)]),
            _section(6, [b"\x7e\x01\x42\x00\x0b"] * number),
            _section(7, exports),
            _section(10, [u(len(body)) + body]),
        )
    )


def _export(name: str, kind: int, index: int) -> bytes:
    encoded = name.encode()
    return u(len(encoded)) + encoded + bytes([kind]) + u(index)


def _section(number: int, items: Sequence[bytes], count: int | None = None) -> bytes:
    payload = u(len(items) if count is None else count) + b"".join(items)
    return bytes([number]) + u(len(payload)) + payload


def write_artifacts(folder: Path, number: int, functions: Callable[[int], int]) -> None:
    """``number`` generated modules in ``folder``; ``functions`` says how many functions each has."""
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(number):
        (folder / f"module-{at:05}.wasm").write_bytes(artifact(functions(at), at))


def planned(paths: Sequence[Path], request: Request) -> Iterator[CapsulePlan]:
    """The plans of all cases under ``paths``, as a worker makes them; RunFailedError where one has no capsule."""
    with process.Reactor() as reactor, process.private_folder() as folder:
        host = contract.Host(reactor, folder)
        oracle = registry.create("wasmtime", {})
        assert isinstance(oracle, contract.Oracle), "wasmtime is one"
        subject = registry.create(request.subject, request.options)
        try:
            for item in discover(paths).items:
                yield plans.require_capsule(planning.make(load_case(item), request, oracle, oracle, subject, host))
        finally:
            oracle.close()
            subject.close()
