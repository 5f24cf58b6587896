"""The API fuzzed from its own OpenAPI document."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("schemathesis", reason="pip install '.[test]' brings it")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection"


@pytest.mark.whole
@pytest.mark.parametrize("examples", [2, 50])
def test_no_request_is_a_server_error_or_has_an_answer_that_the_document_does_not_describe(live, examples):
    service = live(config='workers = 1\n[engines]\npulley = "wasmtime-pulley"\n[corpora]\ncorpus = "project/corpus"\n')
    service.run(corpus="corpus")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/api/v1/openapi.json", "-n", str(examples)]
    # Streams end with their job only.
    command += ["--checks", CHECKS, "--exclude-path-regex", "events$", "--seed", "1"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1800)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert '"level":"error"' not in (service.folder / "log").read_text()
