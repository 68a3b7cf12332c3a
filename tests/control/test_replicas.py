"""What a replica asks for: a device where its engine computes on one, and never what training waits for."""

from __future__ import annotations

import pytest

from stoker.cluster import Device, Node
from stoker.control.replicas import replica_spec
from stoker.endpoint import Endpoint
from stoker.model import ModelVersion

BARE = Node("cpu01", "local", cpus=2, memory=8 << 30)
WITH_DEVICES = Node(
    "gpu01", "local", cpus=2, memory=8 << 30, devices=(Device(0, "H100", 80 << 30), Device(1, "H100", 80 << 30))
)


@pytest.mark.parametrize(
    ("engine", "node", "devices"),
    [
        ("llama.cpp", BARE, 0),
        ("llama.cpp", WITH_DEVICES, 0),
        ("torch", BARE, 0),
        ("torch", WITH_DEVICES, 1),
        ("vllm", WITH_DEVICES, 1),
        ("torch", None, 0),
    ],
)
def test_devices_go_to_engines_that_use_them(engine: str, node: Node | None, devices: int) -> None:
    endpoint = Endpoint("support", "red", "ada", None, 1, 0.0)
    version = ModelVersion("support", 1, 0.0, "artifact", engine, "base")
    spec = replica_spec(endpoint, version, "attached", node)
    assert (spec.resources.accelerators, spec.resources.cpus) == (devices, 0)
