"""Control groups, on folders that look like the kernel's. (The real ones are tried in test_local.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.engines.local import limits
from stoker.engines.local.limits import Limits
from stoker.job import Resources

NEED = Resources(cpus=2, memory=1 << 30)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Below it, each new group has its files at once, as the kernel makes them."""
    plain_mkdir = Path.mkdir
    plain_rmdir = Path.rmdir

    def mkdir(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        plain_mkdir(path, mode, parents, exist_ok)
        if path.name.startswith("stoker-"):
            for name in ("cgroup.procs", *((tmp_path / "files").read_text().split())):
                (path / name).touch()

    def rmdir(path: Path) -> None:
        for file in path.iterdir():
            file.unlink()
        plain_rmdir(path)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "rmdir", rmdir)
    return tmp_path


def test_v2(kernel: Path) -> None:
    (kernel / "files").write_text("cpu.max memory.max")
    (kernel / "own").write_text("0::/system.slice/stoker.service\n")
    base = kernel / "root" / "system.slice" / "stoker.service"
    base.mkdir(parents=True)
    found = Limits(kernel / "root", kernel / "own")
    assert found.labels == {"cpu-limit": "cgroup", "memory-limit": "cgroup"}
    assert list(base.iterdir()) == []  # the trial left nothing
    groups = found.make("7.1", NEED)
    assert groups.cpu == groups.memory
    assert (Path(groups.cpu) / "cpu.max").read_text() == "200000 100000"
    assert (Path(groups.memory) / "memory.max").read_text() == str(1 << 30)
    assert found.make("7.1", NEED) == groups


def test_v1(kernel: Path) -> None:
    (kernel / "files").write_text("cpu.cfs_quota_us memory.limit_in_bytes")
    (kernel / "own").write_text("4:memory:/job\n3:cpu,cpuacct:/\n")
    for folder in ("memory/job", "cpu"):
        (kernel / "root" / folder).mkdir(parents=True)
    groups = Limits(kernel / "root", kernel / "own").make("7.1", NEED)
    assert (Path(groups.cpu) / "cpu.cfs_quota_us").read_text() == "200000"
    assert (Path(groups.memory) / "memory.limit_in_bytes").read_text() == str(1 << 30)


def test_v2_without_delegated_controllers_says_so(kernel: Path) -> None:
    (kernel / "files").write_text("")
    (kernel / "own").write_text("0::/user.slice\n")
    (kernel / "root" / "user.slice").mkdir(parents=True)
    found = Limits(kernel / "root", kernel / "own")
    assert found.labels == {"cpu-limit": "none", "memory-limit": "watched"}
    assert found.make("7.1", NEED) == limits.Groups()


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    found = Limits(tmp_path / "none", tmp_path / "neither")
    assert found.labels["memory-limit"] == "watched"


def test_what_was_not_asked_for_is_not_limited(kernel: Path) -> None:
    (kernel / "files").write_text("cpu.max memory.max")
    (kernel / "own").write_text("0::/\n")
    (kernel / "root").mkdir()
    assert Limits(kernel / "root", kernel / "own").make("7.1", Resources(cpus=0)) == limits.Groups()
