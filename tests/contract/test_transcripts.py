"""What kilnd printed once is classified right for ever (``tests/transcripts/renew.py`` renews what it printed)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffcheck.backend.contract import Program, RunLimits
from diffcheck.observation import HarnessFailed, Outcome, OutOfMemory, Refused, TimedOut, Trapped, tag
from diffcheck.testing import programs
from diffcheck_backends import harness, harness_protocol, kiln_words, kilnd, trap_words

FOLDER = Path(__file__).parents[1] / "transcripts"
TRANSCRIPTS = sorted(FOLDER.glob("kilnd-*/*.json"))
LIMITS = RunLimits(deadline_s=3.0, memory_bytes=512 << 20)

EXPECTED: dict[str, tuple[str, str]] = {
    "load-invalid": ("refused", "load"),
    "load-too-many-exports": ("refused", "load"),
    "load-component": ("refused", "load"),
    "instantiate-trap-in-start": ("refused", "instantiate"),
    "instantiate-trap-in-data": ("refused", "instantiate"),
    "entry-missing": ("refused", "entry"),
    "entry-with-parameters": ("refused", "entry"),
    "counter-float": ("harness-failed", "counter of another type"),
    "counter-named": ("harness-failed", "a counter's name is not a u32"),
    "import-called": ("trapped", "unknown"),
    "import-memory": ("trapped", "out of bounds memory access"),
    "import-table": ("trapped", "unknown"),
    "array-too-large": ("trapped", "allocation too large"),
    "out-of-memory": ("out-of-memory", ""),
    "atomic-out-of-bounds": ("trapped", "out of bounds memory access"),
    "throw-in-callee": ("trapped", "uncaught exception"),
}


def class_of(outcome: Outcome) -> tuple[str, str]:
    match outcome:
        case Trapped(kind, _):
            return "trapped", kind
        case Refused(stage, _):
            return "refused", stage
        case HarnessFailed(what, _):
            return "harness-failed", what
        case _:
            return tag(outcome), ""


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_transcript_is_classified_right(path: Path) -> None:
    transcript = json.loads(path.read_text())
    if transcript["exit_code"] == 0:
        assert harness_protocol.parse(transcript["answer"].encode()) is not None
        return
    assert transcript["answer"] is None
    name = path.stem
    expected = EXPECTED.get(name) or ("trapped", programs.TRAPS[name.removeprefix("trap-")][0])
    for classify in (kiln_words.classify, trap_words.classify):
        outcome = classify(transcript["stderr"], transcript["exit_code"], transcript["signal"], LIMITS)
        assert outcome is not None
        assert class_of(outcome) == expected


def test_every_program_has_a_transcript() -> None:
    names = {path.stem for path in TRANSCRIPTS}
    assert names >= {f"trap-{name}" for name in programs.TRAPS} | EXPECTED.keys()


def error(message: str, code: int = 8601) -> str:
    return f'Error: Error {{ category: Runtime, code: {code}, message: "{message}" }}\n'


def test_kilnds_own_fuel_is_a_timeout_and_no_trap() -> None:
    outcome = kiln_words.classify(error("fuel exhausted: execution exceeded the configured instruction budget"), 1, None, LIMITS)
    assert isinstance(outcome, TimedOut)
    assert outcome.deadline_s == LIMITS.deadline_s
    assert "fuel" in outcome.detail


def test_the_last_error_line_counts_and_debug_lines_do_not() -> None:
    text = "[DEBUG-EXN-HANDLER] Error: nothing\n" + error("unreachable") + "noise\n" + error("integer overflow")
    assert class_of(kiln_words.classify(text, 1, None, LIMITS) or HarnessFailed("none")) == ("trapped", "integer overflow")


def test_words_that_are_not_known_are_a_trap_of_an_unknown_kind_and_are_kept() -> None:
    outcome = kiln_words.classify(error("something new", 4711), 1, None, LIMITS)
    assert outcome == Trapped("unknown", "something new (Runtime, code 4711)")


def test_a_panic_is_a_crash_without_a_signal() -> None:
    text = "thread '<unnamed>' panicked at kiln-runtime/src/x.rs:1:2:\nindex out of bounds\nnote: run with ...\n"
    outcome = kiln_words.classify(text, 101, None, LIMITS)
    assert outcome is not None
    assert (tag(outcome), getattr(outcome, "signal", None)) == ("crashed", 0)
    assert "index out of bounds" in str(outcome)


def test_a_failed_allocation_is_out_of_memory_though_the_engine_dies_of_a_signal() -> None:
    outcome = kiln_words.classify("memory allocation of 8388608 bytes failed\n", None, 6, LIMITS)
    assert isinstance(outcome, OutOfMemory)


def test_nothing_is_no_words() -> None:
    assert kiln_words.classify("", 1, None, LIMITS) is None
    assert trap_words.classify("hello", 3, None, LIMITS) is None
    assert harness.create("true", {}).capabilities.direct


@pytest.mark.parametrize(
    "text, expected",
    [
        ("RuntimeError: remainder by zero\n    at wasm://wasm/47c5218e", ("trapped", "integer divide by zero")),
        ("RangeError: Maximum call stack size exceeded", ("trapped", "call stack exhausted")),
        ("RuntimeError: null function or function signature mismatch", ("trapped", "unstated")),
        ("[CompileError: WebAssembly.compile(): Unknown type code 0x5f, enable with ...]", ("refused", "load")),
        ("error: wasm error: stack overflow\nwasm stack trace:", ("trapped", "call stack exhausted")),
        (
            "Caused by:\n    0: memory fault at wasm address 0x0\n    1: wasm trap: out of bounds memory access",
            ("trapped", "out of bounds memory access"),
        ),
        ("Error: failed to compile: multi-memory not enabled\n\nCaused by:\n    x", ("refused", "load")),
        ("Error: unknown import: `a::b` has not been defined", ("refused", "instantiate")),
        ('TypeError: WebAssembly.Instance(): Import #0 "a": module is not an object or function', ("refused", "instantiate")),
        ("TypeError: WebAssembly.Instance(): Imports argument must be present and must be an object", ("refused", "instantiate")),
        ("RuntimeError: unreachable\n    at <unnamed>", ("trapped", "unreachable")),
        ("RuntimeError: data segment out of bounds", ("trapped", "out of bounds memory access")),
        ("RuntimeError: rethrowing null value", ("trapped", "null reference")),
        ("RuntimeError: Unreachable code should not be executed (evaluating 'f()')", ("trapped", "unreachable")),
        ("RuntimeError: Out of bounds Trunc operation (evaluating 'f()')", ("trapped", "unstated")),
        ("RuntimeError: Out of bounds call_indirect (evaluating 'f()')", ("trapped", "out of bounds table access")),
        ("RuntimeError: Out of bounds array.init_elem (evaluating 'f()')", ("trapped", "out of bounds array access")),
        ("RuntimeError: i31.get_<sx> to a null reference (evaluating 'f()')", ("trapped", "null reference")),
        ("RuntimeError: access to a null reference (evaluating 'f()')", ("trapped", "null reference")),
        ("RuntimeError: Division by zero (evaluating 'f()')", ("trapped", "integer divide by zero")),
        ("CompileError: WebAssembly.Module doesn't parse at byte 118: Memory64 is not enabled", ("refused", "load")),
    ],
)
def test_the_words_of_other_engines(text: str, expected: tuple[str, str]) -> None:
    outcome = trap_words.classify(text, 1, None, LIMITS)
    assert outcome is not None
    assert class_of(outcome) == expected


def test_kilnd_has_huge_pages_for_small_programs_whose_memory_is_not_measured(tmp_path: Path) -> None:
    small, large, measured = (
        kilnd.Kilnd(tmp_path, "").command(each, tmp_path, tmp_path).environment
        for each in (
            Program(kind="direct", wasm=bytes(1 << 10)),
            Program(kind="direct", wasm=bytes(1 << 20)),
            Program(kind="capsule", wasm=bytes(1 << 10), measured=True),
        )
    )
    assert "glibc.malloc.hugetlb=1" in small["GLIBC_TUNABLES"]
    assert "GLIBC_TUNABLES" not in large | measured
