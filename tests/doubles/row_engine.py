"""A stand-in for a program that only calls exports: wasmtime-py, which answers lines. ``--wrong`` adds one to what ``bits`` returns,
``--dies`` and ``--killed`` end it at a call with 5, ``--own-words`` has one message for all traps.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys

import wasmtime


def main() -> None:
    config = wasmtime.Config()
    config.parallel_compilation = False  # no threads: a stand-in may be a forked child
    store = wasmtime.Store(wasmtime.Engine(config))
    instance, module = None, None
    for line in sys.stdin:
        asked = json.loads(line)
        if "module" in asked:
            module = wasmtime.Module(store.engine, base64.b64decode(asked["module"]))
            continue
        if "--dies" in sys.argv and asked["args"] == ["5"]:
            sys.exit(3)
        if "--killed" in sys.argv and asked["args"] == ["5"]:
            os.kill(os.getpid(), signal.SIGKILL)
        instance = instance or wasmtime.Instance(store, module, [])
        function = instance.exports(store)[asked["export"]]
        try:
            result = function(store, *(int(each) - (int(each) >> 31 << 32) for each in asked["args"]))
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            print(json.dumps({"trap": "it failed" if "--own-words" in sys.argv else str(error)}), flush=True)
            instance = None
            continue
        results = [] if result is None else [str((result + ("--wrong" in sys.argv and asked["export"] == "bits")) % (1 << 32))]
        print(json.dumps({"results": results}), flush=True)


if __name__ == "__main__":
    main()
