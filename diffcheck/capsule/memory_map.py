"""The recorder memory between view and stream: variables, stub counters, static data, buffers (see ``layout``)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule.layout import EXITED, PAGE, VARIABLES_ADDRESS
from diffcheck.errors import CaseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEAP_END: Final = VARIABLES_ADDRESS
EXIT_FLAG: Final = HEAP_END + 4
EXIT_CODE: Final = HEAP_END + 8
STDIN_POSITION: Final = HEAP_END + 12
CAPTURES: Final = HEAP_END + 16  # two of CAPTURE: stdout, stderr
CAPTURE: Final = struct.Struct("<QQII")  # total, running digest, captured, unused
RANDOM: Final = CAPTURES + 2 * CAPTURE.size
CLOCK: Final = RANDOM + 8
CALLS_LANE: Final = CLOCK + 8  # the running digest of the row's calls of imports
CALL_LOG: Final = CALLS_LANE + 8  # the address of the log of calls
LANES: Final = CALL_LOG + 8  # the result of digest()
OBJECTS: Final = LANES + 16  # the number of numbered objects, and whether there are more
OBJECTS_CUT: Final = OBJECTS + 4
PROBING: Final = OBJECTS + 8  # whether functions record their index instead of running; then the index plus 1
PROBED: Final = OBJECTS + 12
EXIT_STATUS: Final = OBJECTS + 16  # the outcome of a row that exits
PASSED_LEFT: Final = OBJECTS + 20  # the values of objects passed to an import that may still be digested
STARTED: Final = OBJECTS + 24  # whether the engine has executed the start section
PATTERN: Final = OBJECTS + 32
PATTERN_BYTES: Final = bytes((17 * i * i + 31 * i + 7) & 0xFF for i in range(64))
SCRATCH_LINE: Final = PATTERN + 64
STATIC: Final = SCRATCH_LINE + 64

RANDOM_SEED: Final = 0x9E37_79B9_7F4A_7C15
CLOCK_START_NS: Final = 1_577_836_800_000_000_000  # 2020-01-01T00:00:00Z
CLOCK_STEP_NS: Final = 1_000_000
OUTPUT_CAP: Final = 65_536
_STATIC_CAP: Final = 16 << 20


class MemoryMap(msgspec.Struct, frozen=True):
    """Addresses that depend on the case: stub counters, scratch page, stream.

    ``data`` is the initial content from ``PATTERN`` on. ``symbols`` are the addresses and lengths that stubs use.
    """

    counters: int
    scratch: int
    stream: int
    data: bytes
    symbols: dict[str, int]


class _Builder:
    def __init__(self) -> None:
        self.data = bytearray(PATTERN_BYTES + bytes(64))

    def place(self, data: bytes) -> int:
        """Append ``data`` at a multiple of 8 and return its address."""
        self.data += bytes(-len(self.data) % 8)
        address = PATTERN + len(self.data)
        self.data += data
        return address

    def strings(self, strings: Sequence[str]) -> tuple[int, int, int, int]:
        """Append NUL-terminated strings; returns (address, bytes, address of the table of offsets, count).

        The table ends with the offset after the last string.
        """
        encoded = [text.encode("utf-8", "surrogateescape") + b"\0" for text in strings]
        if any(b"\0" in text[:-1] for text in encoded):
            raise CaseError("an argument or environment variable contains NUL", hint="remove it from the case file")
        offsets = [sum(map(len, encoded[:at])) for at in range(len(encoded))]
        blob = b"".join(encoded)
        table = self.place(struct.pack(f"<{len(offsets) + 1}I", *offsets, len(blob)))
        return self.place(blob), len(blob), table, len(encoded)


def lay_out(n_stubs: int, args: Sequence[str], env: Mapping[str, str], stdin: bytes, *, output: bool) -> MemoryMap:
    """Lay out a case's arguments, environment and stdin; ``CaseError`` if it exceeds the limit of 16 MiB.

    ``output`` is whether stdout and stderr are captured, ``OUTPUT_CAP`` bytes each.
    """
    if len(stdin) + sum(map(len, args)) + sum(len(key) + len(value) for key, value in env.items()) > _STATIC_CAP:
        raise CaseError("stdin, arguments and environment are larger than 16 MiB", hint="give the case less input")
    builder = _Builder()
    counters = builder.place(bytes(4 * n_stubs))
    args_at, args_bytes, args_table, n_args = builder.strings(args)
    env_at, env_bytes, env_table, n_env = builder.strings([f"{key}={value}" for key, value in env.items()])
    key_sizes = [len(key.encode("utf-8", "surrogateescape")) for key in env]
    env_keys = builder.place(struct.pack(f"<{len(key_sizes)}I", *key_sizes))
    stdin_at = builder.place(stdin)
    data = bytes(builder.data)
    buffers = (PATTERN + len(data) + 63) & ~63
    scratch = buffers + 2 * OUTPUT_CAP * output
    stream = scratch + PAGE
    symbols = {
        "HEAP_END": HEAP_END,
        "EXIT_FLAG": EXIT_FLAG,
        "EXIT_CODE": EXIT_CODE,
        "EXIT_STATUS": EXIT_STATUS,
        "STDIN_POSITION": STDIN_POSITION,
        "CAPTURES": CAPTURES,
        "RANDOM": RANDOM,
        "CLOCK": CLOCK,
        "CLOCK_STEP": CLOCK_STEP_NS,
        "CLOCK_START": CLOCK_START_NS,
        "CALLS_LANE": CALLS_LANE,
        "CALL_LOG": CALL_LOG,
        "LANES": LANES,
        "OBJECTS": OBJECTS,
        "OBJECTS_CUT": OBJECTS_CUT,
        "PROBING": PROBING,
        "PROBED": PROBED,
        "PASSED_LEFT": PASSED_LEFT,
        "STARTED": STARTED,
        "PATTERN": PATTERN,
        "SCRATCH_LINE": SCRATCH_LINE,
        "ARGS": args_at,
        "ARGS_BYTES": args_bytes,
        "ARGS_TABLE": args_table,
        "N_ARGS": n_args,
        "ENV": env_at,
        "ENV_BYTES": env_bytes,
        "ENV_TABLE": env_table,
        "ENV_KEYS": env_keys,
        "N_ENV": n_env,
        "STDIN": stdin_at,
        "STDIN_BYTES": len(stdin),
        "BUFFERS": buffers,
        "OUTPUT_CAP": OUTPUT_CAP,
        "COUNTERS": counters,
        "SCRATCH": scratch,
        "STREAM": stream,
    }
    return MemoryMap(counters=counters, scratch=scratch, stream=stream, data=data, symbols=symbols)


def initial_variables() -> bytes:
    """Return the initial content from ``VARIABLES_ADDRESS`` to ``PATTERN``."""
    head = bytearray(PATTERN - HEAP_END)
    struct.pack_into("<QQ", head, RANDOM - HEAP_END, RANDOM_SEED, 0)
    struct.pack_into("<I", head, EXIT_STATUS - HEAP_END, EXITED)
    return bytes(head)
