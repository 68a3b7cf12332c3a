"""The test cluster itself: what the tests of the engine rely on."""

from __future__ import annotations

import pytest

from tests.labs.kubernetes import Kubernetes, cluster

pytestmark = pytest.mark.kubernetes
__all__ = ["cluster"]
_PODS = "/api/v1/namespaces/lab/pods"


def make(cluster: Kubernetes, name: str, script: str, **spec: object) -> None:
    container = {
        "name": "main",
        "image": spec.pop("image", "busybox"),
        "command": ["sh", "-c", script],
        "resources": {"limits": {"nvidia.com/gpu": "2"}},
    }
    body = {"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container], **spec}}
    cluster.call("POST", _PODS, body)


def test_pods_really_run_and_nodes_really_die(cluster: Kubernetes) -> None:
    cluster.namespace("lab")
    make(cluster, "speaks", "echo $NVIDIA_VISIBLE_DEVICES; exit 3")
    make(cluster, "nowhere", "true", image="missing/image:1")
    make(cluster, "sleeps", "sleep 600", nodeName="gpu3", shareProcessNamespace=True)

    def status(name: str) -> dict[str, object]:
        found: dict[str, object] = cluster.call("GET", f"{_PODS}/{name}")["status"]
        return found

    cluster.wait(lambda: status("speaks")["phase"] == "Failed", "it does not end")
    assert cluster.call("GET", f"{_PODS}/speaks/log") == "0,1\n"
    cluster.wait(lambda: "ImagePullBackOff" in str(status("nowhere")), "its image is found")
    cluster.wait(lambda: status("sleeps")["phase"] == "Running", "it does not begin")
    cluster.die("gpu3")
    cluster.wait(lambda: "deletionTimestamp" in cluster.call("GET", f"{_PODS}/sleeps")["metadata"], "no eviction")
    cluster.revive("gpu3")
    cluster.wait(lambda: len(cluster.ready_nodes()) == 4, "it does not come back")
    cluster.call("DELETE", _PODS)
    cluster.wait(lambda: not cluster.items(_PODS), "pods stay")
