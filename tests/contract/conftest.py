"""Every backend there is, one after the other."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from diffcheck_backends import harness, kilnd, wasi, wasmtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.backend.contract import Backend


@pytest.fixture(
    params=[
        pytest.param("kilnd", marks=pytest.mark.kilnd),
        "stand-in kilnd",
        "wasmtime",
        "wasmtime-pulley",
        "harness",
        "wasi",
    ]
)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A backend, ready to run programs."""
    match request.param:
        case "kilnd":
            made: Backend = kilnd.create(request.getfixturevalue("real_kilnd"), {})
        case "stand-in kilnd":
            made = kilnd.create(str(request.getfixturevalue("standin_kilnd")()), {})
        case "wasmtime":
            made = wasmtime.create(None, {})
        case "wasmtime-pulley":
            made = wasmtime.create_pulley(None, {})
        case "harness":
            made = harness.create(shlex.quote(str(request.getfixturevalue("standin_kilnd")())), {})
        case _:
            made = wasi.create(shlex.quote(str(request.getfixturevalue("standin_wasi")("--chatter"))), {})
    yield made
    made.close()
