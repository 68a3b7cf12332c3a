"""The book of endpoints: the store, and the routes in memory that follow whatever changes in it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from stoker.control.changes import Changes
from stoker.control.routes import Routes
from stoker.endpoint import Endpoint
from stoker.store.endpoints import EndpointStore, KeptEndpoint

Change = Callable[[Endpoint], Endpoint]


class EndpointBook:
    """Thread-safe. Whoever waits for changes is told of each."""

    def __init__(self, store: EndpointStore, changes: Changes) -> None:
        self._store = store
        self._changes = changes
        self._refreshing = Lock()
        self.routes = Routes()
        self.refresh()

    def all(self) -> list[KeptEndpoint]:
        """By name."""
        return self._store.all()

    def get(self, name: str) -> KeptEndpoint:
        """Raises NotFound."""
        return self._store.get(name)

    def maybe(self, name: str) -> KeptEndpoint | None:
        return self._store.maybe(name)

    def add(self, endpoint: Endpoint) -> bool:
        """False when there is one of that name already."""
        return self._told(self._store.add(endpoint))

    def save(self, endpoint: Endpoint, revision: int) -> bool:
        """Replace the endpoint if nobody has since `revision`; False when somebody has."""
        return self._told(self._store.save(endpoint, revision))

    def change(self, name: str, change: Change) -> Endpoint:
        """Raises NotFound. `change` is asked again when somebody else was faster."""
        while True:
            kept = self._store.get(name)
            changed = change(kept.endpoint)
            if changed == kept.endpoint or self.save(changed, kept.revision):
                return changed

    def remove_if_done(self, kept: KeptEndpoint) -> None:
        """One that serves nothing and has no replica left goes, if nobody has changed it since."""
        endpoint = kept.endpoint
        done = not endpoint.replicas and endpoint.version is None and endpoint.candidate is None
        if done:
            self._told(self._store.remove(endpoint.name, kept.revision))

    def refresh(self) -> None:
        """From the store to the gateway; one at a time, or what was read first might be shown last."""
        with self._refreshing:
            self.routes.refresh(kept.endpoint for kept in self._store.all())

    def _told(self, done: bool) -> bool:
        if done:
            self.refresh()
            self._changes.bump()
        return done
