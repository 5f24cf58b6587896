"""The cases of a run on a Dask cluster: one task for each batch of cases, with the contents of their files.

Dask reruns the tasks of a lost worker on another one. A batch that ends its workers is rerun case by case, and a case that ends
its workers is inconclusive.
"""

from __future__ import annotations

import concurrent.futures as cf
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from diffcheck.cases.discovery import Case, load_case, read_artifact
from diffcheck.config.input_files import read_regular
from diffcheck.config.version import __version__
from diffcheck.errors import ArtifactError, CaseError, ConfigError, DiffcheckError, ManifestError
from diffcheck.runner.case_run import skipped
from diffcheck.runner.dask.remote_batch import BatchAnswer, CarriedCase, RemoteBatch, identity_key, run
from diffcheck.runner.events import CaseFinished, CaseStarted, EngineProbed
from diffcheck.text import visible
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from diffcheck.cases.discovery import Item
    from diffcheck.runner.engines import Engines
    from diffcheck.runner.events import Event

_CONNECT_S: Final = 20.0
_TLS: Final = (
    "set its path with DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and "
    "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY, or in Dask's configuration"
)
_POLL_S: Final = 0.2
_BATCHES: Final = 3
"""Batches for each thread of the cluster: several, so that all threads finish at about the same time."""
_LARGEST: Final = 16
_BATCH_BYTES: Final = 8 << 20
_AHEAD: Final = 2


class DaskCluster:
    """Runs items on the Dask scheduler at ``request.cluster``; ``events`` can be iterated once."""

    def __init__(self, engines: Engines, stopped: Callable[[], bool]) -> None:
        request = engines.request
        self._request = msgspec.structs.replace(request, times_ns={}, shard_times_ns={}, paths=())
        self._engines, self._address, self._stopped = engines, request.cluster, stopped
        self._most = 1
        self._waiting: deque[tuple[CarriedCase, ...]] = deque()

    def events(self, items: Sequence[Item], *, probe: bool) -> Iterator[Event]:
        """One ``CaseFinished`` for each item, in order of completion; none for the rest when the run is interrupted."""
        left = deque(items)
        with self._client() as client:
            with self._connection_errors():
                executor = client.get_executor(pure=False)
                threads = max(1, sum(client.ncores().values()))
            self._most = max(1, min(_LARGEST, len(items) // (_BATCHES * threads)))
            under_way: dict[cf.Future[bytes], tuple[CarriedCase, ...]] = {}
            if probe:
                under_way[self._submit(executor, (), probe=True)] = ()
            while not self._stopped():
                while (left or self._waiting) and len(under_way) < _AHEAD * threads:
                    cases = self._waiting.popleft() if self._waiting else (yield from self._next_batch(left))
                    if cases:
                        under_way[self._submit(executor, cases, probe=False)] = cases
                if not under_way:
                    return
                ended, _ = cf.wait(under_way, _POLL_S, cf.FIRST_COMPLETED)
                for future in sorted(ended, key=_failed):  # completed batches are reported before an error ends the run
                    yield from self._answered(future, under_way.pop(future))
            executor.shutdown(wait=False)

    def _submit(self, executor: cf.Executor, cases: tuple[CarriedCase, ...], *, probe: bool) -> cf.Future[bytes]:
        batch = self._encode_batch(cases, probe=probe)
        with self._connection_errors():
            return executor.submit(run, batch)

    @contextlib.contextmanager
    def _connection_errors(self) -> Iterator[None]:
        """Turn any exception of Dask into the error of an unreachable cluster."""
        try:
            yield
        except Exception as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> DiffcheckError:
        words = (type(error).__name__, visible(str(error), 300))
        gone = "its scheduler has ended, or the connection to it was lost"
        why = gone if isinstance(error, cf.CancelledError) or "Cancelled" in words[0] else ": ".join(filter(None, words))
        return DiffcheckError(
            f"the Dask cluster at {visible(self._address, 200)} does not answer: {why}",
            hint="check that its scheduler runs, then run again with --resume",
        )

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        try:
            from distributed import Client, Security  # noqa: PLC0415 - an optional package that takes a second
        except ImportError as error:
            raise ConfigError(
                "Dask is not installed", hint="install diffcheck with its extra `dask`, see docs/nightly.md"
            ) from error
        _silence_loggers()
        name = visible(self._address, 200)
        if self._address.startswith("tls:") and Security().get_connection_args("client")["ssl_context"] is None:
            raise ConfigError(f"there is no certificate for {name}", hint=_TLS)
        try:
            client = Client(self._address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at {name}: {visible(str(error), 300)}",
                hint="use an address such as dask:tcp://HOST:8786, or dask:tls://HOST:8786 with Dask's own settings for TLS",
            ) from error
        try:
            client.wait_for_workers(1, timeout=_CONNECT_S)
            yield client
        except TimeoutError as error:
            raise ConfigError(f"the Dask cluster at {name} has no worker", hint="start one with `dask worker ADDRESS`") from error
        finally:
            with contextlib.suppress(Exception):  # the scheduler may have ended
                client.close(timeout=2)

    def _next_batch(self, left: deque[Item]) -> Generator[Event, None, tuple[CarriedCase, ...]]:
        """The next batch; a case that cannot be read is reported at once."""
        batch: list[CarriedCase] = []
        size = 0
        while left and len(batch) < self._most and size < _BATCH_BYTES:
            item = left.popleft()
            yield CaseStarted(item.id)
            case = Case(item.id, item.artifact)
            try:
                case = load_case(item)
                batch.append(_carry(case))
                size += len(batch[-1].artifact) + len(batch[-1].manifest)
            except (CaseError, ArtifactError) as error:
                yield CaseFinished(skipped(case, error.line, self._request.expected_of, bad_input=True))
        return tuple(batch)

    def _encode_batch(self, cases: tuple[CarriedCase, ...], *, probe: bool) -> bytes:
        subject, oracle = identity_key(self._engines.subject_identity), identity_key(self._engines.oracle_identity)
        return msgspec.msgpack.encode(RemoteBatch(__version__, self._request, subject, oracle, cases, probe))

    def _answered(self, future: cf.Future[bytes], cases: tuple[CarriedCase, ...]) -> Iterator[Event]:
        try:
            answered = msgspec.msgpack.decode(future.result(), type=BatchAnswer)
        except Exception as error:  # Dask raises many kinds
            if type(error).__name__ != "KilledWorker":
                raise self._unreachable(error) from error
            answered = BatchAnswer(lost="its Dask worker died, and so did the workers that retried it")
        if answered.refused:
            raise ConfigError(
                f"a Dask worker cannot run the cases: {answered.refused}",
                hint="install the same engines and diffcheck on all workers",
            )
        if answered.findings is not None:
            yield EngineProbed(answered.findings)
        for report in answered.reports:
            yield CaseFinished(report)
        done = {report.case for report in answered.reports}
        lost = [each for each in cases if each.case.id not in done]
        if len(cases) > 1:
            self._waiting.extend((each,) for each in lost)
            return
        for each in lost:
            report = skipped(each.case, answered.lost or "it has no report", self._request.expected_of)
            yield CaseFinished(msgspec.structs.replace(report, verdict="inconclusive"))


def _silence_loggers() -> None:
    """Silence Dask's loggers, several of which have their own levels and handlers; we report lost cases."""
    for name in ("asyncio", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("asyncio", "distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _failed(future: cf.Future[bytes]) -> bool:
    return future.cancelled() or future.exception() is not None


def _carry(case: Case) -> CarriedCase:
    artifact = read_artifact(case.artifact)
    if not case.manifest:
        return CarriedCase(case, artifact)
    try:
        return CarriedCase(case, artifact, read_regular(case.manifest, formats.MANIFEST_CAP, "the manifest", ManifestError))
    except ManifestError as error:
        return CarriedCase(case, artifact, no_manifest=str(error))
