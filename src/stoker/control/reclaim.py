"""What endpoints could take back now, and how long it took of late."""

from __future__ import annotations

from collections.abc import Callable

from stoker.account import Account
from stoker.control.endpoints import EndpointDesk
from stoker.control.replica_keeper import ReplicaKeeper
from stoker.reclaim import Reclaim, measured
from stoker.schedule import Snapshot
from stoker.schedule.reclaim import room_for


class ReclaimDesk:
    def __init__(self, endpoints: EndpointDesk, replicas: ReplicaKeeper, seen: Callable[[], Snapshot]) -> None:
        """`seen`: the pool as the last pass left it."""
        self._endpoints = endpoints
        self._replicas = replicas
        self._seen = seen

    def of(self, name: str, who: Account) -> Reclaim:
        """Raises NotFound."""
        endpoint = self._endpoints.get(name, who)
        told = measured(endpoint.returns)
        more = endpoint.scaling.ceiling - len(endpoint.alive)
        if endpoint.version is None or more <= 0:
            return Reclaim(0, 0, 0, 0.0, told)
        spec = self._replicas.one_more(endpoint)
        room = room_for(self._seen(), spec, more, tenant=endpoint.tenant, owner=endpoint.owner)
        count = room.free + room.taken
        return Reclaim(count, count * spec.resources.accelerators, room.free, room.within, told)
