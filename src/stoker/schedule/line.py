"""Line: whose job is next, what a quota refuses, and whose devices may be taken back for whom.

The queues form a tree (`stoker.queue`). At every level the child goes first whose next job stays within what the
child deserves, the one served least so far before the others; only then those that borrow, in the proportion of
their weights and of what they have had lately. Within a queue: who has waited longer than its patience, then by
priority; among equal priorities first a deadline that is near, then as the policy orders them, by default the user
who had least, then who came first.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from stoker.cluster import WHOLE
from stoker.explanation import Shield
from stoker.job import Job, JobSpec, Placement
from stoker.queue import DEFAULT, Preemptible, Queue
from stoker.schedule.branch import Branch, Held, Owed, walk
from stoker.schedule.policy import Preempt
from stoker.schedule.quantity import Quantity
from stoker.schedule.rank import Rank, far_ahead, rank_of
from stoker.schedule.snapshot import Snapshot, Wait
from stoker.schedule.tree import leaves_of, root_of

_LEAST_WAKE_S = 1.0  # until a credit has changed
_LEAST_TURN_S = 60.0  # between two looks at whether an equal has fallen behind


class Line:
    """The order of one pass. It has to be told of each start."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._now = snapshot.now
        self._turn = snapshot.policy.turn if snapshot.policy.preempt is Preempt.EQUALS else None
        self._turns_end = math.inf
        self._turn_over: dict[int, float] = {}  # when the turn of each that runs is over
        self._since = snapshot.since
        self._served = snapshot.served
        self._changes = [queue.next_change(snapshot.now) for queue in snapshot.queues]
        self._quantity = Quantity(snapshot.nodes, snapshot.queues)
        self._root = root_of(snapshot, self._quantity)
        self._leaves = leaves_of(self._root)
        self._by_name = {branch.queue.name: branch for branch in reversed(list(walk(self._root)))}
        self._default = self._leaves[DEFAULT]
        self._rank = _remembered(rank_of(snapshot))
        self._owing = False  # whether anything is kept for a job that has waited too long
        for leaf in self._leaves.values():
            leaf.lane.rank_by(self._rank)
        self._hold(snapshot.active, 1)

    def order(self, ready: Iterable[Job]) -> Iterator[Job]:
        """Each of `ready` once. Which is next depends on what has been started before."""
        for job in ready:
            self._leaf(job).lane.join(job, self._now, self._since)
        first = self._root
        while len(first.children) == 1:
            first = first.children[0]
        first.sort()
        while (job := first.take()) is not None:  # type: ignore[assignment]
            yield job
            first.settle()

    def overdue_since(self, job: Job) -> float:
        """Since when `job` waits if that is longer than its queue's patience; else infinite."""
        return self._leaf(job).lane.overdue_since(job, self._now, self._since)

    def reserved(self, job: Job, at: float) -> None:
        """Note that `job`, which is next, waits and has its place from `at` on at the latest.

        If it has waited too long, what its queues deserve is kept for it as well: those behind it in them may only
        have what it leaves, or what they give back by then.
        """
        leaf = self._leaf(job)
        if leaf.lane.overdue is None:
            return
        milli = self._quantity.asked(job.spec)
        for branch in leaf.path:
            if milli <= branch.deserved:
                branch.owed = Owed(job.id, milli, at)
                self._owing = True

    @property
    def wake_at(self) -> float:
        """The next moment at which time alone changes the order or a quota; infinite: never."""
        return min(
            (
                self._turns_end,
                *self._changes,
                *(leaf.lane.wake_at for leaf in self._leaves.values()),
                *(self._now + max(_LEAST_WAKE_S, branch.wake_in) for branch in self._by_name.values()),
            )
        )

    def refuses(self, job: Job, gone: Collection[Job] = ()) -> Wait | None:
        """Why a quota or limit keeps `job` from starting now, or if those `gone`, which hold something, had ended;
        None: none does."""
        leaf = self._leaf(job)
        if not leaf.limits and not self._owing:
            return None
        self._hold(gone, -1)
        milli = self._quantity.asked(job.spec)
        refused = (leaf.keeps(job, milli, self._now) if self._owing else None) or leaf.refuses(job, milli)
        self._hold(gone, 1)
        return refused

    def narrowed(self, job: Job) -> JobSpec:
        """What to look for a place for: only those models of which its queue may have more."""
        leaf = self._leaf(job)
        if not leaf.bounded:
            return job.spec
        return leaf.narrowed(job.spec, self._quantity.asked(job.spec), self._quantity.models)

    def started(self, job: Job, engine: str, placements: Sequence[Placement]) -> None:
        """Note that `job` holds these from now on."""
        held = self._quantity.held(job.spec, engine, placements)
        self._leaf(job).hold((job.tenant, job.owner), held, 1)

    @property
    def capacity(self) -> int:
        """Devices of the pool."""
        return self._quantity.total

    def asked(self, job: Job) -> float:
        """Devices that `job` takes of its quota, at most."""
        return self._quantity.asked(job.spec) / WHOLE

    def held(self, queue: str) -> float:
        """Devices that `queue` and those below it hold."""
        branch = self._by_name.get(queue)
        return branch.held / WHOLE if branch else 0.0

    def over(self, queue: str) -> float:
        """Devices that `queue` and those below it hold beyond what it deserves: what it has borrowed."""
        branch = self._by_name.get(queue)
        return branch.over() / WHOLE if branch else 0.0

    def users(self, queue: str) -> Mapping[tuple[str, str], Sequence[int]]:
        """Thousandths of devices and jobs that each user has in `queue` and those below it."""
        branch = self._by_name.get(queue)
        return branch.users if branch else {}

    def below(self, queue: str) -> Mapping[str, Queue]:
        """`queue` and those below it, as they are now."""
        branch = self._by_name.get(queue)
        return {one.queue.name: one.queue for one in walk(branch)} if branch else {}

    def may_take(self, job: Job, victim: Job, taken: Sequence[Job] = ()) -> bool:
        """Whether `victim`, which runs, may be ended so that `job` can start, besides those `taken` for it already.

        In a queue a higher priority goes before a lower one, and where the policy says so equals take turns.
        Between queues only rights count: at every level below the queue that both are part of, `job` must stay
        within what its queue deserves, and the victim's must hold more than it deserves. So what is taken back was
        borrowed.
        """
        return self.shield(job, victim, taken) is None

    def shield(self, job: Job, victim: Job, taken: Sequence[Job] = ()) -> Shield | None:
        """What of `may_take` does not hold; None: all does."""
        home, other = self._leaf(job), self._leaf(victim)
        if other.queue.preemptible is Preemptible.NOBODY:
            return Shield.QUEUE
        if home is other:
            if job.spec.priority > victim.spec.priority or self._after_its_turn(job, victim):
                return None
            turns = self._turn is not None and job.spec.priority == victim.spec.priority
            return Shield.TURN if turns else Shield.PRIORITY
        if other.queue.preemptible is not Preemptible.ANYBODY:
            return Shield.QUEUE
        milli, models = self._quantity.asked(job.spec), job.spec.resources.models
        mine = home.below_common(other)
        if not all(branch.within(milli, models) for branch in mine):
            return Shield.RIGHT
        back = [(self._leaf(one).path, self._held(one)) for one in taken]
        of = self._held(victim).of
        pays = all(
            branch.pays_back(mine[-1], [held for path, held in back if branch in path], of)
            for branch in other.below_common(home)
        )
        return None if pays else Shield.BORROWED

    def may_move(self, job: Job, victim: Job) -> bool:
        """Whether `victim`, which runs, may be made to start again elsewhere so that `job` gets in: it loses no
        devices by that."""
        preemptible = self._leaf(victim).queue.preemptible
        return preemptible is Preemptible.ANYBODY or (preemptible is Preemptible.OWN and self.together(job, victim))

    def together(self, job: Job, other: Job) -> bool:
        """Whether they are of one queue."""
        return self._leaf(job) is self._leaf(other)

    def standing(self, jobs: Sequence[Job]) -> Mapping[int, float]:
        """By job, how many of `jobs` it goes before, as a share, where the policy has an order of its own: else
        nothing, as who came first has no claim to stay."""
        if self._rank is None:
            return {}
        ranks = {job.id: self._rank(job) for job in jobs}
        worst_first = sorted(jobs, key=lambda job: (job.spec.priority, -ranks[job.id], -job.id))
        return {job.id: at / len(jobs) for at, job in enumerate(worst_first)}

    def turn_of(self, job: Job) -> float:
        """Seconds that equals leave `job` alone once it has begun: each turn is as long as all before it together,
        so that a job of any length is only displaced a few times."""
        return max(self._turn or 0.0, self._served.get(job.id, 0.0))

    def _after_its_turn(self, job: Job, victim: Job) -> bool:
        """Whether the policy's order puts `job` far before `victim`, an equal that has had its turn."""
        if self._turn is None or self._rank is None or victim.started_at is None:
            return False
        if job.spec.priority != victim.spec.priority:
            return False
        over = self._turn_over.get(victim.id)
        if over is None:
            over = self._turn_over[victim.id] = victim.started_at + self.turn_of(victim)
        if over > self._now:
            self._turns_end = min(self._turns_end, over)
            return False
        if far_ahead(self._rank(job), self._rank(victim)):
            return True
        self._turns_end = min(self._turns_end, self._now + max(self._turn, _LEAST_TURN_S))  # ranks fall with age
        return False

    def _hold(self, jobs: Iterable[Job], sign: int) -> None:
        """Let `jobs` hold what they do (1), or not (-1)."""
        for job in jobs:
            held = self._held(job)
            if sign < 0:
                held = Held(-held.milli, {model: -milli for model, milli in held.of.items()})
            self._leaf(job).hold((job.tenant, job.owner), held, sign)

    def _held(self, job: Job) -> Held:
        return self._quantity.held(job.spec, job.engine, job.placements)

    def _leaf(self, job: Job) -> Branch:
        return self._leaves.get(job.spec.queue, self._default)


def _remembered(rank: Rank | None) -> Rank | None:
    """Each job is ranked once in a pass; elastic ones once for each size."""
    if rank is None:
        return None
    known: dict[tuple[int, int], float] = {}

    def remembered(job: Job) -> float:
        key = job.id, job.spec.nodes
        if (found := known.get(key)) is None:
            found = known[key] = rank(job)
        return found

    return remembered
