"""Fixtures that several test modules of engines use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.kubernetes import Site, site_on, used
from tests.labs.kubernetes import Kubernetes, cluster

__all__ = ["cluster"]  # one for all of them: it takes ten seconds to come up


@pytest.fixture
def site(cluster: Kubernetes, tmp_path: Path) -> Iterator[Site]:
    """An own namespace of the Kubernetes cluster; nothing of ours may be left in it."""
    yield from used(site_on(cluster, tmp_path))
