"""How far an engine came that ends without a word: always found, however wrong its memory tells it, and soon where that is nearly right."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from diffcheck.backend import registry
from diffcheck.observation import OutOfMemory, Returned, Trapped
from diffcheck.triage.localise.memory_progress import MemoryProgress
from diffcheck.triage.localise.silent_trap import SilentTrapSearch
from diffcheck.triage.tracing.event_log import WrongDigest, step_of

PAGE = 1 << 16
OWN = 2_000  # pages of an engine that has run nothing


class Engine:
    """Ends without a word behind ``end`` events, of ``total``; ``noise`` are the pages that a run takes more, by its number. From event
    ``differs_from`` on all are other ones.
    """

    def __init__(self, end, total, *, noise=None, shows=True, most_pages=1 << 40, differs_from=None, sometimes=False):
        self.end, self.total, self.noise, self.shows, self.most_pages = end, total, noise or {}, shows, most_pages
        self.differs_from, self.sometimes, self.measured = differs_from, sometimes, 0
        self.runs, self.reached, self.ended = 0, False, Trapped("unreachable")
        self.oracle = SimpleNamespace(backend=SimpleNamespace(capabilities=SimpleNamespace(transport="words")))
        subject = SimpleNamespace(backend=registry.create("harness:true", {}))
        self.progress = MemoryProgress(subject, OWN * PAGE)

    def run_subject(self, start, step, halt, take):
        self.runs += 1
        self.measured += take.block > 0
        noted = min(self.end, halt)
        blocks = max(0, -(-(noted - start) // step))
        taken = take.pad + blocks * take.block
        pages = OWN + self.noise.get(self.runs, 0) + (taken if self.shows else 0)
        outcome, log = (Returned(), halt) if halt <= self.end else (self.ended, None)
        if pages > self.most_pages:
            outcome, log = OutOfMemory(1 << 32), None
        if self.sometimes and self.reached:
            outcome, log = self.ended, None
        self.reached = self.reached or log is not None
        return SimpleNamespace(outcome=outcome, log=log, peak_bytes=pages * PAGE, block=take.block)

    def window(self, _log, start, step, halt):
        if self.differs_from is None or self.differs_from >= halt:
            return None
        block = max(0, self.differs_from - start) // step
        return start + block * step, start + (block + 1) * step

    def inside(self, start, end):
        assert start <= self.differs_from < end
        return self.differs_from

    def oracle_records(self, _start, _end):
        return ()

    def at(self, event, _records, _outcome):
        return event

    def found(self):
        ran = self.run_subject(0, step_of(0, self.total + 1), self.total + 1, self.progress.base())
        found = SilentTrapSearch(self, 0, self.total + 1).find(ran)
        return self.inside(*found) if isinstance(found, tuple) else found


def test_the_end_is_found_in_few_runs_where_the_memory_tells_it():
    rng = random.Random(1)
    for _ in range(100):
        total = round(10 ** rng.uniform(2.1, 5.2))
        engine = Engine(rng.randrange(total), total, noise={run: rng.uniform(0, 10) for run in range(20)})
        assert engine.found() == engine.end
        assert engine.runs <= 6


@pytest.mark.parametrize("run", [1, 2, 3])
def test_a_run_that_took_far_more_memory_than_the_others_costs_a_few_runs(run):
    rng, runs = random.Random(run), []
    for _ in range(40):
        end = rng.randrange(100, 50_000)
        noise = {each: rng.uniform(0, 10) for each in range(30)} | {run: rng.uniform(25, 900)}
        engine = Engine(end, 50_000, noise=noise)
        assert engine.found() == end
        runs.append(engine.runs)
    assert sorted(runs)[30] <= 9
    assert max(runs) <= 14


def test_any_memory_leads_to_the_end():
    rng = random.Random(3)
    for _ in range(40):
        total = round(10 ** rng.uniform(0.5, 5.5))
        engine = Engine(rng.randrange(total), total, noise={run: rng.uniform(-2_000, 5_000) for run in range(60)})
        assert engine.found() == engine.end
        assert engine.measured <= 12
        assert engine.runs <= 35


def test_an_engine_whose_memory_shows_nothing_is_searched_by_stops():
    engine = Engine(12_345, 50_000, shows=False)
    assert engine.found() == 12_345
    assert engine.runs <= 19
    assert not engine.progress.works


def test_an_engine_that_has_not_the_memory_to_be_measured_is_searched_by_stops():
    engine = Engine(12_345, 50_000)
    engine.most_pages = OWN + engine.progress.base().pad + 100
    assert engine.found() == 12_345
    assert engine.runs <= 19


@pytest.mark.parametrize("noise", [{}, {1: 400}], ids=["measured well", "it comes further than it seems"])
@pytest.mark.parametrize("differs_from", [0, 17, 4_000, 12_344])
def test_an_event_before_the_end_that_differs_is_the_first_difference(differs_from, noise):
    engine = Engine(12_345, 50_000, differs_from=differs_from, noise=noise)
    assert engine.found() == differs_from


def test_an_engine_that_ends_where_it_went_on_before_is_not_searched_for_ever():
    engine = Engine(20_000, 50_000, noise={1: 400}, sometimes=True)  # it comes further than it seems, once
    with pytest.raises(WrongDigest, match="finished before"):
        engine.found()
