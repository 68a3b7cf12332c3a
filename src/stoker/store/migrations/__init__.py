"""The schema's history. Alembic is only loaded when there is something to do: it costs a fifth of a second."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

# In order; a test holds this against the files of versions/.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")


def upgrade(connection: Connection) -> None:
    """Bring the schema behind `connection` to the last revision, within its transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
