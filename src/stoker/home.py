"""Home: the one folder that holds a platform's state, and who holds it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def default_home() -> Path:
    """``$STOKER_HOME``, else ``$XDG_STATE_HOME/stoker``, else ``~/.local/state/stoker``."""
    if given := os.environ.get("STOKER_HOME"):
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "stoker"


@dataclass(frozen=True)
class Home:
    """Where things lie below the home. Pure: making and locking it is `stoker.store.home`'s work."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "stoker.db"

    @property
    def registry(self) -> Path:
        """MLflow's own database: its migrations are not ours."""
        return self.path / "mlflow.db"

    @property
    def jobs(self) -> Path:
        """Local engine: one folder a job attempt."""
        return self.path / "jobs"

    @property
    def engines(self) -> Path:
        """What engines other than the local one keep here: one folder each."""
        return self.path / "engines"

    @property
    def artifacts(self) -> Path:
        """Finished stage outputs by content address."""
        return self.path / "artifacts"

    @property
    def fetched(self) -> Path:
        """What was looked at of artifacts that lie elsewhere."""
        return self.path / "fetched"

    @property
    def scratch(self) -> Path:
        """What outlives a killed attempt: checkpoints."""
        return self.path / "scratch"

    @property
    def secrets(self) -> Path:
        """Keys between the gateway and the replicas, one file each."""
        return self.path / "secrets"

    @property
    def attachments(self) -> Path:
        """Private files of the platform's own jobs."""
        return self.path / "attachments"

    @property
    def files(self) -> Path:
        """Uploaded files."""
        return self.path / "files"

    @property
    def lock(self) -> Path:
        return self.path / "lock"
