"""Keys of replicas: each lies in a private file of its own, which the gateway and the replica read."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from stoker.endpoint import Replica
from stoker.home import Home


class ReplicaKeys:
    def __init__(self, home: Home) -> None:
        self._folder = home.secrets

    def file(self, occasion: str) -> Path:
        """The file of the replica that is started on this `occasion`, with its key."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        file = self._folder / hashlib.sha256(occasion.encode()).hexdigest()[:16]
        if not file.exists():  # whole or not at all: a replica with an empty key would serve everybody
            partial = file.with_suffix(".new")
            partial.touch(mode=0o600)
            partial.write_text(secrets.token_urlsafe(32))
            partial.replace(file)
        return file


def drop(replica: Replica) -> None:
    """Remove its key; safe to repeat."""
    if replica.key_file:
        Path(replica.key_file).unlink(missing_ok=True)


def secret_of(replica: Replica) -> str:
    """Its key; empty when it has none."""
    try:
        return Path(replica.key_file).read_text() if replica.key_file else ""
    except FileNotFoundError:
        return ""
