"""The kit that adapters of others are tested with, on every backend here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from diffcheck.observation import Refused, Trapped
from diffcheck.testing import programs
from diffcheck.testing.test_backend import *  # noqa: F403 - its tests are run here
from diffcheck.testing.test_backend import run

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Host


ONE_OF_EACH_KIND = tuple({kind: name for name, (kind, _) in programs.TRAPS.items()}.values())


def test_a_trap_has_its_kind(request: pytest.FixtureRequest, backend: Backend, host: Host) -> None:
    """In place of the kit's: our engines state every kind, and lack no proposal but threads. Stand-ins run one program of each kind."""
    real = request.node.callspec.params["backend"] in ("kilnd", "wasmtime", "wasmtime-pulley")
    names = programs.TRAPS if real else ONE_OF_EACH_KIND
    outcomes = {name: run(backend, host, programs.TRAPS[name][1]).outcome for name in names}
    if isinstance(outcomes.get("atomic-unaligned"), Refused):
        assert backend.identity().name == "wasmtime-pulley"
        del outcomes["atomic-unaligned"]
    kinds = {name: outcome.kind if isinstance(outcome, Trapped) else outcome for name, outcome in outcomes.items()}
    assert kinds == {name: programs.TRAPS[name][0] for name in outcomes}
