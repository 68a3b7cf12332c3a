"""Cordoning nodes, so that it can be undone without undoing what somebody else did."""

from __future__ import annotations

from typing import Any

from stoker.engines.kubernetes.api import Api, Refused
from stoker.engines.kubernetes.names import DRAINED
from stoker.errors import Away, Conflict, NotFound

_TRIES = 5  # of a change that somebody else's keeps overtaking


async def cordon(api: Api, name: str, sign: str) -> None:
    """No new pods from now on, signed as ours. One that somebody else cordoned stays theirs."""

    def change(node: dict[str, Any]) -> dict[str, Any] | None:
        if node["spec"].get("unschedulable"):
            return None
        return {"metadata": {"annotations": {DRAINED: sign}}, "spec": {"unschedulable": True}}

    await _change(api, name, change)


async def uncordon(api: Api, name: str, sign: str) -> None:
    """Raises Conflict when the node was cordoned by somebody else, or by us for another reason."""

    def change(node: dict[str, Any]) -> dict[str, Any] | None:
        if not node["spec"].get("unschedulable"):
            return None
        found = (node["metadata"].get("annotations") or {}).get(DRAINED, "")
        if found != sign:
            why = found.partition(" ")[2]
            told = f'for "{why}"' if why else "by somebody else in Kubernetes"
            raise Conflict(f"node {name} was cordoned {told}; it stays so")
        return {"metadata": {"annotations": {DRAINED: None}}, "spec": {"unschedulable": None}}

    await _change(api, name, change)


async def _change(api: Api, name: str, change: Any) -> None:
    """Patch what `change` makes of the node as it is now, and nothing when that is None."""
    path = f"/api/v1/nodes/{name}"
    for _ in range(_TRIES):
        try:
            node = await api.get(path)
            wanted = change(node)
            if wanted is None:
                return
            wanted["metadata"]["resourceVersion"] = node["metadata"]["resourceVersion"]
            await api.patch(path, wanted)
        except Refused as no:
            if no.status == 404:
                raise NotFound(f'no node "{name}" in the cluster') from None
            if no.status != 409:
                raise Away(f"Kubernetes does not let us change node {name}: {no}") from None
        else:
            return
    raise Away(f"node {name} changes too often to be cordoned now")
