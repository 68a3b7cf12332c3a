"""Routes: the endpoints as the gateway sees them, in memory: no request waits for the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from stoker.control.replica_keys import secret_of
from stoker.endpoint import Endpoint, Replica, ReplicaState
from stoker.errors import NotFound
from stoker.job_environment import ANY_ADDRESS


class Routes:
    """Read by any thread. Written as a whole, so that a reader sees one state or the next."""

    def __init__(self) -> None:
        self._endpoints: Mapping[str, Endpoint] = {}
        self._ways: Mapping[tuple[int, int], str] = {}  # (job, attempt) of a ready replica -> where we reach it

    def refresh(self, endpoints: Iterable[Endpoint]) -> None:
        self._endpoints = {endpoint.name: self._routed(endpoint) for endpoint in endpoints}

    def reach(self, ways: Mapping[tuple[int, int], str]) -> bool:
        """Whether these ways are other than those known; they hold from the next `refresh` on."""
        merged = {**self._ways, **ways}
        changed = merged != self._ways
        self._ways = merged
        return changed

    def forget(self, job: int) -> None:
        self._ways = {key: way for key, way in self._ways.items() if key[0] != job}

    def live(self) -> list[Endpoint]:
        return list(self._endpoints.values())

    def route(self, name: str, tenant: str | None) -> list[Replica]:
        """Replicas that may answer `name` (or ``name@VERSION``); empty when none is ready.

        `tenant` None sees everything. Raises NotFound when the tenant has no such endpoint, or it no such version.
        """
        plain, _, version = name.partition("@")
        endpoint = self._endpoints.get(plain)
        if endpoint is None or (tenant is not None and endpoint.tenant != tenant):
            known = [one.name for one in self._endpoints.values() if tenant in (None, one.tenant)]
            raise NotFound.named("model", name, known)
        if not version:
            return list(endpoint.ready)
        mine = [replica for replica in endpoint.replicas if str(replica.version) == version]
        coming = {str(one) for one in (endpoint.version, endpoint.candidate) if one is not None}
        if not mine and version not in coming:
            raise NotFound.named("model", name, [plain])
        return [replica for replica in mine if replica.state is ReplicaState.READY]

    def lent(self) -> set[int]:
        """Jobs of replicas that sleep: their devices are others'."""
        replicas = [one for endpoint in self._endpoints.values() for one in endpoint.replicas]
        return {one.job for one in replicas if one.state is ReplicaState.ASLEEP}

    def patience(self, name: str) -> float:
        """Seconds that a request for `name` may wait for a replica; 0 where none is started for it."""
        plain, _, version = name.partition("@")
        endpoint = self._endpoints.get(plain)
        if endpoint is None or not endpoint.holds or version not in ("", str(endpoint.version)):
            return 0.0
        return endpoint.scaling.hold

    def _routed(self, endpoint: Endpoint) -> Endpoint:
        """With its keys, and the addresses at which this machine reaches the replicas."""
        return replace(endpoint, replicas=tuple(map(self._reached, endpoint.replicas)))

    def _reached(self, replica: Replica) -> Replica:
        """One that listens on all addresses of another machine is not ready before a way there is known: here its
        address would be this machine's own."""
        way = self._ways.get((replica.job, replica.attempt))
        if way is None and replica.state is ReplicaState.READY and f"//{ANY_ADDRESS}:" in replica.url:
            return replace(replica, state=ReplicaState.STARTING)
        return replace(replica, secret=secret_of(replica), url=way or replica.url)
