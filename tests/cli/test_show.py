"""``diffcheck show``: what diverged, and one case on a screen."""

import msgspec
import pytest
from click.testing import CliRunner

from diffcheck.cases import case_names
from diffcheck.cli.command_group import cli
from diffcheck.errors import NothingToDoError
from diffcheck.report import json_file
from tests.report import samples
from tests.report.test_model import collect


@pytest.fixture
def reports(tmp_path):
    json_file.write(collect(samples.events()), tmp_path / "reports")
    return str(tmp_path / "reports")


def show(reports, *arguments, width="80"):
    result = CliRunner(env={"COLUMNS": width}).invoke(
        cli, ["show", *arguments, "--reports", reports], prog_name="diffcheck", standalone_mode=False
    )
    if result.exception:
        raise result.exception
    return result.output


def test_without_an_argument_it_lists_what_diverged(reports):
    text = show(reports, width="120")
    assert "2 differences in 3 cases" in text
    assert "leap_year" in text
    assert "odd/memories" in text
    assert f"--reports {reports}" in " ".join(text.split())


@pytest.mark.parametrize("name", ["decisions/leap_year", "leap_y", "corpus/decisions/leap_year.wasm", samples.COUNTER.signature])
def test_a_case_goes_by_its_names(reports, name):
    assert show(reports, name).startswith("decisions/leap_year: diverge")


@pytest.mark.parametrize(("name", "words"), [("decisions", "2 cases match"), ("memory/grwo", "no case")])
def test_a_name_that_is_wrong_has_a_hint(reports, name, words):
    with pytest.raises(NothingToDoError, match=words) as caught:
        show(reports, name)
    assert "did you mean" in caught.value.hint


@pytest.mark.parametrize("width", ["60", "80", "100"])
def test_a_case_fits_a_screen_reason_first(reports, width):
    many = [
        msgspec.structs.replace(samples.COUNTER, subject=str(at), where=samples.Where(f"r{at}", "result 0")) for at in range(99)
    ]
    case = samples.case("x", [samples.diverged(many), samples.not_applicable()], "diverge", reason="result 0 differs")
    lines = case_lines(reports, case, width)
    assert len(lines) <= 30
    assert lines[1].strip().split(maxsplit=1) == ["reason", "result 0 differs"]
    assert any(line.startswith("section ") for line in lines)
    assert any(line.startswith("next   diffcheck triage x") for line in lines)


def case_lines(reports, case, width):
    report = collect(samples.events((case,)))
    json_file.write(report, __import__("pathlib").Path(reports))
    return show(reports, "x", width=width).splitlines()


def test_values_differ_in_words_with_verbose_only(reports):
    case = samples.case(
        "x", [samples.diverged([samples.COUNTER])], "diverge",
        explanation="Value of root['f=1']['result 0'] changed from \"1\" to \"2\".",
    )  # fmt: skip
    assert not any("f=1, result 0" in line for line in case_lines(reports, case, "100"))
    assert "f=1, result 0: wasmtime 1, kilnd 2" in show(reports, "x", "-v", width="100")


def test_a_signature_may_be_begun():
    divergence = msgspec.structs.replace(samples.COUNTER, signature="0123456789ab")
    report = collect(samples.events((samples.case("x", [samples.diverged([divergence])], "diverge"), samples.case("y", []))))
    found = case_names.find(report, "01234")
    assert (found.case.case, found.signature) == ("x", "0123456789ab")
