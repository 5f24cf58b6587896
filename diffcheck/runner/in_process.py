"""The engines of one artifact run in this process, for the commands that need no workers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from diffcheck import backend, process
from diffcheck.probe import known_answer
from diffcheck.runner.builds import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.runner.request import Request
    from diffcheck.runner.run import Engines


class Running(msgspec.Struct, frozen=True):
    """Both engines, and the host that they run on."""

    oracle: backend.Backend
    subject: backend.Backend
    host: backend.Host


@contextmanager
def engines_in_process(request: Request, engines: Engines) -> Iterator[Running]:
    """Both engines, closed afterwards; ``EngineUnusableError`` where the subject is no engine or one was replaced meanwhile."""
    watch = Watch(engines.builds)
    with process.Reactor() as reactor, process.private_folder() as folder:
        host = backend.Host(reactor, folder)
        oracle = backend.create(request.oracle, engines.options)
        subject = backend.create(engines.subject, engines.options)
        try:
            known_answer.require(subject, engines.subject, host, backend.Limits(request.deadline_s, request.memory_bytes))
            yield Running(oracle, subject, host)
            watch.require()
        finally:
            subject.close()
            oracle.close()


__all__ = ["Running", "engines_in_process"]
