"""Endpoints: what people, the gateway, lending and shipments ask of them. Their replicas are kept elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.control.endpoint_book import EndpointBook
from stoker.control.rights import require, sees
from stoker.endpoint import MOST_REPLICAS, Endpoint, EndpointSettings, Replica, ReplicaState, Scaling
from stoker.errors import BadInput, Conflict, NotFound
from stoker.serve.changes import coming_up, resized, scaled, stopped, switched, without_candidate
from stoker.store.endpoints import missing
from stoker.store.registry import Registry


class EndpointDesk:
    """Thread-safe. What changes here is carried out by the ReplicaKeeper."""

    def __init__(
        self,
        book: EndpointBook,
        registry: Registry,
        clock: Clock,
        check_queue: Callable[[str, Account], None] = lambda _queue, _who: None,
    ) -> None:
        """`check_queue` raises BadInput for a queue that somebody's replicas cannot be in."""
        self._book = book
        self._registry = registry
        self._clock = clock
        self._check_queue = check_queue

    # for people

    def find(self, who: Account) -> list[Endpoint]:
        return [kept.endpoint for kept in self._book.all() if sees(who, kept.endpoint.tenant)]

    def get(self, name: str, who: Account) -> Endpoint:
        endpoint = self._book.get(name).endpoint
        if not sees(who, endpoint.tenant):
            raise missing(name)
        return endpoint

    def deploy(
        self,
        name: str,
        version: int,
        who: Account,
        *,
        replicas: int | None = None,
        scaling: Scaling | None = None,
        queue: str = "",
    ) -> Endpoint:
        """Serve `version` of the model `name` with so many replicas, or as many between two bounds as its load asks
        for, or as it did so far; it answers once one of them is ready."""
        require(who, Role.USER, "deploy a model")
        if replicas is not None and not 1 <= replicas <= MOST_REPLICAS:
            raise BadInput(f"{replicas} replicas were asked for; allowed is 1 to {MOST_REPLICAS}", param="replicas")
        if scaling is None and replicas is not None:
            scaling = Scaling(replicas, replicas)
        owners = {model: tenant for model, tenant in self._registry.tenants().items() if sees(who, tenant)}
        owner = owners.get(name)
        if owner is None:
            raise NotFound.named("model", name, owners)
        self._registry.version(name, version)
        if queue:
            self._check_queue(queue, who)
        self.bring_up(name, version, tenant=owner, owner=who.name, switch=True)
        return self._book.change(name, lambda endpoint: scaled(endpoint, scaling or endpoint.scaling, queue))

    def scale(self, name: str, settings: EndpointSettings, who: Account) -> Endpoint:
        """Serve what it serves within other bounds."""
        require(who, Role.USER, "scale an endpoint")
        self.get(name, who)
        if settings.queue:
            self._check_queue(settings.queue, who)
        return self._book.change(name, lambda endpoint: scaled(endpoint, settings.scaling, settings.queue))

    def stop(self, name: str, who: Account) -> Endpoint:
        """Take the endpoint down: replicas finish their answers and end; the registered model stays."""
        require(who, Role.USER, "stop an endpoint")
        endpoint = self.get(name, who)
        self._book.change(name, stopped)
        if kept := self._book.maybe(name):
            self._book.remove_if_done(kept)
        return endpoint

    # for the gateway: in memory, no database

    def route(self, name: str, tenant: str | None) -> list[Replica]:
        """Replicas that may answer `name` (or ``name@VERSION``) to `tenant`; None sees everything.

        Empty when none is ready. Raises NotFound when the tenant has no such endpoint, or it no such version.
        """
        return self._book.routes.route(name, tenant)

    def patience(self, name: str) -> float:
        """Seconds that a request for `name` may wait for a replica; 0 where none is started for it."""
        return self._book.routes.patience(name)

    # for the scheduler: in memory

    def lent(self) -> set[int]:
        """Jobs of replicas that sleep: their devices are others'."""
        return self._book.routes.lent()

    # for lending: in memory, until something changes

    def live(self) -> list[Endpoint]:
        """All endpoints, as the gateway sees them."""
        return self._book.routes.live()

    def resize(self, name: str, replicas: int, cause: str) -> None:
        """Let it have so many replicas, within its bounds; not one that is stopped or does not follow its load."""
        if self._book.maybe(name) is not None:
            self._book.change(name, lambda one: resized(one, replicas, cause))

    # for shipments and promotions

    def bring_up(
        self, name: str, version: int, *, tenant: str, owner: str, switch: bool, engine: str = "", queue: str = ""
    ) -> None:
        """Start a replica of `version` beside what answers now. `switch`: let it take over when ready.

        A new endpoint has its replicas on `engine` and in `queue`; one that is there stays where it is.
        """
        now = self._clock.now()
        fresh = Endpoint(name, tenant, owner, version=None, wanted=1, created_at=now, engine=engine, queue=queue)
        while True:
            kept = self._book.maybe(name)
            endpoint = kept.endpoint if kept else fresh
            if endpoint.tenant != tenant:
                raise Conflict(f'the endpoint name "{name}" is taken by another tenant; choose another name')
            coming = coming_up(endpoint, version, switch=switch)
            if coming == endpoint:
                return
            if self._book.save(coming, kept.revision) if kept else self._book.add(coming):
                return

    def standing(self, name: str, version: int) -> tuple[Replica | None, str]:
        """A ready replica of `version`, and why there will be none (empty while it may still come)."""
        kept = self._book.maybe(name)
        if kept is None:
            return None, f'the endpoint "{name}" was stopped'
        for replica in kept.endpoint.replicas:
            if replica.version == version and replica.state is ReplicaState.READY:
                return replica, ""
        wanted = version in (kept.endpoint.version, kept.endpoint.candidate)
        return None, "" if wanted else kept.endpoint.message or f"version {version} was taken down"

    def switch(self, name: str, version: int, settings: EndpointSettings | None = None) -> None:
        """Let `version` answer, within other bounds if any are given; what answered before finishes and ends."""

        def change(endpoint: Endpoint) -> Endpoint:
            changed = switched(endpoint, version)
            return scaled(changed, settings.scaling, settings.queue) if settings else changed

        self._book.change(name, change)

    def drop_candidate(self, name: str, version: int, message: str) -> None:
        """Take a candidate down again; what answered before goes on."""
        if self._book.maybe(name) is not None:
            self._book.change(name, lambda one: without_candidate(one, version, message))
