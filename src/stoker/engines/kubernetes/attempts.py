"""Attempts: every order this platform gave to one cluster, from its making to its forgetting.

Lives in the engine's event loop. What is known of an attempt comes from three places: its Record (what we wanted),
its pods as the mirror shows them (what is), and the cause of its end, once there is one. `look` joins them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stoker.engine import Key, Observation, Order
from stoker.engines.kubernetes.api import Api, Refused
from stoker.engines.kubernetes.create import Made, make, prepare, remove_extras, unmake
from stoker.engines.kubernetes.ledger import Ledger, Record
from stoker.engines.kubernetes.logs import Capture
from stoker.engines.kubernetes.mirror import Mirror
from stoker.engines.kubernetes.names import base_name, key_of, rank_of, selector
from stoker.engines.kubernetes.nodes import Offer, ready
from stoker.engines.kubernetes.observe import (
    GONE,
    HOPELESS,
    Seen,
    disruption,
    image_trouble,
    look,
    taken_away,
)
from stoker.engines.kubernetes.pods import plan
from stoker.engines.kubernetes.settings import KubernetesSettings
from stoker.errors import Away, BadInput
from stoker.job import JobState

Object = dict[str, Any]

_log = logging.getLogger(__name__)
_SUBMIT_S = 0.2  # how long `submit` waits for what it began
_REFUSED = "Refused"
_QUOTA_PAUSE_S = 5.0  # between two tries to make what a quota held up
_AFTER_END_S = 30.0  # a container may be said to run so long after its pod has ended and its grace is over
_EVENT_TRIES, _EVENT_PAUSE_S = 4, 0.3  # the reason of a deletion is written a moment after it
_LOG_TRIES = 3
_TOLD_BY_EVENTS = ("Preempted", "TaintManagerEviction", "Evicted", "NodeNotReady")  # the weightiest first


class Attempts:
    def __init__(
        self,
        settings: KubernetesSettings,
        installation: str,
        api: Api,
        ledger: Ledger,
        nodes: Mirror,
        spawn: Callable[[Any], Any],
    ) -> None:
        self._settings, self._installation = settings, installation
        self._api, self._ledger, self._nodes, self._spawn = api, ledger, nodes, spawn
        self._strays: dict[Key, dict[str, Object]] = {}  # ours by their labels, but not in the ledger
        self._since: dict[tuple[Key, str], float] = {}  # monotonic: since when something has been so
        self._captures: dict[tuple[Key, int], Capture] = {}
        self._tending: set[Key] = set()
        self._making: dict[Key, asyncio.Task[Any]] = {}
        self._grace: dict[Key, float] = {}  # of cancellations
        self.wake: Callable[[], None] = lambda: None

    # what the engine asks

    async def submit(self, orders: Sequence[Order], offers: Mapping[str, Offer]) -> dict[Key, str]:
        """Written down at once, and made as fast as the API server takes it.

        What it refuses soon is returned; what it refuses later has failed, and what it cannot answer now is made by
        `tend_all`.
        """
        refused = self._begin(orders, offers)
        known = [self._ledger.records[order.key] for order in orders if order.key not in refused]
        wanted = [record for record in known if not (record.created or record.cause or record.end)]
        tasks = [self._spawn(self._make(record)) for record in wanted]
        for task in tasks:
            task.add_done_callback(_heard)
        done = (await asyncio.wait(tasks, timeout=_SUBMIT_S))[0] if tasks else set()
        for record in wanted:
            if record.end is not None and record.end.reason == _REFUSED:
                refused[record.key] = record.end.message
                self._ledger.forget(record.key)
        trouble = next((task.exception() for task in done if task.exception() is not None), None)
        if trouble is not None and not refused:
            raise trouble
        return refused

    def states(self) -> dict[Key, Observation]:
        now = time.time()
        told = {key: self._look(record, now).now for key, record in self._ledger.records.items()}
        strays = {key: Observation(JobState.STARTING, reason="Stray") for key, pods in self._strays.items() if pods}
        return {**strays, **told}

    async def tend_all(self) -> None:
        """What time alone brings about: patience that ends, quotas that are free again."""
        for record in list(self._ledger.records.values()):
            if record.end is None:
                if not record.created and record.cause is None:
                    self._make_later(record)
                await self._tend(record)

    async def cancel(self, keys: Sequence[Key], grace: float) -> None:
        await asyncio.gather(*(self._cancel(key, grace) for key in keys))

    async def forget(self, keys: Sequence[Key]) -> None:
        records = [self._ledger.records[key] for key in keys if key in self._ledger.records]
        await asyncio.gather(*(self._forget(record) for record in records))

    async def read_on(self, key: Key, rank: int) -> None:
        """Bring the local copy of a rank's log up to now, as far as it can be had."""
        record = self._ledger.records.get(key)
        pod = record.pods.get(rank) if record else None
        if record is None or pod is None:
            return
        capture = self._capture(record, rank)
        try:
            if record.end is not None or pod.get(GONE) or _phase(pod) in ("Succeeded", "Failed"):
                await self._collect(record, rank)
            else:
                await capture.follow()
        except (Away, Refused) as error:
            _log.debug("the log of job %s cannot be read now: %s", key, error)

    def first_pod(self, key: Key) -> Object | None:
        record = self._ledger.records.get(key)
        pod = record.pods.get(0) if record else None
        return None if pod is None or pod.get(GONE) else pod

    def told(self, pod: Object, gone: bool) -> None:
        """News of the mirror."""
        key = key_of(pod, self._installation)
        if key is None or pod["metadata"]["namespace"] != self._settings.namespace:
            return
        record = self._ledger.records.get(key)
        if record is None:
            self._stray(key, pod, gone)
            self.wake()
            return
        record.pods[rank_of(pod)] = {**pod, GONE: True} if gone else pod
        if pod["metadata"].get("deletionTimestamp") and not gone and _begun(pod):
            self._spawn(self._capture(record, rank_of(pod)).follow())  # at once: its log goes with it
        if key not in self._tending:
            self._tending.add(key)
            self._spawn(self._tend_told(record))

    def missing(self, known: Mapping[str, Object]) -> None:
        """After the first list: which of the pods we made are there no more."""
        del known
        for record in self._ledger.records.values():
            for rank in range(len(record.nodes)):
                if record.created and rank not in record.pods:
                    record.pods[rank] = {GONE: True, "metadata": {}, "spec": {"nodeName": record.nodes[rank]}}

    async def sweep(self) -> None:
        """Delete what a killed platform left beside pods that are long gone."""
        for plural in ("configmaps", "services"):  # a Secret goes with its ConfigMap
            path = f"/api/v1/namespaces/{self._settings.namespace}/{plural}"
            found, _ = await self._api.list(path, labelSelector=selector(self._installation))
            for item in found:
                key = key_of(item, self._installation)
                if key is not None and key not in self._ledger.records:
                    await self._api.delete(f"{path}/{item['metadata']['name']}", uid=item["metadata"]["uid"])

    def close(self) -> None:
        for capture in self._captures.values():
            capture.stop()

    # making

    def _begin(self, orders: Sequence[Order], offers: Mapping[str, Offer]) -> dict[Key, str]:
        """Write the orders down that are not yet; returns which can never run here, and why."""
        records, refused = [], {}
        for order in orders:
            if order.key in self._ledger.records:
                continue
            try:
                records.append(self._planned(order, offers))
            except BadInput as error:
                refused[order.key] = str(error)
        self._ledger.begin(records)
        return refused

    def _planned(self, order: Order, offers: Mapping[str, Offer]) -> Record:
        """Raises BadInput for what can never run here."""
        unknown = [place.node for place in order.placements if place.node not in offers]
        if unknown:
            raise BadInput(f'there is no node "{unknown[0]}" in the cluster any more')
        size = order.package.stat().st_size if order.package else 0
        made = plan(order, self._settings, self._installation, offers, package_size=size)
        nodes = tuple(place.node for place in order.placements)
        return Record(order.key, self._ledger.folder(order.key), made, nodes, order.spec.grace + order.spec.warning)

    async def _make(self, record: Record) -> None:
        """Make its objects, once at a time. Raises Away when that is to be tried again."""
        this = asyncio.current_task()
        if record.key in self._making or record.cause or record.end or this is None:
            return
        self._making[record.key] = this
        try:
            self._strays.pop(record.key, None)
            if record.plan.folder or record.plan.package:
                await asyncio.to_thread(prepare, record, self._settings.here)
            made = await make(self._api, self._settings.namespace, record)
            if made.refused:
                self._fail(record, _REFUSED, made.refused)
            else:
                self._note(record, made)
        except BadInput as error:
            self._fail(record, "Package", str(error))
        finally:
            del self._making[record.key]
        self.wake()

    def _fail(self, record: Record, reason: str, message: str) -> None:
        failed = Observation(JobState.FAILED, reason=reason, message=message, ended_at=time.time())
        self._ledger.end(record, failed)

    def _note(self, record: Record, made: Made) -> None:
        if made.held_up:
            record.held_up = made.held_up
            self._since[record.key, "quota"] = time.monotonic()
            return
        self._ledger.created(record)
        for pod in made.pods:
            known = record.pods.get(rank_of(pod))
            if known is None:
                record.pods[rank_of(pod)] = pod

    def _make_later(self, record: Record) -> None:
        waited = time.monotonic() - self._since.get((record.key, "quota"), 0.0)
        if record.key not in self._making and (not record.held_up or waited >= _QUOTA_PAUSE_S):
            self._spawn(self._make_again(record))

    async def _make_again(self, record: Record) -> None:
        try:
            await self._make(record)
        except Away as error:
            _log.info("job %s cannot be made now: %s", record.key, error)

    # ending

    async def _tend_told(self, record: Record) -> None:
        await asyncio.sleep(0)  # news of the same moment are looked at together
        self._tending.discard(record.key)
        try:
            await self._tend(record)
        except (Away, Refused) as error:
            _log.info("job %s: %s", record.key, error)  # `tend_all` comes back to it
        self.wake()

    async def _tend(self, record: Record) -> None:
        if record.end is not None:
            return
        if record.created and record.cause is None:
            cause = await self._cause(record)
            if cause is not None:
                self._ledger.cause(record, cause)
        seen = self._look(record, time.time())
        if seen.cause is not None:
            self._ledger.cause(record, seen.cause)
        if seen.now.state.final:
            self._ledger.end(record, seen.now)
            self._spawn(self._collect_quietly(record))
        elif record.cause is not None:
            await self._end_rest(record)

    def _look(self, record: Record, now: float) -> Seen:
        if record.end is not None:
            return Seen(record.end)
        if not record.created:
            return self._look_unmade(record, now)
        pods = [record.pods.get(rank) for rank in range(len(record.nodes))]
        return look(pods, record.plan.program, record.cause, now=now, lost=self._lost, stuck=self._stuck)

    def _look_unmade(self, record: Record, now: float) -> Seen:
        if record.cause is None:
            word = "ExceededQuota" if record.held_up else "Creating"
            return Seen(Observation(JobState.STARTING, reason=word, message=record.held_up))
        if all(pod.get(GONE) for pod in record.pods.values()) and record.key not in self._making:
            return Seen(replace(record.cause, ended_at=now))
        return Seen(Observation(JobState.STOPPING, reason=record.cause.reason, message=record.cause.message))

    async def _cause(self, record: Record) -> Observation | None:
        """Why an attempt is to end that nobody here has ended."""
        for rank, pod in record.pods.items():
            if (found := disruption(pod)) is not None:
                return found
            if pod.get(GONE) or pod["metadata"].get("deletionTimestamp"):
                probe = look([pod], "", None, now=time.time(), lost=self._lost)
                if probe.now.state is JobState.CANCELLED or not probe.now.state.final:
                    return await self._why_deleted(record, rank, pod)
            if (word := image_trouble(pod)[0]) and (
                word in HOPELESS or self._for(record.key, "image") > self._settings.image_patience
            ):
                said = image_trouble(pod)[1]
                image = record.plan.pods[rank]["spec"]["containers"][0]["image"]
                return Observation(JobState.FAILED, reason=word, message=f'image "{image}": {said or word}')
        return self._torn_gang(record)

    def _torn_gang(self, record: Record) -> Observation | None:
        begun = [rank for rank, pod in record.pods.items() if _begun(pod)]
        if not begun or len(begun) == len(record.nodes):
            return None
        if self._for(record.key, "gang") <= self._settings.gang_patience:
            return None
        waits = next(rank for rank in range(len(record.nodes)) if rank not in begun)
        return taken_away("Unschedulable", f"rank {waits} found no room on {record.nodes[waits]} while others ran")

    def _for(self, key: Key, what: str) -> float:
        """Seconds since this was first asked of `key`."""
        now = time.monotonic()
        return now - self._since.setdefault((key, what), now)

    async def _why_deleted(self, record: Record, rank: int, pod: Object) -> Observation:
        node = record.nodes[rank]
        word, said = await self._event_of(pod)
        if word:
            return taken_away(word, f"{said} (node {node})")
        if not self._node_is_ready(node):
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

    async def _end_rest(self, record: Record) -> None:
        """Tell the pods that still run to end; their logs are followed, as they go with them."""
        grace = self._grace.get(record.key, record.grace)
        for rank, pod in list(record.pods.items()):
            if pod.get(GONE) or _phase(pod) in ("Succeeded", "Failed"):
                continue
            if _begun(pod):
                await self._capture(record, rank).follow()
            if not pod["metadata"].get("deletionTimestamp"):
                await self._api.delete(self._path(pod), grace=max(1, math.ceil(grace)), uid=pod["metadata"]["uid"])

    async def _cancel(self, key: Key, grace: float) -> None:
        record = self._ledger.records.get(key)
        if record is None:
            for pod in list(self._strays.get(key, {}).values()):
                await self._api.delete(self._path(pod), grace=max(1, math.ceil(grace)), uid=pod["metadata"]["uid"])
            return
        await self._tend(record)  # it may have ended by itself just now
        if record.end is not None:
            return
        self._grace[key] = max(grace, record.grace) if grace and record.plan.warning else grace
        self._ledger.cause(record, Observation(JobState.CANCELLED, reason="Cancelled", message="cancelled"))
        if making := self._making.get(key):
            await asyncio.wait((making,))
        if not record.created:
            await unmake(self._api, self._settings.namespace, record)
        await self._tend(record)

    # forgetting

    async def _forget(self, record: Record) -> None:
        for rank in range(len(record.nodes)):
            await self._collect(record, rank)
        for pod in [pod for pod in record.pods.values() if not pod.get(GONE)]:
            await self._api.delete(self._path(pod), grace=0, uid=pod["metadata"]["uid"])
        base = base_name(self._installation, record.key)
        await remove_extras(self._api, self._settings.namespace, record, base)
        self._ledger.forget(record.key)
        self._grace.pop(record.key, None)
        for rank in range(len(record.nodes)):
            if capture := self._captures.pop((record.key, rank), None):
                capture.stop()
        for what in ("quota", "image", "gang", "stuck"):
            self._since.pop((record.key, what), None)

    async def _collect_quietly(self, record: Record) -> None:
        try:
            for rank in range(len(record.nodes)):
                await self._collect(record, rank)
        except (Away, Refused) as error:
            _log.info("the log of job %s is fetched later: %s", record.key, error)

    async def _collect(self, record: Record, rank: int) -> None:
        """The whole log of an ended pod, here for good. Raises Away only where another try may help."""
        capture, pod = self._capture(record, rank), record.pods.get(rank)
        if capture.done:
            return
        if pod is None:
            capture.close()
            return
        for left in reversed(range(_LOG_TRIES)):
            try:
                await capture.finish()
            except Refused:  # the container never began, or is gone already
                capture.close()
            except Away:
                if not self._node_is_ready(record.nodes[rank]):
                    capture.close()
                elif not left:
                    raise
                else:
                    await asyncio.sleep(1.0)
                    continue
            return

    def _capture(self, record: Record, rank: int) -> Capture:
        found = self._captures.get((record.key, rank))
        if found is None:
            record.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = f"/api/v1/namespaces/{self._settings.namespace}/pods/{record.names[rank]}"
            name = stream_file(rank)
            found = Capture(self._api, path, record.folder, name, record.plan.mark if rank == 0 else "")
            self._captures[record.key, rank] = found
        return found

    # small things

    def _stray(self, key: Key, pod: Object, gone: bool) -> None:
        pods = self._strays.setdefault(key, {})
        if gone:
            pods.pop(pod["metadata"]["uid"], None)
        else:
            pods[pod["metadata"]["uid"]] = pod
        if not pods:
            del self._strays[key]

    def _path(self, pod: Object) -> str:
        return f"/api/v1/namespaces/{self._settings.namespace}/pods/{pod['metadata']['name']}"

    def _lost(self, pod: Mapping[str, Any]) -> bool:
        """Its node does not answer, and Kubernetes has given the pod up."""
        node = pod["spec"].get("nodeName")
        return bool(pod["metadata"].get("deletionTimestamp")) and bool(node) and not self._node_is_ready(node)

    def _node_is_ready(self, name: str) -> bool:
        return any(node["metadata"]["name"] == name and ready(node) for node in self._nodes.items.values())

    def _stuck(self, pod: Mapping[str, Any]) -> bool:
        key = key_of(pod, self._installation)
        grace = pod["spec"].get("terminationGracePeriodSeconds") or 30
        return key is not None and self._for(key, "stuck") > grace + _AFTER_END_S


def _heard(task: asyncio.Task[Any]) -> None:
    """Its trouble is no surprise: what could not be made is made later."""
    if not task.cancelled() and (trouble := task.exception()) is not None:
        _log.info("a job cannot be made now: %s", trouble)


def stream_file(rank: int) -> str:
    """The copied log of a rank: the first one's is the job's output."""
    return "stdout" if rank == 0 else f"rank-{rank}"


def _phase(pod: Mapping[str, Any]) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def _begun(pod: Mapping[str, Any]) -> bool:
    states = [one.get("state") or {} for one in (pod.get("status") or {}).get("containerStatuses") or ()]
    return any("running" in state or "terminated" in state for state in states)


def log_path(folder: Path, rank: int) -> Path:
    return folder / stream_file(rank)
