"""SIGINT and SIGTERM as a condition that long work polls between its steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT or SIGTERM arrived. A second signal acts as usual.

    Outside the main thread no signal is handled.
    """
    interrupted = threading.Event()
    with on_interrupt(interrupted.set, once=True):
        yield interrupted.is_set


@contextlib.contextmanager
def on_interrupt(callback: Callable[[], None], *, once: bool) -> Iterator[None]:
    """Call ``callback`` instead of the usual action at SIGINT and SIGTERM, or only at the first of them if ``once``.

    Outside the main thread no signal is handled.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _frame: object) -> None:
        callback()
        if once:
            signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
