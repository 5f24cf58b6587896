"""Messages on a pipe, for the blocking main loops of workers and servers: a length (u32, little-endian), then the content."""

from __future__ import annotations

import os

FRAME_CAP_BYTES = 1280 * 1024 * 1024
"""1 GiB for an artifact (``casefile.ARTIFACT_CAP``), and room for the code that a capsule adds."""
HEADER_BYTES = 4
_ONE_WRITE_BYTES = 65536


def frame_parts(message: bytes, cap_bytes: int = FRAME_CAP_BYTES) -> tuple[bytes, ...]:
    """Return the frame of a message as parts to write one by one; ValueError if the message exceeds the cap.

    A short message is one part, since one write wakes the reader only once. A long one is not copied for that.
    """
    if len(message) > cap_bytes:
        raise ValueError(f"a message of {len(message)} bytes exceeds the limit of {cap_bytes}")
    head = len(message).to_bytes(HEADER_BYTES, "little")
    return (head + message,) if len(message) <= _ONE_WRITE_BYTES else (head, message)


def write_frame(descriptor: int, message: bytes, cap_bytes: int = FRAME_CAP_BYTES) -> None:
    """Write one whole message; BrokenPipeError if the reader has gone."""
    for part in frame_parts(message, cap_bytes):
        view = memoryview(part)
        while view:
            view = view[os.write(descriptor, view) :]


def read_frame(descriptor: int, cap_bytes: int = FRAME_CAP_BYTES) -> bytes | None:
    """Read one message; None at the end of the stream, EOFError if it ends within a message, ValueError over the cap."""
    head = _read_exactly(descriptor, HEADER_BYTES)
    if not head:
        return None
    if len(head) < HEADER_BYTES:
        raise EOFError("the stream ended within a message's length")
    length = int.from_bytes(head, "little")
    if length > cap_bytes:
        raise ValueError(f"a message of {length} bytes exceeds the limit of {cap_bytes}")
    message = _read_exactly(descriptor, length)
    if len(message) < length:
        raise EOFError(f"the stream ended after {len(message)} of a message's {length} bytes")
    return message


def claim_channel() -> tuple[int, int]:
    """Reserve stdin and stdout for messages and return (reader, writer), both closed at exec.

    Afterwards stdin is /dev/null and stdout goes to stderr, so that a stray print cannot damage a message.
    """
    reader, writer = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return reader, writer


def _read_exactly(descriptor: int, count: int) -> bytes:
    """Read ``count`` bytes, or fewer at the end of the stream."""
    first = os.read(descriptor, min(count, 1 << 20)) if count else b""
    if len(first) == count or not first:
        return first
    parts = bytearray(first)
    while len(parts) < count and (part := os.read(descriptor, min(count - len(parts), 1 << 20))):
        parts += part
    return bytes(parts)
