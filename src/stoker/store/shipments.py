"""Shipments as the store keeps them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Row, select

from stoker.errors import NotFound
from stoker.shipment import Shipment, ShipmentState
from stoker.store.database import Database
from stoker.store.tables import shipments
from stoker.typed import dump, read


@dataclass(frozen=True)
class KeptShipment:
    """A shipment with the revision it was read at."""

    shipment: Shipment
    revision: int


class ShipmentStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, shipment: Shipment, request_digest: str) -> None:
        with self._database.write() as connection:
            connection.execute(
                shipments.insert().values(
                    id=shipment.id,
                    tenant=shipment.tenant,
                    state=shipment.state,
                    created_at=shipment.created_at,
                    request_digest=request_digest,
                    revision=1,
                    document=_document(shipment),
                )
            )

    def save(self, shipment: Shipment, revision: int) -> bool:
        """Replace the shipment if nobody has since `revision`; False when somebody has."""
        mine = (shipments.c.id == shipment.id) & (shipments.c.revision == revision)
        change = {"state": shipment.state, "revision": revision + 1, "document": _document(shipment)}
        with self._database.write() as connection:
            return connection.execute(shipments.update().where(mine).values(change)).rowcount == 1

    def get(self, shipment_id: str) -> KeptShipment:
        with self._database.read() as connection:
            row = connection.execute(select(shipments).where(shipments.c.id == shipment_id)).one_or_none()
        if row is None:
            raise NotFound(f'no shipment "{shipment_id}"')
        return _kept(row)

    def find(self, *, tenant: str | None = None, limit: int = 100) -> list[Shipment]:
        """Newest first; of one tenant, or of all."""
        query = select(shipments).order_by(shipments.c.created_at.desc()).limit(limit)
        if tenant is not None:
            query = query.where(shipments.c.tenant == tenant)
        with self._database.read() as connection:
            return [_kept(row).shipment for row in connection.execute(query)]

    def running(self) -> list[KeptShipment]:
        """Oldest first."""
        query = select(shipments).where(shipments.c.state == ShipmentState.RUNNING)
        with self._database.read() as connection:
            return [_kept(row) for row in connection.execute(query.order_by(shipments.c.created_at))]

    def same_request(self, request_digest: str, tenant: str) -> Shipment | None:
        """A running shipment of the tenant that was asked for the very same thing."""
        query = select(shipments).where(
            shipments.c.request_digest == request_digest,
            shipments.c.tenant == tenant,
            shipments.c.state == ShipmentState.RUNNING,
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return _kept(row).shipment if row else None


def _document(shipment: Shipment) -> str:
    return json.dumps(dump(shipment), ensure_ascii=False)


def _kept(row: Row[tuple[object, ...]]) -> KeptShipment:
    return KeptShipment(read(Shipment, json.loads(row.document), what="stored shipment"), row.revision)
