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


@pytest.mark.parametrize("name", programs.TRAPS)
def test_a_trap_has_its_kind(backend: Backend, host: Host, name: str) -> None:
    """In place of the kit's: our engines state every kind, and lack no proposal but threads."""
    kind, text = programs.TRAPS[name]
    outcome = run(backend, host, text).outcome
    if name == "atomic-unaligned" and isinstance(outcome, Refused):
        assert backend.identity().name == "wasmtime-pulley"
        return
    assert isinstance(outcome, Trapped)
    assert outcome.kind == kind
