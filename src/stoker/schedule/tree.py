"""The tree of queues as one pass sees it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from stoker.cluster import WHOLE
from stoker.queue import DEFAULT, Queue, average
from stoker.schedule.branch import Branch, walk, weigh
from stoker.schedule.quantity import Quantity
from stoker.schedule.snapshot import Snapshot

_ROOT = Queue("root")
# Who names no queue where none is set up, and where they are: it has everything, or borrows what is left.
_ALONE = Queue(DEFAULT, fair_users=False, patience=None)


def root_of(snapshot: Snapshot, quantity: Quantity) -> Branch:
    """All queues with the numbers that hold now; they hold nothing yet."""
    root = Branch(_ROOT, None, quantity.asked, implied=True)
    below: dict[str, list[Queue]] = defaultdict(list)
    for queue in sorted(snapshot.queues, key=lambda queue: queue.name):
        below[queue.parent].append(queue.at(snapshot.now))
    _grow(root, "", below, quantity, snapshot.credit)
    if DEFAULT not in leaves_of(root):
        Branch(_ALONE, root, quantity.asked, implied=not snapshot.queues)
    if snapshot.usage:
        _remember(root, snapshot, quantity)
    return root


def leaves_of(root: Branch) -> dict[str, Branch]:
    """Where the jobs of a queue wait, by its name."""
    return {branch.queue.name: branch for branch in walk(root) if not branch.children}


def _grow(
    parent: Branch, name: str, below: Mapping[str, list[Queue]], quantity: Quantity, credit: Mapping[str, float]
) -> None:
    for queue in below.get(name, ()):
        branch = Branch(queue, parent, quantity.asked)
        branch.credit = credit.get(queue.name, 0.0) * WHOLE
        if queue.name in below:
            _grow(branch, queue.name, below, quantity, credit)
            _own_jobs(branch, quantity)


def _own_jobs(branch: Branch, quantity: Quantity) -> None:
    """Jobs given to a queue before it got queues below it wait beside those, for what they leave of its quota."""
    queue = branch.queue
    left = max(0.0, queue.deserved - sum(child.queue.deserved for child in branch.children))
    Branch(
        Queue(
            queue.name,
            deserved=left,
            preemptible=queue.preemptible,
            fair_users=queue.fair_users,
            half_life=queue.half_life,
            patience=queue.patience,
        ),
        branch,
        quantity.asked,
    )


def _remember(root: Branch, snapshot: Snapshot, quantity: Quantity) -> None:
    """What each queue and user had lately."""
    leaves = leaves_of(root)
    by_queue: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for (name, user), used in snapshot.usage.items():
        by_queue[name if name in leaves else DEFAULT][user] = used
    had: dict[str, float] = {}
    for name, used_by in by_queue.items():
        leaf = leaves[name]
        leaf.lane.remember(used_by)
        had[name] = average(sum(used_by.values()), leaf.queue.half_life)
    weigh(root, float(quantity.total), had)
