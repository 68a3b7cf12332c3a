"""The Slurm engine on a real Slurm: the contract, here and through a login node, and what only it promises."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoker.engine import Engine
from stoker.engines.slurm import SlurmEngine, SlurmSettings
from tests.engines.contract import EngineContract, Reopen
from tests.labs.slurm import SlurmLab
from tests.labs.sshd import LoginNode

pytestmark = pytest.mark.slurm


@pytest.fixture
def settings(slurm: SlurmLab, tmp_path: Path) -> SlurmSettings:
    return SlurmSettings(conf=str(slurm.conf), folder=str(tmp_path / "shared"), nodes_every=0.5)


@pytest.fixture
def installation() -> str:
    """Another one for each test: Slurm remembers the jobs of the tests before."""
    return secrets.token_hex(6)


@pytest.fixture
def reopen(settings: SlurmSettings, tmp_path: Path, installation: str) -> Iterator[Callable[[], SlurmEngine]]:
    opened: list[SlurmEngine] = []

    def open_() -> SlurmEngine:
        opened.append(SlurmEngine("hpc", settings, tmp_path / "engine", installation))
        return opened[-1]

    yield open_
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(reopen: Callable[[], SlurmEngine]) -> SlurmEngine:
    return reopen()


class TestHere(EngineContract):
    devices_seen = b"0,1\n"  # Slurm itself chooses which

    @pytest.fixture
    def engine(self, reopen: Reopen) -> Engine:
        return reopen()


@pytest.mark.slow
class TestThroughALoginNode(EngineContract):
    devices_seen = b"0,1\n"  # Slurm itself chooses which

    @pytest.fixture
    def settings(self, slurm: SlurmLab, login: LoginNode, tmp_path: Path) -> SlurmSettings:
        return behind(login, slurm, tmp_path)


def behind(login: LoginNode, slurm: SlurmLab, folder: Path, key: str = "good") -> SlurmSettings:
    return SlurmSettings(
        ssh="root@127.0.0.1",
        ssh_port=login.port,
        ssh_identity=str(login.key(key)),
        ssh_known_hosts=str(login.known_hosts),
        conf=str(slurm.conf),
        folder=str(folder / "shared"),
        nodes_every=0.5,
    )
