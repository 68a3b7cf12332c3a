"""Fixtures that stand for real systems. Each is started once per run, when the first test asks for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest

from tests.labs import slurm as slurm_lab
from tests.labs import sshd as sshd_lab
from tests.labs.slurm import SlurmLab
from tests.labs.sshd import LoginNode

# `make test` plays the same examples each time, so that a rare one never holds up a change that has nothing to do
# with it. `make search` looks for new ones.
hypothesis.settings.register_profile("gate", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", max_examples=2000, deadline=None, print_blob=True)
hypothesis.settings.load_profile("gate")

_REAL = ("slurm", "kubernetes", "browser", "slow")


def pytest_configure(config: pytest.Config) -> None:
    """A home folder of the run's own: caches, histories and layouts of whoever runs the tests, and of earlier runs,
    decide nothing, and nothing is left there."""
    home = tempfile.TemporaryDirectory(prefix="stoker-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    os.environ["HOME"] = home.name
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where daemons that are not ours take part, a test that failed gets a second go. pytest tells of each such
    test: its cause is to be found, but it does not hold up everybody's work meanwhile."""
    for item in items:
        if any(item.get_closest_marker(name) for name in _REAL):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmLab]:
    """A Slurm of 4 nodes with slurmrestd; skips plainly where it cannot run."""
    if why := slurm_lab.missing():
        pytest.skip(why)
    lab = SlurmLab(nodes=4, rest=True)
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


@pytest.fixture
def slurm(slurm_cluster: SlurmLab) -> Iterator[SlurmLab]:
    """The same, healed after the test: no jobs, every daemon at work, every node idle."""
    yield slurm_cluster
    slurm_cluster.heal()


@pytest.fixture(scope="session")
def login_host() -> Iterator[LoginNode]:
    if why := sshd_lab.missing():
        pytest.skip(why)
    lab = LoginNode()
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


@pytest.fixture
def login(login_host: LoginNode) -> Iterator[LoginNode]:
    """A login node to reach over SSH, at work again after the test."""
    yield login_host
    login_host.heal()
