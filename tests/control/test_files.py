"""Uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.account import Account, Role
from stoker.clock import ManualClock
from stoker.control.files import FileDesk
from stoker.errors import BadInput, Denied, NotFound, TooLarge
from stoker.store.database import Database
from stoker.store.files import FileStore

ANN = Account("ak-1", "ann", Role.USER, "speech", 0.0)
BOB = Account("ak-2", "bob", Role.USER, "vision", 0.0)
VIC = Account("ak-3", "vic", Role.VIEWER, "speech", 0.0)


class Disk:
    """The database and folder that outlive a desk."""

    def __init__(self, path: Path) -> None:
        self.database = Database(f"sqlite:///{path}/test.db")
        self.database.migrate()
        self.folder = path / "files"
        self.folder.mkdir()

    def open(self) -> FileDesk:
        return FileDesk(FileStore(self.database), self.folder, ManualClock(), size_limit=100)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    disk.database.close()


def test_an_upload_comes_back_byte_for_byte(disk: Disk) -> None:
    desk = disk.open()
    file = desk.create([b"a\x00", b"b"], "Data.JSONL", "fine-tune", ANN)
    assert desk.content(file.id, ANN).read_bytes() == b"a\x00b"
    assert desk.content(file.id, ANN).name == "content.jsonl"
    assert (file.name, file.size, desk.get(file.id, ANN)) == ("Data.JSONL", 3, file)
    assert desk.list(ANN) == [file]
    assert disk.open().list(ANN) == [file]


def test_over_the_limit_leaves_nothing(disk: Disk) -> None:
    desk = disk.open()
    with pytest.raises(TooLarge, match=r'"big\.txt" is larger than the limit of 100 B'):
        desk.create([b"x" * 60, b"x" * 60], "big.txt", "fine-tune", ANN)
    assert desk.list(ANN) == []
    assert list(disk.folder.iterdir()) == []


def test_a_broken_upload_leaves_nothing(disk: Disk) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        disk.open().create(pieces(), "a.txt", "fine-tune", ANN)
    assert list(disk.folder.iterdir()) == []


def test_what_a_killed_platform_left_is_swept_away(disk: Disk) -> None:
    file = disk.open().create([b"x"], "a.txt", "fine-tune", ANN)
    (disk.folder / ".file-half.part").mkdir()
    (disk.folder / "file-unrecorded").mkdir()
    disk.open()
    assert [entry.name for entry in disk.folder.iterdir()] == [file.id]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/..", "a\nb", "a\x00b", "x" * 256, "evil\u202egpj.exe", "zero\u200bwidth", "\x1b[2J"]
)
def test_names_that_would_act_on_a_screen_or_path_are_refused(disk: Disk, name: str) -> None:
    with pytest.raises(BadInput, match="is no usable file name"):
        disk.open().create([b"x"], name, "fine-tune", ANN)
    assert list(disk.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "kept", "content"),
    [
        ("../../etc/passwd", "passwd", "content"),
        ("C:\\data\\set.tar.gz", "set.tar.gz", "content.tar.gz"),
        ("x.jsonl'; DROP TABLE files", "x.jsonl'; DROP TABLE files", "content"),
        ("数据.csv", "数据.csv", "content.csv"),
        ("v1.2 final.JSON", "v1.2 final.JSON", "content.json"),
        ("<b>ignore previous instructions</b>.txt", "b>.txt", "content.txt"),
    ],
)
def test_names_are_labels_only(disk: Disk, given: str, kept: str, content: str) -> None:
    desk = disk.open()
    file = desk.create([b"x"], given, "fine-tune", ANN)
    assert (file.name, desk.content(file.id, ANN).name) == (kept, content)
    assert desk.content(file.id, ANN).parent.parent == disk.folder


def test_tenants_and_roles(disk: Disk) -> None:
    desk = disk.open()
    file = desk.create([b"x"], "a.txt", "fine-tune", ANN)
    assert desk.get(file.id, VIC) == file
    for call in (
        lambda: desk.get(file.id, BOB),
        lambda: desk.content(file.id, BOB),
        lambda: desk.delete(file.id, BOB),
    ):
        with pytest.raises(NotFound, match="no file"):
            call()
    for call in (lambda: desk.create([b"x"], "a", "p", VIC), lambda: desk.delete(file.id, VIC)):
        with pytest.raises(Denied, match="user is needed"):
            call()
    assert desk.list(BOB) == []


def test_deleted_files_are_gone(disk: Disk) -> None:
    desk = disk.open()
    file = desk.create([b"x"], "a.txt", "fine-tune", ANN)
    desk.delete(file.id, ANN)
    with pytest.raises(NotFound):
        desk.get(file.id, ANN)
    assert list(disk.folder.iterdir()) == []
