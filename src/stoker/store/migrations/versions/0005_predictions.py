"""Predicted starts of waiting jobs."""

from __future__ import annotations

from alembic import op

from stoker.store.tables import predictions

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    predictions.create(op.get_bind())
