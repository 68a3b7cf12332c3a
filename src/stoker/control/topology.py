"""TopologyDesk: where nodes are in the network, as administrators say, laid over what the engines tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from stoker.account import Account, Role
from stoker.cluster import Node, Place
from stoker.control.changes import Changes
from stoker.control.rights import require
from stoker.errors import BadInput, NotFound
from stoker.node_topology import NodeTopology, with_topology
from stoker.store.topology import TopologyStore

_MOST = 100_000  # nodes
_Entries = Mapping[str, NodeTopology]


class TopologyDesk:
    """Thread-safe."""

    def __init__(self, store: TopologyStore, changes: Changes) -> None:
        self._store = store
        self._changes = changes
        self._lock = threading.Lock()
        self._revision = 0
        self._entries: _Entries = {}
        self._placed: dict[Place, tuple[Node, Node]] = {}  # as its engine told it, and with what is said here
        self.wake: Callable[[], None] = lambda: None

    def apply(self, entries: _Entries, who: Account) -> _Entries:
        """Add to what is said, in place of it where it differs; returns all. Raises Denied, BadInput."""
        require(who, Role.ADMIN, "say where nodes are")
        if len(entries) > _MOST:
            raise BadInput(f"{len(entries)} nodes were given; allowed are {_MOST}")

        def merged(old: _Entries) -> _Entries:
            return {**old, **{name: old.get(name, NodeTopology()).merged(new) for name, new in entries.items()}}

        return self._change(merged)

    def clear(self, names: Sequence[str], who: Account) -> None:
        """Forget what is said of these nodes, or of all when none is named. Raises Denied, NotFound."""
        require(who, Role.ADMIN, "say where nodes are")

        def rest(old: _Entries) -> _Entries:
            for name in names:
                if name not in old:
                    raise NotFound.named("topology of node", name, old)
            return {name: entry for name, entry in old.items() if names and name not in names}

        self._change(rest)

    def find(self, who: Account) -> _Entries:
        """What is said here, by name of the node."""
        require(who, Role.VIEWER, "see where nodes are")
        return self._store.all()[1]

    def over(self, nodes: Iterable[Node]) -> tuple[Node, ...]:
        """`nodes` with what is said of them. A node that has not changed is the same object as before."""
        with self._lock:
            if self._store.revision() != self._revision:
                self._revision, self._entries = self._store.all()
                self._placed.clear()
            if not self._entries:
                return tuple(nodes)
            return tuple(map(self._over, nodes))

    def _over(self, node: Node) -> Node:
        before, placed = self._placed.get(node.place, (None, node))
        if before is not node:
            names = (node.name, node.machine, node.address)
            told = next((self._entries[name] for name in names if name in self._entries), None)
            placed = with_topology(node, told) if told else node
            self._placed[node.place] = (node, placed)
        return placed

    def _change(self, to: Callable[[_Entries], _Entries]) -> _Entries:
        changed = self._store.change(to)
        self._changes.bump()
        self.wake()
        return changed
