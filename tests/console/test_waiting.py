"""The drawing of why a job waits."""

from __future__ import annotations

from dataclasses import replace

from stoker.console.waiting import MOST_CELLS, waiting
from stoker.explanation import (
    Because,
    Cause,
    Change,
    ChangeKind,
    Ending,
    Explanation,
    Forecast,
    Holder,
    NodeRefusal,
    Refusal,
    Shield,
    Shielded,
    Victim,
)  # fmt: skip

NOW = 1_000_000.0


def held(until: float | None) -> Holder:
    return Holder("1", "one", "ann", "t", 8, 8, until)


def test_bars_end_where_their_jobs_do_and_the_start_lies_among_them() -> None:
    found = Explanation(
        "9", "mine", NOW, NOW - 60, Because(Cause.RESOURCES, {"devices": 8, "free": 0, "total": 16}),
        holders=(held(NOW + 500), held(NOW + 1000), held(None)),
        forecast=Forecast(NOW + 600, NOW + 1000, NOW + 300, NOW + 900),
    )  # fmt: skip
    drawn = waiting(found, "en")
    assert drawn.axis.seconds == 1020.0
    assert [(bar.width, bar.open) for bar in drawn.bars] == [(49.02, False), (98.04, False), (100.0, True)]
    assert (drawn.axis.low, drawn.axis.at, drawn.axis.high) == (29.41, 58.82, 88.24)
    assert drawn.none_helps
    assert drawn.cause == "it needs 8 devices; 0 of the 16 devices that it could use are free"


def test_each_node_is_drawn_under_what_it_lacks_and_the_rest_is_counted() -> None:
    nodes = tuple(NodeRefusal(f"n{n}", "hpc", Refusal.MODEL) for n in range(MOST_CELLS + 5))
    tainted = NodeRefusal("x", "hpc", Refusal.TAINT, why="edge")
    found = Explanation(
        "9", "mine", NOW, NOW, Because(Cause.STARTING),
        changes=(Change(ChangeKind.TOLERATE, {"taint": "edge"}, 0.2, ("x",)),),
        refusals={Refusal.TAINT: 1, Refusal.MODEL: len(nodes)}, nodes=(*nodes, tainted),
    )  # fmt: skip
    drawn = waiting(found, "zh")
    assert [(row.refusal, row.count, len(row.cells), row.more) for row in drawn.rows] == [
        (Refusal.MODEL, MOST_CELLS + 5, MOST_CELLS, 5),
        (Refusal.TAINT, 1, 1, 0),
    ]
    assert [(step.option, step.text) for step in drawn.steps] == [("--tolerate edge", "容忍污点 edge")]


def test_who_would_be_ended_and_what_is_in_the_way_is_said_in_the_readers_language() -> None:
    victim = Victim("7", "train", "ann", "t", 8, 8, "untold", 90.0)
    found = Explanation("9", "mine", NOW, NOW, Because(Cause.RESOURCES, {"devices": 8, "free": 0, "total": 16}))
    assert waiting(found, "en").toll is None
    could = waiting(replace(found, ending=Ending((victim,), begun=True)), "zh").toll
    assert could is not None
    assert (could.head, could.shields) == ("正在为它让出：", ())
    assert could.victims == ((victim, "损失 1 分 30 秒 的工作：没有任何检查点的记录"),)
    kept = waiting(replace(found, ending=Ending(shielded=(Shielded(Shield.JOB, 2),))), "en").toll
    assert kept is not None
    assert (kept.victims, kept.shields) == ((), ("2: not preemptible",))
