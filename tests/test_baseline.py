"""What is known: the file, a run against it, and its changes."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from diffcheck.errors import ConfigError
from diffcheck.nightly import baseline as b
from diffcheck.nightly import baseline_changes, baseline_file
from diffcheck.observation import Identity
from diffcheck.report.model import Collector, conclusion
from diffcheck.verdict import Divergence, Repeat, Where
from tests.report import samples

DAY = date(2026, 5, 1)
ROWS = ("f", "g")
SINCE = b.Engine("kilnd", "0.4.3", "aa" * 32)
text = st.text(max_size=20)
name = st.text(min_size=1, max_size=12)
engines = st.builds(b.Engine, name, text, text)
entries = st.builds(
    b.BaselineEntry, name, st.lists(name, min_size=1, unique=True).map(sorted).map(tuple), engines, text, text, text,
    st.none() | st.dates(), st.just(("capsule", "direct")), st.lists(name, unique=True).map(sorted).map(tuple), st.booleans(),
    st.none() | engines,
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(entries, max_size=4))
def test_what_is_written_is_read_back(found):
    baseline = b.Baseline({each.signature: each for each in found})
    assert baseline_file.parse(baseline_file.render(baseline).encode()) == baseline
    assert baseline_file.render(baseline_file.parse(baseline_file.render(baseline).encode())) == baseline_file.render(baseline)


def test_a_lone_surrogate_does_not_break_the_file():
    entry = b.BaselineEntry("a", ("\ud800",), SINCE)
    assert baseline_file.parse(baseline_file.render(b.Baseline({"a": entry})).encode()).entries["a"].cases == ("\\ud800",)


EDITED = """# what our team knows

# the worst one
[[known]]
signature = "b"  # looked at twice
note = 'kept for "0.5"'
cases = [
  "x",  # the small one
  "y",
]
since = { subject = "kilnd", version = "0.4.4" }

# an old one
[[known]]
signature = "a"
cases = ["q"]
[known.since]
subject = "kilnd"
"""


def entries_of(text):
    return dict(baseline_file.parse(text.encode()).entries)


def test_the_text_of_what_does_not_change_is_kept():
    assert baseline_file.render(baseline_file.parse(EDITED.encode()), EDITED) == EDITED


def test_comments_and_order_survive_a_change_of_an_entry():
    found = entries_of(EDITED)
    found["b"] = replace(found["b"], cases=("w", "x"), fixed=SINCE)
    found["a"] = replace(found["a"], rows=("f",))
    text = baseline_file.render(b.Baseline(found), EDITED)
    assert baseline_file.parse(text.encode()).entries == found
    places = [text.index(each) for each in (
        "# what our team knows", "# the worst one", "# looked at twice", """'kept for "0.5"'""", "# the small one", "# an old one"
    )]  # fmt: skip
    assert places == sorted(places)


def test_an_entry_is_added_before_the_first_that_follows_it_and_removed_with_its_comment():
    found = entries_of(EDITED)
    added = b.Baseline({**found, "aa": b.BaselineEntry("aa", ("c",), SINCE), "z": b.BaselineEntry("z", ("c",), SINCE)})
    text = baseline_file.render(added, EDITED)
    assert list(entries_of(text)) == ["aa", "b", "a", "z"]
    assert '# the worst one\n[[known]]\nsignature = "b"' in text
    del found["b"]
    text = baseline_file.render(b.Baseline(found), EDITED)
    assert "# the worst one" not in text
    assert "# an old one\n[[known]]" in text


@pytest.mark.parametrize(
    "before", ['known = [{signature = "a", cases = ["q"], since = {subject = "k"}}]\n', EDITED.replace("kept for", "[[known]]")]
)
def test_a_file_of_another_form_is_still_written_right(before):
    found = {**entries_of(before), "c": b.BaselineEntry("c", ("d",), SINCE)}
    assert entries_of(baseline_file.render(b.Baseline(found), before)) == found


def test_marks_that_turn_text_around_are_escaped():
    text = baseline_file.render(b.Baseline({"a": b.BaselineEntry("a", ("\u202ex",), SINCE)}))
    assert '"\\u202Ex"' in text
    assert entries_of(text)["a"].cases == ("\u202ex",)


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("[[knwn]]", "unknown key knwn", "did you mean known?"),
        ('[[known]]\nsignature = "a"\ncase = ["x"]', "entry 1 (a): unknown key case", "did you mean cases?"),
        ('[[known]]\nsignature = "a"\ncases = "x"\nsince = {subject = "k"}', "entry 1 (a): Expected `array`", "baseline add"),
        (
            '[[known]]\nsignature = "a"\ncases = ["x"]\nsince = {subjct = "k"}',
            "unknown key since.subjct",
            "did you mean since.subject?",
        ),
        ('[[known]]\nsignature = "a"\ncases = []\nsince = {subject = "k"}', "has no cases", "remove or complete the entry"),
        ('[[known]]\nsignature = "a"\ncases = ["x"]\nsince = {subject = "k"}\n' * 2, "has two entries", "merge them"),
        ("<<<<<<< ours\n", "it is not TOML", "merge conflict"),
        ("known." * 60_000 + "x = 1", "a key has more than 16 parts", "correct the line"),
        ("known = 0x" + "f" * 9000, "known must be an integer of at most 64 bits", "correct the line"),
        ("known = " + "1" * 5000, "it is not TOML", "correct the line"),
        ("known = 3", "array of tables", "[[known]]"),
    ],
)
def test_what_is_wrong_in_the_file_is_told(written, message, hint):
    with pytest.raises(ConfigError) as caught:
        baseline_file.parse(written.encode())
    assert message in str(caught.value)
    assert hint in caught.value.hint


def report(*cases, sha="bb" * 32, only="", subject="kilnd"):
    collector = Collector({"only": only} if only else {})
    for event in samples.events(cases):
        collector.take(event)
    return replace(collector.report(), subject=Identity(subject, "0.4.4", "/k", sha))


def difference(signature, row="f", kind="result"):
    return Divergence(kind, Where(row, "result 0", "f"), "3", "2", signature)


def diverging(case, *signatures, row="f", kind="result"):
    return samples.case(case, [samples.diverged([difference(each, row, kind) for each in signatures])], "diverge", rows=ROWS)


def agreeing(case):
    return samples.case(case, [samples.agreed()], rows=ROWS)


def entry(signature="a", cases=("x",), **fields):
    return b.BaselineEntry(signature, cases, SINCE, rows=("f",), modes=("capsule",), **fields)


def state(night, *listed, day=DAY):
    after = b.apply(night, b.Baseline({each.signature: each for each in listed}), day)
    return {each.signature: each.state for each in after.baseline.standings}, after


def test_a_known_difference_is_known_and_a_new_one_beside_it_is_new():
    states, after = state(report(diverging("x", "a"), diverging("y", "b"), diverging("z", "a", "b")), entry(cases=("x", "z")))
    assert states == {"b": "new", "a": "known"}
    assert [each.verdict for each in after.cases] == ["known", "diverge", "diverge"]
    assert conclusion(after)[0] == 1
    assert conclusion(state(report(diverging("x", "a")), entry())[1])[0] == 0


@pytest.mark.parametrize(
    ("night", "listed", "expected"),
    [
        (report(agreeing("x")), entry(), "fixed"),
        (report(agreeing("x"), sha=SINCE.sha256), entry(), "absent"),
        (report(agreeing("x")), entry(flaky=True), "absent"),
        (report(agreeing("y")), entry(), "stale"),
        (report(replace(agreeing("x"), rows=("h",))), entry(), "stale"),
        (report(replace(agreeing("x"), rows=("h",)), agreeing("y")), entry(cases=("x", "y")), "fixed"),
        (report(agreeing("y"), only="y"), entry(), "not run"),
        (report(agreeing("x"), diverging("y", "c", row="f")), entry(cases=("x", "y")), "masked"),
        (report(agreeing("x"), diverging("y", "c", row="g")), entry(cases=("x", "y")), "fixed"),
        (report(diverging("x", "c", row="g", kind="outcome")), entry(), "masked"),
        (report(samples.case("x", [samples.not_applicable()], "skipped")), entry(), "not run"),
        (report(diverging("x", "a"), diverging("y", "a")), entry(), "wider"),
        (report(diverging("x", "a")), entry(expires=date(2026, 4, 30)), "expired"),
        (report(diverging("x", "a")), entry(expires=DAY), "known"),
        (report(diverging("x", "a")), entry(fixed=SINCE), "returned"),
    ],
)
def test_what_becomes_of_an_entry(night, listed, expected):
    assert state(night, listed)[0]["a"] == expected


def test_nothing_is_called_fixed_where_a_case_comes_to_something_else_each_time():
    runs = (Repeat("agree"), Repeat("diverge", ("b",)), Repeat("agree"))
    night = report(samples.case("x", [replace(samples.agreed(), verdict="flaky", repeats=runs)], "flaky", rows=ROWS))
    assert state(night, entry())[0] == {"a": "absent", "b": "flaky"}
    night = report(samples.case("x", [replace(samples.agreed(), repeats=(Repeat("agree"),) * 12)], rows=ROWS))
    assert state(night, entry())[0] == {"a": "fixed"}


def test_another_engine_s_entries_say_nothing_of_this_one():
    states, after = state(report(diverging("x", "a"), subject="other"), entry())
    assert (states, after.cases[0].verdict) == ({"a": "new"}, "diverge")
    assert state(report(agreeing("x"), subject="other"), entry())[0] == {}


def test_what_is_fixed_fails_a_strict_run_only():
    known = b.Baseline({"a": entry()})
    assert conclusion(b.apply(report(agreeing("x")), known, DAY))[0] == 0
    assert conclusion(b.apply(report(agreeing("x")), known, DAY, strict=True)) == (1, "strict: 1 entry fixed")


def test_a_known_bug_that_shows_up_now_and_then_is_known_and_is_marked_as_flaky():
    seen = replace(samples.agreed(), verdict="flaky", repeats=(Repeat("diverge", ("a",)), Repeat("agree")))
    night = report(samples.case("x", [seen], "flaky"))
    states, after = state(night, entry())
    assert (states["a"], after.cases[0].verdict) == ("flaky", "known")
    changed, lines = baseline_changes.update(b.Baseline({"a": entry()}), night, DAY)
    assert changed.entries["a"].flaky
    assert "flaky" in lines[0]
    assert state(night)[0] == {"a": "flaky"}
    assert state(night, entry(fixed=SINCE))[0] == {"a": "flaky"}


def test_add_update_prune_say_what_they_change():
    known, lines = baseline_changes.add(
        b.Baseline(), report(diverging("x", "a"), diverging("y", "b")), ["a", "b"], "url", "note", None
    )
    assert len(lines) == 2
    assert known.entries["a"].since.version == "0.4.4"
    assert baseline_changes.update(known, report(diverging("x", "a"), diverging("y", "b")), DAY)[1] == ()
    known, (line,) = baseline_changes.update(
        known, report(diverging("x", "a"), diverging("z", "a"), diverging("y", "b"), sha="cc" * 32), DAY
    )
    assert known.entries["a"].cases == ("x", "z")
    assert "1 case added: z" in line
    night = report(agreeing("x"), agreeing("z"), diverging("y", "b"), sha="cc" * 32)
    known, (line,) = baseline_changes.update(known, night, DAY)
    assert "marked as fixed" in line
    known, (line,) = baseline_changes.add(known, report(diverging("x", "a")), ["a"], "", "", None)
    assert line.startswith("added again a")
    assert (known.entries["a"].issue, known.entries["a"].fixed) == ("url", None)
    known, lines = baseline_changes.prune(known, report(agreeing("x"), agreeing("z")), DAY)
    assert lines == ("removed b: the case y no longer exists",)
    assert list(known.entries) == ["a"]
