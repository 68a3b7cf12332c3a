"""Packages: what of a working tree is sent, and that the same tree is the same package."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from stoker.client.package import pack
from stoker.errors import BadInput, TooLarge


def packed(folder: Path) -> tuple[bytes, dict[str, tarfile.TarInfo]]:
    into = io.BytesIO()
    pack(folder, into)
    with tarfile.open(fileobj=io.BytesIO(into.getvalue())) as archive:
        return into.getvalue(), {entry.name: entry for entry in archive}


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = write(tmp_path / "tree", kept="1", gone="2", data__built="3", new="4")
    git(folder, "init", "-q")
    git(folder, "add", "kept", "gone")
    (folder / ".gitignore").write_text("data/\n")
    (folder / "gone").unlink()
    return folder


def test_a_work_tree_goes_as_it_lies_there_without_what_git_ignores(repository: Path) -> None:
    assert sorted(packed(repository)[1]) == [".gitignore", "kept", "new"]


def test_stokerignore_takes_away_in_git_and_elsewhere(repository: Path, tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", kept="1", logs__a="2", logs__keep="3")
    for folder in (repository, plain):
        (folder / ".stokerignore").write_text("new\nlogs/*\n!logs/keep\n")
    assert sorted(packed(repository)[1]) == [".gitignore", ".stokerignore", "kept"]
    assert sorted(packed(plain)[1]) == [".stokerignore", "kept", "logs/keep"]


def test_a_repository_within_one_goes_along(repository: Path) -> None:
    inner = write(repository / "inner", code="x", junk="y")
    git(inner, "init", "-q")
    (inner / ".gitignore").write_text("junk\n")
    git(inner, "add", ".")
    git(inner, "commit", "-qm", "x")
    git(repository, "add", "inner")
    assert {"inner/.gitignore", "inner/code"} < set(packed(repository)[1])
    assert "inner/junk" not in packed(repository)[1]


def test_the_same_tree_is_the_same_package_whenever_and_by_whomever(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, a="1", b__c="2") for name in ("first", "second"))
    os.utime(second / "a", (1, 1))
    (second / "b" / "c").chmod(0o600)
    assert packed(first)[0] == packed(second)[0]
    (second / "a").chmod(0o700)
    assert packed(first)[0] != packed(second)[0]
    assert packed(second)[1]["a"].mode == 0o755


def test_links_within_the_tree_stay_links_and_others_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "tree", real__file="1")
    (folder / "link").symlink_to("real/file")
    (folder / "folder").symlink_to("real")
    entries = packed(folder)[1]
    assert (entries["link"].linkname, entries["folder"].linkname) == ("real/file", "real")
    (folder / "out").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match=r"out cannot be sent: .*; name it in .*\.stokerignore"):
        packed(folder)


def test_names_may_hold_anything_a_file_system_takes(tmp_path: Path) -> None:
    folder = write(tmp_path / "tree", plain="1")
    for name in (b"line\nbreak", b"\xff\xfe", "日本".encode()):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("x")
    assert {os.fsencode(name) for name in packed(folder)[1]} == {
        b"plain", b"line\nbreak", b"\xff\xfe", "日本".encode()
    }  # fmt: skip


def test_too_much_is_refused_with_the_largest_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "tree", small="1", large="x" * 5000, huge="x" * 9000)
    with pytest.raises(TooLarge, match=r"the largest: huge \(8.8 KiB\), large \(4.9 KiB\), small"):
        pack(folder, io.BytesIO(), limit=10_000)


def test_an_empty_folder_and_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no files to send"):
        packed(tmp_path)
    with pytest.raises(BadInput, match="is no folder"):
        packed(tmp_path / "nothing")
