"""KubernetesEngine: jobs as pods of one cluster.

One thread with an event loop holds two watches (pods and nodes) and does what was asked; everybody else waits for
its answers. Asking for the states of a thousand jobs, or for the inventory, sends nothing to the API server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stoker.cluster import Node
from stoker.engine import Key, Observation, Order
from stoker.engines.kubernetes.api import Api
from stoker.engines.kubernetes.attempts import Attempts
from stoker.engines.kubernetes.background import Background
from stoker.engines.kubernetes.captures import log_path
from stoker.engines.kubernetes.drain import cordon, uncordon
from stoker.engines.kubernetes.forward import Forward
from stoker.engines.kubernetes.kubeconfig import Access, pod_access, read_access
from stoker.engines.kubernetes.ledger import Ledger
from stoker.engines.kubernetes.mirror import Mirror
from stoker.engines.kubernetes.nodes import Offer, offers, others
from stoker.engines.kubernetes.pods import SAVED
from stoker.engines.kubernetes.settings import DIRECT, FORWARD, KubernetesSettings
from stoker.engines.kubernetes.slim import slim_node, slim_pod
from stoker.errors import Away
from stoker.foreign import ForeignJob

Object = dict[str, Any]

_FIRST_LIST_S = 30.0
_SILENCE_S = 20.0  # a cluster in which nothing happened for so long is asked whether it is there
_DIRECT_S = 1.0  # how long a pod's own address may take to answer


class KubernetesEngine:
    """Implements Engine, CanForget, CanProbe, CanTellSaves, CanNotify, CanSeeOthers, CanConnect and CanDrain.

    Thread-safe.
    """

    def __init__(self, name: str, settings: KubernetesSettings, folder: Path, installation: str) -> None:
        """`folder`: of its own, on this machine. `installation` marks what is ours in the cluster.

        Raises BadInput for a kubeconfig that cannot be read; the cluster itself is asked later.
        """
        self.name = name
        self._settings, self._installation = settings, installation
        access = self._access()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._ledger = Ledger(folder)
        self._background = Background(f"kubernetes-{name}")
        self._forwards: dict[tuple[Key, int], Forward] = {}
        self._asked_at = 0.0
        try:
            self._background.run(self._start(access))
        except BaseException:
            self._background.close()
            raise

    # Engine

    def submit(self, orders: Sequence[Order]) -> Mapping[Key, str]:
        return self._background.run(self._submit(orders))

    def states(self) -> Mapping[Key, Observation]:
        return self._background.run(self._states())

    def cancel(self, keys: Sequence[Key], *, grace: float) -> None:
        self._background.run(self._cancel(keys, grace))

    def logs(self, key: Key, *, stream: str = "stdout", offset: int = 0, limit: int = 1 << 20) -> bytes:
        """``stdout`` is the first rank's output, ``rank-1`` the second's. The node mixes errors into the output."""
        plan = self._ledger.plan(key)
        if plan is None:
            return b""
        if path := {"stdout": plan.stdout, "stderr": plan.stderr}.get(stream):
            return self._shared(path, offset, limit)
        if stream == "stderr":
            return b""
        rank = int(stream.removeprefix("rank-")) if stream.removeprefix("rank-").isdigit() else 0
        self._background.run(self._attempts.read_on(key, rank))
        return _read(log_path(self._ledger.folder(key), rank), offset, limit)

    def inventory(self) -> tuple[Node, ...]:
        return self._background.run(self._inventory())

    def close(self) -> None:
        """Let go of threads and connections. The jobs go on."""
        with contextlib.suppress(Away):  # closed already
            self._background.run(self._stop())
            self._background.close()

    # further abilities

    def forget(self, keys: Sequence[Key]) -> None:
        self._background.run(self._forget(keys))

    def probe(self, key: Key, *, offset: int = 0, limit: int = 1 << 20) -> bytes:
        plan = self._ledger.plan(key)
        if plan is None:
            return b""
        if plan.probe:
            found = self._shared(plan.probe, offset, limit)
        else:
            self._background.run(self._attempts.read_on(key, 0))
            found = _read(self._ledger.folder(key) / "probe.jsonl", offset, limit)
        return found[: found.rfind(b"\n") + 1]

    def saved(self, keys: Sequence[Key]) -> Mapping[Key, float]:
        """From the shared folder; without one nobody outside a pod can know, and its log is not read for that."""
        plans = {key: plan for key in keys if (plan := self._ledger.plan(key)) is not None and plan.folder}
        told = {key: _written_at(self._settings.here(f"{plan.folder}/{SAVED}")) for key, plan in plans.items()}
        return {key: at for key, at in told.items() if at is not None}

    def notify(self, wake: Callable[[], None]) -> None:
        self._attempts.wake = wake

    def others(self) -> tuple[ForeignJob, ...]:
        return self._background.run(self._others())

    def connect(self, key: Key, port: int) -> tuple[str, int]:
        return self._background.run(self._connect(key, port))

    def drain(self, node: str, reason: str) -> None:
        self._background.run(cordon(self._api, node, f"{self._installation} {reason}"))

    def undrain(self, node: str, reason: str) -> None:
        self._background.run(uncordon(self._api, node, f"{self._installation} {reason}"))

    @property
    def calls(self) -> int:
        """Requests sent to the API server since the start."""
        return self._api.count

    # in the loop

    async def _start(self, access: Access) -> None:
        self._api = Api(access, self._access)
        self._nodes = Mirror(self._api, ("/api/v1/nodes",), slim_node, self._node_told)
        namespaced = f"/api/v1/namespaces/{self._settings.namespace}/pods"
        self._pods = Mirror(self._api, ("/api/v1/pods", namespaced), slim_pod, self._pod_told)
        self._attempts = Attempts(
            self._settings, self._installation, self._api, self._ledger, self._nodes, self._background.spawn
        )
        self._swept = False
        for mirror in (self._nodes, self._pods):
            self._background.spawn(mirror.run())

    async def _stop(self) -> None:
        self._attempts.close()
        for forward in self._forwards.values():
            forward.close()
        await self._api.close()
        self._ledger.close()

    def _pod_told(self, pod: Object, gone: bool) -> None:
        self._attempts.told(pod, gone)

    def _node_told(self, node: Object, gone: bool) -> None:
        del node, gone
        self._attempts.wake()

    async def _fresh(self) -> None:
        """Returns when the mirrors show what is; raises Away with the reason when they cannot."""
        for mirror in (self._nodes, self._pods):
            try:
                await asyncio.wait_for(mirror.synced.wait(), _FIRST_LIST_S)
            except TimeoutError:
                raise Away(f"the API server {self._api.server} did not answer in time") from None
            if mirror.trouble:
                raise Away(mirror.trouble)
        if not self._swept:
            self._swept = True
            self._attempts.missing()
            await self._attempts.sweep()
        heard = max(self._pods.heard_at, self._nodes.heard_at, self._asked_at)
        if time.monotonic() - heard > _SILENCE_S:
            await self._api.get("/version")
            self._asked_at = time.monotonic()

    async def _submit(self, orders: Sequence[Order]) -> Mapping[Key, str]:
        await self._fresh()
        return await self._attempts.submit(orders, self._offers())

    async def _states(self) -> Mapping[Key, Observation]:
        await self._fresh()
        await self._attempts.tend_all()
        return self._attempts.states()

    async def _cancel(self, keys: Sequence[Key], grace: float) -> None:
        await self._fresh()
        await self._attempts.cancel(keys, grace)

    async def _forget(self, keys: Sequence[Key]) -> None:
        await self._fresh()
        for place in [place for place in self._forwards if place[0] in keys]:
            self._forwards.pop(place).close()
        await self._attempts.forget(keys)

    async def _inventory(self) -> tuple[Node, ...]:
        await self._fresh()
        return tuple(offer.node for offer in self._offers().values())

    async def _others(self) -> tuple[ForeignJob, ...]:
        pods = self._pods.items.values()
        return others(self.name, pods, self._offers(), self._settings, self._installation)

    def _offers(self) -> dict[str, Offer]:
        return offers(
            self.name, self._nodes.items.values(), self._pods.items.values(), self._settings, self._installation
        )

    async def _connect(self, key: Key, port: int) -> tuple[str, int]:
        pod = self._attempts.first_pod(key)
        address = (pod or {}).get("status", {}).get("podIP")
        if pod is None or not address:
            raise Away(f"job {key.job} has no pod that could be reached yet")
        if (key, port) in self._forwards:
            return "127.0.0.1", self._forwards[key, port].port
        if self._settings.reach == DIRECT or (self._settings.reach != FORWARD and await _reachable(address, port)):
            return str(address), port
        path = f"/api/v1/namespaces/{self._settings.namespace}/pods/{pod['metadata']['name']}"
        forward = self._forwards[key, port] = Forward(self._api, path, port)
        await forward.open()
        return "127.0.0.1", forward.port

    def _access(self) -> Access:
        if self._settings.in_cluster:
            return pod_access()
        return read_access(self._settings.kubeconfig, self._settings.context)

    def _shared(self, path: str, offset: int, limit: int) -> bytes:
        within = self._settings.here(self._settings.shared_path)
        return _read(self._settings.here(path), offset, limit, within=within)


async def _reachable(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), _DIRECT_S)
    except (OSError, TimeoutError, socket.gaierror):
        return False
    writer.close()
    return True


def _written_at(path: Path) -> float | None:
    try:
        return path.lstat().st_mtime
    except OSError:
        return None


def _read(path: Path, offset: int, limit: int, *, within: Path | None = None) -> bytes:
    """Up to `limit` bytes from `offset`; empty when there is no such file.

    In a shared folder the job may have put anything there: only a regular file that really lies `within` is read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        if within is not None:
            real = Path(f"/proc/self/fd/{descriptor}").readlink()
            if not (stat.S_ISREG(os.fstat(descriptor).st_mode) and real.is_relative_to(within.resolve())):
                return b""
        return os.pread(descriptor, limit, offset)
    except OSError:  # an offset beyond what the file system can hold
        return b""
    finally:
        os.close(descriptor)
