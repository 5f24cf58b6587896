"""The page in a headless Chromium: filters, keyboard, themes, accessibility, what it fetches (nothing), and 10,000 cases.

Runs where there is a Chromium and the extra ``browser`` is installed, which brings Playwright's driver and axe-core but no browser.
"""

import shutil

import msgspec
import pytest

from diffcheck.report import html_page, page_data

from . import hostile, large, samples
from .test_model import collect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium here", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="pip install '.[browser]' drives the page in a browser")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="as above")

pytestmark = pytest.mark.xdist_group("browser")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
LOAD_S = 3.0


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, tmp_path):
    """Opens a page and, when the test is over, sees that it fetched nothing and that no script of it failed."""
    contexts, requests, troubles = [], [], []

    def opening(data, theme="light", width=1280, address="", measure=False):
        file = tmp_path / "report.html"
        file.write_bytes(data)
        context = chromium.new_context(color_scheme=theme, viewport={"width": width, "height": 900})
        contexts.append(context)
        tab = context.new_page()
        tab.on("request", lambda request: requests.append(request.url.partition("#")[0]))
        for event in ("pageerror", "console", "dialog"):
            tab.on(event, lambda trouble: troubles.append(str(trouble)))
        if measure:
            session = context.new_cdp_session(tab)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            tab.cpu_s = lambda: {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}[
                "TaskDuration"
            ]
        tab.goto(file.as_uri() + address)
        tab.wait_for_selector("html[data-ready]")
        return tab

    yield opening
    for context in contexts:
        context.close()
    assert set(requests) == {(tmp_path / "report.html").as_uri()}
    assert troubles == []


def unfold(tab):
    """Opens whatever can be opened, until opening brings nothing further: what is inside is made only when its part opens."""
    while tab.evaluate("[...document.querySelectorAll('details:not([open])')].map((each) => { each.open = true }).length"):
        tab.wait_for_function("[...document.querySelectorAll('details.case[open]')].every((each) => each.childElementCount > 1)")


@pytest.fixture(scope="module")
def nightly():
    """The sample against a baseline, with a strip of runs for what it knows and one for an entry that is gone."""
    report = msgspec.structs.replace(collect(samples.events(notice=samples.NOTICE)), baseline=samples.BASELINE)
    strips = {samples.COUNTER.signature: ("not run", "absent", "flaky", "diverge", "known"), "gone/1": ("known", "absent")}
    statuses = {each.signature: each for each in samples.BASELINE.standings}
    return html_page.render(report, {key: page_data.life(each, strips.get(key, ())) for key, each in statuses.items()})


def names(tab):
    return [text.split()[0] for text in tab.locator("#case-list .name").all_text_contents()]


def causes(tab):
    return [each.inner_text() for each in tab.locator("#cause-list > li .title strong").all() if each.is_visible()]


def focused(tab):
    return tab.evaluate("document.activeElement.id || document.activeElement.className || document.activeElement.tagName")


@pytest.mark.parametrize(
    ("width", "theme"),
    [(1280, "light"), (400, "dark"), *(pytest.param(*each, marks=pytest.mark.whole) for each in ((1280, "dark"), (400, "light")))],
)
def test_an_accessibility_check_finds_nothing(opened, nightly, width, theme):
    tab = opened(nightly, theme, width)
    unfold(tab)
    found = axe.Axe().run(tab).response
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
    assert len(found["passes"]) > 20
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_the_accessibility_check_would_see_a_fault(opened, nightly):
    tab = opened(nightly)
    tab.evaluate("document.querySelector('#q').closest('label').replaceWith(document.querySelector('#q'))")
    tab.evaluate("document.querySelector('#q').placeholder = ''")
    assert "label" in [each["id"] for each in axe.Axe().run(tab).response["violations"]]


def test_dark_and_light_are_two(opened, nightly):
    grounds = {opened(nightly, theme).evaluate("getComputedStyle(document.body).backgroundColor") for theme in ("light", "dark")}
    assert len(grounds) == 2


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("#cases", ["memory/grow", "decisions/leap_year", "decisions/triangle", "loops/endless", "odd/memories"]),
        ("#view=cases&verdict=diverge&order=name", ["decisions/leap_year", "decisions/triangle", "memory/grow"]),
        ("#view=cases&verdict=inconclusive&q=LOOPS", ["loops/endless"]),
        ("#view=cases&q=run_row_2+is_leap", ["decisions/leap_year", "decisions/triangle"]),
        ("#view=cases&only=vacuous", ["odd/empty"]),
        ("#view=cases&state=new", ["memory/grow"]),
        ("#view=cases&state=known", ["decisions/leap_year", "decisions/triangle"]),
        ("#view=cases&order=time", ["loops/endless"]),
        ("#view=cases&q=nothing+has+this", []),
    ],
)
def test_the_address_keeps_a_view(opened, nightly, address, wanted):
    shown = names(opened(nightly, address=address))
    assert shown[: len(wanted)] == wanted
    assert len(shown) == len(wanted) or address in ("#cases", "#view=cases&order=time")


def test_the_filters_work_together_and_can_be_cleared(opened, nightly):
    tab = opened(nightly)
    assert tab.inner_text("#count") == "4 causes"
    assert tab.is_disabled("#clear")
    assert not tab.locator("#cases").is_visible()
    tab.click("button[data-state=known]")
    assert tab.inner_text("#count") == "1 of 4 causes"
    assert len(causes(tab)) == 1
    tab.click("button[data-view=cases]")
    assert names(tab) == ["decisions/leap_year", "decisions/triangle"]
    tab.fill("#q", "triangle")
    sync_api.expect(tab.locator("#count")).to_have_text("1 of 8 cases")
    assert tab.evaluate("location.hash") == "#view=cases&q=triangle&state=known"
    tab.click("#clear")
    assert (tab.inner_text("#count"), tab.evaluate("location.hash")) == ("8 cases", "#view=cases")
    assert focused(tab) == "q"


def test_what_is_new_stands_before_what_is_known(opened, nightly):
    states = opened(nightly).locator("#cause-list > li").evaluate_all("(rows) => rows.map((row) => row.dataset.state)")
    assert states == ["new", "fixed", "stale", "known"]


def test_a_command_can_be_copied(opened, nightly):
    tab = opened(nightly)
    tab.click("#cause-list > li:first-child summary")
    command = tab.locator("#cause-list > li:first-child code.command").first
    assert command.inner_text() == "diffcheck triage memory/grow --row grow=65535"
    button = tab.locator("#cause-list > li:first-child .copy").first
    button.click()
    sync_api.expect(button).to_have_text("Copied")


def test_a_case_of_a_cause_leads_to_the_case(opened, nightly):
    tab = opened(nightly)
    tab.click("#cause-list > li:first-child summary")
    tab.click("#cause-list > li:first-child .case-link")
    sync_api.expect(tab.locator("#case-list > li")).to_have_count(1)
    assert names(tab) == ["memory/grow"]


def test_without_a_script_causes_and_cases_can_be_read(chromium, nightly, tmp_path):
    (tmp_path / "report.html").write_bytes(nightly)
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    tab.click("#cause-list > li:first-child summary")
    assert "diffcheck triage memory/grow" in tab.inner_text("#cause-list > li:first-child")
    assert "loops/endless" in tab.inner_text("noscript table")
    assert not tab.locator("#filters").is_visible()
    context.close()


def test_everything_can_be_done_by_the_keyboard(opened, nightly):
    tab = opened(nightly)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the causes"
    assert tab.evaluate("document.activeElement.getBoundingClientRect().left") > 0, "what has the focus can be seen"
    tab.keyboard.press("Enter")
    sync_api.expect(tab.locator("#causes")).to_be_focused()
    tab.focus("button[data-view=cases]")
    tab.keyboard.press("Enter")
    tab.focus("#q")
    tab.keyboard.type("endless")
    sync_api.expect(tab.locator("#case-list .case")).to_have_count(1)
    tab.keyboard.press("Escape")
    sync_api.expect(tab.locator("#case-list .case")).to_have_count(8)
    tab.focus("button[data-state=new]")
    tab.keyboard.press("Space")
    assert tab.get_attribute("button[data-state=new]", "aria-pressed") == "true"
    tab.focus("#case-list summary")
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#case-list details[open] .detail")


def test_a_button_for_more_is_there_only_while_there_is_more(opened):
    tab = opened(html_page.render(large.report(150)), address="#cases")
    visible = tab.locator("#cases > .more")
    assert visible.inner_text() == "Show 50 more of 150"
    visible.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#case-list > li").count() == 150
    assert not visible.is_visible()
    assert tab.evaluate("document.activeElement.closest('#case-list > li') === document.querySelectorAll('#case-list > li')[100]")


def test_a_bars_length_tells_its_value(opened, nightly):
    tab = opened(nightly, address="#view=cases&order=time")
    widths = tab.evaluate("""[...document.querySelectorAll('#case-list .gauge:first-child i.subject')]
        .map((bar) => bar.getBoundingClientRect().width)""")
    assert widths[0] > 2 * widths[1] > 0
    assert tab.locator("#case-list .gauge").first.locator("span", has_text="10.0 s").count() == 2


def test_a_strip_has_a_mark_a_run(opened, nightly):
    tab = opened(nightly)
    strip = tab.locator("#cause-list .strip").last
    assert strip.get_attribute("aria-label") == "history, oldest first: not run, absent, flaky, diverge, known"
    heights = strip.evaluate("(strip) => [...strip.children].map((mark) => mark.getBoundingClientRect().height)")
    assert heights[0] == heights[1] < heights[2] == heights[3] == heights[4]


@pytest.mark.parametrize(
    "name",
    ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{7*7}}&lt;b&gt;", "\u202e\0\x1b[31m", "x" * (1 << 20)],
)
def test_a_hostile_name_is_text(opened, name):
    tab = opened(html_page.render(hostile.report(name)), address="#cases")
    unfold(tab)
    assert tab.locator("script").count() == 4
    assert tab.locator("img, b:not(.chip b)").count() == 0
    first = tab.locator("#case-list .name").first
    first.evaluate("(name) => name.scrollIntoView()")
    sync_api.expect(first).to_contain_text(hostile.shown(name)[:40], use_inner_text=True)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 1280


@pytest.mark.parametrize("count", [500, *(pytest.param(each, marks=pytest.mark.whole) for each in (5_000, 10_000))])
def test_a_large_page_loads_as_fast_as_a_small_one(opened, count):
    """In the CPU time of the page's thread, so that other programs have no part in it."""
    tab = opened(html_page.render(large.report(count)), measure=True)
    assert 0 < tab.cpu_s() < LOAD_S
    tab.click("button[data-view=cases]")
    assert tab.inner_text("#count") == f"{count:,} cases"
    tab.select_option("#verdict", "diverge")
    assert 0 < tab.locator("#case-list > li").count() <= 100
    tab.fill("#q", "module_00007")
    sync_api.expect(tab.locator("#count")).to_contain_text(f"of {count:,} cases", timeout=60_000)
