"""Machines on their way between engines, as the front page shows them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from stoker.account import Role
from stoker.cluster import Place
from stoker.console.moves import on_the_way, rows
from stoker.node_move import MoveState, NodeMove, Step
from stoker.store.moves import MoveStore
from tests.console.page import Page
from tests.console.platform import platform

SLURM, KUBERNETES = Place("slurm", "gpu3"), Place("kubernetes", "gpu3")
MOVE = NodeMove(0, "gpu3", SLURM, KUBERNETES, MoveState.DRAINING, "ann", 100.0, "move {id}")


@pytest.mark.parametrize(
    ("move", "way"),
    [
        (MOVE, "running waiting waiting"),
        (MOVE.stepped(Step.DRAINED, 1.0), "done running waiting"),
        (
            MOVE.stepped(Step.DRAINED, 1.0).moved(MoveState.OPENING, 2.0).stepped(Step.OPEN, 2.0),
            "done done running",
        ),
        (MOVE.moved(MoveState.DONE, 2.0), "done done done"),
        (MOVE.stepped(Step.DRAINED, 1.0).moved(MoveState.UNDOING, 2.0, "why"), "done failed waiting"),
    ],
)
def test_the_way_says_how_far_it_is(move: NodeMove, way: str) -> None:
    [row] = rows([move], 150.0)
    assert " ".join(stands for _, stands in row.way) == way


def test_what_ended_long_ago_is_not_shown() -> None:
    over = MOVE.moved(MoveState.DONE, 200.0)
    assert len(rows([over], 3000.0)) == 1
    assert rows([over], 4000.0) == []
    assert on_the_way([over, dataclasses.replace(MOVE, machine="b")]) == {SLURM: MOVE} | {
        SLURM: dataclasses.replace(MOVE, machine="b")
    }


def test_the_front_page_tells_and_undoes(tmp_path: Path) -> None:
    with platform(tmp_path / "home") as site:
        store = MoveStore(site.app.database)
        [move] = store.add([dataclasses.replace(MOVE, waits_for="held by slurm job 7 of bob")])
        for language, told in (("en", "Draining"), ("zh", "排空中")):
            with site.visitor(language=language) as visitor:
                html = visitor.get("/").text
            page = Page(html)
            assert not page.raw_keys
            assert not page.unlabelled
            assert told in html
            assert "held by slurm job 7 of bob" in html
        with site.visitor(site.key(Role.USER)) as visitor:
            html = visitor.get("/").text
            assert "slurm → kubernetes" in html
            assert "bob" not in html
            assert "/moves/1/undo" not in html
            assert visitor.post(f"/moves/{move.id}/undo").status_code == 403
        with site.visitor() as visitor:
            assert visitor.post(f"/moves/{move.id}/undo").status_code == 303
            assert "Being put back" in visitor.get("/").text
        assert store.get(move.id).move.message == "undone by admin"
