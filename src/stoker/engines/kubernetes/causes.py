"""Causes: why attempts end that nobody here has ended: told by pods, nodes, events, and the time that passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from stoker.engine import Key, Observation
from stoker.engines.kubernetes.api import Api, Refused
from stoker.engines.kubernetes.ledger import Record
from stoker.engines.kubernetes.mirror import Mirror
from stoker.engines.kubernetes.names import key_of
from stoker.engines.kubernetes.nodes import ready
from stoker.engines.kubernetes.observe import (
    GONE,
    HOPELESS,
    begun,
    disruption,
    image_trouble,
    look,
    taken_away,
)
from stoker.engines.kubernetes.settings import KubernetesSettings
from stoker.job import JobState

Object = dict[str, Any]

_AFTER_END_S = 30.0  # a container may be said to run so long after its pod has ended and its grace is over
_EVENT_TRIES, _EVENT_PAUSE_S = 4, 0.3  # the reason of a deletion is written a moment after it
_TOLD_BY_EVENTS = ("Preempted", "TaintManagerEviction", "Evicted", "NodeNotReady")  # the weightiest first


class Causes:
    def __init__(self, settings: KubernetesSettings, installation: str, api: Api, nodes: Mirror) -> None:
        self._settings, self._installation = settings, installation
        self._api, self._nodes = api, nodes
        self._since: dict[tuple[Key, str], float] = {}  # monotonic: since when something has been so

    async def of(self, record: Record) -> Observation | None:
        """Why an attempt is to end that nobody here has ended."""
        for rank, pod in record.pods.items():
            if (found := disruption(pod)) is not None:
                return found
            if pod.get(GONE) or pod["metadata"].get("deletionTimestamp"):
                probe = look([pod], "", None, now=time.time(), lost=self.lost)
                if probe.now.state is JobState.CANCELLED or not probe.now.state.final:
                    return await self._why_deleted(record, rank, pod)
            if (word := image_trouble(pod)[0]) and (
                word in HOPELESS or self._since_first(record.key, "image") > self._settings.image_patience
            ):
                said = image_trouble(pod)[1]
                image = record.plan.pods[rank]["spec"]["containers"][0]["image"]
                return Observation(JobState.FAILED, reason=word, message=f'image "{image}": {said or word}')
        return self._torn_gang(record)

    def _torn_gang(self, record: Record) -> Observation | None:
        running = [rank for rank, pod in record.pods.items() if begun(pod)]
        if not running or len(running) == len(record.nodes):
            return None
        if self._since_first(record.key, "gang") <= self._settings.gang_patience:
            return None
        waits = next(rank for rank in range(len(record.nodes)) if rank not in running)
        return taken_away("Unschedulable", f"rank {waits} found no room on {record.nodes[waits]} while others ran")

    def _since_first(self, key: Key, what: str) -> float:
        """Seconds since this was first asked of `key`."""
        now = time.monotonic()
        return now - self._since.setdefault((key, what), now)

    async def _why_deleted(self, record: Record, rank: int, pod: Object) -> Observation:
        node = record.nodes[rank]
        word, said = await self._event_of(pod)
        if word:
            return taken_away(word, f"{said} (node {node})")
        if not self.node_is_ready(node):
            return taken_away("NodeFail", f"node {node} does not answer any more")
        return Observation(
            JobState.CANCELLED, reason="Deleted", message="its pod was deleted in Kubernetes by somebody else"
        )

    async def _event_of(self, pod: Object) -> tuple[str, str]:
        """The event that tells why a pod was deleted: its word and its sentence."""
        uid = pod["metadata"].get("uid")
        path = f"/api/v1/namespaces/{self._settings.namespace}/events"
        for left in reversed(range(_EVENT_TRIES if uid else 0)):
            try:
                found = (await self._api.get(path, fieldSelector=f"involvedObject.uid={uid}"))["items"]
            except Refused:
                break  # we may not read events
            told = {one.get("reason", ""): str(one.get("message") or one.get("note") or "") for one in found}
            if word := next((one for one in _TOLD_BY_EVENTS if one in told), ""):
                return word, told[word]
            await asyncio.sleep(_EVENT_PAUSE_S if left else 0)
        return "", ""

    def lost(self, pod: Mapping[str, Any]) -> bool:
        """Its node does not answer, and Kubernetes has given the pod up."""
        node = pod["spec"].get("nodeName")
        return bool(pod["metadata"].get("deletionTimestamp")) and bool(node) and not self.node_is_ready(node)

    def node_is_ready(self, name: str) -> bool:
        return any(node["metadata"]["name"] == name and ready(node) for node in self._nodes.items.values())

    def stuck(self, pod: Mapping[str, Any]) -> bool:
        key = key_of(pod, self._installation)
        grace = pod["spec"].get("terminationGracePeriodSeconds") or 30
        return key is not None and self._since_first(key, "stuck") > grace + _AFTER_END_S

    def forget(self, key: Key) -> None:
        for what in ("image", "gang", "stuck"):
            self._since.pop((key, what), None)
