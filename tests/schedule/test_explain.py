"""Why a job waits: typical situations, and the laws that hold in all of them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.cluster import Device, Health, Node
from stoker.explanation import Accuracy, Because, Cause, Change, ChangeKind, Explanation, Refusal
from stoker.foreign import ForeignJob, Held
from stoker.job import Dependency, Job, JobSpec, JobState, Placement, Resources
from stoker.queue import Queue
from stoker.queue_window import Window
from stoker.schedule import Lasting, Plan, Policy, Ran, Snapshot, decide, explain
from stoker.schedule.policy import Preempt
from stoker.schedule.pool import Pool, field_of
from stoker.schedule.replay import start_of
from stoker.topology import ANYWHERE, Level, Topology, parse_topology

NOW = 1_000_000.0


def node(name: str, *, cpus: int = 16, gpus: int = 0, model: str = "H100", **fields: object) -> Node:
    devices = tuple(Device(index, model) for index in range(gpus))
    return Node(name, str(fields.pop("engine", "hpc")), cpus, 64 << 30, devices, **fields)  # type: ignore[arg-type]


def need(**fields: object) -> Resources:
    return Resources(**fields)  # type: ignore[arg-type]


def gpus(count: int, **fields: object) -> Resources:
    return need(accelerators=count, **fields)


def job(number: int, **fields: object) -> Job:
    spec = fields.pop("spec", None) or JobSpec(command=("x",), name=f"job-{number}", **fields)  # type: ignore[arg-type]
    assert isinstance(spec, JobSpec)
    return Job(number, spec, "t", "o", JobState.PENDING, NOW - 100)


def running(number: int, *placements: Placement, engine: str = "hpc", ago: float = 10.0, **fields: object) -> Job:
    of = job(number, **fields)
    return replace(of, state=JobState.RUNNING, started_at=NOW - ago, placements=placements, engine=engine)


def on(name: str, *devices: int) -> Placement:
    return Placement(name, devices)


def ask(nodes: list[Node], pending: list[Job], active: list[Job] | None = None, **fields: object) -> Explanation:
    """Of the last pending job."""
    snapshot = Snapshot(NOW, nodes, pending, active or [], **fields)  # type: ignore[arg-type]
    return explain(snapshot, pending[-1])


def offered(found: Explanation) -> dict[ChangeKind, Mapping[str, object]]:
    return {change.kind: change.values for change in found.changes}


# typical situations


def test_all_is_in_use() -> None:
    found = ask([node("a", gpus=2)], [job(2, resources=gpus(2))], [running(1, on("a", 0, 1), resources=gpus(2))])
    assert found.because.cause is Cause.RESOURCES
    assert found.because.values["free"] == 0
    assert [(holder.job, holder.devices, holder.until) for holder in found.holders] == [("1", 2, None)]
    assert found.refusals == {Refusal.DEVICES: 1}
    assert found.forecast.at is None
    assert found.forecast.why == "endless"


def test_enough_is_free_but_in_slivers() -> None:
    nodes = [node(name, gpus=4) for name in "ab"]
    active = [running(number, on(name, 0, 1), resources=gpus(2)) for number, name in enumerate("ab", 1)]
    found = ask(nodes, [job(9, resources=gpus(4))], active)
    assert found.because.cause is Cause.FRAGMENTATION
    assert (found.because.values["free"], found.because.values["largest"]) == (4, 2)
    assert found.because.values["slivers"] == 2
    assert offered(found)[ChangeKind.DEVICES] == {"devices": 2, "was": 4}


def test_devices_are_free_without_cpus_beside_them() -> None:
    active = [running(1, on("a"), resources=need(cpus=14))]
    found = ask([node("a", gpus=4)], [job(2, resources=gpus(2, cpus=8))], active)
    assert found.because.cause is Cause.FRAGMENTATION
    assert found.because.values["starved"] == 1
    assert found.refusals == {Refusal.CPUS: 1}
    assert offered(found)[ChangeKind.CPUS] == {"cpus": 2, "was": 8}


def test_memory_is_short() -> None:
    active = [running(1, on("a"), resources=need(memory=60 << 30))]
    found = ask([node("a", gpus=4)], [job(2, resources=gpus(2, memory=8 << 30))], active)
    assert found.refusals == {Refusal.MEMORY: 1}
    assert offered(found)[ChangeKind.MEMORY] == {"memory_bytes": 4 << 30, "was_bytes": 8 << 30}


def test_another_model_is_free() -> None:
    nodes = [node("a", gpus=2), node("b", gpus=2, model="H20")]
    active = [running(1, on("a", 0, 1), resources=gpus(2))]
    found = ask(nodes, [job(2, resources=gpus(2, models=("H100",)))], active)
    assert found.because.cause is Cause.RESOURCES
    assert found.refusals == {Refusal.DEVICES: 1, Refusal.MODEL: 1}
    assert offered(found)[ChangeKind.MODEL] == {"model": "H20", "models": "H100", "devices": 2}
    assert found.changes[0].where == ("b",)


def test_fewer_nodes_would_do() -> None:
    nodes = [node(name, gpus=2) for name in "abc"]
    active = [running(1, on("a", 0, 1), resources=gpus(2))]
    found = ask(nodes, [job(2, nodes=3, resources=gpus(2))], active)
    assert offered(found)[ChangeKind.NODES] == {"nodes": 2, "was": 3}
    assert found.refusals == {Refusal.DEVICES: 1, Refusal.FREE: 2}


@pytest.mark.parametrize(
    ("special", "cause", "refusal"),
    [
        (node("b", gpus=4, taints=("team=speech",)), Cause.TAINTS, Refusal.TAINT),
        (node("b", gpus=4, schedulable=False, reason="fan"), Cause.DRAINED, Refusal.DRAINED),
        (
            replace(node("b"), devices=tuple(Device(n, "H100", health=Health.FAILED) for n in range(4))),
            Cause.FAILED_DEVICES,
            Refusal.FAILED,
        ),
        (node("b", gpus=2), Cause.NEVER, Refusal.SMALL),
    ],
)
def test_only_a_node_that_is_kept_back_could_hold_it(special: Node, cause: Cause, refusal: Refusal) -> None:
    found = ask([node("a", gpus=1), special], [job(1, resources=gpus(4))])
    assert found.because.cause is cause
    assert found.refusals[refusal] >= 1
    assert (ChangeKind.TOLERATE in offered(found)) == (cause is Cause.TAINTS)


def test_the_engine_that_could_hold_it_is_away() -> None:
    nodes = [node("a", engine="local"), node("b", gpus=4)]
    found = ask(nodes, [job(1, resources=gpus(4))], away={"hpc": "no route to host"})
    assert found.because.cause is Cause.ENGINE_AWAY
    assert found.because.values["engine"] == "hpc"
    assert found.refusals == {Refusal.AWAY: 1, Refusal.SMALL: 1} or found.refusals[Refusal.AWAY] == 1


def test_room_is_kept_for_a_gang_ahead() -> None:
    active = [running(1, on("a", 0, 1), resources=gpus(2), time_limit=3600.0)]
    pending = [job(2, resources=gpus(4), priority=70), job(3, resources=gpus(2))]
    found = ask([node("a", gpus=4)], pending, active)
    assert found.because.cause is Cause.RESERVATION
    assert found.because.values["job"] == "2"
    assert found.because.values["in_s"] == 3600 - 10 + 30
    assert offered(found) == {
        ChangeKind.SHORTER: {"limit_s": 3540.0},
        ChangeKind.PRIORITY: {"priority": 71, "was": 50},
    }
    assert found.refusals == {Refusal.RESERVED: 1}
    assert (found.line.ahead, found.line.rivals) == (1, 1)


def test_those_ahead_take_what_is_free() -> None:
    pending = [job(1, resources=gpus(2)), job(2, resources=gpus(2))]
    found = ask([node("a", gpus=2)], pending)
    assert found.because.cause is Cause.PRIORITY


def test_what_has_nothing_to_do_with_room() -> None:
    active = [running(1, on("a"))]
    depends = job(2, depends=(Dependency(1),))
    assert ask([node("a")], [depends], active, depended={1: (JobState.RUNNING,)}).because.cause is Cause.DEPENDENCY
    later = replace(job(2), not_before=NOW + 60, attempt=1)
    found = ask([node("a")], [later])
    assert (found.because.cause, found.because.values["in_s"]) == (Cause.BEGIN_TIME, 60.0)
    element = replace(job(3, array_limit=1), array_id=1, array_index=1)
    found = ask([node("a")], [element], [replace(active[0], array_id=1, array_index=0)])
    assert found.because.cause is Cause.ARRAY_LIMIT
    assert offered(found) == {ChangeKind.ARRAY: {"limit": 2, "was": 1}}


def test_nothing_keeps_it() -> None:
    assert ask([node("a")], [job(1)]).because.cause is Cause.STARTING
    snapshot = Snapshot(NOW, [node("a")], [], [])
    assert explain(snapshot, job(1), Plan()).because.cause is Cause.UNDECIDED


def test_only_those_ahead_that_want_the_same_nodes_matter() -> None:
    nodes = [node("a", gpus=2), node("b", gpus=2, model="H20")]
    active = [
        running(1, on("a", 0, 1), resources=gpus(2), time_limit=600.0),
        running(2, on("b", 0, 1), resources=gpus(2), time_limit=600.0),
    ]
    h20 = job(3, resources=gpus(2, models=("H20",)))
    h100 = job(4, resources=gpus(2, models=("H100",)))
    mine = job(5, resources=gpus(2, models=("h100",)))
    found = ask(nodes, [h20, h100, mine], active)
    assert (found.line.ahead, found.line.rivals) == (2, 1)
    assert [one.job for one in found.line.first] == ["4"]
    assert [holder.job for holder in found.holders] == ["1"]


def test_jobs_of_others_hold_something_too() -> None:
    others = (ForeignJob("hpc", "77", "secret", "eve", JobState.RUNNING, (Held("a", 1, 0, 2, (0, 1)),)),)
    found = ask([node("a", gpus=2)], [job(1, resources=gpus(2))], others=others)
    assert [(holder.job, holder.engine, holder.devices) for holder in found.holders] == [("77", "hpc", 2)]


def test_a_quota_keeps_it() -> None:
    queues = (Queue("small", ceiling=4.0), Queue("big"))
    active = [running(1, on("a", 0, 1), resources=gpus(2), queue="small")]
    found = ask([node("a", gpus=8)], [job(2, resources=gpus(4), queue="small")], active, queues=queues)
    assert found.because.cause is Cause.QUOTA
    told = {name: found.because.values[name] for name in ("limit", "queue", "most", "held", "wanted")}
    assert told == {"limit": "ceiling", "queue": "small", "most": 4.0, "held": 2.0, "wanted": 4.0}
    assert offered(found) == {
        ChangeKind.QUEUE: {"queue": "big", "was": "small"},
        ChangeKind.DEVICES: {"devices": 2, "was": 4},
    }


QUEUED = (
    Queue("mine", ceiling=2.0),
    Queue("theirs", tenants=("u",)),
    Queue("open"),
    Queue("top"),
    Queue("low", "top"),
)


def test_another_queue_that_its_owner_may_use_would_start_it() -> None:
    active = [running(1, on("a", 0, 1), resources=gpus(2), queue="mine")]
    found = ask([node("a", gpus=4)], [job(2, resources=gpus(2), queue="mine")], active, queues=QUEUED)
    assert (found.because.cause, found.because.values["limit"]) == (Cause.QUOTA, "ceiling")
    assert offered(found)[ChangeKind.QUEUE] == {"queue": "default", "was": "mine"}
    named = (*QUEUED, Queue("default", ceiling=0.0))
    elsewhere = ask([node("a", gpus=4)], [job(2, resources=gpus(2), queue="mine")], active, queues=named)
    assert offered(elsewhere)[ChangeKind.QUEUE] == {"queue": "low", "was": "mine"}


def test_in_another_queue_it_would_start_sooner_behind_those_that_wait_there() -> None:
    """What job 1 frees after 100 s goes to job 2, which waits in the other queue; its own is full for longer."""
    active = [
        running(1, on("a", 0, 1), resources=gpus(2), queue="open", time_limit=100.0, ago=0.0),
        running(5, on("b", 0, 1), resources=gpus(2), queue="mine", time_limit=5000.0, ago=0.0),
    ]
    waits = job(2, resources=gpus(2), queue="open", time_limit=300.0)
    mine = job(3, resources=gpus(2), queue="mine", time_limit=300.0)
    queues = (Queue("mine", ceiling=2.0), Queue("open"), Queue("default", ceiling=0.0))
    found = ask([node("a", gpus=2), node("b", gpus=2)], [waits, mine], active, queues=queues)
    assert found.forecast.at == NOW + 5000
    (change,) = found.sooner
    assert change.values == {"queue": "open", "was": "mine", "in_s": 400.0, "at": NOW + 400}
    assert not found.at_once


def test_a_limit_that_a_window_replaces_says_when() -> None:
    closed = Queue("q", ceiling=0.0, windows=(Window("Mon-Sun 20:00-21:00", ceiling=4.0),))
    found = ask([node("a", gpus=4)], [job(2, resources=gpus(2), queue="q")], queues=(closed,))
    assert found.because.values["changes_in_s"] == closed.next_change(NOW) - NOW


def test_a_queue_keeps_room_for_who_has_waited_too_long() -> None:
    """Job 1 is overdue and waits for a whole node; what the queue deserves is kept for it beside what runs."""
    queue = Queue("q", deserved=3.0, patience=50.0)
    active = [running(9, on("b", 0, 1), resources=gpus(2), queue="q", time_limit=1000.0, ago=0.0)]
    overdue = job(1, resources=gpus(2, models=("H20",)), queue="q", time_limit=500.0)
    held_back = replace(job(2, resources=gpus(1), queue="q", time_limit=5000.0), submitted_at=NOW - 10)
    nodes = [node("a", gpus=2), node("b", gpus=2, model="H20")]
    found = ask(nodes, [overdue, held_back], active, queues=(queue,))
    assert found.because == Because(Cause.RESERVATION, {"job": "1", "queue": "q", "overdue": 1})


def test_a_deadline_says_when_it_must_begin() -> None:
    found = ask([node("a")], [job(1, resources=gpus(2), time_limit=600.0, deadline=NOW + 1000)])
    assert found.must_begin == NOW + 400


def _leaf(name: str, leaf: str, **fields: object) -> Node:
    return replace(node(name, gpus=2, **fields), domains={Level.LEAF: leaf})  # type: ignore[arg-type]


def test_enough_is_free_but_not_in_one_leaf() -> None:
    nodes = [_leaf("a", "x"), _leaf("b", "x"), _leaf("c", "y"), _leaf("d", "y")]
    active = [running(1, on("a", 0, 1), resources=gpus(2)), running(2, on("c", 0, 1), resources=gpus(2))]
    wants = job(3, nodes=2, resources=gpus(2), topology=Topology(required=Level.LEAF))
    found = ask(nodes, [wants], active)
    assert found.because.cause is Cause.TOPOLOGY
    told = {name: found.because.values[name] for name in ("level", "roomy", "largest")}
    assert told == {"level": "leaf", "roomy": 2, "largest": 1}
    assert offered(found)[ChangeKind.TOPOLOGY] == {"level": "leaf", "topology": "preferred=leaf"}


def test_free_devices_are_not_joined_by_nvlink() -> None:
    pairs = tuple(Device(number, "H100", nvlink=str(number // 2)) for number in range(4))
    active = [running(1, on("a", 0), resources=gpus(1)), running(2, on("a", 2), resources=gpus(1))]
    wants = job(3, resources=gpus(2), topology=Topology(required=Level.NVLINK))
    found = ask([replace(node("a"), devices=pairs)], [wants], active)
    assert (found.because.cause, found.refusals) == (Cause.TOPOLOGY, {Refusal.TOPOLOGY: 1})


def test_others_are_being_ended_for_it() -> None:
    active = [running(1, on("a", 0, 1), resources=gpus(2), preemptible=True, ago=7200.0)]
    found = ask([node("a", gpus=2)], [job(2, resources=gpus(2), priority=90)], active)
    assert (found.because.cause, found.because.values) == (Cause.PREEMPTING, {"giving_way": "1"})
    assert found.forecast.at is not None
    assert found.forecast.at >= NOW + 30


# the forecast


def test_it_starts_when_others_have_had_their_time_alone() -> None:
    """A minute is everybody's (`Policy.min_runtime`); then a lower priority goes, within its grace."""
    lower = running(1, on("a", 0, 1), resources=gpus(2), preemptible=True, ago=20.0, priority=10, time_limit=7200.0)
    found = ask([node("a", gpus=2)], [job(2, resources=gpus(2), priority=60)], [lower])
    assert found.forecast.at == found.forecast.latest == found.at + 40.0 + lower.spec.grace
    patient = replace(lower, spec=replace(lower.spec, preemptible=False))
    later = ask([node("a", gpus=2)], [job(2, resources=gpus(2), priority=60)], [patient])
    assert later.forecast.latest == later.at + 7180.0 + lower.spec.grace


def test_the_start_follows_from_limits_and_from_how_long_such_jobs_really_ran() -> None:
    active = [running(1, on("a", 0, 1), resources=gpus(2), time_limit=1000.0, ago=100.0)]
    snapshot = Snapshot(NOW, [node("a", gpus=2)], [job(2, resources=gpus(2))], active)
    bare = explain(snapshot, snapshot.pending[0]).forecast
    assert (bare.at, bare.latest, bare.low, bare.learnt) == (NOW + 900, NOW + 930, None, 0)
    (wait,) = explain(snapshot, snapshot.pending[0]).changes
    assert (wait.kind, wait.values, wait.where) == (ChangeKind.WAIT, {"in_s": 930.0, "at": NOW + 930}, ("a",))
    lasting = Lasting([Ran(("t", "o"), 2, 1000.0, 400.0)] * 5)
    accuracy = Accuracy(10, 0.5, 1.0, 1.5)
    learnt = explain(snapshot, snapshot.pending[0], lasting=lasting, accuracy=accuracy).forecast
    assert (learnt.at, learnt.low, learnt.high) == (NOW + 300, NOW + 150, NOW + 450)
    assert (learnt.latest, learnt.learnt) == (NOW + 930, 5)


def test_those_ahead_run_first() -> None:
    active = [running(1, on("a", 0, 1), resources=gpus(2), time_limit=100.0, ago=0.0)]
    pending = [job(number, resources=gpus(2), time_limit=100.0) for number in (2, 3, 4)]
    found = ask([node("a", gpus=2)], pending, active)
    assert found.forecast.at == NOW + 300
    assert found.forecast.latest == NOW + 3 * 130


def test_who_is_small_enough_passes_those_ahead() -> None:
    """Job 3 waits for all of both nodes, which job 2 has for long; what job 1 frees is nobody's meanwhile."""
    active = [
        running(1, on("a", 0, 1), resources=gpus(2), time_limit=100.0, ago=0.0),
        running(2, on("b", 0, 1), resources=gpus(2), time_limit=9000.0, ago=0.0),
    ]
    wide = job(3, resources=gpus(2), nodes=2, time_limit=1000.0)
    small = job(4, resources=gpus(2), time_limit=1000.0)
    snapshot = Snapshot(NOW, [node("a", gpus=2), node("b", gpus=2)], [wide, small], active)
    assert explain(snapshot, small, offer=False).forecast.at == NOW + 100
    long = replace(small, spec=replace(small.spec, time_limit=20000.0))
    patient = explain(replace(snapshot, pending=[wide, long]), long, offer=False).forecast
    assert patient.at == NOW + 10000


def test_a_quota_is_waited_for_too() -> None:
    active = [running(1, on("a", 0, 1), resources=gpus(2), time_limit=100.0, ago=0.0, queue="q")]
    window = Window("Mon-Sun 20:00-21:00", ceiling=4.0)
    wants = [job(number, resources=gpus(2), time_limit=500.0, queue="q") for number in (2, 3)]
    snapshot = Snapshot(NOW, [node("a", gpus=8)], wants, active, queues=(Queue("q", ceiling=2.0),))
    when = [explain(snapshot, one, offer=False).forecast for one in wants]
    assert [(one.at, one.latest) for one in when] == [(NOW + 100, None), (NOW + 600, None)]
    closed = replace(snapshot, queues=(Queue("q", ceiling=0.0, windows=(window,)),))
    opens = explain(closed, wants[0], offer=False).forecast.at
    assert opens == closed.queues[0].next_change(NOW)
    never = replace(snapshot, queues=(Queue("q", ceiling=0.0),))
    assert explain(never, wants[0], offer=False).forecast.why == "blocked"


def test_how_long_a_job_lasts_is_learnt_from_its_like() -> None:
    ann = [Ran(("t", "ann"), 8, 1000.0, seconds) for seconds in (100.0, 200.0, 300.0, 400.0, 500.0)]
    bob = [Ran(("t", "bob"), 8, None, 60.0)] * 5
    lasting = Lasting([*ann, *bob])
    one = job(1, resources=gpus(8), time_limit=2000.0)
    assert lasting.left(replace(one, owner="ann")) == 600.0
    assert lasting.left(replace(one, owner="ann"), elapsed=850.0) == pytest.approx(150.0)
    assert lasting.left(replace(one, owner="ann"), elapsed=1500.0) == 500.0  # longer than any: its limit is left
    assert lasting.left(replace(job(1, resources=gpus(8)), owner="bob")) == 60.0
    assert Lasting().left(job(1)) is None


# laws

_ROOM = (Refusal.FREE, Refusal.RESERVED)

SPECS = st.builds(
    JobSpec,
    command=st.just(("x",)),
    resources=st.builds(
        Resources,
        accelerators=st.integers(0, 4),
        models=st.sampled_from([(), (), ("H100",), ("H20",), ("T4", "H20")]),
        milli=st.sampled_from([1000, 1000, 500]),
        cpus=st.integers(1, 12),
        memory=st.sampled_from([0, 0, 8 << 30, 48 << 30]),
    ),
    nodes=st.integers(1, 3),
    priority=st.sampled_from([20, 50, 70, 100]),
    time_limit=st.sampled_from([None, 120.0, 3600.0, 86400.0]),
    tolerations=st.sampled_from([(), (), ("edge",)]),
    engine=st.sampled_from(["", "", "hpc"]),
    exclusive=st.sampled_from([False, False, False, True]),
    array_limit=st.sampled_from([0, 0, 1]),
    queue=st.sampled_from(["", "small", "big"]),
    preemptible=st.sampled_from([False, False, True]),
    min_nodes=st.sampled_from([0, 0, 1]),
    topology=st.sampled_from([ANYWHERE, ANYWHERE, Topology(required=Level.LEAF), Topology(required=Level.NVLINK)]),
)
QUEUES = st.sampled_from(
    [
        (),
        (),
        (Queue("small", ceiling=2.0), Queue("big", deserved=8.0), Queue("none", weight=0.0)),
        (Queue("small", ceiling_of={"H100": 1.0}), Queue("big", user_jobs=1)),
    ]
)
NODES = st.builds(
    lambda cpus, devices, model, engine, taints, open_, leaf: Node(
        "", engine, cpus, 64 << 30,
        tuple(
            Device(n, model, health=Health.FAILED if failed else Health.OK, nvlink=str(n // 2))
            for n, failed in enumerate(devices)
        ),
        taints=taints, schedulable=open_, domains={Level.LEAF: leaf} if leaf else {},
    ),
    st.sampled_from([4, 8, 16]),
    st.lists(st.sampled_from([False, False, False, True]), max_size=4),
    st.sampled_from(["H100", "H20", "T4"]),
    st.sampled_from(["hpc", "hpc", "k8s"]),
    st.sampled_from([(), (), ("edge",)]),
    st.sampled_from([True, True, True, False]),
    st.sampled_from(["", "one", "one", "two"]),
)  # fmt: skip


@st.composite
def settled(draw: st.DrawFn) -> Snapshot:
    """A pool after a pass: what fits runs, the rest waits."""
    nodes = [replace(one, name=f"n{n}") for n, one in enumerate(draw(st.lists(NODES, max_size=5)))]
    specs = draw(st.lists(SPECS, min_size=1, max_size=10))
    jobs = [
        replace(job(n), spec=spec, array_id=1 if spec.array_limit else None, array_index=n)
        for n, spec in enumerate(specs, start=1)
    ]
    away = draw(st.sampled_from([{}, {}, {}, {"k8s": "no answer"}]))
    queues = draw(QUEUES)
    first = Snapshot(NOW, nodes, jobs[: len(jobs) // 2], [], away=away, queues=queues)
    ago: float = draw(st.sampled_from([0.0, 60.0, 3000.0]))
    active = [
        running(start.job.id, *start.placements, engine=start.engine, ago=ago, spec=start.job.spec)
        for start in decide(first).starts
    ]
    begun = {one.id for one in active}
    waiting = [one for one in jobs if one.id not in begun]
    depends: bool = draw(st.booleans())
    if waiting and depends:
        waiting[-1] = replace(waiting[-1], spec=replace(waiting[-1].spec, depends=(Dependency(1),)))
    return Snapshot(NOW + 1, nodes, waiting, active, depended={1: (JobState.RUNNING,)}, away=away, queues=queues)


def changed(spec: JobSpec, change: Change) -> JobSpec:
    """What a user would ask for who follows the advice."""
    values, asked = change.values, spec.resources
    match change.kind:
        case ChangeKind.DEVICES:
            return replace(spec, resources=replace(asked, accelerators=values["devices"]))  # type: ignore[arg-type]
        case ChangeKind.NODES:
            return replace(spec, nodes=int(values["nodes"]), min_nodes=min(spec.min_nodes, int(values["nodes"])))
        case ChangeKind.CPUS:
            return replace(spec, resources=replace(asked, cpus=values["cpus"]))  # type: ignore[arg-type]
        case ChangeKind.MEMORY:
            return replace(spec, resources=replace(asked, memory=values["memory_bytes"]))  # type: ignore[arg-type]
        case ChangeKind.MODEL:
            return replace(spec, resources=replace(asked, models=(*asked.models, str(values["model"]))))
        case ChangeKind.TOLERATE:
            return replace(spec, tolerations=(*spec.tolerations, *str(values["taint"]).split(", ")))
        case ChangeKind.SHORTER:
            return replace(spec, time_limit=float(values["limit_s"]))
        case ChangeKind.ENGINE:
            return replace(spec, engine="", sites=())
        case ChangeKind.TOPOLOGY:
            return replace(spec, topology=parse_topology(str(values["topology"])))
        case ChangeKind.QUEUE:
            return replace(spec, queue=str(values["queue"]))
        case ChangeKind.SHARED:
            return replace(spec, exclusive=False)
        case ChangeKind.PRIORITY:
            return replace(spec, priority=values["priority"])  # type: ignore[arg-type]
        case ChangeKind.ARRAY:
            return replace(spec, array_limit=values["limit"])  # type: ignore[arg-type]
    raise AssertionError(change.kind)


@settings(deadline=None, max_examples=60)
@given(settled())
def test_every_waiting_job_has_one_cause_and_every_node_one_refusal(snapshot: Snapshot) -> None:
    plan = decide(snapshot)
    for one in snapshot.pending:
        left = field_of([node for node in snapshot.nodes if node.engine not in snapshot.away], snapshot.active)
        for start in plan.starts:
            if start.job.id != one.id:
                left.take(start.job.spec, start.engine, start.placements)
        found = explain(snapshot, one, plan, nodes=True)
        started = any(start.job.id == one.id for start in plan.starts)
        assert (found.because.cause is Cause.STARTING) == started
        assert found.because.cause is not Cause.UNDECIDED
        assert sum(found.refusals.values()) == len(snapshot.nodes) == len(found.nodes)
        told = [line.refusal for line in found.nodes]
        room = {(line.engine, line.node) for line in found.nodes if line.refusal in _ROOM}
        assert room == {(node.engine, node.name) for node in left.fitting(one.spec)}
        assert {refusal: told.count(refusal) for refusal in told} == found.refusals


@settings(deadline=None, max_examples=60)
@given(settled())
def test_each_change_that_is_offered_starts_the_job(snapshot: Snapshot) -> None:
    plan = decide(snapshot)
    for one in snapshot.pending:
        for change in explain(snapshot, one, plan).changes:
            if change.kind is ChangeKind.WAIT:
                continue
            other = dataclasses.replace(one, spec=changed(one.spec, change))
            pending = [other if other.id == each.id else each for each in snapshot.pending]
            starts = decide(replace(snapshot, pending=pending)).starts
            assert other.id in {start.job.id for start in starts}, (change, one)


@settings(deadline=None, max_examples=60)
@given(settled())
def test_who_has_waited_until_then_starts(snapshot: Snapshot) -> None:
    plan = decide(snapshot)
    for one in snapshot.pending:
        for change in explain(snapshot, one, plan).changes:
            if change.kind is not ChangeKind.WAIT:
                continue
            at = float(change.values["at"])
            left = [
                job for job in snapshot.active
                if job.spec.time_limit is None or (job.started_at or 0) + job.spec.time_limit + job.spec.grace > at
            ]  # fmt: skip
            starts = decide(replace(snapshot, now=at, active=left)).starts
            assert one.id in {start.job.id for start in starts}, change


@settings(deadline=None, max_examples=60)
@given(settled())
def test_a_job_that_no_empty_node_could_hold_never_waits_for_room(snapshot: Snapshot) -> None:
    empty = replace(snapshot, active=[], pending=[])
    plan = decide(snapshot)
    for one in snapshot.pending:
        cause = explain(snapshot, one, plan).because.cause
        alone = decide(replace(empty, pending=[replace(one, spec=replace(one.spec, depends=()))]))
        if cause in (Cause.NEVER, Cause.TAINTS, Cause.DRAINED, Cause.FAILED_DEVICES):
            assert not alone.starts
        elif cause in (Cause.RESOURCES, Cause.FRAGMENTATION, Cause.RESERVATION, Cause.PRIORITY):
            assert alone.starts


@given(settled(), st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_jobs_start_when_they_were_foretold_if_all_last_as_long_as_expected(
    snapshot: Snapshot, draw: random.Random
) -> None:
    """Nobody is displaced, and nobody new comes: then the replay is what happens."""
    snapshot = replace(snapshot, policy=Policy(preempt=Preempt.NEVER))
    jobs = [*snapshot.pending, *snapshot.active]
    lengths = {one.id: draw.uniform(1.0, 900.0) for one in jobs}

    def left(one: Job, elapsed: float) -> float:
        return max(0.0, lengths[one.id] - elapsed)

    plan = decide(snapshot)
    for one in snapshot.pending[-1:]:
        assert start_of(one, snapshot, plan, snapshot.pending, left, Pool()) == _began(snapshot, one, lengths)


def _began(snapshot: Snapshot, wanted: Job, lengths: Mapping[int, float]) -> float | None:
    """When `wanted` starts, from one end to the next."""
    now, waiting, runs = snapshot.now, list(snapshot.pending), list(snapshot.active)
    ends = {one.id: now + max(0.0, lengths[one.id] - (now - (one.started_at or now))) for one in runs}
    while True:
        starts = {
            start.job.id: start for start in decide(replace(snapshot, now=now, pending=waiting, active=runs)).starts
        }
        if wanted.id in starts:
            return now
        for start in starts.values():
            ends[start.job.id] = now + lengths[start.job.id]
            begun = replace(start.job, state=JobState.RUNNING, started_at=now)
            runs.append(replace(begun, engine=start.engine, placements=start.placements))
        waiting = [one for one in waiting if one.id not in starts]
        if not runs:
            return None
        now = min(ends[one.id] for one in runs)
        runs = [one for one in runs if ends[one.id] > now]
