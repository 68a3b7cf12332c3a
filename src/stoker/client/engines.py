"""Engines through the client."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.client.connection import Connection
from stoker.engine_config import EngineConfig, EngineStatus
from stoker.foreign import ForeignJob
from stoker.page import Page
from stoker.typed import dump

_PATH = "/api/v1/engines"


class Engines:
    """``client.engines``"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Sequence[EngineStatus]:
        return self._connection.get(Page[EngineStatus], _PATH).items

    def get(self, name: str) -> EngineStatus:
        return self._connection.get(EngineStatus, f"{_PATH}/{name}")

    def add(self, config: EngineConfig, *, check: bool = True) -> EngineStatus:
        """Add an engine for good; with `check` it must answer once."""
        path = _PATH if check else f"{_PATH}?check=false"
        return self._connection.post(EngineStatus, path, dump(config))

    def remove(self, name: str) -> None:
        self._connection.delete(f"{_PATH}/{name}")

    def foreign(self) -> Sequence[ForeignJob]:
        """Jobs that others gave to the engines directly."""
        return self._connection.get(Page[ForeignJob], f"{_PATH}/foreign").items
