"""Of every object only what we look at, so that ten thousand of them fit into memory easily."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

_META = ("name", "namespace", "uid", "labels", "resourceVersion", "creationTimestamp", "deletionTimestamp",
         "deletionGracePeriodSeconds", "ownerReferences")  # fmt: skip
_POD_SPEC = ("nodeName", "terminationGracePeriodSeconds")
_POD_STATUS = ("phase", "reason", "message", "podIP", "startTime", "conditions", "containerStatuses")
_NODE_STATUS = ("allocatable", "conditions", "addresses")


def slim_pod(pod: Object) -> Object:
    spec = pod.get("spec") or {}
    containers = [{"resources": one.get("resources") or {}} for one in spec.get("containers") or ()]
    return {
        "metadata": _only(pod["metadata"], _META),
        "spec": {**_only(spec, _POD_SPEC), "containers": containers},
        "status": _only(pod.get("status") or {}, _POD_STATUS),
    }


def slim_node(node: Object) -> Object:
    status = node.get("status") or {}
    capacity = {name: amount for name, amount in (status.get("capacity") or {}).items() if "/" in name}
    return {
        "metadata": _only(node["metadata"], (*_META, "annotations")),
        "spec": _only(node.get("spec") or {}, ("unschedulable", "taints")),
        "status": {**_only(status, _NODE_STATUS), "capacity": capacity},
    }


def _only(item: Object, names: tuple[str, ...]) -> Object:
    return {name: item[name] for name in names if item.get(name) is not None}
