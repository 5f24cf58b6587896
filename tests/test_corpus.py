"""Finding artifacts and reading case files: what a folder holds becomes cases, and nothing outside of it is read."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffcheck.cases import discovery
from diffcheck.cases.case_file import CASE_FILE_CAP, STDIN_CAP, CaseLimits, KnownFinding
from diffcheck.cases.discovery import Case, Item, discover, load_case, read_artifact
from diffcheck.errors import ArtifactError, CaseError, ConfigError, NothingToDoError

if TYPE_CHECKING:
    from collections.abc import Callable


def put(root: Path, *names: str, text: str = "") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def ids(*paths: Path, only: str = "*") -> list[str]:
    return [item.id for item in discover(paths, [only]).items]


def case_of(folder: Path, text: str) -> Case:
    put(folder, "a.wasm")
    put(folder, "a.toml", text=text)
    (item,) = discover([folder]).items
    return load_case(item)


def refusal(folder: Path, text: str) -> CaseError:
    with pytest.raises(CaseError) as caught:
        case_of(folder, text)
    assert str(caught.value).startswith(f"{folder / 'a.toml'}: ")
    return caught.value


# Finding


def test_a_folder_gives_its_wasm_files_sorted_by_id(tmp_path: Path) -> None:
    put(tmp_path, "b.wasm", "a/z.wasm", "a/b/c.wasm", "a-b.wasm", "a.b.wasm", "README.md", "a/z.wasm.witness.json")
    assert ids(tmp_path) == ["a/b/c", "a/z", "a-b", "a.b", "b"]


def test_a_wat_file_in_a_folder_is_an_artifact_only_with_a_case_file(tmp_path: Path) -> None:
    put(tmp_path, "case.wat", "case.toml", "src/source.wat", "built.wasm", "built.wat", "built.toml")
    assert [Path(item.artifact).name for item in discover([tmp_path]).items] == ["built.wasm", "case.wat"]


def test_a_wat_file_given_by_its_path_is_an_artifact(tmp_path: Path) -> None:
    put(tmp_path, "source.wat")
    assert discover([tmp_path / "source.wat"]).items == (Item("source", f"{tmp_path}/source.wat", "", str(tmp_path)),)


def test_wat_files_without_a_case_file_are_named_in_one_line(tmp_path: Path) -> None:
    put(tmp_path, "a.wasm", "a.wat", "b.wat", "b.toml", "src/c.wat", *(f"src/d{number}.wat" for number in range(5)))
    (note,) = discover([tmp_path]).notes
    assert note.startswith(f"6 .wat files have no case file and are not run: {tmp_path}/src/c.wat, ")
    assert note.endswith(", ...")


def test_wat_files_without_a_case_file_are_named_where_there_is_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, "a.wat", "src/b.wat")
    (tmp_path / "out.wasm").symlink_to("/etc/hostname")
    with pytest.raises(NothingToDoError) as raised:
        discover([tmp_path])
    assert f"2 .wat files have no case file and are not run: {tmp_path}/a.wat, {tmp_path}/src/b.wat" in raised.value.hint
    assert "out.wasm is a link" in raised.value.hint


def test_the_case_file_is_the_one_with_the_same_stem(tmp_path: Path) -> None:
    put(tmp_path, "a.b.wasm", "a.b.toml", "a.wasm")
    assert [Path(item.case_file).name for item in discover([tmp_path]).items] == ["", "a.b.toml"]
    assert discover([tmp_path / "a.b.wasm"]).items[0].case_file == f"{tmp_path}/a.b.toml"


def test_a_case_file_without_an_artifact_is_told_but_not_a_foreign_one(tmp_path: Path) -> None:
    put(tmp_path, "a.wasm", "mistyped.toml", "pyproject.toml", "elsewhere/settings.toml")
    assert discover([tmp_path]).notes == (f"{tmp_path}/mistyped.toml is a case file without an artifact",)


def test_hidden_folders_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, ".venv/a.wasm", ".git/b.wasm", "c.wasm")
    assert ids(tmp_path) == ["c"]


def test_paths_stay_relative_when_they_are_given_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "corpus/x/a.wasm", "corpus/x/a.toml")
    monkeypatch.chdir(tmp_path)
    assert discover([Path("corpus")]).items == (Item("corpus/x/a", "corpus/x/a.wasm", "corpus/x/a.toml", "corpus"),)
    assert discover([Path()]).items == (Item("corpus/x/a", "corpus/x/a.wasm", "corpus/x/a.toml", "."),)
    monkeypatch.chdir(tmp_path / "corpus/x")
    assert discover([Path("a.wasm")]).items == (Item("a", "a.wasm", "a.toml", "."),)
    assert load_case(discover([Path()]).items[0]).id == "a"


def test_an_artifact_reached_twice_is_one_case(tmp_path: Path) -> None:
    put(tmp_path, "x/a.wasm")
    assert ids(tmp_path, tmp_path / "x", tmp_path / "x/a.wasm") == ["x/a"]


def test_ids_are_unique_over_all_given_paths(tmp_path: Path) -> None:
    put(tmp_path, "x/a.wasm", "y/a.wasm", "z/y/a.wasm", "y/a.wat")
    assert ids(*(tmp_path / name for name in ("x", "y", "z/y", "y/a.wat"))) == ["a", "y/a", "y/a~2", "y/a~3"]


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("*", ["01-x/leap", "02-y/Leap", "02-y/sort"]),
        ("*leap", ["01-x/leap"]),
        ("02-*", ["02-y/Leap", "02-y/sort"]),
        ("02-y/sort.wasm", ["02-y/sort"]),
        ("*/[Ll]eap", ["01-x/leap", "02-y/Leap"]),
    ],
)
def test_only_matches_ids_with_or_without_suffix_and_with_their_case(tmp_path: Path, only: str, expected: list[str]) -> None:
    put(tmp_path, "01-x/leap.wasm", "02-y/Leap.wasm", "02-y/sort.wasm")
    found = discover([tmp_path], [only])
    assert [item.id for item in found.items] == expected
    assert found.left_out == 3 - len(expected)
    (tmp_path / ".git").mkdir()
    assert [item.id.rpartition("02-y/")[2] for item in discover([tmp_path / "02-y"], ["sort*", "02-y/Le*"]).items] == [
        "Leap",
        "sort",
    ]


def test_a_glob_that_matches_nothing_shows_what_ids_look_like(tmp_path: Path) -> None:
    put(tmp_path, "01-x/leap_year.wasm", "01-x/sort.wasm")
    with pytest.raises(NothingToDoError, match="none of 2 cases matches '01-x/leap_yaer'") as caught:
        discover([tmp_path], ["01-x/leap_yaer"])
    assert "01-x/leap_year" in caught.value.hint


def test_an_empty_folder_is_nothing_to_do(tmp_path: Path) -> None:
    put(tmp_path, "src/a.wat")
    with pytest.raises(NothingToDoError, match=r"no artifact under ") as caught:
        discover([tmp_path])
    assert "case file beside a .wat file" in caught.value.hint


def test_a_path_that_does_not_exist_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    put(tmp_path, "leap_year.wasm")
    with pytest.raises(ConfigError, match="no such file or directory") as caught:
        discover([tmp_path / "leapyear.wasm"])
    assert caught.value.hint == f"did you mean {tmp_path}/leap_year.wasm?"


@pytest.mark.parametrize("name", ["a.toml", "a.c", "a"])
def test_a_file_of_another_kind_is_told(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    with pytest.raises(ConfigError, match=r"is neither \.wasm nor \.wat"):
        discover([tmp_path / name])


@pytest.mark.parametrize("name", ["a\0b.wasm", "\udcff.wasm"])
def test_a_path_that_no_report_can_hold_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        discover([tmp_path / name])


def test_a_name_that_is_not_utf8_is_told_and_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "a.wasm")
    try:
        (tmp_path / "\udcff.wasm").write_bytes(b"")
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    found = discover([tmp_path])
    assert [item.id for item in found.items] == ["a"]
    assert found.notes == (f"{tmp_path}/\\udcff.wasm is not a name in UTF-8: ignored",)


def test_special_files_are_told_and_never_opened(tmp_path: Path) -> None:
    put(tmp_path, "a.wasm")
    os.mkfifo(tmp_path / "b.wasm")
    found = discover([tmp_path])
    assert [item.id for item in found.items] == ["a"]
    assert found.notes == (f"{tmp_path}/b.wasm is not a regular file",)
    with pytest.raises(ConfigError, match="not a regular file"):
        discover([tmp_path / "b.wasm"])


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_a_case_file_that_is_no_file_makes_its_case_unusable_and_no_other(tmp_path: Path, make: Callable[[Path], None]) -> None:
    put(tmp_path, "a.wasm", "b.wat", "b.wasm", "c/notes.txt")
    make(tmp_path / "b.toml")
    (tmp_path / "other.toml").mkdir()
    found = discover([tmp_path])
    assert [item.id for item in found.items] == ["a", "b"]
    assert found.notes == ()
    assert load_case(found.items[0]).id == "a"
    with pytest.raises(CaseError, match=r"b\.toml: the case file is not a regular file"):
        load_case(found.items[1])


def test_links_that_lead_outside_are_not_followed_and_told(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(tmp_path, "outside/secret.wasm", "root2/near.wasm", "root/own.wasm")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "sibling.wasm").symlink_to("../root2/near.wasm")
    (root / "up").symlink_to("..")
    found = discover([root])
    assert [item.id for item in found.items] == ["own"]
    assert sorted(note.removeprefix(f"{root}/").split()[0] for note in found.notes) == ["folder", "sibling.wasm", "up"]


def test_links_inside_are_cases_of_their_own_and_loops_end(tmp_path: Path) -> None:
    put(tmp_path, "a.wasm", "x/b.wasm", "other.toml")
    (tmp_path / "other.wasm").symlink_to("a.wasm")
    (tmp_path / "again").symlink_to("x")
    (tmp_path / "x/loop").symlink_to("..")
    (tmp_path / "self.wasm").symlink_to("self.wasm")
    (tmp_path / "gone.wasm").symlink_to("nothing.wasm")
    found = discover([tmp_path])
    assert [item.id for item in found.items] == ["a", "other", "x/b"]
    assert sorted(found.notes) == [f"{tmp_path}/{name} is a link to a missing file" for name in ("gone.wasm", "self.wasm")]


def test_a_folder_given_as_a_link_is_the_users_own_choice(tmp_path: Path) -> None:
    put(tmp_path, "real/a.wasm")
    (tmp_path / "link").symlink_to("real")
    assert ids(tmp_path / "link") == ["a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root lists every folder")
def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    put(tmp_path, "a.wasm", "closed/b.wasm")
    (tmp_path / "closed").chmod(0)
    try:
        assert discover([tmp_path]).notes == (f"{tmp_path}/closed cannot be listed: permission denied",)
    finally:
        (tmp_path / "closed").chmod(0o700)


@pytest.mark.whole
def test_ten_thousand_artifacts_are_listed_in_under_a_second(tmp_path: Path) -> None:
    for folder in range(100):
        (tmp_path / f"{folder:03}").mkdir()
        for number in range(100):
            (tmp_path / f"{folder:03}" / f"é{number}.wasm").touch()
            (tmp_path / f"{folder:03}" / f"é{number}.toml").touch()
    start = time.process_time()
    found = discover([tmp_path], ["*"])
    elapsed_s = time.process_time() - start
    assert len({item.id for item in found.items}) == 10_000
    assert elapsed_s < 1


# Case files


def test_without_a_case_file_a_case_has_its_defaults(tmp_path: Path) -> None:
    put(tmp_path, "a.wasm")
    assert load_case(discover([tmp_path]).items[0]) == Case("a", f"{tmp_path}/a.wasm")


def test_a_case_file_sets_everything_and_survives_a_worker_boundary(tmp_path: Path) -> None:
    put(tmp_path, "a.wasm.witness.json", text="{}")
    case = case_of(
        tmp_path,
        """
        purpose = "all keys"
        rows = ["is_leap=2024", "parse=0,12,3.5"]
        stdin = "é\\n"
        args = ["program", ""]
        env = { A = "1", EMPTY = "" }
        limits = { deadline_s = 2, memory = "1.5GiB", memory_pages = 16, table_elements = 10, digest_pages = 4 }
        [expect]
        default = "agree"
        kilnd = "diverge"
        "harness:x" = "inconclusive"
        [[finding]]
        subject = "kilnd 0.4.4"
        spec = "core 4.3.3"
        what = "rounds to zero"
        [[finding]]
        what = "anything"
        """,
    )
    assert case.manifest == f"{tmp_path}/a.wasm.witness.json"
    assert case.rows == ("is_leap=2024", "parse=0,12,3.5")
    assert (case.stdin, case.args, case.env) == ("é\n".encode(), ("program", ""), {"A": "1", "EMPTY": ""})
    assert case.limits == CaseLimits(2.0, 3 << 29, 16, 10, 4)
    assert case.findings == (KnownFinding("rounds to zero", "kilnd 0.4.4", "core 4.3.3"), KnownFinding("anything"))
    assert [case.expected(name) for name in ("kilnd", "kilnd:/x", "harness:x", "harness:y")] == [
        "diverge",
        "diverge",
        "inconclusive",
        "agree",
    ]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(case), type=Case) == case


def test_a_case_is_expected_to_agree_unless_it_says_so(tmp_path: Path) -> None:
    assert case_of(tmp_path, "").expected("kilnd") == "agree"
    assert case_of(tmp_path, "expect = { kilnd = 'known' }").expected("wasmtime") == "agree"


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("row = ['a']", "unknown key row", "did you mean rows?"),
        ("command = 'sh'", "unknown key command", "the keys are purpose, rows, "),
        ("[limits]\ndeadline = 1", "unknown key limits.deadline", "did you mean limits.deadline_s?"),
        ("[expect]\ndefault = 'agrees'", "expect.default is not a verdict: 'agrees'", "did you mean agree?"),
        ("[expect]\ndefault = 'xyz'", "expect.default is not a verdict: 'xyz'", "the verdicts are agree, "),
        ("expect = 'agree'", "expect must be a table, not a string ('agree')", ""),
        ("[expect]\ndefault = 1", "expect.default must be a string, not an integer (1)", ""),
        ("purpose = 3", "purpose must be a string, not an integer (3)", ""),
        ("rows = 'a'", "rows must be an array of strings, not a string ('a')", ""),
        ("rows = ['a', 1.5]", "rows[1] must be a string, not a float (1.5)", ""),
        ("args = [true]", "args[0] must be a string, not true or false (true)", ""),
        ('args = ["a\\u0000b"]', "args[0] contains NUL", ""),
        ('[env]\n"A=B" = ""', "'A=B' is not a valid name of an environment variable", ""),
        ("[env]\nA = 1979-05-27", "env.A must be a string, not a date or time", ""),
        ("finding = 'a'", "finding must be an array of tables, [[finding]], not a string ('a')", ""),
        ("[[finding]]\nspec = 'a'", "finding[0] has no description", ""),
        ("[[finding]]\nwhat = 'a'\nsection = 'b'", "unknown key finding[0].section", ""),
        ("limits = []", "limits must be a table, not an array", ""),
        ("[limits]\ndeadline_s = true", "limits.deadline_s must be a number of seconds", ""),
        ("[limits]\ndeadline_s = nan", "limits.deadline_s must be a number of seconds", ""),
        ("[limits]\ndeadline_s = inf", "limits.deadline_s must be a number of seconds", ""),
        ("[limits]\ndeadline_s = 0", "limits.deadline_s must be a number of seconds", ""),
        ("[limits]\nmemory_pages = true", "limits.memory_pages must be an integer from 0 to 65,536", ""),
        ("[limits]\nmemory_pages = 65537", "limits.memory_pages must be an integer from 0 to 65,536", ""),
        ("[limits]\nmemory_pages = 0x" + "f" * 9000, "limits.memory_pages must be an integer of at most 64 bits", ""),
        ("[limits]\ndeadline_s = 1" + "0" * 308, "limits.deadline_s must be an integer of at most 64 bits", ""),
        ("[[finding]]\nwhat = 0x" + "f" * 17, "finding[0].what must be an integer of at most 64 bits", ""),
        ("[limits]\nmemory = 'lots'", "limits.memory: 'lots' is not a size", "write a number and a unit"),
        ("[limits]\nmemory = 1.5", "limits.memory must be a size", ""),
        ("[limits]\nmemory = true", "limits.memory must be a size", ""),
        ("[limits]\nmemory = 0x" + "f" * 9000, "limits.memory must be an integer of at most 64 bits", ""),
        ("[limits]\nmemory = '1k'", "limits.memory: 1k is out of range", "give between"),
        ("stdin = 'a'\nstdin_file = 'b'", "stdin and stdin_file are both set", "keep one"),
        ("rows = [", "it is not TOML: ", ""),
        ("a = " + "[" * 5000, "it is not TOML: it is nested too deeply", ""),
        ("a = " + "1" * 5000, "it is not TOML: ", ""),
        ("a." * 100_000 + "a = 1", "a key has more than 16 parts", ""),
        ("[" + '"a" . ' * 100_000 + "a]", "a key has more than 16 parts", ""),
        ("\x1b[31m = 1", "it is not TOML: ", ""),
        ('"\\u001b" = 1', "unknown key \\x1b", ""),
    ],
)
def test_a_mistake_in_a_case_file_is_told_by_its_key(tmp_path: Path, text: str, said: str, hint: str) -> None:
    error = refusal(tmp_path, text)
    assert said in str(error)
    assert "\x1b" not in str(error)
    assert error.hint.startswith(hint)


def test_dots_in_strings_are_no_key_parts(tmp_path: Path) -> None:
    dots = "a." * 40
    text = f'purpose = "{dots}" # {dots}\nrows = [\'{dots}\', "\\"{dots}"]\nstdin = \'\'\'\n\'{dots}\'\'\'\'\nargs = ["""\n\\"""{dots}"""]'
    case = case_of(tmp_path, text)
    assert (case.purpose, case.rows, case.stdin, case.args) == (dots, (dots, f'"{dots}'), f"'{dots}'".encode(), (f'"""{dots}',))


@pytest.mark.parametrize("quoted", ["'''i'{}'''", '"""\n""{}"""'])
def test_dots_behind_quotes_within_a_string_are_no_key_parts(tmp_path: Path, quoted: str) -> None:
    dots = "a." * 40
    assert case_of(tmp_path, f"purpose = {quoted.format(dots)}\nargs = []\n").purpose.endswith(dots)


def test_a_case_file_that_is_not_utf8_or_too_large_is_told(tmp_path: Path) -> None:
    put(tmp_path, "a.wasm")
    (tmp_path / "a.toml").write_bytes(b'purpose = "\xff"')
    (item,) = discover([tmp_path]).items
    with pytest.raises(CaseError, match="not UTF-8"):
        load_case(item)
    (tmp_path / "a.toml").write_bytes(b"#" * (CASE_FILE_CAP + 1))
    with pytest.raises(CaseError, match=r"has 1\.0 MB, the limit is"):
        load_case(item)


@given(st.binary(max_size=60) | st.text("a.'\"\\\n#[]{}= \t", max_size=60).map(str.encode))
def test_any_case_file_gives_a_case_or_a_case_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    put(folder, "a.wasm")
    (folder / "a.toml").write_bytes(data)
    (item,) = discover([folder]).items
    with contextlib.suppress(CaseError):  # any other exception fails the test
        assert load_case(item).id == "a"


# What a case file may read


def test_stdin_comes_from_a_file_beside_the_case_file(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input/data.bin").write_bytes(bytes(range(256)))
    assert case_of(tmp_path, "stdin_file = 'input/data.bin'").stdin == bytes(range(256))


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../secret", "sub/../../secret", "sub/../a.wasm", "leak", "sub/leak", "", ".", "sub/.."]
)
def test_stdin_never_comes_from_outside_the_cases_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "case"
    put(tmp_path, "secret", "case/sub/x")
    (folder / "leak").symlink_to("../secret")
    (folder / "sub/leak").symlink_to(tmp_path)
    assert "stdin_file is not in the folder of the case" in str(
        refusal(folder, f"stdin_file = {msgspec.json.encode(name).decode()}")
    )


def test_stdin_is_a_regular_file_under_the_cap(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "stdin_file 'fifo' is not a regular file" in str(refusal(tmp_path, "stdin_file = 'fifo'"))
    with (tmp_path / "large").open("wb") as file:
        file.truncate(STDIN_CAP + 1)
    assert "the limit is 16.8 MB" in str(refusal(tmp_path, "stdin_file = 'large'"))
    assert "no such file" in str(refusal(tmp_path, "stdin_file = 'missing'")).lower()


def test_a_case_file_that_is_a_link_out_is_an_error_and_never_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "other.toml", "root/a.wasm")
    (tmp_path / "root/a.toml").symlink_to("../other.toml")
    for path in (tmp_path / "root", tmp_path / "root/a.wasm"):
        (item,) = discover([path]).items
        with pytest.raises(CaseError, match="leads outside"):
            load_case(item)


def test_a_manifest_that_is_a_link_out_is_not_followed_and_told(tmp_path: Path) -> None:
    put(tmp_path, "other.json", "root/a.wasm")
    (tmp_path / "root/a.wasm.witness.json").symlink_to("../other.json")
    case = load_case(discover([tmp_path / "root"]).items[0])
    assert case.manifest == ""
    assert "leads outside the folder" in case.notes[0]


# Artifacts


def test_an_artifact_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.wasm").write_bytes(b"\0asm" * 1000)
    assert read_artifact(tmp_path / "a.wasm") == b"\0asm" * 1000


def test_an_artifact_is_a_regular_file_of_a_bearable_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as file:
        file.truncate((1 << 30) + 1)
    for name, said in (
        ("fifo", "not a regular file"),
        (".", "not a regular file"),
        ("large", "the limit is"),
        ("none", "no such file"),
        ("a\0", "not a usable path"),
    ):
        with pytest.raises(ArtifactError, match=f"(?i){said}"):
            read_artifact(tmp_path / name)
    with pytest.raises(ArtifactError, match="not a regular file"):
        read_artifact("/dev/zero")


def test_an_artifact_that_changes_while_it_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wasm"
    path.write_bytes(b"x" * 100)
    before = path.stat()
    monkeypatch.setattr(discovery.os, "fstat", lambda _: before)
    for size in (101, 99):
        path.write_bytes(b"x" * size)
        with pytest.raises(ArtifactError, match="changed while it was read"):
            read_artifact(path)


@pytest.mark.parametrize(("written", "count"), [("'1.5GiB'", 3 << 29), ("2097152", 2 << 20), ("'512 MB'", 512 * 10**6)])
def test_a_memory_limit_is_a_size_or_a_number_of_bytes(tmp_path: Path, written: str, count: int) -> None:
    assert case_of(tmp_path, f"limits = {{ memory = {written} }}").limits.memory_bytes == count


def test_a_text_is_read_up_to_a_lower_bound_than_a_binary(tmp_path: Path) -> None:
    for name in ("a.wat", "a.wasm"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(129 << 20)
    with pytest.raises(ArtifactError, match=r"the artifact has 135\.3 MB, the limit is 134\.2 MB"):
        read_artifact(tmp_path / "a.wat")
    assert len(read_artifact(tmp_path / "a.wasm")) == 129 << 20
