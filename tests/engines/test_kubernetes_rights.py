"""deploy/kubernetes/rbac.yaml on the real API server: these rights suffice, and others are not given."""

from __future__ import annotations

import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker.engine import Key, Order
from stoker.engines.kubernetes.kubeconfig import pod_access
from stoker.errors import BadInput
from stoker.job import JobSpec, JobState, Placement
from tests.engines.contract import begun, end_of, shell, wait_until
from tests.engines.kubernetes import Site, site_on
from tests.labs.daemons import free_ports
from tests.labs.kubernetes import ROOT, Kubernetes

pytestmark = pytest.mark.kubernetes
_FILE = ROOT / "deploy" / "kubernetes" / "rbac.yaml"
_PLACES = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{space}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{space}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{space}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}


@pytest.fixture(scope="module")
def account(cluster: Kubernetes) -> Iterator[str]:
    """A token of the service account that the file makes."""
    things = [one for one in yaml.safe_load_all(_FILE.read_text()) if one]
    paths = [_PLACES[one["kind"]].format(space="stoker") for one in things]
    for path, one in zip(paths, things, strict=True):
        cluster.call("POST", path, one)
    wanted: dict[str, Any] = {"spec": {"expirationSeconds": 3600}}
    answer = cluster.call("POST", "/api/v1/namespaces/stoker/serviceaccounts/stoker/token", wanted)
    yield str(answer["status"]["token"])
    for path, one in reversed(list(zip(paths, things, strict=True))):
        cluster.call("DELETE", f"{path}/{one['metadata']['name']}")


def allowed(cluster: Kubernetes, token: str, method: str, path: str, body: str = "{}") -> bool:
    """Whether the token's owner may; what else is wrong with the request does not matter."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    if method == "PATCH":
        headers["Content-Type"] = "application/merge-patch+json"
    data = body.encode() if method in ("POST", "PATCH") else None
    request = urllib.request.Request(cluster.server + path, data=data, headers=headers, method=method)  # noqa: S310
    try:
        urllib.request.urlopen(request, timeout=10, context=cluster._tls()).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        return error.code != 403
    return True


_OTHERS = "/api/v1/namespaces/default"
_OWN = "/api/v1/namespaces/stoker"
_REFUSED = [
    ("POST", f"{_OTHERS}/pods"),
    ("DELETE", f"{_OTHERS}/pods/x"),
    ("GET", f"{_OTHERS}/pods/x/log"),
    ("GET", f"{_OTHERS}/secrets"),
    ("POST", f"{_OTHERS}/configmaps"),
    ("GET", f"{_OWN}/secrets"),
    ("GET", f"{_OWN}/secrets/x"),
    ("POST", f"{_OWN}/pods/x/exec?command=sh&stdout=1"),
    ("PATCH", f"{_OWN}/pods/x"),
    ("POST", f"{_OWN}/serviceaccounts/stoker/token"),
    ("DELETE", "/api/v1/nodes/gpu0"),
    ("PATCH", "/api/v1/nodes/gpu0/status"),
    ("POST", "/api/v1/namespaces"),
    ("DELETE", _OWN),
    ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"),
]


def test_the_rights_suffice_for_everything_and_for_nothing_else(
    cluster: Kubernetes, account: str, tmp_path: Path
) -> None:
    kubeconfig = cluster.write_kubeconfig(tmp_path / "kubeconfig", account)
    site = site_on(cluster, tmp_path, kubeconfig=str(kubeconfig))
    engine = site.open(namespace="stoker", reach="forward")
    (tmp_path / "key").write_text("hush\n")
    [inner] = free_ports(1)
    script = (
        f"#!/bin/sh\n[ $STOKER_NODE_RANK = 1 ] && exec sleep 600\nexec {sys.executable} -m http.server {inner}\n"
    )
    listen = JobSpec(script=script, nodes=2, each_node=True)
    gang = Order(
        Key(1, 1), listen, (Placement("gpu0"), Placement("gpu1")), owner="ann", files={"key": tmp_path / "key"}
    )
    single = Order(Key(2, 1), shell("echo out"), (Placement("gpu2"),), owner="ann")
    assert engine.submit([gang, single]) == {}
    assert end_of(engine, single.key).state is JobState.SUCCEEDED
    assert engine.logs(single.key) == b"out\n"
    begun(engine, gang.key)
    wait_until(engine, gang.key, lambda _seen: b"Serving HTTP" in engine.logs(gang.key))
    host, port = engine.connect(gang.key, inner)
    urllib.request.urlopen(f"http://{host}:{port}/", timeout=10).close()
    engine.drain("gpu3", "move 1")
    engine.undrain("gpu3", "move 1")
    assert len(engine.inventory()) == 4
    assert engine.others() is not None
    engine.cancel([gang.key], grace=1)
    assert end_of(engine, gang.key).state is JobState.CANCELLED
    engine.forget([gang.key, single.key])
    stays = Site(cluster, tmp_path, engine._settings, site.installation)
    cluster.wait(lambda: stays.ours() == [], "something of ours stays")
    engine.close()
    given = [(method, path) for method, path in _REFUSED if allowed(cluster, account, method, path)]
    assert given == []


def test_inside_a_pod_its_service_account_is_used(cluster: Kubernetes, account: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(account)
    (tmp_path / "ca.crt").write_text(cluster.ca.read_text())
    port = cluster.server.rpartition(":")[2]
    access = pod_access(tmp_path, {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port})
    assert access.server == cluster.server
    assert access.user == {"tokenFile": str(tmp_path / "token")}
    with pytest.raises(BadInput, match="no pod"):
        pod_access(tmp_path / secrets.token_hex(4), {})
