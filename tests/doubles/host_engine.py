"""An engine with a few host functions of wasi 0.2 of its own, over wasmtime: right, or wrong in the ways that its arguments name.

    python tests/doubles/host_engine.py [FAULT...] -- MODULE EXPORT ARGUMENT...

It says what came of it as JSON on stderr: ``values``, ``failure``, ``unknown``, and ``calls`` with the arguments as they arrived.
"""

from __future__ import annotations

import json
import os
import random
import struct
import sys
import time
from pathlib import Path
from typing import Any

import wasmtime


class Host:
    """The functions by name; each takes the caller's memory and realloc from ``self``."""

    def __init__(self, faults: set[str], arguments: list[str]) -> None:
        self.faults, self.arguments = faults, arguments
        self.handles = 0
        self.open: set[int] = set()
        self.memory: Any = None
        self.realloc: Any = None

    def _new(self) -> int:
        self.handles += "same" not in self.faults
        self.open.add(self.handles)
        return self.handles

    def _put(self, address: int, data: bytes) -> None:
        self.memory(data, address)

    def _list(self, area: int, data: bytes) -> None:
        place = area + 8 if "astray" in self.faults else self.realloc(len(data))
        self._put(place, data)
        self._put(area, struct.pack("<II", place, len(data)))

    def get_stdout(self) -> int:
        return self._new()

    def blocking_write_and_flush(self, handle: int, address: int, length: int, area: int) -> None:
        if handle not in self.open:
            raise RuntimeError("no such handle")
        if "errs" in self.faults:
            self._put(area, b"\1\xa5\xa5\xa5\1")
            return
        if "silent" not in self.faults:
            os.write(1, self.memory(None, address, length))
        if "untouched" not in self.faults:
            self._put(area, b"\0")

    def drop_output_stream(self, handle: int) -> None:
        if handle not in self.open:
            raise RuntimeError("no such handle")
        if "keeps" not in self.faults:
            self.open.remove(handle)

    def get_random_u64(self) -> int:
        return 7 if "constant" in self.faults else random.getrandbits(63)

    def get_random_bytes(self, length: int, area: int) -> None:
        self._list(area, b"\7" * length if "constant" in self.faults else random.randbytes(length))

    def get_arguments(self, area: int) -> None:
        given = ["program", *(["other"] if "other" in self.faults else self.arguments)]
        places = b""
        for each in given:
            place = self.realloc(len(each))
            self._put(place, each.encode())
            places += struct.pack("<II", place, len(each))
        place = self.realloc(len(places))
        self._put(place, places)
        self._put(area, struct.pack("<II", place, len(given)))

    def get_terminal_stdout(self, area: int) -> None:
        self._put(area, b"\0")

    def now(self) -> int:
        return 5 if "constant" in self.faults else time.monotonic_ns()

    def exit(self, failed: int) -> None:
        if "stays" not in self.faults:
            os._exit(0 if "wrong code" in self.faults else failed)


TABLE = {
    "get-stdout": Host.get_stdout,
    "[method]output-stream.blocking-write-and-flush": Host.blocking_write_and_flush,
    "[resource-drop]output-stream": Host.drop_output_stream,
    "get-random-u64": Host.get_random_u64,
    "get-random-bytes": Host.get_random_bytes,
    "get-arguments": Host.get_arguments,
    "get-terminal-stdout": Host.get_terminal_stdout,
    "now": Host.now,
    "exit": Host.exit,
}


def run(faults: set[str], path: str, export: str, arguments: list[str]) -> dict[str, Any]:
    said: dict[str, Any] = {"values": None, "failure": "", "unknown": False, "calls": []}
    config = wasmtime.Config()
    config.parallel_compilation = False  # no threads: a stand-in may be a forked child
    config.memory_reservation = config.memory_guard_size = 1 << 16  # it runs under a limit of its address space
    store = wasmtime.Store(wasmtime.Engine(config))
    module = wasmtime.Module(store.engine, Path(path).read_bytes())
    host = Host(faults, arguments)

    def function(each: Any) -> wasmtime.Func:
        def call(*values: int) -> int | None:
            given = tuple(reversed(values)) if "reversed" in faults else values
            said["calls"].append({"function": f"{each.module.partition('@')[0]} {each.name}", "args": given})
            if each.name not in TABLE or (each.name == "now" and "wall" in each.module):
                said["unknown"] = True
                raise RuntimeError("unknown function")
            if "hangs" in faults:
                time.sleep(600)
            return TABLE[each.name](host, *given)

        return wasmtime.Func(store, each.type, call)

    instance = wasmtime.Instance(store, module, [function(each) for each in module.imports])
    exports = instance.exports(store)
    memory = exports["memory"]

    def access(data: bytes | None, at: int, length: int = 0) -> bytes:
        if data is None:
            return bytes(memory.read(store, at, at + length))
        memory.write(store, data, at)
        return b""

    host.memory = access
    host.realloc = lambda size: exports["cabi_realloc"](store, 0, 0, 8, size)
    try:
        values = exports[export](store)
        said["values"] = list(values) if isinstance(values, list) else [values]
    except (wasmtime.WasmtimeError, wasmtime.Trap, RuntimeError) as error:
        said["failure"] = str(error).splitlines()[0] if not isinstance(error, RuntimeError) else str(error)
    return said


def main() -> None:
    at = sys.argv.index("--")
    path, export, *arguments = sys.argv[at + 1 :]
    said = run(set(sys.argv[1:at]), path, export, arguments)
    sys.stderr.write(json.dumps(said))


if __name__ == "__main__":
    main()
