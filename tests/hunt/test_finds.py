"""The folder of finds: a cause is there once, complete or not at all, and its state follows the engine."""

from __future__ import annotations

import pytest

from diffcheck.cases.discovery import item_at, load_case
from diffcheck.cli.main import run
from diffcheck.errors import ConfigError, NothingToDoError
from diffcheck.hunt.finds import FILE, PROGRAM, Find, FindsFolder, read

FIND = Find("table.init does not trap", "table.init copies from a dropped segment", "kilnd 0.4.4", "1 0 7", "2026-11-28")


@pytest.fixture
def finds(tmp_path):
    return FindsFolder(tmp_path / "finds")


def added(finds, find=FIND):
    folder = finds.triage
    folder.mkdir()
    (folder / PROGRAM).write_bytes(b"\0asm\1\0\0\0")
    (folder / "program.toml").write_text('rows = ["f"]\n')
    (folder / "issue.md").write_text("# table.init\n")
    return finds.add(find, folder)


def test_a_find_is_read_as_it_was_written(finds):
    strange = Find('a "cause"\n', "t\u202eitle", "e 1", "s", "2026-11-28", "known", "https://example.org/1", "4.6", ("a", "b > 16"))
    name = added(finds, strange)
    again = FindsFolder(finds.path)
    assert again.finds == {name: strange}
    assert again.with_cause(strange.cause) == name


def test_two_finds_with_similar_causes_have_folders_of_their_own(finds):
    names = {added(finds), added(finds, Find("table.init: does not trap", "t", "e", "s", "2026-11-28"))}
    assert names == {"table.init_does_not_trap", "table.init_does_not_trap_1"}


def test_an_unfinished_triage_is_no_find_and_is_removed(finds):
    folder = finds.triage
    folder.mkdir()
    (folder / FILE).write_text('cause = "half"')
    assert FindsFolder(finds.path).finds == {}
    assert not finds.triage.exists()


def test_a_find_explains_programs_with_its_ingredients(finds):
    name = added(finds, Find("refused struct.get", "t", "e", "s", "2026-11-28", needs=("struct.get", "types > 16")))
    assert finds.explains(frozenset({"struct.get", "types > 16", "i32.add"})) == name
    assert finds.explains(frozenset({"struct.get"})) == ""
    added(finds)
    assert finds.explains(frozenset()) == "", "a find with an instruction explains nothing"


def test_a_damaged_file_is_an_error_that_names_it(finds):
    name = added(finds)
    (finds.path / name / FILE).write_text("cause = 3")
    with pytest.raises(ConfigError, match=name):
        FindsFolder(finds.path)


def test_names_may_be_abbreviated(finds):
    name = added(finds)
    assert finds.named("table") == (name, FIND)
    with pytest.raises(NothingToDoError):
        finds.named("memory")


def test_commands_list_show_and_promote(finds, tmp_path, capsys):
    name, corpus = added(finds), tmp_path / "corpus"
    given = ["--finds", str(finds.path)]
    assert run(["finds", "list", *given]) == 0
    assert run(["finds", "show", "table", *given]) == 0
    assert run(["finds", "promote", "table", str(corpus), *given]) == 0
    out = capsys.readouterr().out
    assert FIND.title in out
    assert "# table.init" in out
    case = load_case(item_at(corpus / f"{name}.wasm"))
    assert (case.rows, case.expected("kilnd"), case.expected("other")) == (("f",), "diverge", "agree")
    assert run(["finds", "promote", "table", str(corpus), *given]) == 2, "nothing is replaced"


def test_the_state_is_stored(finds):
    name = added(finds)
    finds.set_state(name, "fixed")
    assert read(finds.path / name / FILE).state == "fixed"
