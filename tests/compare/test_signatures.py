"""A signature is the same across rebuilds, machines, nights and rows, and another for another place."""

import os
import shutil
import subprocess

import pytest

from diffcheck.compare.findings import Findings
from diffcheck.witness import formats

UNRELATED = """
static volatile int seen[9];
__attribute__((export_name("unrelated"))) int unrelated(int a, int b) {
  if (a > 3 && b < 7)
    seen[a & 7] = b;
  return b;
}
"""
PROGRAM = """
__attribute__((export_name("classify"))) int classify(int year, int month) {
  if (month < 1 || month > 12)
    return -1;
  if ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0)
    return month == 2 ? 29 : 30;
  return 28;
}
"""


def signatures(manifest, function, unit="classify", value="1"):
    """The signature of a counter that differs, for each branch of a function, in the order of the branches."""
    places = formats.places(manifest)
    found = []
    for branch, place in places.items():
        if place.function == function:
            findings = Findings(manifest, unit)
            findings.diverge("counter", f"counter {branch}", value, value + "1", branch=branch)
            found.append(findings.divergences[0].signature)
    return found


def built(folder, source):
    """The manifest of a C program, compiled, linked and instrumented in ``folder``."""
    clang, linker = (shutil.which(each) or shutil.which(f"{each}-19") for each in ("clang", "wasm-ld"))
    instrument = shutil.which("witness")
    if not (clang and linker and instrument):
        pytest.skip("clang, wasm-ld and witness are not all on PATH")
    folder.mkdir(parents=True)
    (folder / "classify.c").write_text(source)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    for command in (
        [clang, "--target=wasm32", "-c", "-g", "-O1", str(folder / "classify.c"), "-o", "classify.o"],
        [linker, "--no-entry", "classify.o", "-o", "classify.wasm"],
        [instrument, "instrument", "classify.wasm", "-o", "inst.wasm"],
    ):
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=60)
    return formats.read_manifest((folder / "inst.wasm.witness.json").read_bytes())


def test_a_rebuild_elsewhere_with_an_unrelated_function_before_it_keeps_every_signature(tmp_path):
    first = built(tmp_path / "one", PROGRAM)
    again = built(tmp_path / "another" / "machine", UNRELATED + PROGRAM)
    ids = [[each.id for each in one.branches if each.function_name == "classify"] for one in (first, again)]
    lines = [{each.line for each in formats.places(one).values() if each.function == "classify"} for one in (first, again)]
    assert ids[0] != ids[1]
    assert lines[0] != lines[1]
    assert signatures(first, "classify") == signatures(again, "classify", value="9")
    assert not set(signatures(again, "classify")) & set(signatures(again, "unrelated"))


def manifest(shift=0, folder="./", nameless=False, first_index=0):
    """Two functions with a decision each; ``shift`` moves ids, lines and indices, as code added before them does."""
    branches = [
        formats.Branch(
            shift + at, first_index + at // 2, None if nameless else f"f{at // 2}", "br_if", 100 * shift, 3 + at + at // 2
        )
        for at in range(4)
    ]
    decisions = [formats.Decision(at, (shift + 2 * at, shift + 2 * at + 1), f"{folder}a.c", 10 * at + 5 + shift) for at in range(2)]
    return formats.Manifest(branches=tuple(branches), decisions=() if nameless else tuple(decisions))


def test_ids_lines_folders_and_values_drift_and_the_signature_does_not():
    one, other = manifest(), manifest(shift=40, folder="/build/ci/", first_index=7)
    for function in ("f0", "f1"):
        assert signatures(one, function, value="2") == signatures(other, function, value="3")
    assert not set(signatures(one, "f0")) & set(signatures(one, "f1"))


def test_a_function_without_a_name_is_known_by_how_it_branches():
    one, other = manifest(nameless=True), manifest(nameless=True, first_index=7)
    assert signatures(one, "function 0") == signatures(other, "function 7")
    assert not set(signatures(one, "function 0")) & set(signatures(one, "function 1"))


def test_code_with_a_known_source_has_one_signature_in_every_artifact_and_a_row_of_the_same_name_has_not():
    assert signatures(manifest(), "f0", "one") == signatures(manifest(), "f0", "another")

    def row(unit):
        findings = Findings(None, unit)
        findings.diverge("result", "result 0", "1", "2", row="run=1", shape="0 i32")
        return findings.divergences[0].signature

    assert row("one") == row("one")
    assert row("one") != row("another")


def test_one_cause_with_two_hundred_counters_behind_it_is_one_cluster_headed_by_the_earliest():
    findings = Findings(manifest(), "x")
    findings.diverge("trace", "trace record 3", "1", "0", row="f0=1", branch=1, shape="trace")
    findings.diverge("result", "result 0", "1", "2", row="f0=1", shape="0 i32")
    for branch in range(200):
        findings.diverge("counter", f"counter {branch}", "1", "2", branch=branch)
    assert {each.signature for each in findings.divergences} == {findings.divergences[0].signature}
    findings.begin_group()
    findings.diverge("counter", "counter 3", "1", "2", branch=3)
    assert findings.divergences[-1].signature != findings.divergences[0].signature
