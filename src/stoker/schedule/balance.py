"""Which machines should go from one engine to another by themselves. Pure: how everything stands in, moves out.

A side is short when work waits that only it may run and that does not fit there. A shortage that lasts is answered
with machines that are idle on the other side, which must not be short itself and keeps its floor. Nothing goes back
the way it came before the policy's cool-down is over, and when nobody waits nothing moves: so nothing swings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stoker.balance import Balance
from stoker.cluster import Node, Place
from stoker.foreign import ForeignJob
from stoker.job import Job, JobSpec, JobState, Resources
from stoker.node_drain import NodeDrain
from stoker.node_move import MoveState, NodeMove
from stoker.schedule.field import Field, admits
from stoker.schedule.pool import field_of

# What others wait for besides room, in Slurm's words: more machines would not help.
_NOT_FOR_ROOM = (
    "Dependency", "DependencyNeverSatisfied", "JobHeldUser", "JobHeldAdmin", "BeginTime", "Licenses",
    "PartitionDown", "PartitionInactive", "AccountNotAllowed", "QOSNotAllowed",
)  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """Everything a decision may depend on, as of one moment."""

    now: float
    policy: Balance
    nodes: Sequence[Node]  # of all engines, as the scheduler sees them
    waiting: Sequence[Job]  # ours that only room keeps from starting, first ones first
    active: Sequence[Job] = ()
    others: Sequence[ForeignJob] = ()
    kept: Mapping[Place, NodeDrain] = field(default_factory=dict)  # what this platform keeps closed
    moves: Sequence[NodeMove] = ()  # those under way, and those that ended within the cool-down
    away: frozenset[str] = frozenset()
    since: Mapping[str, float] = field(default_factory=dict)  # engine -> since when it has been short


@dataclass(frozen=True)
class Decision:
    target: str = ""  # the engine that gets the machines
    machines: tuple[str, ...] = ()
    since: Mapping[str, float] = field(default_factory=dict)  # for the next snapshot
    short: Mapping[str, int] = field(default_factory=dict)  # engine -> devices that are waited for
    open: Mapping[str, int] = field(default_factory=dict)  # engine -> machines that take work there


def decide(seen: Snapshot) -> Decision:
    policy = seen.policy
    opened = {engine: _open(seen, engine) for engine in policy.engines}
    if seen.away.intersection(policy.engines):
        return Decision(open=opened)  # nobody knows what waits there
    rooms = field_of(seen.nodes, seen.active, seen.others)
    unmet = _unmet(seen, rooms)
    short = {engine: sum(_devices(spec) for spec in unmet[engine]) for engine in policy.engines}
    since = {engine: seen.since.get(engine, seen.now) for engine in policy.engines if short[engine]}
    told = Decision(since=since, short=short, open=opened)
    for needy in policy.engines:
        giver = policy.other(needy)
        if short[needy] and not short[giver] and seen.now - since[needy] >= policy.patience:
            machines = _answer(seen, rooms, needy, unmet[needy], opened[giver] - policy.floor(giver))
            return replace(told, target=needy if machines else "", machines=machines)
    return told


def _answer(seen: Snapshot, rooms: Field, needy: str, unmet: Sequence[JobSpec], spare: int) -> tuple[str, ...]:
    """The machines that go to `needy` now; `spare` is how many the giver has above its floor."""
    going = [move for move in seen.moves if not move.state.final and move.automatic]
    coming = sum(move.target.engine == needy for move in seen.moves if not move.state.final)
    if _came_lately(seen, needy):
        return ()
    able = _candidates(seen, rooms, needy, unmet)
    if not able:
        return ()
    needed = math.ceil(sum(_devices(spec) for spec in unmet) / max(len(able[0].devices), 1)) - coming
    count = min(needed, spare, seen.policy.at_once - len(going))
    return tuple(node.machine for node in able[: max(0, count)])


def _candidates(seen: Snapshot, rooms: Field, needy: str, unmet: Sequence[JobSpec]) -> list[Node]:
    """Nodes of idle machines on the other side that we keep closed on `needy` and that would help there."""
    giver = seen.policy.other(needy)
    busy = {move.machine for move in seen.moves}  # on their way, or tried a moment ago
    touched = {node.machine for node in rooms.touched()}
    there = {node.machine: node for node in seen.nodes if node.engine == needy and node.place in seen.kept}
    here = [node for node in seen.nodes if node.engine == giver and node.schedulable and node.machine in there]
    return [
        node
        for node in sorted(here, key=lambda node: node.name)
        if node.machine not in busy | touched and any(_helps(there[node.machine], spec) for spec in unmet)
    ]


def _helps(node: Node, spec: JobSpec) -> bool:
    return admits(node, spec) and bool(Field.empty([node]).fitting(spec))


def _came_lately(seen: Snapshot, needy: str) -> bool:
    """Whether a machine has left `needy` for the other side so lately that nothing should go back yet."""
    return any(
        move.state is MoveState.DONE
        and move.source.engine == needy
        and move.target.engine == seen.policy.other(needy)
        and seen.now - (move.ended_at or 0.0) < seen.policy.cool_down
        for move in seen.moves
    )


def _unmet(seen: Snapshot, rooms: Field) -> Mapping[str, list[JobSpec]]:
    """By engine what waits for it alone and finds no room; what does is put into `rooms`."""
    unmet: dict[str, list[JobSpec]] = {engine: [] for engine in seen.policy.engines}
    for spec in _wanted(seen):
        engine, placements = rooms.fit(spec)
        if placements:
            rooms.take(spec, engine, placements)
            continue
        able = {node.engine for node in seen.nodes if admits(node, spec)}.intersection(unmet)
        if len(able) == 1:
            unmet[able.pop()].append(spec)
    return unmet


def _wanted(seen: Snapshot) -> Iterable[JobSpec]:
    """What waits for room and asks for devices, others' jobs as if they were ours."""
    for job in seen.waiting:
        if job.spec.resources.accelerators:
            yield job.spec
    for other in seen.others:
        if other.state is JobState.PENDING and other.devices and other.reason not in _NOT_FOR_ROOM:
            each = math.ceil(other.devices / max(other.nodes, 1))
            taints = tuple({taint for node in seen.nodes if node.engine == other.engine for taint in node.taints})
            yield JobSpec(
                command=(other.id,),
                resources=Resources(accelerators=each, cpus=0),
                nodes=max(other.nodes, 1),
                engine=other.engine,
                tolerations=taints,
            )


def _devices(spec: JobSpec) -> int:
    need = spec.resources
    return math.ceil(need.accelerators * need.milli / 1000) * spec.nodes


def _open(seen: Snapshot, engine: str) -> int:
    """Machines with devices that take work on `engine` and are not about to leave it."""
    leaving = Counter(move.source for move in seen.moves if not move.state.final)
    return sum(
        node.engine == engine and node.schedulable and bool(node.devices) and not leaving[node.place]
        for node in seen.nodes
    )
