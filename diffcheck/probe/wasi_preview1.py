"""Probes for the functions of WASI preview 1. Functions with an observable effect are judged by that effect.

For the others only their presence is tested: their errno is reported, and their verdict is never ``real``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.capsule.stubs import preview1
from diffcheck.probe.wasi_checks import (
    ARGUMENTS,
    EXIT_CODE,
    REAL,
    STDIN,
    VARIABLE,
    WORDS,
    CallCheck,
    CheckResult,
    ProbeRun,
    broken,
    stub,
)
from diffcheck.probe.wasi_module import AREA, HEAP, UNTOUCHED, ProbeCall, known

if TYPE_CHECKING:
    from collections.abc import Callable

MODULE: Final = "wasi_snapshot_preview1"
_OUT: Final = f"""i32.const {AREA + 64} @out i32.store
  i32.const {AREA + 64} i32.const {len(WORDS["out"])} i32.store offset=4"""
_IN: Final = f"i32.const {AREA + 64} i32.const {HEAP} i32.store i32.const {AREA + 64} i32.const 5 i32.store offset=4"


def _errno(then: Callable[[ProbeRun], CheckResult]) -> Callable[[ProbeRun], CheckResult]:
    def check(run: ProbeRun) -> CheckResult:
        errno = run.output.results[0]
        return then(run) if errno == 0 else broken(f"it fails with errno {errno}")

    return check


def _if(test: Callable[[ProbeRun], object], otherwise: CheckResult) -> Callable[[ProbeRun], CheckResult]:
    return _errno(lambda run: REAL if test(run) else otherwise)


def _unobserved(run: ProbeRun) -> CheckResult:
    return stub(f"it returns errno {run.output.results[0]}; its effect was not checked")


def _heap(*strings: bytes) -> Callable[[ProbeRun], bool]:
    return lambda run: all(string + b"\0" in run.output.heap for string in strings)


_SECOND: Final = 1_000_000_000
_UNTOUCHED: Final = stub("it returns ok without a result")
_AT_HEAP: Final = f"i32.const {HEAP}"
_NO_ARGS: Final = "it returns ok, but not the given values"

_OBSERVABLE: Final[dict[str, tuple[tuple[str, ...], Callable[[ProbeRun], CheckResult], str]]] = {
    "args_sizes_get": (("AREA", f"i32.const {AREA + 8}"), _if(lambda run: 2 <= run.output.u32(0) < 9, _UNTOUCHED), ""),  # noqa: PLR2004
    "args_get": ((f"i32.const {HEAP + 512}", _AT_HEAP), _if(_heap(*(each.encode() for each in ARGUMENTS)), stub(_NO_ARGS)), ""),
    "environ_sizes_get": (("AREA", f"i32.const {AREA + 8}"), _if(lambda run: 1 <= run.output.u32(0) < 99, _UNTOUCHED), ""),  # noqa: PLR2004
    "environ_get": ((f"i32.const {HEAP + 512}", _AT_HEAP), _if(_heap("=".join(VARIABLE).encode()), stub(_NO_ARGS)), ""),
    "fd_write": (
        ("i32.const 1", f"i32.const {AREA + 64}", "i32.const 1 i32.const 0 i32.add", "AREA"),
        _if(lambda run: WORDS["out"].strip() in run.stdout, stub("it returns ok, but stdout is empty")),
        _OUT,
    ),
    "fd_read": (
        ("i32.const 0", f"i32.const {AREA + 64}", "i32.const 1", "AREA"),
        _if(lambda run: run.output.heap[:5] == STDIN[:5], stub("it returns ok, but no bytes of stdin")),
        _IN,
    ),
    "clock_res_get": (("i32.const 1", "AREA"), _if(lambda run: 0 < run.output.u64(0) < _SECOND, _UNTOUCHED), ""),
    "clock_time_get": (
        ("i32.const 1", "i64.const 2", "AREA"),
        _if(lambda run: run.output.area[:8] not in (UNTOUCHED[:8], bytes(8)), _UNTOUCHED),
        "",
    ),
    "random_get": ((_AT_HEAP, "i32.const 16"), _if(lambda run: any(run.output.heap[:16]), stub("it returns zeros")), ""),
    "sched_yield": ((), _if(lambda _: True, REAL), ""),
}


def entries() -> tuple[CallCheck, ...]:
    """Return a probe for each function."""
    return tuple(map(_entry, sorted(preview1.TABLE)))


def _entry(name: str) -> CallCheck:
    function = known(MODULE, name)
    if name == "proc_exit":
        return CallCheck(ProbeCall(function, (f"i32.const {EXIT_CODE}",)), lambda _: REAL, EXIT_CODE)
    distinct = tuple(f"{kind}.const {at + 3}" for at, kind in enumerate(function.params))
    args, check, setup = _OBSERVABLE.get(name, (distinct, _unobserved, ""))
    return CallCheck(ProbeCall(function, args, setup), check)
