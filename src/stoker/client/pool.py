"""What administrators do with nodes, through the client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stoker.balance import Balance, BalanceReport
from stoker.client.connection import Connection
from stoker.node_drain import NodeDrain
from stoker.node_move import NodeMove
from stoker.node_topology import NodeTopology
from stoker.page import Page
from stoker.typed import dump

_PATH = "/api/v1/nodes"


class Pool:
    """``client.pool``. Nodes are named by expressions: ``gpu3``, ``gpu[12-19]``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def drain(self, nodes: Sequence[str], reason: str, *, engine: str = "") -> Sequence[NodeDrain]:
        """Keep new work away, on every engine that knows them unless told; what runs goes on."""
        body = {"nodes": list(nodes), "reason": reason, "engine": engine}
        return self._connection.post(Page[NodeDrain], f"{_PATH}/drain", body).items

    def undrain(self, nodes: Sequence[str], *, engine: str = "") -> Sequence[NodeDrain]:
        """Take back what this platform drained."""
        body = {"nodes": list(nodes), "engine": engine}
        return self._connection.post(Page[NodeDrain], f"{_PATH}/undrain", body).items

    def drains(self) -> Sequence[NodeDrain]:
        """What the platform keeps closed."""
        return self._connection.get(Page[NodeDrain], f"{_PATH}/drains").items

    def move(
        self,
        nodes: Sequence[str],
        to: str,
        *,
        source: str = "",
        preempt: bool = False,
        within: float | None = None,
        reason: str = "",
    ) -> Sequence[NodeMove]:
        """Begin to move machines to the engine `to`, all or none. After `within` seconds it is undone."""
        body: dict[str, Any] = {"nodes": list(nodes), "to": to, "source": source, "preempt": preempt}
        body |= {"within": within, "reason": reason}
        return self._connection.post(Page[NodeMove], f"{_PATH}/moves", body).items

    def moves(self, *, everything: bool = False, limit: int = 100) -> Sequence[NodeMove]:
        """Newest first; those that are over only with `everything`."""
        query = {"all": everything, "limit": limit}
        return self._connection.get(Page[NodeMove], f"{_PATH}/moves", **query).items

    def get_move(self, move_id: int) -> NodeMove:
        return self._connection.get(NodeMove, f"{_PATH}/moves/{move_id}")

    def undo(self, move_id: int) -> NodeMove:
        """Put everything back; raises Conflict for a move that is over."""
        return self._connection.post(NodeMove, f"{_PATH}/moves/{move_id}/undo", {})

    def balances(self) -> Sequence[BalanceReport]:
        """Automatic moves: the policies, and what each saw last."""
        return self._connection.get(Page[BalanceReport], f"{_PATH}/balances").items

    def put_balance(self, balance: Balance) -> BalanceReport:
        return self._connection.put(BalanceReport, f"{_PATH}/balances", dump(balance))

    def remove_balance(self, first: str, second: str) -> None:
        self._connection.delete(f"{_PATH}/balances/{first}/{second}")

    def topology(self) -> Mapping[str, NodeTopology]:
        """Where nodes are in the network, as administrators say; what engines tell is with the nodes."""
        return self._connection.get(dict[str, NodeTopology], f"{_PATH}/topology")

    def apply_topology(self, entries: Mapping[str, NodeTopology]) -> Mapping[str, NodeTopology]:
        """Add to what is said, by name of the node; returns all."""
        body = {name: dump(entry) for name, entry in entries.items()}
        return self._connection.put(dict[str, NodeTopology], f"{_PATH}/topology", body)

    def clear_topology(self, nodes: Sequence[str] = ()) -> None:
        """Forget what is said of these nodes, or of all."""
        self._connection.send("DELETE", f"{_PATH}/topology", query={"node": list(nodes)})
