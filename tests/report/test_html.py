"""The HTML page: what it is made of, what hostile names do to it (nothing), and what a browser makes of it where there is one."""

import functools
import json
import re
import shutil
import subprocess
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given, settings

from diffcheck.report import html_page, page_data
from diffcheck.verdict import Cause

from . import hostile, large, samples
from .test_console import golden
from .test_model import collect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FIXED = {"started": "2026-01-01T00:00:00+00:00"}


class Page(HTMLParser):
    """The page's elements in order, its texts, and what stands in its script elements."""

    def __init__(self, data):
        super().__init__()
        self.elements, self.texts, self.scripts, self.attributes = [], [], [], []
        self._inside = ""
        self.feed(data.decode())
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag
        if tag in ("script", "style"):
            self.scripts.append("")

    def handle_endtag(self, _tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside in ("script", "style"):
            self.scripts[-1] += data
        else:
            self.texts.append(data)

    @property
    def index(self):
        return json.loads(self.scripts[1])

    @property
    def cases(self):
        """The details of all cases, from their blocks."""
        return [case for block in self.scripts[2:-2] for case in json.loads(block)]


def sample(**more):
    return msgspec.structs.replace(collect(samples.events(notice=samples.NOTICE)), **FIXED, **more)


def test_the_sample_as_a_page():
    text = html_page.render(sample()).decode()
    for inside in ("<style>.*?</style>", "(?<=</script>\n)<script>.*?</script>"):
        text = re.sub(inside, "", text, flags=re.DOTALL)
    golden("page.html", re.sub(r"sha256-[^']*", "sha256-", text))


def test_every_case_is_in_the_index_and_in_a_block():
    report = large.report(120)
    found = Page(html_page.render(report))
    assert [each["name"] for each in found.index] == [each.case for each in report.cases]
    assert [each["name"] for each in found.cases] == [each.case for each in report.cases]
    assert [len(json.loads(block)) for block in found.scripts[2:-2]] == [50, 50, 20]


def test_what_can_be_filtered_by_is_marked():
    marks = {each["name"]: (each.get("state"), each.get("marks", [])) for each in Page(html_page.render(sample())).index}
    assert marks["odd/empty"] == (None, ["vacuous"])
    assert marks["floats/nan"] == (None, ["zero stubs", "allowed"])
    assert marks["decisions/triangle"] == ("new", ["not compared"])
    assert marks["memory/grow"][0] == "expected", "its case file expects it"


def test_each_cause_is_a_row_that_needs_no_script():
    """New ones first, each with its section, finding, values, cases and commands."""
    case = msgspec.structs.replace(samples.CASES[0], findings=("kilnd 0.4.4: rotates left",))
    report = msgspec.structs.replace(
        sample(),
        causes=(
            Cause("i32.rotl x", (samples.COUNTER.signature,), ("a: offset 3", "b"), "i32.rotl of 1 returns 2, not 3", "4.3.2"),
        ),
    )
    report = msgspec.structs.replace(report, cases=(case, *report.cases[1:]))
    rows = re.findall(r'<li data-state="(\w+)">(.*?)</details></li>', html_page.render(report).decode(), flags=re.DOTALL)
    assert [state for state, _ in rows] == ["new", "expected"]
    text = " ".join(re.sub(r"<[^>]*>", " ", rows[0][1]).split())
    assert text.startswith("new i32.rotl of 1 returns 2, not 3 4.3.2 2 cases counter 17 decisions/leap_year · run_row_2")
    assert "wasmtime (expected) 3 kilnd 2" in text
    assert "finding kilnd 0.4.4: rotates left" in text
    assert "diffcheck triage decisions/leap_year --row run_row_2" in text


def test_text_in_backquotes_is_code():
    note = "unset `A` <b>"
    case = msgspec.structs.replace(samples.CASES[0], not_done=(note,))
    page = html_page.render(msgspec.structs.replace(sample(), cases=(case,))).decode()
    assert "unset <code>A</code> &lt;b&gt;" in page


def test_a_case_that_cannot_be_typed_has_no_commands():
    bad = samples.case("a\x1bb", [samples.diverged([samples.COUNTER])], "diverge")
    assert b"diffcheck triage" not in html_page.render(collect(samples.events((bad,))))


def test_a_link_is_an_address_only():
    life = page_data.Life("known", "javascript:alert(1)")
    text = html_page.render(sample(), {samples.COUNTER.signature: life}).decode()
    assert "javascript:alert(1)" in text
    assert 'href="javascript' not in text


def test_nothing_in_the_page_points_outside_of_it():
    found = Page(html_page.render(sample()))
    fetching = {"src", "href", "srcset", "action", "formaction", "data", "poster", "background", "ping", "style"}
    assert all(value.startswith("#") for _, name, value in found.attributes if name in fetching)
    assert not {"iframe", "object", "embed", "link", "img", "base", "form"} & set(found.elements)
    style, columns, script = found.scripts[0], *found.scripts[-2:]
    assert not re.search(r"url\(|@import|expression", style)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|fetch\(|XMLHttp|import\(", script
    )
    assert json.loads(columns) == {"oracle": "wasmtime", "subject": "kilnd"}


def test_the_policy_allows_our_own_style_and_script_and_nothing_else():
    found = Page(html_page.render(sample()))
    policy = next(value for tag, name, value in found.attributes if tag == "meta" and value.startswith("default-src"))
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    style, script = found.scripts[0], found.scripts[-1]
    assert rules["default-src"] == "'none'"
    for source, rule in ((style, "style-src"), (script, "script-src")):
        assert rules[rule] == f"'sha256-{b64encode(sha256(source.encode()).digest()).decode()}'"


def test_ids_are_unique_and_every_link_and_label_has_its_target():
    found = Page(html_page.render(sample()))
    ids = [value for _, name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    wanted = [value.removeprefix("#") for _, name, value in found.attributes if name in ("href", "aria-labelledby", "for")]
    assert {each for each in wanted if not each.startswith("view=")} <= set(ids)


def strings(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [one for each in value for one in strings(each)]
    return [value] if isinstance(value, str) else []


@functools.cache
def plain_page():
    return Page(html_page.render(hostile.report("plain")))


def unharmed(name):
    plain, bad = plain_page(), Page(html_page.render(hostile.report(name)))
    varying = ["span", "li", "ul", "code", "dt", "dd"]  # a name that cannot be typed has no commands
    links = [value for tag, attribute, value in bad.attributes if (tag, attribute) == ("a", "href") and not value.startswith("#")]
    if links:  # the address of an issue, which only the reader opens
        varying.append("a")
        assert all(re.match(r"https?://[^\s\x00-\x1f\"<>]*$", link) for link in links)
    assert [tag for tag in bad.elements if tag not in varying] == [tag for tag in plain.elements if tag not in varying]
    assert bad.scripts[0] == plain.scripts[0]
    assert bad.scripts[-1] == plain.scripts[-1]
    assert {(tag, attribute) for tag, attribute, _ in bad.attributes} <= {
        (tag, attribute) for tag, attribute, _ in plain.attributes
    } | ({("a", "rel")} if links else set())
    for text in (*bad.texts, *strings(bad.index), *strings(bad.cases)):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    first = next(each for each in bad.cases if each["verdict"] == "diverge")
    assert first["name"][:80] == hostile.shown(name)
    assert len("".join(bad.texts)) < 200_000
    assert sum(map(len, bad.scripts[1:-2])) < 400_000


@pytest.mark.parametrize("name", hostile.NAMES, ids=lambda name: repr(name[:20]))
def test_a_hostile_name_is_text(name):
    unharmed(name)


@settings(deadline=None, max_examples=30)
@given(name=hostile.ANY)
def test_any_name_is_text(name):
    unharmed(name)


def test_a_report_over_the_budget_keeps_every_verdict_and_first_difference(monkeypatch):
    monkeypatch.setattr(page_data, "BUDGET_BYTES", 400_000)
    report = large.report(300)
    cases = Page(html_page.render(report)).cases
    assert len(cases) == 300
    trimmed = [each for each in cases if each.get("trimmed")]
    assert 0 < len(trimmed) < 300
    for case, each in zip(report.cases, cases, strict=True):
        assert each["verdict"] == case.verdict
        found = each["passes"][0].get("divergences", [])
        assert bool(found) == bool(case.passes[0].divergences)
        assert each["passes"][0].get("total", 0) == len(case.passes[0].divergences)


def test_an_unreadable_flood_of_words_stays_within_the_budget(monkeypatch):
    monkeypatch.setattr(page_data, "BUDGET_BYTES", 4 << 20)
    flood = tuple(samples.case(f"c{at}", [samples.diverged([_long(at)] * 60)], "diverge", reason="\0" * 10_000) for at in range(60))
    data = html_page.render(collect(samples.events(flood)))
    assert len(data) < 1.6 * page_data.BUDGET_BYTES
    trimmed = [each.get("trimmed", False) for each in Page(data).cases]
    assert (len(trimmed), trimmed[0], trimmed[-1]) == (60, False, True)


def _long(at):
    text = "\U000e0041" * 5000
    return samples.Divergence("result", samples.Where(text, text), text, text + "x", f"s{at}", text)


def test_state_issue_and_history_stand_in_the_row_of_a_cause():
    life = page_data.Life("known", "https://example.org/1", "since 0.4.2", ("absent",) * 20 + ("not run", *("diverge",) * 19))
    text = html_page.render(sample(), {samples.COUNTER.signature: life}).decode()
    row = next(each for each in text.split("<li data-state=") if samples.COUNTER.signature in each)
    assert row.startswith('"known"')
    assert 'href="https://example.org/1"' in row
    assert row.count('class="s-') == 30
    assert "seen in 19 of 29 runs" in row


@pytest.mark.parametrize("cases", [(), samples.CASES[:1]])
def test_an_empty_and_an_interrupted_run_have_a_page_too(cases):
    found = Page(html_page.render(collect(samples.events(cases, findings=(), finished=False))))
    assert "Interrupted." in found.texts
    assert len(found.index) == len(cases)


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


def browsed(tmp_path, data, address=""):
    """The page as a browser has it after its script ran."""
    file = tmp_path / "report.html"
    file.write_bytes(data)
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=20000",
    ]
    ended = subprocess.run(
        [CHROMIUM, *options, "--dump-dom", file.as_uri() + address], capture_output=True, timeout=120, check=True
    )
    assert b'data-ready="yes"' in ended.stdout, ended.stderr
    return ended.stdout.decode()


def names(dom):
    return re.findall(r'class="name">([^<]*)', dom[dom.index('id="case-list"') :])


@needs_chromium
def test_a_browser_shows_the_cases_that_the_address_asks_for(tmp_path):
    """And makes no element of a hostile name; what else a browser does with the page is in test_browser.py."""
    bad = samples.case("<img src=x onerror=document.title='x'></script><script>document.title='x'</script>{{7*7}}&lt;b&gt;", [])
    dom = browsed(tmp_path, html_page.render(collect(samples.events((*samples.CASES, bad)))), "#view=cases&q=LOOPS")
    assert [name.strip() for name in names(dom)] == ["loops/endless"]
    dom = browsed(tmp_path, html_page.render(collect(samples.events((bad,)))))
    assert "<img" not in dom
    assert dom.count("<script") == 4
    assert "<title>x</title>" not in dom
    assert "&lt;img src=x" in names(dom)[0]
