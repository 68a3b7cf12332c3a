"""KubernetesSettings: what an administrator sets for one cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stoker.errors import BadInput
from stoker.topology import BETWEEN_NODES
from stoker.typed import strict

AUTO = "auto"
AFFINITY, BIND = "affinity", "bind"  # of placement
DIRECT, FORWARD = "direct", "forward"  # of reach
_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")

# Device resources that are known without being set, and whose they are. MIG profiles are nvidia.com/mig-*.
VENDORS: Mapping[str, str] = {
    "nvidia.com/gpu": "nvidia",
    "nvidia.com/gpu.shared": "nvidia",
    "amd.com/gpu": "amd",
    "huawei.com/Ascend910": "huawei",
    "huawei.com/Ascend310P": "huawei",
    "huawei.com/Ascend310": "huawei",
    "hygon.com/dcu": "hygon",
}


@strict
@dataclass(frozen=True)
class KubernetesSettings:
    """No secret stands here: credentials are in the kubeconfig, or come from the service account of our own pod."""

    kubeconfig: str = ""  # path on the platform's machine; empty: $KUBECONFIG, else ~/.kube/config
    context: str = ""  # of the kubeconfig; empty: its current one
    in_cluster: bool = False  # the platform runs in a pod of this cluster and uses its service account
    namespace: str = "stoker"  # where all our objects live; it must exist
    image: str = ""  # container image of jobs that name none
    image_pull_secrets: tuple[str, ...] = ()  # names of Secrets in the namespace
    image_patience: float = 300.0  # seconds that an image may fail to be pulled before the attempt ends
    gang_patience: float = 120.0  # seconds that a part of a gang may run while another part finds no room
    placement: str = AUTO  # affinity: the cluster's scheduler admits pods to our nodes; bind: we do; auto: see docs
    scheduler: str = ""  # schedulerName of pods that are placed by affinity; empty: the cluster's default
    priority_class: str = ""  # PriorityClass of our pods; empty: the cluster's default
    service_account: str = ""  # of our pods, its token is not mounted; empty: the namespace's default
    runtime_class: str = ""  # RuntimeClass of pods with devices, such as nvidia; empty: the cluster's default
    tolerations: tuple[str, ...] = ("nvidia.com/gpu",)  # taints of nodes (KEY, KEY=VALUE) that keep no job away
    node_selector: tuple[str, ...] = ()  # only nodes with all of these labels (KEY, KEY=VALUE) are offered
    shared_volume: str = ""  # a folder every node has (/mnt/nfs) or a claim (pvc:NAME), mounted into every pod
    shared_path: str = ""  # where it is mounted in pods
    shared_here: str = ""  # where the platform's machine sees it; empty: at the same path
    resources: Mapping[str, str] = field(default_factory=dict)  # more device resources: name -> vendor
    topology: Mapping[str, str] = field(
        default_factory=dict
    )  # level (leaf, pod...) -> label of nodes that names it
    host_network: bool = False  # pods of several nodes use their nodes' network, as RDMA without a CNI plugin needs
    reach: str = AUTO  # how services in pods are reached: direct (pod address), forward (through the API), or auto
    probe: bool = True  # without a shared folder: bring what jobs report back through their log (needs /bin/sh)

    def __post_init__(self) -> None:
        if not _LABEL.match(self.namespace):
            raise BadInput(
                f'"{self.namespace}" is no namespace: small letters, digits and dashes', param="namespace"
            )
        _one_of("placement", self.placement, (AUTO, AFFINITY, BIND))
        _one_of("reach", self.reach, (AUTO, DIRECT, FORWARD))
        for level in self.topology:
            _one_of("topology", level, BETWEEN_NODES)
        if bool(self.shared_volume) != bool(self.shared_path):
            raise BadInput(
                "shared_volume and shared_path belong together; set both or neither", param="shared_path"
            )
        if self.shared_path and not self.shared_path.startswith("/"):
            raise BadInput(f'shared_path "{self.shared_path}" must be absolute', param="shared_path")
        if self.shared_volume and not self.shared_volume.startswith(("/", "pvc:")):
            raise BadInput(
                f'shared_volume "{self.shared_volume}" is neither an absolute path nor pvc:NAME',
                param="shared_volume",
            )

    def here(self, path: str) -> Path:
        """Where the platform's machine sees what pods know as `path` on the shared folder."""
        inside = Path(path).relative_to(self.shared_path)
        return Path(self.shared_here or self.shared_path) / inside

    @property
    def vendors(self) -> Mapping[str, str]:
        return {**VENDORS, **self.resources}

    def vendor(self, resource: str) -> str | None:
        """Whose devices `resource` counts; None when it counts no devices."""
        return "nvidia" if resource.startswith("nvidia.com/mig-") else self.vendors.get(resource)


def _one_of(name: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise BadInput(f'{name} "{given}" was given; allowed: {", ".join(allowed)}', param=name)
