"""Predicted starts of waiting jobs."""

from __future__ import annotations

from alembic import op

from stoker.store.tables import predictions

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    predictions.create(op.get_bind())
