"""The engines beside the two of a run, when a divergence is confirmed."""

from types import SimpleNamespace

from diffcheck.backend import registry
from diffcheck.errors import EngineMissingError
from diffcheck.runner.request import Request
from diffcheck.triage.confirm_divergence import Confirmer


def test_an_adapter_that_raises_is_left_out_with_its_error(monkeypatch, tmp_path):
    def create(name, _options):
        raise {"broken": TypeError("no argument"), "absent": EngineMissingError("not here")}[name]

    said = []
    monkeypatch.setattr(registry, "names", lambda: ("broken", "absent", "wasmtime"))
    monkeypatch.setattr(registry, "create", create)
    session = SimpleNamespace(request=Request((), subject="wasmtime"), budget=None)
    assert list(Confirmer(session, None, b"", session.request, said.append)._other_engines()) == []
    assert said == ["broken was left out: TypeError: no argument"]
