"""A shipment on a real Kubernetes: trained over two pods with torchrun, the node of one dies, others go on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

from stoker.client import Client
from stoker.engine_config import EngineConfig
from tests.labs.kubernetes import Kubernetes, cluster

from . import lost_node
from .platform import Platform

__all__ = ["cluster"]

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.kubernetes]


@pytest.fixture
def client(platform: Platform, cluster: Kubernetes, tmp_path: Path) -> Iterator[Client]:
    """A platform whose home lies on a volume that every pod mounts."""
    client = platform.start()
    settings = {
        "kubeconfig": str(cluster.kubeconfig),
        "namespace": cluster.namespace("ship"),
        "image": "stoker:test",
        "shared_volume": str(tmp_path),
        "shared_path": str(tmp_path),
    }
    client.engines.add(EngineConfig("k8s", "kubernetes", python=sys.executable, settings=settings))
    yield client
    client.close()


@pytest.mark.timeout(900)
def test_a_node_lost_in_the_middle_changes_nothing_of_what_is_learnt(
    client: Client, platform: Platform, cluster: Kubernetes, data: Path, tiny_base: Path, tmp_path: Path
) -> None:
    lost_node.check(client, "k8s", cluster.die, platform.home, data, tiny_base, tmp_path)
