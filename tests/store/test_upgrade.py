"""A home that an earlier version wrote: what its tables lack is added, and what is in them stays."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from stoker.job import JobSpec, JobState
from stoker.store.database import Database
from stoker.store.jobs import Draft, JobStore
from stoker.store.tables import metadata


def test_jobs_from_before_preemption_are_still_there(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/test.db")
    database.migrate()
    draft = Draft(JobSpec(command=("x",)))
    [job] = JobStore(database).add([draft], tenant="t", owner="o", ship="", at=1.0)
    with database.write() as connection:
        for column in ("gives_way_to", "moves", "checkpointed_at"):
            connection.execute(text(f"ALTER TABLE jobs DROP COLUMN {column}"))
        for table in ("predictions", "topology", "queue_credit"):  # that later versions have added
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    database.close()
    again = Database(f"sqlite:///{tmp_path}/test.db")
    again.migrate()
    with again.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    found = JobStore(again).get(job.id)
    assert (found.state, found.gives_way_to, found.moves) == (JobState.PENDING, None, False)
    again.close()
