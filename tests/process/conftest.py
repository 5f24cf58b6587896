"""A reactor for each test of processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from diffcheck.process import Reactor

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    with Reactor() as one:
        yield one
