"""Registered models through the client."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.client.connection import Connection
from stoker.model import Comparison, ModelSummary, ModelVersion, Promotion
from stoker.page import Page

_PATH = "/api/v1/models"


class Models:
    """``client.models``"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Sequence[ModelSummary]:
        return self._connection.get(Page[ModelSummary], _PATH).items

    def versions(self, name: str) -> Sequence[ModelVersion]:
        """The newest first."""
        return self._connection.get(Page[ModelVersion], f"{_PATH}/{name}").items

    def compare(self, name: str, *versions: int) -> Comparison:
        """Metrics side by side, and the settings in which the versions differ."""
        numbers = ",".join(str(version) for version in versions)
        return self._connection.get(Comparison, f"{_PATH}/{name}/compare", versions=numbers)

    def promote(self, name: str, version: int, *, alias: str = "champion") -> Promotion:
        return self._connection.post(Promotion, f"{_PATH}/{name}/promote", {"version": version, "alias": alias})

    def rollback(self, name: str) -> Promotion:
        """Back to the champion before the present one."""
        return self._connection.post(Promotion, f"{_PATH}/{name}/rollback")

    def journal(self, name: str) -> Sequence[Promotion]:
        """Who moved which alias when."""
        return self._connection.get(Page[Promotion], f"{_PATH}/{name}/journal").items
