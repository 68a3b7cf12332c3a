"""Notebooks through the client."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from stoker.client.connection import Connection
from stoker.notebook import Link, Notebook, NotebookRequest
from stoker.page import Page
from stoker.typed import dump

_PATH = "/api/v1/notebooks"


class Notebooks:
    """``client.notebooks``"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def start(self, request: NotebookRequest | None = None, *, idempotency: str = "") -> Notebook:
        """Start one; it is ready when `get` says so. Repeated when no answer came, and still started once."""
        body = dump(request or NotebookRequest())
        return self._connection.post(Notebook, _PATH, body, idempotency=idempotency or uuid4().hex)

    def get(self, job_id: int) -> Notebook:
        return self._connection.get(Notebook, f"{_PATH}/{job_id}")

    def list(self, *, ended: bool = False, limit: int = 100) -> Sequence[Notebook]:
        """The newest first; those that have ended too when asked for."""
        return self._connection.get(Page[Notebook], _PATH, ended=str(ended).lower(), limit=limit).items

    def link(self, job_id: int) -> Link:
        """The way in. Who has its URL has the notebook, until it ends."""
        return self._connection.get(Link, f"{_PATH}/{job_id}/link")

    def stop(self, job_id: int) -> Notebook:
        """End it; its files stay where it ran."""
        return self._connection.post(Notebook, f"{_PATH}/{job_id}/stop")
