"""DrainDesk: nodes that this platform keeps closed, on engines that can drain and on those that cannot.

What is kept closed stands in the store before the engine is told, and the scheduler heeds it at once. An engine
that others use too is told as well, so that it keeps their work away.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.cluster import Node, Place
from stoker.control.changes import Changes
from stoker.control.courier import Courier
from stoker.control.loop import Dispatcher
from stoker.control.rights import require
from stoker.control.roster import Roster
from stoker.control.sight import Sight, look
from stoker.engine import CanDrain, CanSeeOthers
from stoker.errors import Away, BadInput, Conflict, NotFound
from stoker.node_drain import NodeDrain
from stoker.store.drains import DrainStore

log = logging.getLogger(__name__)

_LONGEST_REASON = 200
_RETRY_S, _IDLE_S = 5.0, 60.0


class DrainDesk:
    """Thread-safe. `drain` and `undrain` are for people, `close` and `open` for the platform's own moves."""

    def __init__(
        self,
        store: DrainStore,
        roster: Roster,
        dispatcher: Dispatcher,
        changes: Changes,
        clock: Clock,
    ) -> None:
        self._store = store
        self._roster = roster
        self._dispatcher = dispatcher
        self._changes = changes
        self._clock = clock

    def find(self, who: Account) -> list[NodeDrain]:
        require(who, Role.VIEWER, "see what is drained")
        return list(self._store.all().values())

    def drain(
        self, names: Sequence[str], reason: str, who: Account, *, engine: str = "", moving: Collection[str] = ()
    ) -> list[NodeDrain]:
        """Keep new work away from the nodes `names`, on every engine that knows them or on `engine` alone.

        What runs there goes on. An engine that is away is told as soon as it answers. `moving`: machines that are
        on their way. Raises Denied, NotFound, and Conflict where one is closed already or on its way; then none of
        them is drained.
        """
        require(who, Role.ADMIN, "drain nodes")
        reason = _checked(reason)
        sight = look(self._roster, self._dispatcher, self._clock)
        told = f"{reason} ({who.name})"
        now = self._clock.now()
        kept = self._store.all()
        wanted = [
            NodeDrain(node.place, told, who.name, now, why=f"{reason}, {who.name}")
            for name in names
            for node in _to_drain(name, self._nodes(sight, name, engine), kept, moving)
        ]
        for drain in wanted:
            self.check_able(drain.place.engine)
        for drain in wanted:
            self._store.add(drain)
        self._dispatcher.wake()
        self._tell(wanted)
        self._changes.bump()
        known = self._store.all()
        return [known.get(drain.place, drain) for drain in wanted]

    def undrain(self, names: Sequence[str], who: Account, *, engine: str = "") -> list[NodeDrain]:
        """Take back what this platform drained; what somebody else drained stays so.

        A drain that a move left is taken back only where no other engine has the machine open. Of several names
        those that are open already are passed over. Raises Denied, NotFound, Conflict, Away.
        """
        require(who, Role.ADMIN, "undrain nodes")
        sight = look(self._roster, self._dispatcher, self._clock)
        kept = self._store.all()
        wanted = [
            drain for name in names for drain in _to_undrain(name, self._nodes(sight, name, engine), sight, kept)
        ]
        if not wanted:
            raise Conflict(f"{names[0]} is not drained" if len(names) == 1 else "none of them is drained")
        for drain in wanted:
            self._take_back(drain)
        return wanted

    def _take_back(self, drain: NodeDrain) -> None:
        try:
            self.open(drain)
        except Conflict:
            self.drop(drain)  # it has become somebody else's
            raise

    # for the platform's loop

    def advance(self) -> float:
        """Tell engines what they have not heard yet; returns the seconds until that should be tried again."""
        untold = [drain for drain in self._store.all().values() if not (drain.told or drain.move)]
        self._tell(untold)
        return _RETRY_S if untold else _IDLE_S

    def _tell(self, drains: Sequence[NodeDrain]) -> None:
        for drain in drains:
            try:
                self.close(drain)
            except Away as error:
                log.warning("%s is not drained on %s yet: %s", drain.place.node, drain.place.engine, error)
            except NotFound:
                self.drop(drain)

    # for moves

    def kept(self) -> Mapping[Place, NodeDrain]:
        return self._store.all()

    def close(self, drain: NodeDrain) -> None:
        """Keep new work away; safe to repeat. Raises NotFound, Away; then the scheduler heeds it nevertheless."""
        self._store.add(drain)
        if engine := self._roster.able(drain.place.engine, CanDrain):
            engine.drain(drain.place.node, drain.reason)
        self._store.confirm(drain)
        self._changed(drain.place.engine)

    def open(self, drain: NodeDrain) -> None:
        """Take `drain` back; safe to repeat. Raises Conflict where it is somebody else's now, NotFound, Away."""
        if engine := self._roster.able(drain.place.engine, CanDrain):
            engine.undrain(drain.place.node, drain.reason)
        self.drop(drain)

    def drop(self, drain: NodeDrain) -> None:
        """Know nothing of it any more, and leave the engine as it is."""
        self._store.remove(drain)
        self._changed(drain.place.engine)

    def check_able(self, engine: str) -> None:
        """Raises BadInput for an engine on which work of others could not be kept away."""
        if self._roster.able(engine, CanSeeOthers) and not self._roster.able(engine, CanDrain):
            raise BadInput(
                f'"{engine}" cannot drain nodes, and others use it too; drain them there by its own means'
            )

    def _changed(self, engine: str) -> None:
        if isinstance(courier := self._roster.get(engine), Courier):
            courier.look_again()
        self._dispatcher.wake()
        self._changes.bump()

    def _nodes(self, sight: Sight, name: str, engine: str) -> list[Node]:
        if engine and engine not in self._roster:
            raise NotFound.named("engine", engine, self._roster)
        nodes = [node for node in sight.machine(name) if engine in ("", node.engine)]
        if not nodes:
            raise NotFound(f'"{engine}" has no node "{name}"')
        return nodes


def _checked(reason: str) -> str:
    plain = " ".join(reason.split())
    if not plain or len(plain) > _LONGEST_REASON or not plain.isprintable():
        raise BadInput(f"say why in 1 to {_LONGEST_REASON} printable characters", param="reason")
    return plain


def _to_drain(
    name: str, nodes: Sequence[Node], kept: Mapping[Place, NodeDrain], moving: Collection[str]
) -> list[Node]:
    """The nodes of one machine that are open; raises Conflict when there are none."""
    if nodes[0].machine in moving:
        raise Conflict(f"{name} is being moved; wait for it or undo it first: stoker nodes moves")
    found = [node for node in nodes if node.schedulable and node.place not in kept]
    if not found:
        node = nodes[0]
        why = kept[node.place].why if node.place in kept else node.reason
        raise Conflict(f"{name} takes no work on {node.engine} already: {why or 'no reason is told'}")
    return found


def _to_undrain(name: str, nodes: Sequence[Node], sight: Sight, kept: Mapping[Place, NodeDrain]) -> list[NodeDrain]:
    mine = [kept[node.place] for node in nodes if node.place in kept]
    by_hand = [drain for drain in mine if not drain.move]
    if by_hand:
        return by_hand
    if not mine:
        node = next((node for node in nodes if not node.schedulable), None)
        if node is None:
            return []
        raise Conflict(f"{name} was not drained by this platform but is so on {node.engine}: {node.reason}")
    places = sight.of(nodes[0].machine) - {drain.place for drain in mine}
    if open_on := next((place.engine for place in places if sight.nodes[place].schedulable), ""):
        raise Conflict(
            f"{name} is open on {open_on} since move {mine[0].move};"
            f" to have it back: stoker nodes move {name} --to {mine[0].place.engine}"
        )
    if len(mine) > 1:
        engines = " or ".join(drain.place.engine for drain in mine)
        raise Conflict(f"{name} is closed on several engines; say on which to open it: --engine {engines}")
    return mine
