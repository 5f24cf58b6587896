"""The console's report: golden files (``DIFFCHECK_RENEW=1`` writes them anew), hostile names, widths, colour."""

import io
import os
import re
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from diffcheck.cases import case_names
from diffcheck.report import console, detail, progress, terminal_text
from diffcheck.report.model import clusters

from . import samples
from .samples import HOSTILE, agreed, case, diverged, events
from .test_model import collect

GOLDEN = Path(__file__).parent / "golden"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def screen(width=80, *, colour=False):
    return Console(
        file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False,
        force_terminal=colour, color_system="standard" if colour else None, legacy_windows=False,
    )  # fmt: skip


def shown(render, width=80, **kwargs):
    target = screen(width, **kwargs)
    render(target)
    return target.file.getvalue()


def rendered(report, width=80, **kwargs):
    return shown(lambda target: console.render(report, target, stored="reports/report.json"), width, **kwargs)


def golden(name, text):
    path = GOLDEN / name
    text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    if os.environ.get("DIFFCHECK_RENEW"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [48, 80, 140])
def test_the_sample_at(width):
    report = collect(events(notice=samples.NOTICE))
    text = rendered(report, width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    golden(f"console-{width}.txt", text)


@pytest.mark.parametrize("width", [60, 100])
def test_one_case_in_full_at(width):
    report = msgspec.structs.replace(collect(events()), started="2026-01-01T00:00:00+00:00", options={"deadline": "20"})
    wanted = case_names.find(report, "memory/grow").case
    golden(f"show-{width}.txt", shown(lambda target: detail.render(report, wanted, target, {"deadline": "10"}), width))


def test_colour_changes_no_character():
    report = collect(events(notice=samples.NOTICE))
    coloured = rendered(report, colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == rendered(report)


def hostile_report(name):
    where = samples.Where(name, name, name, name, name, 1)
    divergence = samples.Divergence("counter", where, name, name + "!", "", name)
    stub = samples.StubUse(name, name, name, 1)
    allowance = samples.Allowance(name, name, where, name, name)
    bad = msgspec.structs.replace(diverged([divergence]), reason=name, stubs=(stub,), allowances=(allowance,))
    bad = msgspec.structs.replace(bad, subject=samples.SideReport(samples.Trapped("unknown", name), name, log=name))
    cases = (
        case(name, [bad], "diverge", reason=name, not_done=(name,), explanation=name, purpose=name, rows=(name,), artifact=name),
        case(name + "2", [agreed()], "inconclusive", reason=name),
    )
    report = collect(events(cases, notice=name, findings=(samples.EngineFinding(name, name, name),)))
    identity = msgspec.structs.replace(report.subject, name=name, version=name, found=name)
    return msgspec.structs.replace(report, subject=identity, options={"mode": name})


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_neither_styles_nor_breaks_the_terminal(name, width):
    report = hostile_report(name)
    text = rendered(report, width)
    assert not CONTROL.search(text)
    assert len(text) < 100_000
    assert max(cell_len(line) for line in text.splitlines()) <= width
    full = shown(lambda target: detail.render(report, report.cases[0], target, {"mode": "both"}), width)
    assert not CONTROL.search(full)
    assert len(full) < 100_000
    if name.startswith("["):
        assert name in rendered(report, 300)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_does_no_harm_while_the_run_goes_on(name):
    for colour in (False, True):
        target = screen(colour=colour)
        with progress.Display(target, plain=not colour) as display:
            for event in events((case(name, [agreed()], "diverge"),), notice=name):
                display.take(event)
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", target.file.getvalue()) if colour else target.file.getvalue()
        assert not CONTROL.search(text.replace("\r", ""))
        assert len(text) < 100_000


def test_a_case_is_found_by_the_name_that_was_shown():
    report = hostile_report(HOSTILE[4])
    assert case_names.find(report, "nul\\x00here").case.case == HOSTILE[4]


def test_plain_lines_say_number_verdict_case_and_time():
    target = screen()
    with progress.Display(target) as display:
        for event in events():
            display.take(event)
    lines = target.file.getvalue().splitlines()
    assert lines[0] == "8 cases, 2 jobs: kilnd 0.4.4 against wasmtime 50.0.1"
    assert lines[4] == "[4/8] agree        floats/nan  420 ms"
    assert len(lines) == 9


def test_a_reason_why_a_pass_is_not_applicable_is_whole():
    why = f"its program cannot be taken apart: {'reason ' * 12}\n(at byte offset 0x1234)"
    text = rendered(collect(events((case("a", [agreed(), samples.not_applicable(why)]),))), 80)
    assert "1 not applicable (its program cannot" in " ".join(text.split())
    assert "(at byte offset 0x1234))" in " ".join(text.split())


def test_reasons_of_several_cases_stand_side_by_side():
    cases = [case(name, [agreed(), samples.not_applicable(why)]) for name, why in (("a", "2 imports"), ("b", "no entry"))]
    assert "2 not applicable (2 imports, no entry)" in " ".join(rendered(collect(events(tuple(cases))), 80).split())


def test_the_notice_stands_at_the_start_and_near_the_end():
    target = screen()
    with progress.Display(target) as display:
        for event in events(notice=samples.NOTICE):
            display.take(event)
    assert target.file.getvalue().startswith("╭─ NOTICE")
    assert "NOTICE" in rendered(collect(events(notice=samples.NOTICE)))[-1500:]


def test_the_same_engine_on_both_sides_is_told_apart():
    report = msgspec.structs.replace(collect(events()), subject=samples.ORACLE)
    assert terminal_text.columns(report) == ("wasmtime (oracle)", "wasmtime (subject)")


@pytest.mark.parametrize(
    ("oracle", "subject", "wanted"),
    [
        ("3", "2", ("3", "2")),
        ("a" * 100 + "b" + "c" * 100, "a" * 100 + "d" + "c" * 100, ("…aaaaabccccccccccc…", "…aaaaadccccccccccc…")),
        ("x" * 30, "x" * 12, ("…xxxxxxxxxxxxxxxxx…", "…xxxxx")),
        ("", "y" * 30, ("", "y" * 17 + "…")),
    ],
)
def test_long_values_are_cut_around_their_difference(oracle, subject, wanted):
    left, right = terminal_text.side_by_side(oracle, subject, 18)
    assert max(len(left), len(right)) <= 18
    if len(oracle) <= 18 and len(subject) <= 18:
        assert (left, right) == wanted
    assert left != right


def test_a_thousand_differences_are_shown_in_part_and_the_rest_is_counted():
    many = tuple(
        case(f"c{at:04}", [diverged([msgspec.structs.replace(samples.COUNTER, signature=f"s{at}")])], "diverge")
        for at in range(1000)
    )
    text = rendered(collect(events(many)))
    assert "1,000 differences in 1,000 cases" in text
    assert "and 975 more differences" in text
    assert len(text.splitlines()) < 300


def test_an_error_in_a_text_keeps_its_lines_and_nothing_in_them_acts():
    why = "expected `(`\n  --> 1:1\n\x1b[31m  | ^"
    made = collect(events((case("a", [], "skipped", reason=why),)))
    text = rendered(made)
    assert any(line.rstrip().endswith("expected `(`") for line in text.splitlines())
    assert "\\x0a" not in text
    assert "\x1b" not in text


def test_how_a_run_ended_is_shown_to_its_end():
    why = "refused at load: " + "the module has a section that this engine does not know " * 2 + "(exceptions are not enabled)"
    ended = msgspec.structs.replace(samples.COUNTER, kind="outcome", oracle="returned", subject=why)
    text = "".join(re.sub(r"[│\n ]", "", rendered(collect(events((case("a", [diverged([ended])], "diverge"),))), 120)))
    assert "enabled)" in text


def test_differences_stand_in_the_order_of_rows():
    found = [
        msgspec.structs.replace(samples.COUNTER, signature=signature, where=msgspec.structs.replace(samples.COUNTER.where, row=row))
        for signature, row in (("a", "late"), ("b", ""), ("c", "early"))
    ]
    one = case("x", [diverged(found)], "diverge", rows=("early", "late"))
    assert [each.members[0].first.where.row for each in clusters(collect(events((one,))))] == ["early", "late", ""]


@pytest.mark.parametrize("width", [14, 20, 40])
def test_a_long_name_is_broken_behind_its_marks(width):
    name = "[method]descriptor.set-times-at/wasi#x"
    lines = [line.rstrip() for line in shown(lambda target: target.print(terminal_text.Name(name, indent=2)), width).splitlines()]
    assert "".join(line.strip() for line in lines) == name
    assert all(line.startswith("  ") and cell_len(line) <= width for line in lines)
    assert all(line[-1] in "].-/#" for line in lines[:-1])
