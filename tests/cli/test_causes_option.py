"""New clusters are localised by default, within a time limit."""

import pytest

from diffcheck.cli import run_history
from diffcheck.config import option_table
from diffcheck.errors import ConfigError
from diffcheck.report.model import exit_code
from diffcheck.triage import causes
from diffcheck.verdict import Cause
from tests.report import samples
from tests.report.test_model import collect


def test_the_default_is_a_limit_by_time():
    (option,) = (each for each in option_table.OPTIONS if each.name == "causes")
    assert option.default == "auto"
    assert option_table.parse_causes("auto") is None
    assert option_table.parse_causes("7") == 7
    for text in ("-1", "some", "5000"):
        with pytest.raises(ConfigError):
            option_table.parse_causes(text)


@pytest.mark.parametrize(("limit", "wanted"), [("auto", (1, 60.0)), ("1", (1, float("inf"))), ("0", None)])
def test_new_clusters_are_localised(monkeypatch, limit, wanted):
    asked = []

    def find_causes(_request, places, limit_s):
        asked.append((len(places), limit_s))
        return (Cause("i32.rotl returns a wrong result", (samples.COUNTER.signature,), ("here",)),), 1

    monkeypatch.setattr(causes, "find_causes", find_causes)
    before = collect(samples.events())
    report = run_history.caused(before, None, limit)
    assert (report.elapsed_ns > before.elapsed_ns) == bool(wanted), "the time of a run includes its localising"
    assert asked == ([wanted] if wanted else [])
    assert bool(report.causes) == bool(wanted)


def test_a_quiet_run_localises_quietly(monkeypatch, capsys):
    monkeypatch.setattr(causes, "find_causes", lambda *_: ((), 1))
    run_history.caused(collect(samples.events()), None, "1", quiet=True)
    assert capsys.readouterr().err == ""


def test_a_run_that_was_interrupted_while_localising_is_reported_as_interrupted(monkeypatch, capsys):
    def find_causes(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(causes, "find_causes", find_causes)
    report = run_history.caused(collect(samples.events()), None, "auto")
    assert exit_code(report) == 130
    assert len(report.cases) == 8
    assert "nothing was localised: interrupted" in capsys.readouterr().err
