"""Messages on a pipe: a length (u32, little-endian), then as many bytes. For the blocking main loops of workers and servers."""

from __future__ import annotations

import os

FRAME_CAP_BYTES = 1280 * 1024 * 1024
"""An artifact may have 1 GiB (``casefile.ARTIFACT_CAP``); the rest is for what a capsule adds to it."""
HEADER_BYTES = 4
_ONE_WRITE_BYTES = 65536


def header(length: int, cap_bytes: int = FRAME_CAP_BYTES) -> bytes:
    """Give the four bytes before a message of ``length`` bytes; ValueError over the cap, since the other side would refuse it."""
    if length > cap_bytes:
        raise ValueError(f"a message of {length} bytes is longer than the {cap_bytes} that may be sent")
    return length.to_bytes(HEADER_BYTES, "little")


def write_frame(descriptor: int, message: bytes, cap_bytes: int = FRAME_CAP_BYTES) -> None:
    """Write one message whole; BrokenPipeError when the reader is gone."""
    head = header(len(message), cap_bytes)
    # A short message goes out in one write, which wakes the reader once; a long one is not copied for that.
    parts = (head + message,) if len(message) <= _ONE_WRITE_BYTES else (head, message)
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(descriptor, view) :]


def read_frame(descriptor: int, cap_bytes: int = FRAME_CAP_BYTES) -> bytes | None:
    """Read one message; None at the end of the stream, EOFError when it ends within a message, ValueError over the cap."""
    head = _read_exactly(descriptor, HEADER_BYTES)
    if not head:
        return None
    if len(head) < HEADER_BYTES:
        raise EOFError("the stream ended within a message's length")
    length = int.from_bytes(head, "little")
    if length > cap_bytes:
        raise ValueError(f"a message of {length} bytes is longer than the {cap_bytes} that are taken")
    message = _read_exactly(descriptor, length)
    if len(message) < length:
        raise EOFError(f"the stream ended after {len(message)} of a message's {length} bytes")
    return message


def claim_channel() -> tuple[int, int]:
    """Take stdin and stdout for messages: returns (to read from, to write to), both closed at exec.

    Afterwards stdin is /dev/null and stdout goes to stderr, so that a stray print cannot damage a message.
    """
    reader, writer = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return reader, writer


def _read_exactly(descriptor: int, count: int) -> bytes:
    """``count`` bytes, or fewer at the end of the stream."""
    first = os.read(descriptor, min(count, 1 << 20)) if count else b""
    if len(first) == count or not first:
        return first
    parts = bytearray(first)
    while len(parts) < count and (part := os.read(descriptor, min(count - len(parts), 1 << 20))):
        parts += part
    return bytes(parts)
