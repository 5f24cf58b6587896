"""The backend under test where the kit is run by ``pytest --pyargs diffcheck.testing --backend SPEC``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from diffcheck.testing.plugin import backend_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.backend.contract import Backend


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The backend that ``--backend`` names, closed at the end."""
    made = backend_of(request.config)
    yield made
    made.close()
