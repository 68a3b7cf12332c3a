"""Queues through the client."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.client.connection import Connection
from stoker.page import Page
from stoker.queue import Queue
from stoker.queue_standing import Standing
from stoker.typed import dump

_PATH = "/api/v1/queues"


class Queues:
    """``client.queues``"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Sequence[Standing]:
        """Those that the caller may use, parents before their children."""
        return self._connection.get(Page[Standing], _PATH).items

    def get(self, name: str) -> Standing:
        return self._connection.get(Standing, f"{_PATH}/{name}")

    def add(self, queue: Queue) -> Standing:
        return self._connection.post(Standing, _PATH, dump(queue))

    def set(self, queue: Queue) -> Standing:
        """Set it, in place of the one of that name."""
        return self._connection.put(Standing, f"{_PATH}/{queue.name}", dump(queue))

    def apply(self, queues: Sequence[Queue], *, prune: bool = False) -> Sequence[Standing]:
        """Set these, all or none; with `prune` all others are removed."""
        path = f"{_PATH}?prune=true" if prune else _PATH
        return self._connection.put(Page[Standing], path, [dump(queue) for queue in queues]).items

    def remove(self, name: str) -> None:
        self._connection.delete(f"{_PATH}/{name}")
