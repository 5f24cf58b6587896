"""The campaign of kills, in short."""

from __future__ import annotations

import pytest

pytest.importorskip("litestar", reason="pip install '.[service]' brings the service's framework")

from tests.campaigns import service_kills


@pytest.mark.parametrize(
    ("kills", "jobs"), [pytest.param(4, 6, marks=pytest.mark.whole), pytest.param(200, 500, marks=pytest.mark.whole)]
)
def test_every_job_ends_once_and_every_finding_is_there_once(tmp_path, kills, jobs):
    assert service_kills.campaign(tmp_path, kills, jobs, seed=1) == []
