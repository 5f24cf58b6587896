"""Checks of the observable effects of wasi 0.2 calls, and the world of the probes."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Final, Literal, get_args

import msgspec

from diffcheck.probe.wasi_module import AREA, TEXT, UNTOUCHED, ProbeCall, ProbeObservation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Verdict = Literal["real", "stub", "broken", "absent"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)

STDIN: Final = b"stdin-of-the-probe"
VARIABLE: Final = ("WITNESS_PROBE", "value-17")
ARGUMENTS: Final = ("one", "two words")
EXIT_CODE: Final = 37
FILE: Final = b"a file for the probe"
FILES: Final = {"probe.txt": FILE, "gone.txt": b"to be removed", "empty/": b""}
WORDS: Final = {
    "out": b"word-on-stdout ",
    "path": b"probe.txt",
    "gone": b"gone.txt",
    "folder": b"empty",
    "made": b"made-by-probe",
    "address": b"127.0.0.1",
    "wrote": b"written bytes",
    "link": b"link",
}
MS: Final = 1_000_000
DAY_S: Final = 86_400


def texts() -> tuple[dict[str, int], bytes]:
    """Return the address of each word, and the bytes of all words from ``TEXT`` on."""
    places, data = {}, b""
    for word, value in WORDS.items():
        places[word] = TEXT + len(data)
        data += value
    return places, data


class ProbeRun(msgspec.Struct, frozen=True):
    """A completed run: the export's output, the printed output, the folder's files afterwards (a folder's name ends in ``/``)."""

    output: ProbeObservation
    stdout: bytes
    stderr: bytes
    files: Mapping[str, bytes]


class CheckResult(msgspec.Struct, frozen=True):
    """A verdict and its reason."""

    verdict: Verdict
    why: str = ""


REAL: Final = CheckResult("real")


class CallCheck(msgspec.Struct, frozen=True):
    """A probe and its check. ``exit_code`` is set if the call must end the program with that code."""

    probe: ProbeCall
    check: Callable[[ProbeRun], CheckResult]
    exit_code: int | None = None


def stub(why: str) -> CheckResult:
    """Return the verdict for a call without effect."""
    return CheckResult("stub", why)


def broken(why: str) -> CheckResult:
    """Return the verdict for a call with a wrong effect."""
    return CheckResult("broken", why)


NO_ANSWER: Final = stub("it returns no result: the return area is unchanged")

# Checks.


def ok(run: ProbeRun) -> CheckResult:
    """Check that the return area contains ``ok`` of a ``result``."""
    tag = run.output.area[0]
    if run.output.area == UNTOUCHED:
        return NO_ANSWER
    if tag == 1:
        code = next((each for each in run.output.area[1:] if each != UNTOUCHED[0]), None)
        return broken("it fails" + (f" with error code {code}" if code is not None else ""))
    return REAL if tag == 0 else broken(f"its result is neither ok nor an error, but {tag}")


def all_of(*checks: Callable[[ProbeRun], CheckResult]) -> Callable[[ProbeRun], CheckResult]:
    """Return the first result other than ``real``."""
    return lambda run: next((result for check in checks if (result := check(run)) != REAL), REAL)


def must(test: Callable[[ProbeRun], object], otherwise: CheckResult) -> Callable[[ProbeRun], CheckResult]:
    """Return a check for ``test``, with the verdict ``otherwise`` if it fails."""
    return lambda run: REAL if test(run) else otherwise


def printed(word: bytes) -> Callable[[ProbeRun], CheckResult]:
    """Return a check that the word was printed to stdout."""
    return must(lambda run: word in run.stdout, stub("it returns ok, but stdout is empty"))


def anything(_run: ProbeRun) -> CheckResult:
    """Check only that the call returned."""
    return REAL


def astray(run: ProbeRun, at: int = 0) -> CheckResult:
    """Return the verdict for a list or string outside of allocated memory."""
    address, length = struct.unpack_from("<II", run.output.area, at)
    place = "in the caller's memory next to the return area" if AREA < address < AREA + 256 else "which is not allocated"
    return broken(f"it writes {length} bytes to {address:#x}, {place}")


def twice_differ(run: ProbeRun) -> CheckResult:
    """Check that two calls return different values."""
    one, two = run.output.results
    return REAL if one != two else stub(f"it returns {one:#x} each time")


def handles(run: ProbeRun) -> CheckResult:
    """Check that two calls return different handles."""
    return REAL if len(set(run.output.results)) == 2 else stub(f"it returns the handle {run.output.results[0]} each time")  # noqa: PLR2004


def waited(run: ProbeRun) -> CheckResult:
    """Check that a wait of 20 ms took 15 ms to 10 s."""
    return REAL if 15 * MS <= run.output.extra[0] < 10_000 * MS else stub("it does not wait for the requested time")


def strings(run: ProbeRun, size: int) -> list[bytes | None] | None:
    """Return the strings in a list of items of ``size`` bytes; None if the list is missing or too long."""
    address, count = struct.unpack_from("<II", run.output.area)
    table = run.output.memory(address, count * size) if count < 64 else None  # noqa: PLR2004 - more than given
    if table is None:
        return None
    return [run.output.memory(*struct.unpack_from("<II", table, at)) for at in range(0, count * size, 8)]


def arguments(run: ProbeRun) -> CheckResult:
    """Check the given arguments."""
    actual = strings(run, 8)
    if actual is None:
        return astray(run)
    return REAL if actual[-2:] == [each.encode() for each in ARGUMENTS] else broken(f"it returns {actual}")


def environment(run: ProbeRun) -> CheckResult:
    """Check the given variable."""
    if run.output.area == UNTOUCHED:
        return NO_ANSWER
    actual = strings(run, 16)
    if actual is None:
        return astray(run)
    pairs = list(zip(actual[::2], actual[1::2], strict=True))
    given = tuple(each.encode() for each in VARIABLE)
    return REAL if given in pairs else stub(f"{len(pairs)} variables, but not the given one")


def cwd(run: ProbeRun) -> CheckResult:
    """Check for a folder. A stub would also return ``none``."""
    if run.output.area == UNTOUCHED:
        return NO_ANSWER
    if run.output.area[0] == 0:
        return stub("it returns none")
    return REAL if run.output.string(4) else astray(run, 4)


_ONLY_NONE: Final = "it returns none, which is correct here; other results were not observed"


def is_none(run: ProbeRun) -> CheckResult:
    """Check for ``none``, which is correct if nothing exists, but indistinguishable from a stub."""
    if run.output.area == UNTOUCHED:
        return NO_ANSWER
    return stub(_ONLY_NONE) if run.output.area[0] == 0 else broken("it returns one")


def bytes_at(at: int, test: Callable[[bytes], bool], what: str) -> Callable[[ProbeRun], CheckResult]:
    """Return a check of the string whose address is at offset ``at`` of the return area."""

    def check(run: ProbeRun) -> CheckResult:
        actual = run.output.string(at)
        if actual is None:
            return astray(run, at)
        return REAL if test(actual) else broken(f"{what}: {actual!r}")

    return check


def bytes_differ(run: ProbeRun) -> CheckResult:
    """Check that two calls return different random bytes."""
    first, second = (run.output.string(0, area) for area in (run.output.first, run.output.area))
    if run.output.area == UNTOUCHED:
        return NO_ANSWER
    if not first or not second:
        return astray(run)
    if len(first) != 16 or len(second) != 16:  # noqa: PLR2004 - the requested number
        return broken(f"it returns {len(first)} bytes, not 16")
    return REAL if first != second and any(first) else stub("it returns the same bytes each time")


def seed(run: ProbeRun) -> CheckResult:
    """Check for sixteen bytes, not all of them zero."""
    area = run.output.area[:16]
    if area == UNTOUCHED[:16]:
        return NO_ANSWER
    if area == bytes(16):
        return stub("it returns zeros")
    return REAL if area[8:] != UNTOUCHED[:8] else broken("it writes half of its result")


def wall(run: ProbeRun) -> CheckResult:
    """Check for a time within a day of the current time, and a later time at the second call."""
    if run.output.area == UNTOUCHED:
        return NO_ANSWER
    if abs(run.output.u64(0) - time.time()) > DAY_S or run.output.u32(8) >= 10**9:
        return broken(f"it returns {run.output.u64(0)} s and {run.output.u32(8)} ns")
    return REAL if run.output.area[:12] != run.output.first[:12] else stub("it does not advance")


def clock(run: ProbeRun) -> CheckResult:
    """Check that the second call returns a later time."""
    one, two = run.output.results
    return REAL if 0 < one < two else stub("it does not advance") if one == two else broken(f"it returns {one}, then {two}")


def poll(run: ProbeRun) -> CheckResult:
    """Check that exactly the second of two pollables is ready."""
    address, count = struct.unpack_from("<II", run.output.area)
    if run.output.area == UNTOUCHED:
        return NO_ANSWER
    ready = run.output.memory(address, 4 * count) if count < 64 else None  # noqa: PLR2004
    if count and ready is None:
        return astray(run)
    return REAL if ready == struct.pack("<I", 1) else stub(f"it returns {count} ready pollables instead of the second of two")


def file_is(name: str, content: bytes | None) -> Callable[[ProbeRun], CheckResult]:
    """Return a check of a file's content afterwards; None if the file must not exist."""
    return must(lambda run: run.files.get(name) == content, stub("it returns ok, but the folder is unchanged"))


def handle(run: ProbeRun) -> CheckResult:
    """Check for a plausible handle."""
    return REAL if 0 < run.output.u32(4) < 1 << 30 else broken(f"its handle is {run.output.u32(4):#x}")


def directory_entry(run: ProbeRun) -> CheckResult:
    """Check for the name of a file in the folder."""
    if run.output.area[4] != 1:
        return stub("it returns no entry of a folder with files")
    name = run.output.string(12) or b""
    return REAL if name.decode(errors="replace") in {each.rstrip("/") for each in run.files} else broken(f"its name is {name!r}")


def code_of_error(run: ProbeRun) -> CheckResult:
    """Check that a file error has a code."""
    if run.output.area == UNTOUCHED:
        return NO_ANSWER
    return REAL if run.output.area[0] == 1 else stub("it returns no code for a file error")


def directories(run: ProbeRun) -> CheckResult:
    """Check for at least one folder with a name."""
    address, count = struct.unpack_from("<II", run.output.area)
    if run.output.area == UNTOUCHED:
        return NO_ANSWER
    if not count:
        return stub("it returns none, although one was opened")
    table = run.output.memory(address, 12)
    name = run.output.memory(*struct.unpack_from("<II", table, 4)) if table else None
    return REAL if name else astray(run)
