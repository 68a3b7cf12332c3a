"""What the tests of the Kubernetes engine share: a namespace and an engine on the test cluster."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stoker.engine import Key
from stoker.engines.kubernetes import KubernetesEngine, KubernetesSettings
from tests.engines.contract import end_of
from tests.labs.kubernetes import Kubernetes

KINDS = ("pods", "configmaps", "secrets", "services")


@dataclass
class Site:
    """One namespace of a cluster, and the engines that are opened on it."""

    cluster: Kubernetes
    folder: Path
    settings: KubernetesSettings
    installation: str = field(default_factory=lambda: secrets.token_hex(6))
    opened: list[KubernetesEngine] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.settings.namespace

    def open(self, **settings: Any) -> KubernetesEngine:
        engine = KubernetesEngine("k8s", replace(self.settings, **settings), self.folder, self.installation)
        self.opened.append(engine)
        return engine

    def items(self, kind: str) -> list[dict[str, Any]]:
        return self.cluster.items(f"/api/v1/namespaces/{self.namespace}/{kind}")

    def ours(self) -> list[str]:
        """What bears our mark, as kind/name."""
        return [
            f"{kind}/{one['metadata']['name']}"
            for kind in KINDS
            for one in self.items(kind)
            if (one["metadata"].get("labels") or {}).get("stoker/installation") == self.installation
        ]

    def pod(self, key: Key, rank: int = 0) -> dict[str, Any]:
        name = f"stk-{self.installation}-{key.job}-{key.attempt}-{rank}"
        found: dict[str, Any] = self.cluster.call("GET", f"/api/v1/namespaces/{self.namespace}/pods/{name}")
        return found


def site_on(cluster: Kubernetes, folder: Path, **settings: Any) -> Site:
    namespace = cluster.namespace(f"t-{secrets.token_hex(4)}")
    wanted = {"kubeconfig": str(cluster.kubeconfig), "namespace": namespace, "image": "python:3.11", **settings}
    return Site(cluster, folder / "engine", KubernetesSettings(**wanted))


def used(site: Site) -> Iterator[Site]:
    """The site, and afterwards nothing of it: everything is ended and forgotten."""
    yield site
    last = site.open() if not site.opened else site.opened[-1]
    last.cancel([key for key, seen in last.states().items() if not seen.state.final], grace=0)
    for key in last.states():
        end_of(last, key)
    last.forget(list(last.states()))
    for engine in site.opened:
        engine.close()
    assert site.ours() == []


def until(wanted: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """The first true answer of `wanted`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := wanted():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never: {what}")
