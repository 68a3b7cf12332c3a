"""Where nodes are in the network, as administrators say."""

from __future__ import annotations

from alembic import op

from stoker.store.tables import topology

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    topology.create(op.get_bind())
