"""Files and folders that a child may have tampered with, files that appear whole or not at all, and how much memory there is."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from pathlib import Path

import pytest

from diffcheck import process
from diffcheck.errors import ReportError
from diffcheck.process import Unreadable, files

from .children import MIB

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and orphans are the Linux kernel's")


# Files and folders.


def test_a_private_folder_is_private_and_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"")
    with process.private_folder(tmp_path) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "link").symlink_to(outside)
        (folder / "loop").symlink_to("loop")
        os.mkfifo(folder / "fifo")
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "file").write_bytes(b"")
        (folder / "a" / "b" / "link").symlink_to(outside)
        (folder / "a" / "b").chmod(0)
        (folder / "a").chmod(0o500)
        folder.chmod(0o500)
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "precious").exists()


def test_a_private_folder_is_removed_however_deep_it_is(tmp_path: Path) -> None:
    with process.private_folder(tmp_path) as folder:
        at = os.open(folder, os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("d", dir_fd=at)
            at, before = os.open("d", os.O_RDONLY, dir_fd=at), at
            os.close(before)
        os.close(at)
    assert list(tmp_path.iterdir()) == []


def test_a_private_folder_that_was_replaced_by_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"")
    with process.private_folder(tmp_path) as folder:
        folder.rename(tmp_path / "moved")
        folder.symlink_to(outside)
    assert not folder.is_symlink()
    assert (outside / "precious").exists()


def test_a_private_folder_is_removed_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with process.private_folder(tmp_path) as folder:
            (folder / "file").write_bytes(b"")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_output_file_is_read_only_if_it_is_a_regular_one_within_the_cap(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("good")
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    assert process.read_output_file(tmp_path / "good", 5) == b"12345"
    assert process.read_output_file(tmp_path / "good", 4) == Unreadable("larger than 4 bytes")
    assert process.read_output_file(tmp_path / "sparse", 5) == Unreadable("larger than 5 bytes")
    assert process.read_output_file(tmp_path / "link", 5) == Unreadable("a symbolic link")
    assert process.read_output_file(tmp_path / "fifo", 5) == Unreadable("not a regular file")
    assert process.read_output_file(tmp_path, 5) == Unreadable("not a regular file")
    assert process.read_output_file(tmp_path / "none", 5) == Unreadable("missing")
    assert process.read_output_file("/dev/zero", 5) == Unreadable("not a regular file")
    # The kernel gives its files as empty and regular; the cap holds for what is read as well.
    assert process.read_output_file("/proc/self/environ", 5) == Unreadable("larger than 5 bytes")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 250)
    target.write_bytes(b"old")
    process.write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("leads_to", ["target", "missing", "fifo", "/dev/null"])
def test_nothing_is_written_through_a_link(tmp_path: Path, leads_to: str) -> None:
    (tmp_path / "target").write_bytes(b"old")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(leads_to)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ReportError, match="link is a link, and links are not followed"):
        process.write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == before


def test_a_relative_path_leads_out_of_the_working_folder_only_where_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("out").symlink_to(tmp_path / "other")
    Path("in").mkdir()
    Path("alias").symlink_to("in")
    with pytest.raises(ReportError, match="out/a leads out of the working folder through a link"):
        process.write_atomically("out/a", b"new")
    with pytest.raises(ReportError, match="^out leads out of the working folder through a link"):
        process.check_folder(Path("out"))
    with pytest.raises(ReportError, match="^out/new leads out of the working folder through a link"):
        process.make_folder(Path("out/new"), "")
    assert list((tmp_path / "other").iterdir()) == []
    for name in ("alias/a", "../other/b", str(tmp_path / "work" / "out" / "c")):
        process.write_atomically(name, b"new")
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["b", "c"]


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    process.write_atomically("/dev/null", b"new")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    process.write_atomically("/dev/stdout", b"")  # a link of the system's own


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.json"
    target.write_bytes(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportError, match="the disk is full") as caught:
        process.write_atomically(target, b"new")
    assert caught.value.hint
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_a_sentence_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="folder does not exist"):
        process.write_atomically(tmp_path / "none" / "report.json", b"")
    with pytest.raises(ReportError, match="it is a folder"):
        process.write_atomically(tmp_path, b"")
    assert list(tmp_path.iterdir()) == []
    assert [path for path in tmp_path.parent.iterdir() if path.suffix == ".tmp"] == []


# What a killed run left.


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _private(path: Path, *, old: bool = True) -> Path:
    path.mkdir(mode=0o700)
    (path / "module.wasm").write_bytes(b"x")
    if old:
        os.utime(path, (0, 0))
    return path


def test_the_folder_of_a_killed_run_is_removed_by_the_next(temporary: Path) -> None:
    stale = _private(temporary / "diffcheck-private-abcd1234")
    with process.private_folder():
        assert not stale.exists()


def test_a_folder_that_is_in_use_or_new_or_not_ours_by_name_stays(temporary: Path) -> None:
    used = _private(temporary / "diffcheck-private-abcd1234")
    new = _private(temporary / "diffcheck-private-abcd5678", old=False)
    named = _private(temporary / "diffcheck-private-of-mine")
    link = temporary / "diffcheck-private-abcd9999"
    link.symlink_to(named)
    descriptor = os.open(used, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with process.private_folder():
            pass
    finally:
        os.close(descriptor)
    assert used.exists()
    assert new.exists()
    assert (named / "module.wasm").exists()
    assert link.is_symlink()


def test_two_runs_do_not_remove_each_others_folders(temporary: Path) -> None:
    with process.private_folder() as one:
        os.utime(one, (0, 0))
        with process.private_folder() as other:
            assert one.exists()
            assert other.exists()


def test_what_a_killed_writer_left_is_removed_by_the_next_that_writes_there(tmp_path: Path) -> None:
    left = tmp_path / ".diffcheck-0123456789abcdef.tmp"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    process.write_atomically(tmp_path / "report.json", b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


# Memory.


def test_available_memory_is_the_least_of_machine_and_groups(tmp_path: Path) -> None:
    proc, group = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert process.available_memory_bytes(proc, group) == 8000 * 1024
    (proc / "self" / "cgroup").write_text("4:cpu,memory:/job\n0::/outer/inner\n")
    inner = group / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("5\n")
    (group / "outer" / "memory.max").write_text("5000000\n")
    (group / "outer" / "memory.current").write_text("2000000\n")
    (group / "outer" / "memory.stat").write_text("anon 1\ninactive_file 500000\n")
    assert process.available_memory_bytes(proc, group) == 3_500_000
    # Version 1 in a container: the path is the host's, the limit at the mount's root.
    (group / "memory").mkdir()
    (group / "memory" / "memory.limit_in_bytes").write_text("1000\n")
    (group / "memory" / "memory.usage_in_bytes").write_text("4000\n")
    assert process.available_memory_bytes(proc, group) == 0


def test_this_machine_has_memory() -> None:
    assert process.available_memory_bytes() > MIB
