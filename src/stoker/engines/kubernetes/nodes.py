"""Nodes and pods of a cluster as our nouns: what is offered, and what others hold of it. Pure."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stoker.cluster import Device, Health, Node
from stoker.engines.kubernetes.names import DRAINED, key_of
from stoker.engines.kubernetes.quantity import quantity
from stoker.engines.kubernetes.settings import KubernetesSettings
from stoker.engines.kubernetes.topology import domains_of
from stoker.foreign import ForeignJob, Held
from stoker.job import JobState

Object = Mapping[str, Any]

_LIFECYCLE = "node.kubernetes.io/"  # taints by which Kubernetes itself says that a node is not well
_KEPT_LABELS = ("topology.kubernetes.io/", "node.kubernetes.io/instance-type", "nvidia.com/gpu.product")
_SYSTEM_OWNERS = ("DaemonSet", "Node")  # pods that belong to the node: they lessen it
_MODEL_LABELS = {
    "nvidia": ("nvidia.com/gpu.product",),
    "amd": ("amd.com/gpu.product-name", "beta.amd.com/gpu.product-name"),
    "huawei": ("node.kubernetes.io/npu.chip.name", "accelerator-type", "accelerator"),
    "hygon": ("hygon.com/dcu.product", "hygon.com/dcu.name"),
}
_MEMORY_LABELS = {"nvidia": "nvidia.com/gpu.memory", "hygon": "hygon.com/dcu.memory"}  # MiB
_OF_DEVICES = re.compile(r"gpu|npu|dcu|xid|nvlink|nvswitch|iblink", re.IGNORECASE)  # types of conditions
_WELL = re.compile(r"(ready|healthy|ok)$", re.IGNORECASE)
_MAKERS = {"nvidia", "tesla", "amd", "hygon", "huawei"}
_SERIES = {"rtx", "gtx", "titan", "geforce", "quadro", "instinct", "radeon"}  # words that name no model alone


@dataclass(frozen=True)
class Offer:
    """A node, and which resource each of its devices is an item of."""

    node: Node
    resources: tuple[str, ...]  # by device index


def offers(
    engine: str, nodes: Iterable[Object], pods: Iterable[Object], settings: KubernetesSettings, installation: str
) -> dict[str, Offer]:
    """The nodes that `settings` allow, by name, less what belongs to the nodes themselves."""
    system: dict[str, list[Object]] = {}
    for pod in pods:
        if _of_the_node(pod) and _holds(pod):
            system.setdefault(pod["spec"]["nodeName"], []).append(pod)
    wanted = [_pair(text) for text in settings.node_selector]
    chosen = [node for node in nodes if _matches(node["metadata"].get("labels") or {}, wanted)]
    return {
        node["metadata"]["name"]: _offer(
            engine, node, system.get(node["metadata"]["name"], ()), settings, installation
        )
        for node in sorted(chosen, key=lambda node: str(node["metadata"]["name"]))
    }


def others(
    engine: str,
    pods: Iterable[Object],
    offered: Mapping[str, Offer],
    settings: KubernetesSettings,
    installation: str,
) -> tuple[ForeignJob, ...]:
    """Pods of others that run on offered nodes or wait, but for those that belong to the nodes themselves."""
    given: Counter[tuple[str, str]] = Counter()
    found = []
    for pod in pods:
        foreign = key_of(pod, installation) is None or pod["metadata"]["namespace"] != settings.namespace
        if foreign and not _of_the_node(pod) and not _over(pod):
            where = pod["spec"].get("nodeName", "")
            if not where or where in offered:
                found.append(_foreign(engine, pod, offered.get(where), settings, given))
    return tuple(found)


def ready(node: Object) -> bool:
    return any(
        one["type"] == "Ready" and one["status"] == "True" for one in node.get("status", {}).get("conditions") or ()
    )


def moment(text: str | None) -> float | None:
    """Seconds since the epoch of Kubernetes' time."""
    return dt.datetime.fromisoformat(text).timestamp() if text else None


def tolerated_taints(node: Object, settings: KubernetesSettings) -> tuple[str, ...]:
    """Taints that only jobs with a toleration pass, as KEY or KEY=VALUE."""
    taints = [
        f"{one['key']}={one['value']}" if one.get("value") else str(one["key"])
        for one in node["spec"].get("taints") or ()
        if one.get("effect") in ("NoSchedule", "NoExecute") and not one["key"].startswith(_LIFECYCLE)
    ]
    return tuple(sorted({one for one in taints if not {one, one.partition("=")[0]} & set(settings.tolerations)}))


def _offer(
    engine: str, node: Object, system: Sequence[Object], settings: KubernetesSettings, installation: str
) -> Offer:
    status, meta = node.get("status") or {}, node["metadata"]
    room = status.get("allocatable") or status.get("capacity") or {}
    cpus = quantity(room.get("cpu", 0)) - sum(_asked(pod, "cpu") for pod in system)
    memory = quantity(room.get("memory", 0)) - sum(_asked(pod, "memory") for pod in system)
    devices, resources = _devices(room, meta.get("labels") or {}, settings)
    devices, resources = _with_health(devices, resources, node, settings)
    why = _why_not(node, installation)
    labels = {name: text for name, text in (meta.get("labels") or {}).items() if name.startswith(_KEPT_LABELS)}
    address = {one["type"]: one["address"] for one in status.get("addresses") or ()}
    offered = Node(
        name=meta["name"],
        engine=engine,
        cpus=max(0, math.floor(cpus)),
        memory=max(0, math.floor(memory)),
        devices=devices,
        labels=labels,
        schedulable=not why,
        reason=why,
        taints=tolerated_taints(node, settings),
        slots=max(1, int(quantity(room["pods"])) - len(system)) if "pods" in room else 0,
        address=address.get("InternalIP", ""),
        domains=domains_of(meta.get("labels") or {}, settings.topology),
    )
    return Offer(offered, resources)


def _devices(
    room: Mapping[str, str], labels: Mapping[str, str], settings: KubernetesSettings
) -> tuple[tuple[Device, ...], tuple[str, ...]]:
    devices: list[Device] = []
    resources: list[str] = []
    for resource in sorted(room):
        vendor = settings.vendor(resource)
        if vendor is None:
            continue
        model = _model(resource, vendor, labels)
        mebibytes = labels.get(_MEMORY_LABELS.get(vendor, ""), "")
        memory = int(mebibytes) << 20 if mebibytes.isdigit() and "mig-" not in resource else 0
        for _ in range(int(quantity(room[resource]))):
            devices.append(Device(len(devices), model, memory, vendor=vendor))
            resources.append(resource)
    return tuple(devices), tuple(resources)


def _with_health(
    devices: tuple[Device, ...], resources: tuple[str, ...], node: Object, settings: KubernetesSettings
) -> tuple[tuple[Device, ...], tuple[str, ...]]:
    """What the device plugin holds back is there and has failed. A condition names no device: all are suspect."""
    status = node.get("status") or {}
    if _ailing(status.get("conditions") or ()):
        devices = tuple(replace(device, health=Health.DEGRADED) for device in devices)
    there, labels = status.get("capacity") or {}, node["metadata"].get("labels") or {}
    every, names = _devices(there, labels, settings)
    lost = Counter(names) - Counter(resources)
    models = dict(zip(names, every, strict=True))
    failed = [(replace(models[name], health=Health.FAILED), name) for name in sorted(lost.elements())]
    numbered = [replace(one, index=len(devices) + at) for at, (one, _) in enumerate(failed)]
    return (*devices, *numbered), (*resources, *(name for _, name in failed))


def _ailing(conditions: Iterable[Object]) -> bool:
    """Whether node-problem-detector or its like tells of trouble with accelerators, as in XIDCritical: True."""
    return any(
        one.get("status") == "True"
        and _OF_DEVICES.search(str(one.get("type")))
        and not _WELL.search(str(one.get("type")))
        for one in conditions
    )


def _model(resource: str, vendor: str, labels: Mapping[str, str]) -> str:
    """``NVIDIA-H100-80GB-HBM3`` is an H100, its slice nvidia.com/mig-1g.10gb an H100-1g.10gb."""
    told = next((labels[name] for name in _MODEL_LABELS.get(vendor, ()) if labels.get(name)), "")
    words = [
        word for word in told.replace(" ", "-").replace("_", "-").split("-") if word and word.lower() not in _MAKERS
    ]
    while len(words) > 1 and words[0].lower() in ("geforce", "quadro", "instinct", "radeon"):
        words.pop(0)
    model = words[0] if words else resource.rpartition("/")[2]
    if model.lower() in _SERIES and len(words) > 1:
        model = f"{words[0]} {words[1]}"
    model = model.removeprefix("Ascend") if vendor == "huawei" else model
    profile = resource.partition("/mig-")[2]
    if not profile:
        return model
    return f"{model}-{profile}" if words else f"mig-{profile}"


def _why_not(node: Object, installation: str) -> str:
    """Why nothing new should be placed there."""
    if node["spec"].get("unschedulable"):
        by, _, reason = (node["metadata"].get("annotations") or {}).get(DRAINED, "").partition(" ")
        return f"drained: {reason}" if by == installation else "cordoned in Kubernetes"
    if not ready(node):
        conditions = node.get("status", {}).get("conditions") or ()
        told: Object = next((one for one in conditions if one["type"] == "Ready"), {})
        return f"NotReady in Kubernetes: {told.get('message') or told.get('reason') or 'it has not reported yet'}"
    sick = [one["key"] for one in node["spec"].get("taints") or () if one["key"].startswith(_LIFECYCLE)]
    return f"Kubernetes says {sick[0].removeprefix(_LIFECYCLE)}" if sick else ""


def _foreign(
    engine: str, pod: Object, offer: Offer | None, settings: KubernetesSettings, given: Counter[tuple[str, str]]
) -> ForeignJob:
    meta, status = pod["metadata"], pod.get("status") or {}
    wants = {name: count for name, count in _resources(pod).items() if settings.vendor(name)}
    devices = sum(wants.values())
    held: tuple[Held, ...] = ()
    if offer:
        node = offer.node.name
        indexes = tuple(index for name, count in wants.items() for index in _take(offer, name, count, given))
        cpus, memory = math.ceil(_asked(pod, "cpu")), math.ceil(_asked(pod, "memory"))
        held = (Held(node, cpus, memory, len(indexes), indexes if len(set(offer.resources)) > 1 else ()),)
    state = JobState.RUNNING if offer and status.get("phase") == "Running" else JobState.PENDING
    owner = (meta.get("labels") or {}).get("stoker/owner") or meta["namespace"]
    return ForeignJob(
        engine=engine,
        id=f"{meta['namespace']}/{meta['name']}",
        name=_controller(pod) or meta["name"],
        owner=owner,
        state=JobState.STOPPING if meta.get("deletionTimestamp") else state,
        held=held,
        queue=meta["namespace"],
        submitted_at=moment(meta.get("creationTimestamp")),
        started_at=moment(status.get("startTime")),
        devices=devices,
        reason=unschedulable(pod)[1] if not offer else "",
    )


def unschedulable(pod: Object) -> tuple[str, str]:
    """The scheduler's word and sentence of a pod that waits for room."""
    for one in (pod.get("status") or {}).get("conditions") or ():
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return str(one.get("reason") or "Unschedulable"), " ".join(str(one.get("message") or "").split())
    return "", ""


def _take(offer: Offer, resource: str, count: int, given: Counter[tuple[str, str]]) -> list[int]:
    """Indexes for what others hold of `resource`: Kubernetes does not tell which, so the last ones."""
    of_kind = [index for index, name in enumerate(offer.resources) if name == resource]
    begin = given[offer.node.name, resource]
    given[offer.node.name, resource] += count
    return of_kind[::-1][begin : begin + count]


def _resources(pod: Object) -> Counter[str]:
    found: Counter[str] = Counter()
    for container in pod["spec"].get("containers") or ():
        limits = (container.get("resources") or {}).get("limits") or {}
        found.update({name: int(quantity(text)) for name, text in limits.items() if "/" in name})
    return found


def _asked(pod: Object, resource: str) -> float:
    return sum(
        quantity(((container.get("resources") or {}).get("requests") or {}).get(resource, 0))
        for container in pod["spec"].get("containers") or ()
    )


def _controller(pod: Object) -> str:
    return next(
        (str(one["name"]) for one in pod["metadata"].get("ownerReferences") or () if one.get("controller")), ""
    )


def _of_the_node(pod: Object) -> bool:
    return any(one.get("kind") in _SYSTEM_OWNERS for one in pod["metadata"].get("ownerReferences") or ())


def _over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _holds(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName")) and not _over(pod)


def _pair(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name, value if equals else None


def _matches(labels: Mapping[str, str], wanted: Sequence[tuple[str, str | None]]) -> bool:
    return all(name in labels and value in (None, labels[name]) for name, value in wanted)
