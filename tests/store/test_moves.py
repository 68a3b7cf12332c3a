"""Moves, drains and policies in the database."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.balance import Balance
from stoker.cluster import Place
from stoker.errors import Conflict, NotFound
from stoker.node_drain import NodeDrain
from stoker.node_move import MoveState, NodeMove, Step
from stoker.store.balances import BalanceStore
from stoker.store.database import Database
from stoker.store.drains import DrainStore
from stoker.store.moves import MoveStore

SLURM, KUBERNETES = Place("slurm", "gpu3"), Place("kubernetes", "gpu3.pool")
DRAIN = NodeDrain(KUBERNETES, "stoker: 盘坏了", "ann", 5.0, 3, "moved")
DRAFT = NodeMove(
    0, "gpu3", SLURM, KUBERNETES, MoveState.DRAINING, "ann", 5.0, "move {id} to kubernetes", parked=DRAIN
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/test.db")
    database.migrate()
    yield database
    database.close()


def test_a_move_comes_back_as_it_was_stored(database: Database) -> None:
    store = MoveStore(database)
    other = dataclasses.replace(DRAFT, machine="gpu4")
    first, second = store.add([DRAFT, other])
    assert (first.id, second.id, second.drain_reason) == (1, 2, "move 2 to kubernetes")
    stepped = first.stepped(Step.DRAIN, 6.0).stepped(Step.DRAINED, 7.0)
    assert store.save(stepped, 1)
    kept = store.get(1)
    assert (kept.move, kept.revision) == (stepped, 2)
    assert kept.move.source == SLURM
    assert not store.save(first, 1)  # somebody was quicker
    assert [one.move.id for one in store.going()] == [1, 2]


def test_a_machine_is_moved_once_at_a_time_and_all_or_none_begin(database: Database) -> None:
    store = MoveStore(database)
    [move] = store.add([DRAFT])
    with pytest.raises(Conflict, match="gpu3 is being moved already"):
        store.add([dataclasses.replace(DRAFT, machine="gpu4"), DRAFT])
    assert [one.id for one in store.find(limit=10)] == [move.id]
    assert store.save(move.moved(MoveState.UNDOING, 8.0, "why").moved(MoveState.UNDONE, 9.0), 1)
    assert store.going() == []
    [again] = store.add([DRAFT])
    assert [one.id for one in store.find(limit=10)] == [again.id, move.id]
    assert store.get(move.id).move.message == "why"


@pytest.mark.parametrize("number", [0, -1, 99, 2**70])
def test_there_is_no_such_move(database: Database, number: int) -> None:
    with pytest.raises(NotFound, match=f"no move {number}"):
        MoveStore(database).get(number)


def test_a_node_is_kept_closed_for_one_reason(database: Database) -> None:
    store = DrainStore(database)
    assert store.add(DRAIN)
    assert not store.add(dataclasses.replace(DRAIN, reason="another"))
    assert store.all() == {KUBERNETES: DRAIN}
    assert not store.remove(dataclasses.replace(DRAIN, reason="another"))
    store.confirm(DRAIN)
    assert store.all() == {KUBERNETES: dataclasses.replace(DRAIN, told=True)}
    assert store.remove(DRAIN)  # the same, whether told or not
    assert not store.remove(DRAIN)
    store.confirm(DRAIN)
    assert store.all() == {}


def test_one_policy_for_a_pair_whichever_is_named_first(database: Database) -> None:
    store = BalanceStore(database)
    store.put(Balance(("slurm", "kubernetes"), {"slurm": 2}))
    store.put(Balance(("kubernetes", "slurm"), {"slurm": 3}, at_once=1))
    assert store.all() == [Balance(("kubernetes", "slurm"), {"slurm": 3}, at_once=1)]
    assert store.remove("kubernetes slurm")
    assert not store.remove("kubernetes slurm")
