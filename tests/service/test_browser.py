"""The dashboard in a headless Chromium: the life of a finding, with and without JavaScript, accessibility, narrow and dark.

Runs where there is a Chromium and the extra ``browser`` is installed.
"""

from __future__ import annotations

import re

import pytest
import wasmtime

from tests.report.test_browser import CHROMIUM, QUIET, axe, sync_api

from .conftest import BITS

pytestmark = pytest.mark.xdist_group("browser")
WAIT_MS = 300_000


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


def submit(tab, service, folder, engine):
    """Submit an artifact with the form; returns the job's address when it has ended."""
    (folder / "bits.wasm").write_bytes(wasmtime.wat2wasm(BITS))
    (folder / "bits.toml").write_text('rows = ["bits=6"]')
    tab.goto(f"{service.url}/submit")
    tab.get_by_label("Engine under test").select_option(engine)
    tab.locator("input[type=file]").set_input_files([folder / "bits.wasm", folder / "bits.toml"])
    tab.get_by_role("button", name="Submit").click()
    tab.wait_for_url(re.compile(r"/jobs/[0-9]+$"))
    tab.locator("h2", has_text="upload-").wait_for(timeout=WAIT_MS)
    return tab.url


@pytest.mark.whole
def test_a_person_follows_a_finding_from_the_upload_to_the_fix(live, chromium, tmp_path):
    service = live()
    context = chromium.new_context()
    context.set_default_timeout(WAIT_MS)
    tab = context.new_page()
    troubles, foreign = [], []
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on("console", lambda message: troubles.append(f"{message.text} {message.location}") if message.type == "error" else None)
    tab.on("request", lambda request: foreign.append(request.url) if not request.url.startswith(service.url) else None)

    job = submit(tab, service, tmp_path, "bad")
    assert "exit code" in tab.locator("#log").inner_text()
    tab.get_by_role("link", name=re.compile("result 0 in bits=6")).click()
    assert tab.locator(".value.oracle .what").inner_text() == "2"
    assert tab.locator(".value.subject .what").inner_text() == "1"
    tab.get_by_label("Issue (address)").fill("https://example.org/issues/7")
    tab.get_by_role("button", name="Save").click()
    tab.locator("main .state-known").first.wait_for()

    service.run(corpus="corpus", engine="bad", again="the next night")
    tab.goto(f"{service.url}/")
    assert tab.locator("table", has_text="corpus").get_by_text("1 known").count() == 1
    service.run(corpus="corpus", engine="good")
    submit(tab, service, tmp_path, "good")
    tab.goto(f"{service.url}/findings?state=fixed")
    assert tab.get_by_role("link", name="https://example.org/issues/7").count() == 1
    tab.goto(f"{service.url}/builds")
    tab.get_by_label("Second").select_option(index=1)
    tab.get_by_role("button", name="Compare").click()
    assert tab.get_by_role("heading", name=re.compile("Only in the")).count() == 2

    checked = _every_page(service, job)
    for width, theme in ((1280, "light"), (500, "dark")):
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(color_scheme=theme)
        for page in checked:
            tab.goto(service.url + page)
            assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (page, width)
            found = axe.Axe().run(tab)
            assert found.violations_count == 0, (page, width, theme, found.generate_report())
    assert (troubles, foreign) == ([], [])
    context.close()

    plain = chromium.new_context(java_script_enabled=False)
    tab = plain.new_page()
    tab.set_default_timeout(WAIT_MS)
    for page in checked:
        assert tab.goto(service.url + page).status == 200
        assert tab.get_by_role("heading", level=1).is_visible()
    assert submit(tab, service, tmp_path, "bad") != job  # the form's number makes it another job
    plain.close()


def _every_page(service, job):
    compare = "&".join(
        f"{name}={run['sha256']}" for name, run in zip(("first", "second"), service.get("/api/v1/runs").json["items"], strict=False)
    )
    own = (
        "/",
        "/findings",
        "/findings/1",
        "/cases?suite=corpus",
        "/cases/1",
        "/map",
        f"/builds?{compare}",
        "/jobs",
        "/submit",
        "/login",
    )
    return (*own, job.removeprefix(service.url))
