"""The pages, with names that would act if they were not text."""

from __future__ import annotations

from html.parser import HTMLParser

import msgspec
import pytest

from diffcheck.service import catalogue, results
from diffcheck.service.access import Principal
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.settings import ServiceSettings
from diffcheck.service.web import pages
from tests.report import hostile

from .test_storage import enter, plan

ENCODABLE = [name for name in hostile.NAMES if name.strip() and name == results.encodable(name)]  # others are in no report
WHO = Principal("alice", "operate")


class Structure(HTMLParser):
    """The elements of a page with the names of their attributes, and its addresses."""

    def __init__(self, data):
        super().__init__()
        self.elements, self.addresses = [], set()
        self.feed(data.decode())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.addresses |= {value for name, value in attrs if name in ("href", "src", "action")}


def rendered(folder, name):
    """Every page of a service with a report that has a name everywhere."""
    data = DataFolder(folder, ServiceSettings(engines={"auto": "auto"}))
    data.create()
    report = hostile.report(name)
    report = msgspec.structs.replace(report, baseline=None)
    enter(data, report, suite="corpus")
    data.queue.submit(plan(name), name)
    data.job(1).mkdir()
    data.log(1).write_bytes(name.encode("utf-8", "surrogateescape") if name.isascii() else b"")
    with data.database.writing() as connection:
        connection.execute("UPDATE jobs SET title = ?1, reason = ?1", (results.encodable(name),))
        connection.execute("UPDATE findings SET note = ?", (results.encodable(name),))
        connection.execute("INSERT INTO builds (sha256, name, version, revision, arrived, state, reason) VALUES ('0', ?1, ?1, ?1, 0, 'refused', ?1)", (results.encodable(name),))  # fmt: skip
        connection.execute("INSERT INTO cells VALUES (?1, ?1, ?1, ?1, 'agree', 1, ?1)", (results.encodable(name),))
        number = catalogue.findings(connection, "", "", "", None, 1).items[0].id
    with data.database.reading() as read:
        return {
            "overview": pages.overview.fn(read, WHO), "findings": pages.findings.fn(read, WHO),
            "finding": pages.finding.fn(data, read, WHO, number), "cases": pages.cases.fn(read, WHO), "case": pages.case.fn(read, WHO, 1),
            "map": pages.instruction_map.fn(read, WHO), "builds": pages.builds.fn(read, WHO, "0" * 64, "1" * 64),
            "jobs": pages.jobs.fn(read, WHO), "job": pages.job.fn(data, read, WHO, 1), "submit": pages.submit_form.fn(data, WHO),
        }  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return {key: Structure(page.content) for key, page in rendered(tmp_path_factory.mktemp("plain"), "plain").items()}


@pytest.mark.parametrize("name", ENCODABLE, ids=lambda name: repr(name[:20]))
def test_a_hostile_name_is_text_on_every_page(name, plain, tmp_path):
    for key, page in rendered(tmp_path / "data", name).items():
        found = Structure(page.content)
        assert {tag for tag, _ in found.elements} <= {tag for tag, _ in plain[key].elements} | {"code", "a"}, key
        assert {each for _, each in found.elements} <= {each for _, each in plain[key].elements} | {("href", "rel")}, key
        assert all(each.startswith(("/", "?", "#")) for each in found.addresses), (key, found.addresses)
        assert b"\x1b" not in page.content
        assert b"\0" not in page.content


def test_the_issue_of_a_finding_is_the_address_of_a_web_page():
    for bad in ("javascript:alert(1)", "data:text/html,x", "//evil.example", "https://a b", "x"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"issue": bad}, pages.FindingChange)
