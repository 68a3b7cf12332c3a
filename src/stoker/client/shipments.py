"""Shipments through the client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stoker.client.changes import looks
from stoker.client.connection import Connection
from stoker.page import Page
from stoker.shipment import Shipment, ShipmentRequest, ShipmentState, Stage
from stoker.telemetry import Telemetry
from stoker.typed import dump

_PATH = "/api/v1/shipments"


class Shipments:
    """``client.shipments``"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, request: ShipmentRequest) -> Shipment:
        """Start a shipment, or find the one under way for the same request: so it may be repeated safely."""
        return self._connection.post(Shipment, _PATH, dump(request), idempotency="same-request")

    def get(self, shipment_id: str) -> Shipment:
        return self._connection.get(Shipment, f"{_PATH}/{shipment_id}")

    def list(self, *, limit: int = 100) -> Sequence[Shipment]:
        """The newest first."""
        return self._connection.get(Page[Shipment], _PATH, limit=limit).items

    def cancel(self, shipment_id: str) -> Shipment:
        """Stop it; finished stages stay."""
        return self._connection.post(Shipment, f"{_PATH}/{shipment_id}/cancel")

    def resume(self, shipment_id: str) -> Shipment:
        """Go on where it stopped."""
        return self._connection.post(Shipment, f"{_PATH}/{shipment_id}/resume")

    def telemetry(self, shipment_id: str, stage: Stage) -> Telemetry:
        """What the stage's job told of itself."""
        return self._connection.get(Telemetry, f"{_PATH}/{shipment_id}/stages/{stage.value}/telemetry")

    def watch(self, shipment_id: str, *, every: float = 1.0) -> Iterator[Shipment]:
        """The shipment at each change, and at least `every` seconds, until it has ended (that is the last one)."""
        for shipment in looks(self._connection, lambda: self.get(shipment_id), every=every):
            yield shipment
            if shipment.state is not ShipmentState.RUNNING:
                return
