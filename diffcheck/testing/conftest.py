"""The backend under test for ``pytest --pyargs diffcheck.testing --backend SPEC``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from diffcheck.testing.plugin import backend_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.backend.contract import Backend


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The backend of ``--backend``, closed at the end."""
    tested = backend_of(request.config)
    yield tested
    tested.close()
