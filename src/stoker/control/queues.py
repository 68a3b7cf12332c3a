"""QueueDesk: which queues there are, who may use them, and how each stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.control.changes import Changes
from stoker.control.rights import require
from stoker.errors import BadInput, Conflict, NotFound, Unfit
from stoker.job import JobSpec
from stoker.queue import DEFAULT, Queue, check_tree, leaves_of, may_use, tenants_of
from stoker.queue_standing import Standing
from stoker.schedule import Quantity, Snapshot, never, standings
from stoker.store.queues import QueueStore

Queues = Mapping[str, Queue]


class QueueDesk:
    """Thread-safe. A change is in the store when it is acknowledged, and holds from the next pass on."""

    def __init__(
        self,
        store: QueueStore,
        seen: Callable[[], Snapshot],
        wake: Callable[[], None],
        changes: Changes,
        clock: Clock,
    ) -> None:
        """`seen` is the pool as the last scheduling pass left it; `wake` asks for the next."""
        self._store = store
        self._seen = seen
        self._wake = wake
        self._changes = changes
        self._clock = clock

    def find(self, who: Account) -> list[Standing]:
        """How each queue stands that `who` may use, parents first; an admin sees all."""
        require(who, Role.VIEWER, "see queues")
        queues = self._store.all()
        visible = [queue for queue in queues.values() if _sees(who, queue, queues)]
        if not visible:
            return []
        now = dataclasses.replace(self._seen(), now=self._clock.now(), queues=tuple(queues.values()))
        return [_as_seen(standing, who) for standing in standings(visible, now)]

    def get(self, name: str, who: Account) -> Standing:
        """Raises NotFound, also for those that `who` may not use."""
        found = self.find(who)
        for standing in found:
            if standing.queue.name == name:
                return standing
        raise NotFound.named("queue", name, (standing.queue.name for standing in found))

    def add(self, queue: Queue, who: Account) -> Standing:
        """Raises Denied, Conflict for a name that is taken, BadInput."""

        def with_it(queues: Queues) -> Queues:
            if queue.name in queues:
                raise Conflict(f'there is a queue "{queue.name}" already; change it with: stoker queue set')
            return {**queues, queue.name: queue}

        self._change(with_it, who)
        return self.get(queue.name, who)

    def put(self, queues: Sequence[Queue], who: Account, *, prune: bool = False) -> list[Standing]:
        """Set these queues, all or none, in place of those of the same names; with `prune` all others go."""
        given = {queue.name: queue for queue in queues}
        if len(given) < len(queues):
            names = [queue.name for queue in queues]
            raise BadInput(f'queue "{max(names, key=names.count)}" is given twice', param="name")
        self._change(lambda old: {**({} if prune else old), **given}, who)
        return [standing for standing in self.find(who) if standing.queue.name in given]

    def remove(self, name: str, who: Account) -> None:
        """Its jobs go on as those of the default queue. Raises NotFound, and Conflict while queues are below it."""

        def without(queues: Queues) -> Queues:
            if name not in queues:
                raise NotFound.named("queue", name, queues)
            if below := _below(name, queues):
                raise Conflict(f'queue "{name}" has queues below it: {", ".join(below)}; remove those first')
            return {key: queue for key, queue in queues.items() if key != name}

        self._change(without, who)

    def homed(self, specs: Sequence[JobSpec], who: Account) -> list[JobSpec]:
        """`specs` with the queue that each goes to; as they are while no queue is set up.

        A job that names none goes to the one queue that is its tenant's, else to the default queue. Raises BadInput
        for a queue that is not there, that `who` may not use or that has queues below it; Unfit for a job that its
        quota can never hold.
        """
        queues = self._store.all()
        if not queues:
            return list(specs)
        own = _own(who.tenant, queues)
        homed = [spec if spec.queue or not own else dataclasses.replace(spec, queue=own) for spec in specs]
        for name in {spec.queue for spec in homed}:
            _check_use(name, who, queues)
        quantity = Quantity(self._seen().nodes, ())
        for spec in homed:
            if why := never(spec, quantity.asked(spec) / 1000, queues):
                raise Unfit(f'job "{spec.name}" {why}', param="queue")
        return homed

    def check(self, name: str, who: Account) -> None:
        """Raises BadInput where `homed` would for a job of `who` that names this queue."""
        if queues := self._store.all():
            _check_use(name, who, queues)

    def _change(self, change: Callable[[Queues], Queues], who: Account) -> None:
        require(who, Role.ADMIN, "change queues")

        def checked(old: Queues) -> Queues:
            new = change(old)
            check_tree(new.values())
            return new

        self._store.change(checked)
        self._changes.bump()
        self._wake()


def _sees(who: Account, queue: Queue, queues: Queues) -> bool:
    return who.role is Role.ADMIN or may_use(queue, who.tenant, queues)


def _as_seen(standing: Standing, who: Account) -> Standing:
    """Users of other tenants are not shown."""
    if who.role is Role.ADMIN:
        return standing
    return dataclasses.replace(standing, users=tuple(user for user in standing.users if user.tenant == who.tenant))


def _own(tenant: str, queues: Queues) -> str:
    """The one queue that takes jobs and is `tenant`'s by name; empty where there are none or several."""
    mine = [queue.name for queue in leaves_of(queues) if tenant in tenants_of(queue, queues)]
    return mine[0] if len(mine) == 1 else ""


def _below(name: str, queues: Queues) -> list[str]:
    return sorted(queue.name for queue in queues.values() if queue.parent == name)


def _check_use(name: str, who: Account, queues: Queues) -> None:
    usable = [queue.name for queue in leaves_of(queues) if _sees(who, queue, queues)]
    if name in usable or (name in ("", DEFAULT) and DEFAULT not in queues):
        return
    if name in queues and _sees(who, queues[name], queues):
        below = ", ".join(_below(name, queues))
        raise BadInput(f'queue "{name}" only holds other queues; give one of them: {below}', param="queue")
    if not name:
        told = f"; give one with --queue: {', '.join(usable)}" if usable else ""
        raise BadInput(f"the default queue is not for tenant {who.tenant}{told}", param="queue")
    raise BadInput(str(NotFound.named("queue", name, usable)), param="queue")
