"""Where nodes are in the network, as administrators say."""

from __future__ import annotations

from alembic import op

from stoker.store.tables import topology

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    topology.create(op.get_bind())
