"""A pool that is kept from pass to pass decides as a fresh one does, whatever happened in between."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.cluster import Device, Health, Node
from stoker.foreign import ForeignJob, Held
from stoker.job import Job, JobSpec, JobState, Resources
from stoker.schedule import Mix, Policy, Snapshot, decide, mix_of, usual_mix
from stoker.schedule.pool import Pool
from stoker.topology import ANYWHERE, Level, Topology

GIB = 1 << 30
MODELS = ("H100", "T4", "910B", "H100-1g.10gb")
WISHES = st.sampled_from(
    [
        ANYWHERE,
        ANYWHERE,
        Topology(required=Level.LEAF),
        Topology(preferred=Level.LEAF),
        Topology(required=Level.NVLINK),
        Topology(required=Level.POD, preferred=Level.LEAF),
        Topology(spread=Level.LEAF),
    ]
)
PLACES = st.sampled_from(
    [{}, {}, {Level.LEAF: "s1", Level.POD: "p1"}, {Level.LEAF: "s2", Level.POD: "p1"}, {Level.LEAF: "s1"}]
)
SHAPES = st.builds(
    JobSpec,
    command=st.just(("x",)),
    resources=st.builds(
        Resources,
        accelerators=st.integers(0, 4),
        models=st.sampled_from([(), (), ("H100",), ("T4", "910B"), ("mig-1g.10gb",), ("H100-1g.10gb", "T4")]),
        milli=st.sampled_from([1000, 1000, 500, 190]),
        cpus=st.integers(0, 12),
        memory=st.sampled_from([0, 8 * GIB]),
    ),
    nodes=st.sampled_from([1, 1, 1, 2]),
    priority=st.sampled_from([50, 50, 80]),
    time_limit=st.sampled_from([None, 50.0, 500.0]),
    exclusive=st.sampled_from([False, False, False, True]),
    engine=st.sampled_from(["", "", "e", "f"]),
    tolerations=st.sampled_from([(), ("edge",)]),
    topology=WISHES,
)


@st.composite
def nodes(draw: st.DrawFn, name: str, engine: str) -> Node:
    model = st.sampled_from(MODELS)
    kinds = draw(st.one_of(st.lists(model, max_size=4), model.map(lambda one: [one] * 4)))
    health = st.sampled_from([Health.OK, Health.OK, Health.OK, Health.DEGRADED, Health.FAILED])
    joined = draw(st.booleans())
    return Node(
        name,
        engine,
        cpus=draw(st.sampled_from([8, 32])),
        memory=64 * GIB,
        devices=tuple(
            Device(index, kind, health=draw(health), nvlink=str(index // 2) if joined else "")
            for index, kind in enumerate(kinds)
        ),
        domains=draw(PLACES),
        schedulable=draw(st.sampled_from([True, True, True, False])),
        taints=draw(st.sampled_from([(), (), ("edge",)])),
        rations_memory=draw(st.booleans()),
        host=draw(st.sampled_from(["", "shared"])) if name == "n0" else "",
        slots=draw(st.sampled_from([0, 2])),
    )


@dataclass
class World:
    """A pool of nodes as it lives on."""

    now: float = 1000.0
    nodes: list[Node] = field(default_factory=list)
    pending: dict[int, Job] = field(default_factory=dict)
    active: dict[int, Job] = field(default_factory=dict)
    others: list[ForeignJob] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)
    mix: Mix = field(default_factory=usual_mix)
    policy: Policy = field(default_factory=Policy)
    jobs: int = 0

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.now,
            tuple(self.nodes),
            list(self.pending.values()),
            list(self.active.values()),
            away=self.away,
            others=tuple(self.others),
            mix=self.mix,
            policy=self.policy,
        )

    def happen(self, draw: st.DataObject) -> None:
        happenings = [self.submit, self.submit, self.end, self.change, self.grow, self.foreign]
        draw.draw(st.sampled_from(happenings))(draw)
        if draw.draw(st.integers(0, 9)) == 0:
            self.mix = mix_of([job.spec for job in self.pending.values()])
        if draw.draw(st.integers(0, 9)) == 0:
            self.policy = Policy(cpus_wanted=draw.draw(st.sampled_from([0.1, 0.7])), scatter=0.5)
        if draw.draw(st.integers(0, 9)) == 0:
            self.away = draw.draw(st.sampled_from([{}, {"f": "is silent"}]))
        self.now += draw.draw(st.sampled_from([0.0, 10.0, 100.0]))

    def submit(self, draw: st.DataObject) -> None:
        for spec in draw.draw(st.lists(SHAPES, min_size=1, max_size=5)):
            self.jobs += 1
            self.pending[self.jobs] = Job(self.jobs, spec, "t", "o", JobState.PENDING, self.now)

    def end(self, draw: st.DataObject) -> None:
        for _ in range(min(len(self.active), draw.draw(st.integers(1, 3)))):
            del self.active[draw.draw(st.sampled_from(sorted(self.active)))]

    def change(self, draw: st.DataObject) -> None:
        at = draw.draw(st.integers(0, len(self.nodes) - 1))
        self.nodes[at] = draw.draw(nodes(self.nodes[at].name, self.nodes[at].engine))

    def grow(self, draw: st.DataObject) -> None:
        if len(self.nodes) > 3 and draw.draw(st.booleans()):
            self.nodes.pop(draw.draw(st.integers(0, len(self.nodes) - 1)))
        else:
            self.nodes.append(draw.draw(nodes(f"n{len(self.nodes)}x{self.jobs}", draw.draw(st.sampled_from("ef")))))

    def foreign(self, draw: st.DataObject) -> None:
        if len(self.others) > 1:
            self.others.pop()
        node = draw.draw(st.sampled_from(self.nodes))
        indexes = draw.draw(st.sampled_from([(), (0,)]))
        held = Held(node.name, cpus=draw.draw(st.integers(0, 4)), devices=len(indexes) or 1, indexes=indexes)
        self.others.append(ForeignJob(node.engine, str(self.now), "x", "eve", JobState.RUNNING, (held,)))

    def apply(self, draw: st.DataObject, kept: Pool) -> None:
        """Most of what is decided happens; the rest was overtaken."""
        snapshot = self.snapshot()
        plan = decide(snapshot, kept)
        assert plan == decide(snapshot)
        assert plan == decide(snapshot, kept)
        for start in plan.starts:
            job = self.pending[start.job.id]
            if draw.draw(st.integers(0, 4)):
                del self.pending[job.id]
                self.active[job.id] = dataclasses.replace(
                    job,
                    state=JobState.RUNNING,
                    engine=start.engine,
                    placements=start.placements,
                    started_at=self.now,
                )


@settings(max_examples=40, deadline=None)
@given(draw=st.data(), steps=st.integers(3, 12))
def test_a_kept_pool_changes_no_plan(draw: st.DataObject, steps: int) -> None:
    world = World(nodes=[draw.draw(nodes(f"n{at % 3}", "ef"[at // 3])) for at in range(5)])
    kept = Pool()
    for _ in range(steps):
        world.happen(draw)
        world.apply(draw, kept)


@settings(max_examples=40, deadline=None)
@given(draw=st.data(), specs=st.lists(SHAPES, min_size=1, max_size=12))
def test_a_copy_thinks_what_a_fresh_field_thinks(draw: st.DataObject, specs: list[JobSpec]) -> None:
    """Copies take over what the field they come from thinks, also of what it has changed since."""
    there = [draw.draw(nodes(f"n{at}", "e")) for at in range(4)]
    pool = Pool().at(there, ())
    copied = pool.copy()
    for spec in specs:
        for one in (pool, copied) if draw.draw(st.booleans()) else (copied,):
            engine, placements = one.fit(spec)
            fresh = Pool().at(there, ())
            fresh.adopt(one.room, np.arange(len(there)))
            assert fresh.fit(spec) == (engine, placements)
            one.take(spec, engine, placements)
        if draw.draw(st.integers(0, 5)) == 0:
            copied = draw.draw(st.sampled_from([pool, copied])).copy()
    both = pool.meet(copied)
    assert np.array_equal(both.free, np.minimum(pool.free, copied.free))
    for spec in specs:
        fresh = Pool().at(there, ())
        fresh.adopt(both.room, np.arange(len(there)))
        assert both.fit(spec) == fresh.fit(spec)
