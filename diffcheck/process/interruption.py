"""SIGINT and SIGTERM as a question that long work asks between its steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Tells whether SIGINT or SIGTERM came; a second one is Python's own again. Off the main thread nothing is caught."""
    seen = threading.Event()
    with caught(seen.set, once=True):
        yield seen.is_set


@contextlib.contextmanager
def caught(note: Callable[[], None], *, once: bool) -> Iterator[None]:
    """Call ``note`` at SIGINT and SIGTERM, or at the first of them, instead of what is done else; nothing off the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _frame: object) -> None:
        note()
        if once:
            signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
