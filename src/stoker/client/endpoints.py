"""Endpoints through the client."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.client.connection import Connection
from stoker.endpoint import Endpoint, EndpointSettings, Scaling
from stoker.page import Page
from stoker.reclaim import Reclaim
from stoker.typed import dump

_PATH = "/api/v1/endpoints"


class Endpoints:
    """``client.endpoints``"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Sequence[Endpoint]:
        return self._connection.get(Page[Endpoint], _PATH).items

    def get(self, name: str) -> Endpoint:
        return self._connection.get(Endpoint, f"{_PATH}/{name}")

    def reclaim(self, name: str) -> Reclaim:
        """What it could have now beyond what it has, within which time, and how long that took of late."""
        return self._connection.get(Reclaim, f"{_PATH}/{name}/reclaim")

    def deploy(
        self,
        name: str,
        version: int,
        *,
        replicas: int | None = None,
        scaling: Scaling | None = None,
        queue: str = "",
    ) -> Endpoint:
        """Serve `version` of the model `name`; it takes over once it is ready. With `scaling` it has as many
        replicas as its load asks for, instead of `replicas`; without either it serves as it did so far."""
        body = {"version": version, "replicas": replicas, "scaling": scaling and dump(scaling), "queue": queue}
        return self._connection.put(Endpoint, f"{_PATH}/{name}", body)

    def scale(self, name: str, scaling: Scaling, *, queue: str = "") -> Endpoint:
        """Other bounds for its replicas; the version stays."""
        body = dump(EndpointSettings(scaling, queue))
        return self._connection.patch(Endpoint, f"{_PATH}/{name}", body)

    def stop(self, name: str) -> None:
        """Take the endpoint down; the registered model stays."""
        self._connection.delete(f"{_PATH}/{name}")
