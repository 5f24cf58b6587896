"""Wasmtime in its own process: ``python -m diffcheck_backends.wasmtime_server`` answers one message at a time on stdin.

Hostile modules are compiled and run here, never in the parent: a module that hangs or kills this process costs one run.
"""

from __future__ import annotations

import sys

import msgspec

from diffcheck.process import claim_channel, read_frame, write_frame
from diffcheck_backends.wasmtime_wire import Request


def main() -> int:
    """Serve requests from stdin until it is closed."""
    reader, writer = claim_channel()
    # Only now, since this takes most of the start and the first message arrives meanwhile.
    from diffcheck_backends.wasmtime_machine import Machine  # noqa: PLC0415 - as above

    machine = Machine()
    decode = msgspec.msgpack.Decoder(Request).decode
    encode = msgspec.msgpack.Encoder().encode
    while (message := read_frame(reader)) is not None:
        write_frame(writer, encode(machine.answer(decode(message))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
