"""What a call of a wasi 0.2 function must have done, as it is seen from outside of it, and the world that it is called in."""

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
    """Where each word stands, and the bytes of all from ``TEXT`` on."""
    places, data = {}, b""
    for word, value in WORDS.items():
        places[word] = TEXT + len(data)
        data += value
    return places, data


class ProbeRun(msgspec.Struct, frozen=True):
    """A run that came back: what the export gave, what was printed, the folder's files afterwards (a folder ends in ``/``)."""

    seen: ProbeObservation
    stdout: bytes
    stderr: bytes
    files: Mapping[str, bytes]


class CheckResult(msgspec.Struct, frozen=True):
    """A verdict and its reason in words."""

    verdict: Verdict
    why: str = ""


REAL: Final = CheckResult("real")


class CallCheck(msgspec.Struct, frozen=True):
    """A probe and how it is judged; ``exit_code`` where the call must end the program so."""

    probe: ProbeCall
    check: Callable[[ProbeRun], CheckResult]
    exit_code: int | None = None


def stub(why: str) -> CheckResult:
    """It was accepted and did nothing."""
    return CheckResult("stub", why)


def broken(why: str) -> CheckResult:
    """It did something wrong."""
    return CheckResult("broken", why)


NO_ANSWER: Final = stub("it gives no answer: the return area is untouched")

# What must have come of a call.


def ok(ran: ProbeRun) -> CheckResult:
    """The return area says ok, of a ``result``."""
    tag = ran.seen.area[0]
    if ran.seen.area == UNTOUCHED:
        return NO_ANSWER
    if tag == 1:
        code = next((each for each in ran.seen.area[1:] if each != UNTOUCHED[0]), None)
        return broken("it fails" + (f" with error code {code}" if code is not None else ""))
    return REAL if tag == 0 else broken(f"its answer is neither ok nor an error, but {tag}")


def all_of(*checks: Callable[[ProbeRun], CheckResult]) -> Callable[[ProbeRun], CheckResult]:
    """The first of these that is not content."""
    return lambda ran: next((found for each in checks if (found := each(ran)) != REAL), REAL)


def must(test: Callable[[ProbeRun], object], otherwise: CheckResult) -> Callable[[ProbeRun], CheckResult]:
    """Real where a test says so, else this verdict."""
    return lambda ran: REAL if test(ran) else otherwise


def printed(word: bytes) -> Callable[[ProbeRun], CheckResult]:
    """It says ok, and the word arrived on stdout."""
    return must(lambda ran: word in ran.stdout, stub("it says ok, and nothing arrived on stdout"))


def anything(_ran: ProbeRun) -> CheckResult:
    """That it came back is all there is to see."""
    return REAL


def astray(ran: ProbeRun, at: int = 0) -> CheckResult:
    """A list or string that stands where nobody allocated it."""
    address, length = struct.unpack_from("<II", ran.seen.area, at)
    where = "over the caller's memory beside the return area" if AREA < address < AREA + 256 else "which nobody allocated"
    return broken(f"it writes {length} bytes to {address:#x}, {where}")


def twice_differ(ran: ProbeRun) -> CheckResult:
    """Two calls give two answers."""
    one, two = ran.seen.results
    return REAL if one != two else stub(f"it gives {one:#x} each time")


def handles(ran: ProbeRun) -> CheckResult:
    """Two calls give two handles."""
    return REAL if len(set(ran.seen.results)) == 2 else stub(f"it gives the handle {ran.seen.results[0]} each time")  # noqa: PLR2004


def waited(ran: ProbeRun) -> CheckResult:
    """Between 15 ms and 10 s have passed, of the 20 ms that were asked for."""
    return REAL if 15 * MS <= ran.seen.extra[0] < 10_000 * MS else stub("nothing waits for the time that was asked for")


def strings(ran: ProbeRun, size: int) -> list[bytes | None] | None:
    """The strings of a list whose items have so many bytes; None where the list is not there, or longer than it may be."""
    address, count = struct.unpack_from("<II", ran.seen.area)
    table = ran.seen.memory(address, count * size) if count < 64 else None  # noqa: PLR2004 - more than was given
    if table is None:
        return None
    return [ran.seen.memory(*struct.unpack_from("<II", table, at)) for at in range(0, count * size, 8)]


def arguments(ran: ProbeRun) -> CheckResult:
    """The arguments that were given."""
    found = strings(ran, 8)
    if found is None:
        return astray(ran)
    return REAL if found[-2:] == [each.encode() for each in ARGUMENTS] else broken(f"it gives {found}")


def environment(ran: ProbeRun) -> CheckResult:
    """The variable that was given."""
    if ran.seen.area == UNTOUCHED:
        return NO_ANSWER
    found = strings(ran, 16)
    if found is None:
        return astray(ran)
    pairs = list(zip(found[::2], found[1::2], strict=True))
    wanted = tuple(each.encode() for each in VARIABLE)
    return REAL if wanted in pairs else stub(f"{len(pairs)} variables, and not the one that was given")


def cwd(ran: ProbeRun) -> CheckResult:
    """A folder; that there is none a stub would say as well."""
    if ran.seen.area == UNTOUCHED:
        return NO_ANSWER
    if ran.seen.area[0] == 0:
        return stub("it says that there is none")
    return REAL if ran.seen.string(4) else astray(ran, 4)


_ONLY_NONE: Final = "it says none, which is right here; whether it can say anything else was not seen"


def says_none(ran: ProbeRun) -> CheckResult:
    """Option none, which is right for what is not there: no more than a stub would say."""
    if ran.seen.area == UNTOUCHED:
        return NO_ANSWER
    return stub(_ONLY_NONE) if ran.seen.area[0] == 0 else broken("it says that there is one")


def bytes_at(at: int, wanted: Callable[[bytes], bool], what: str) -> Callable[[ProbeRun], CheckResult]:
    """The string whose address stands in the return area there is as it is wanted."""

    def check(ran: ProbeRun) -> CheckResult:
        found = ran.seen.string(at)
        if found is None:
            return astray(ran, at)
        return REAL if wanted(found) else broken(f"{what}: {found!r}")

    return check


def bytes_differ(ran: ProbeRun) -> CheckResult:
    """Two calls give two lists of random bytes."""
    found = [ran.seen.string(0, each) for each in (ran.seen.first, ran.seen.area)]
    if ran.seen.area == UNTOUCHED:
        return NO_ANSWER
    if None in found or not all(found):
        return astray(ran)
    if any(each is None or len(each) != 16 for each in found):  # noqa: PLR2004 - what was asked for
        return broken(f"it gives {len(found[0] or b'')} bytes, not 16")
    return REAL if found[0] != found[1] and any(found[0] or b"") else stub("it gives the same bytes each time")


def seed(ran: ProbeRun) -> CheckResult:
    """Sixteen bytes, not all of them zero."""
    if ran.seen.area[:16] == UNTOUCHED[:16]:
        return NO_ANSWER
    written = ran.seen.area[:16] != bytes(16) and ran.seen.area[8:16] != UNTOUCHED[:8]
    return (
        REAL if written else stub("it gives zeros") if ran.seen.area[:16] == bytes(16) else broken("it writes half of its answer")
    )


def wall(ran: ProbeRun) -> CheckResult:
    """A time within a day of this one, and a later one at the second call."""
    if ran.seen.area == UNTOUCHED:
        return NO_ANSWER
    if abs(ran.seen.u64(0) - time.time()) > DAY_S or ran.seen.u32(8) >= 10**9:
        return broken(f"it says {ran.seen.u64(0)} s and {ran.seen.u32(8)} ns")
    return REAL if ran.seen.area[:12] != ran.seen.first[:12] else stub("it does not advance")


def clock(ran: ProbeRun) -> CheckResult:
    """Two calls give two times, the later one after the earlier."""
    one, two = ran.seen.results
    return REAL if 0 < one < two else stub("it does not advance") if one == two else broken(f"it says {one}, then {two}")


def poll(ran: ProbeRun) -> CheckResult:
    """Of two pollables the second one is ready."""
    address, count = struct.unpack_from("<II", ran.seen.area)
    if ran.seen.area == UNTOUCHED:
        return NO_ANSWER
    ready = ran.seen.memory(address, 4 * count) if count < 64 else None  # noqa: PLR2004
    if count and ready is None:
        return astray(ran)
    return REAL if ready == struct.pack("<I", 1) else stub(f"it gives {count} ready, where the second of two is")


def file_is(name: str, content: bytes | None) -> Callable[[ProbeRun], CheckResult]:
    """A file of the folder has this content afterwards; None where it must be gone."""
    return must(lambda ran: ran.files.get(name) == content, stub("it says ok, and the folder is as it was"))


def handle(ran: ProbeRun) -> CheckResult:
    """Ok, and a handle that may be one."""
    return REAL if 0 < ran.seen.u32(4) < 1 << 30 else broken(f"its handle is {ran.seen.u32(4):#x}")


def directory_entry(ran: ProbeRun) -> CheckResult:
    """A file that is in the folder."""
    if ran.seen.area[4] != 1:
        return stub("it says that a folder with files is empty")
    name = ran.seen.string(12)
    return (
        REAL
        if name and name.decode(errors="replace") in {each.rstrip("/") for each in ran.files}
        else broken(f"its name is {name!r}")
    )


def code_of_error(ran: ProbeRun) -> CheckResult:
    """Some code, for a file's error."""
    if ran.seen.area == UNTOUCHED:
        return NO_ANSWER
    return REAL if ran.seen.area[0] == 1 else stub("it has no code for a file's error")


def directories(ran: ProbeRun) -> CheckResult:
    """One folder at least, with its name."""
    address, count = struct.unpack_from("<II", ran.seen.area)
    if ran.seen.area == UNTOUCHED:
        return NO_ANSWER
    if not count:
        return stub("it gives none, where one was opened")
    table = ran.seen.memory(address, 12)
    name = ran.seen.memory(*struct.unpack_from("<II", table, 4)) if table else None
    return REAL if name else astray(ran)
