"""Every way in which an engine may carry a capsule's stream: no difference is the tool's own."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from diffcheck.corpus import discover, load_case
from diffcheck.runner import case as runner
from diffcheck.runner.plan import make
from diffcheck.runner.request import Request
from diffcheck_backends import wasi, wasmtime
from tests.doubles.altered_engine import Altered, carried_as

CORPUS = Path(__file__).parents[2] / "corpus"
CASES = ("exit_code", "exceptions", "table_traps", "growth")
WAYS = [
    (transport, state, exceptions)
    for transport, state, exceptions in product(("memory", "words", "print"), (True, False), (True, False))
]


def verdicts(oracle, subject, host, items):
    """The cases' ids with verdict and reason, but for those with the expected verdict."""
    found = {}
    for item in items:
        case, request = load_case(item), Request(())
        plan = make(case, request, oracle, oracle, subject, host)
        report = runner.run(plan, request.max_passes, oracle, subject, host, "altered")
        if not report.as_expected:
            found[case.id] = (report.verdict, report.reason)
    return found


@pytest.fixture
def engines(request, standin_wasi):
    """Wasmtime as it is, and one that differs from it only in what it can carry."""
    transport, state, exceptions = request.param
    oracle = wasmtime.create(None, {})
    inner = wasi.create(str(standin_wasi(*(["--after-trap"] if state else []))), {}) if transport == "print" else oracle
    subject = Altered(
        inner, carried_as(transport, state_at_trap=state), transport=transport, state_at_trap=state, exceptions=exceptions
    )
    yield oracle, subject
    oracle.close()


@pytest.mark.parametrize("engines", WAYS, indirect=True)
def test_an_engine_that_differs_only_in_what_it_carries_agrees(engines, host):
    items = [each for each in discover([CORPUS]).items if each.id.rpartition("/")[2] in CASES]
    assert len(items) == len(CASES)
    assert verdicts(*engines, host, items) == {}


@pytest.mark.whole
@pytest.mark.parametrize("engines", WAYS, indirect=True)
def test_the_whole_corpus_has_its_expected_verdicts_however_it_is_carried(engines, host):
    assert verdicts(*engines, host, discover([CORPUS]).items) == {}
