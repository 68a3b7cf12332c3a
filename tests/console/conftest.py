from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.console import scene
from tests.console.platform import Platform, platform


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with something of everything; tests may add to it but end nothing that is there."""
    with platform(tmp_path_factory.mktemp("furnished")) as made:
        scene.furnish(made.app, made.admin)
        scene.add_endpoint(made.app, made.admin, up=(2, 3))
        scene.add_endpoint(made.app, made.admin, "smollm2-base")
        yield made


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform on which nothing has happened yet, without accelerators."""
    with platform(tmp_path_factory.mktemp("bare"), devices="") as made:
        yield made
