"""A service with stand-ins for two builds of an engine."""

from __future__ import annotations

import pytest
import wasmtime

from .live import Live

pytest.importorskip("litestar", reason="pip install '.[service]' brings the service's framework")
pytest.importorskip("granian", reason="as above")

COUNTS_TRAILING_ZEROS = ("200069", "200068")
BITS = '(module (func (export "bits") (param i32) (result i32) (i32.popcnt (local.get 0))))'
ONE = '(module (func (export "run") (result i32) (i32.const 1)))'
PULLEY = 'workers = 1\njobs = 1\n[engines]\npulley = "wasmtime-pulley"\n[corpora]\ncorpus = "project/corpus"\n'


def make_corpus(folder):
    """A corpus of two cases, in a folder that is a project of its own."""
    corpus = folder / "project" / "corpus"
    corpus.mkdir(parents=True)
    (folder / "project" / "diffcheck.toml").write_text("")
    (corpus / "bits.wasm").write_bytes(wasmtime.wat2wasm(BITS))
    (corpus / "bits.toml").write_text('rows = ["bits=6"]')
    (corpus / "one.wasm").write_bytes(wasmtime.wat2wasm(ONE))
    return corpus


def configured(good, bad, more=""):
    return f'workers = 1\njobs = 1\n{more}\n[engines]\ngood = "kilnd:{good}"\nbad = "kilnd:{bad}"\n[corpora]\ncorpus = "project/corpus"\n'


@pytest.fixture(scope="session")
def engines(standin_kilnd, patched):
    """Two builds of an engine, the second of which counts wrongly."""
    good = standin_kilnd()
    return good, patched(good, *COUNTS_TRAILING_ZEROS)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A cache of executions for all services, so that engines are probed once."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def live(tmp_path, engines, cache):
    """Starts services with a corpus and two engines; all are ended afterwards."""
    started = []

    def starting(more="", config=None, **environment):
        if not (tmp_path / "project").exists():
            make_corpus(tmp_path)
        text = config if config is not None else configured(*engines, more)
        service = Live(tmp_path, text, DIFFCHECK_CACHE=cache, **environment)
        started.append(service)
        return service.start()

    yield starting
    for service in started:
        if service.process.poll() is None:
            service.stop()
