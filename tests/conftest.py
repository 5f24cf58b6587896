"""Fixtures for all tests: a reactor with a private folder, real engines where they are found, and their stand-ins."""

from __future__ import annotations

import ctypes
import gc
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diffcheck.backend.contract import Host
from diffcheck.process import Reactor, keeper
from tests.doubles import forked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

gc.set_threshold(20_000)  # most of what tests make is freed without the collector
os.environ["DIFFCHECK_CAUSES"] = "0"  # tests of causes ask for them
os.environ["DIFFCHECK_NO_CACHE"] = "1"  # what is tested is run; tests of the cache give a folder of their own
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as a shell starts what runs in the background; programs under test inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
if keeper.LINUX and "PYTEST_XDIST_WORKER" in os.environ:
    # The thread that reads pytest-xdist's messages holds no lock that a forked child needs, and a new interpreter takes 0.2 s of CPU.
    keeper._may_fork = lambda: True
DOUBLES = Path(__file__).parent / "doubles"
if keeper.LINUX:
    forked.install()
    # In programs that tests start as well.
    sys.path.insert(0, str(DOUBLES / "startup"))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [*sys.path[:1], str(DOUBLES.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
_KEPT_BYTES = 2 << 20
_resident = [0]


def pytest_collection_finish() -> None:
    """Thousands of collected tests stay; the collector would visit them each time, and so copy the pages that forks share."""
    import deepdiff  # noqa: F401, PLC0415 - so that no forked worker or server imports them

    import diffcheck_backends.wasmtime_machine  # noqa: F401, PLC0415

    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Memory that a test took and left is given back, since each fork after it would copy its page tables."""
    yield
    if keeper.LINUX and forked.resident_bytes() > _resident[0] + _KEPT_BYTES:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        _resident[0] = forked.resident_bytes()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """What a worker gives its backends; all children are ended afterwards."""
    with Reactor() as reactor:
        yield Host(reactor, tmp_path)


@pytest.fixture(scope="session")
def real_kilnd() -> str:
    """The path of a real kilnd, for tests marked ``kilnd``."""
    path = os.environ.get("DIFFCHECK_KILND") or shutil.which("kilnd")
    if not path:
        pytest.skip("there is no kilnd here (DIFFCHECK_KILND or PATH)")
    return path


@pytest.fixture(scope="session")
def standin_kilnd(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes an executable that answers as kilnd does: ``standin_kilnd("--fault", "half")``, fit for DIFFCHECK_KILND."""
    return lambda *arguments: _executable(tmp_path_factory.mktemp("kilnd") / "kilnd", DOUBLES / "kilnd.py", arguments)


@pytest.fixture(scope="session")
def standin_wasi(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes an executable that runs WASI commands."""
    return lambda *arguments: _executable(tmp_path_factory.mktemp("wasi") / "wasi-engine", DOUBLES / "wasi_engine.py", arguments)


@pytest.fixture(scope="session")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes an engine out of another that runs each module with some bytes altered: ``patched(kilnd, "7e01", "7e00")``."""
    return lambda engine, before, after: _executable(
        tmp_path_factory.mktemp("patched") / "kilnd", DOUBLES / "patched_engine.py", (before, after, str(engine))
    )


@pytest.fixture(scope="session")
def lenient(tmp_path_factory: pytest.TempPathFactory, standin_kilnd: Callable[..., Path]) -> Callable[[Path], Path]:
    """Makes an engine that loads invalid modules: it runs the given valid one instead."""
    return lambda valid: _executable(
        tmp_path_factory.mktemp("lenient") / "kilnd", DOUBLES / "lenient_engine.py", (str(valid), str(standin_kilnd()))
    )


def _executable(path: Path, script: Path, arguments: tuple[str, ...]) -> Path:
    words = shlex.join([sys.executable, str(script), *arguments])
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    path.chmod(0o755)
    return path
