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
from typing import Any

from stoker.engine import Key, Observation, Order
from stoker.engines.kubernetes.api import Api, Refused
from stoker.engines.kubernetes.captures import Captures
from stoker.engines.kubernetes.causes import Causes
from stoker.engines.kubernetes.create import Made, make, prepare, remove_extras, unmake
from stoker.engines.kubernetes.ledger import Ledger, Record
from stoker.engines.kubernetes.mirror import Mirror
from stoker.engines.kubernetes.names import base_name, key_of, rank_of, selector
from stoker.engines.kubernetes.nodes import Offer
from stoker.engines.kubernetes.observe import (
    GONE,
    Seen,
    begun,
    look,
    over,
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
        self._api, self._ledger, self._spawn = api, ledger, spawn
        self._strays: dict[Key, dict[str, Object]] = {}  # ours by their labels, but not in the ledger
        self._causes = Causes(settings, installation, api, nodes)
        self._captures = Captures(api, settings.namespace, self._causes.node_is_ready)
        self._held_up_at: dict[Key, float] = {}  # monotonic: when a quota last held it up
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
        if record := self._ledger.records.get(key):
            await self._captures.read_on(record, rank)

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
        if pod["metadata"].get("deletionTimestamp") and not gone and begun(pod):
            self._spawn(self._captures.follow(record, rank_of(pod)))  # at once: its log goes with it
        if key not in self._tending:
            self._tending.add(key)
            self._spawn(self._tend_told(record))

    def missing(self) -> None:
        """After the first list: which of the pods we made are there no more."""
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
        self._captures.close()

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
            self._held_up_at[record.key] = time.monotonic()
            return
        self._ledger.created(record)
        for pod in made.pods:
            known = record.pods.get(rank_of(pod))
            if known is None:
                record.pods[rank_of(pod)] = pod

    def _make_later(self, record: Record) -> None:
        waited = time.monotonic() - self._held_up_at.get(record.key, 0.0)
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
            cause = await self._causes.of(record)
            if cause is not None:
                self._ledger.cause(record, cause)
        seen = self._look(record, time.time())
        if seen.cause is not None:
            self._ledger.cause(record, seen.cause)
        if seen.now.state.final:
            self._ledger.end(record, seen.now)
            self._spawn(self._captures.collect_quietly(record))
        elif record.cause is not None:
            await self._end_rest(record)

    def _look(self, record: Record, now: float) -> Seen:
        if record.end is not None:
            return Seen(record.end)
        if not record.created:
            return self._look_unmade(record, now)
        pods = [record.pods.get(rank) for rank in range(len(record.nodes))]
        return look(
            pods, record.plan.program, record.cause, now=now, lost=self._causes.lost, stuck=self._causes.stuck
        )

    def _look_unmade(self, record: Record, now: float) -> Seen:
        if record.cause is None:
            word = "ExceededQuota" if record.held_up else "Creating"
            return Seen(Observation(JobState.STARTING, reason=word, message=record.held_up))
        if all(pod.get(GONE) for pod in record.pods.values()) and record.key not in self._making:
            return Seen(replace(record.cause, ended_at=now))
        return Seen(Observation(JobState.STOPPING, reason=record.cause.reason, message=record.cause.message))

    async def _end_rest(self, record: Record) -> None:
        """Tell the pods that still run to end; their logs are followed, as they go with them."""
        grace = self._grace.get(record.key, record.grace)
        for rank, pod in list(record.pods.items()):
            if over(pod):
                continue
            if begun(pod):
                await self._captures.follow(record, rank)
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
        await self._captures.collect(record)
        for pod in [pod for pod in record.pods.values() if not pod.get(GONE)]:
            await self._api.delete(self._path(pod), grace=0, uid=pod["metadata"]["uid"])
        base = base_name(self._installation, record.key)
        await remove_extras(self._api, self._settings.namespace, record, base)
        self._ledger.forget(record.key)
        self._grace.pop(record.key, None)
        self._held_up_at.pop(record.key, None)
        self._captures.forget(record)
        self._causes.forget(record.key)

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


def _heard(task: asyncio.Task[Any]) -> None:
    """Its trouble is no surprise: what could not be made is made later."""
    if not task.cancelled() and (trouble := task.exception()) is not None:
        _log.info("a job cannot be made now: %s", trouble)
