from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.ship.chain import CHAIN, address, key_of, ready, steps_of
from stoker.shipment import Shipment, ShipmentRequest, ShipmentState, Source, Stage, StageRun, StageState


def shipment(**changes: object) -> Shipment:
    request = ShipmentRequest(data="/data", base="tiny", name="support")
    return Shipment(
        id="ship-1",
        request=replace(request, **changes),  # type: ignore[arg-type]
        tenant="default",
        owner="ann",
        state=ShipmentState.RUNNING,
        created_at=0.0,
        sources={"data": Source("/data", "d1"), "base": Source("/tiny", "b1")},
        stages=tuple(StageRun(step.stage) for step in CHAIN),
    )


def finish(given: Shipment, *stages: Stage) -> Shipment:
    runs = tuple(
        replace(run, state=StageState.DONE, key=f"key-{run.stage}") if run.stage in stages else run
        for run in given.stages
    )
    return replace(given, stages=runs)


def step(stage: Stage):  # type: ignore[no-untyped-def]
    return next(one for one in CHAIN if one.stage is stage)


def test_a_stage_is_addressed_by_all_that_it_is_made_from() -> None:
    first = key_of(step(Stage.IMPORT), shipment())
    other_data = replace(shipment(), sources={"data": Source("/data", "d2"), "base": Source("/tiny", "b1")})
    other_place = replace(shipment(), sources={"data": Source("/moved", "d1"), "base": Source("/tiny", "b1")})
    assert first == key_of(step(Stage.IMPORT), shipment())
    assert first != key_of(step(Stage.IMPORT), other_data)
    assert first == key_of(step(Stage.IMPORT), other_place), "the content counts, not where it lies"


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        ({"settings": {"train": {"epochs": 9}}}, True),
        ({"method": "full"}, True),
        ({"settings": {"curate": {"language": "zh"}}}, False),  # seen through the dataset's own address
        ({"name": "other"}, False),
    ],
)
def test_settings_move_the_address_of_their_stage(change: dict[str, object], moves: bool) -> None:
    train = step(Stage.TRAIN)
    plain = key_of(train, finish(shipment(), Stage.CURATE))
    changed = key_of(train, finish(shipment(**change), Stage.CURATE))
    assert (plain != changed) is moves


def test_no_address_before_the_inputs_have_one() -> None:
    assert key_of(step(Stage.TRAIN), shipment()) is None
    assert not ready(step(Stage.TRAIN), shipment())
    assert ready(step(Stage.TRAIN), finish(shipment(), Stage.CURATE))


def test_what_is_not_asked_for_is_not_in_the_chain() -> None:
    stages = [one.stage for one in steps_of(ShipmentRequest(data="d", base="b", name="n", deploy=False))]
    assert stages[-1] is Stage.REGISTER
    stages = [one.stage for one in steps_of(ShipmentRequest(data="d", base="b", name="n", promote=False))]
    assert stages[-1] is Stage.VERIFY


def test_every_need_comes_earlier_in_the_chain() -> None:
    seen: set[Stage] = set()
    for one in CHAIN:
        assert set(one.needs) <= seen
        seen.add(one.stage)


def test_the_address_does_not_depend_on_the_order_of_settings() -> None:
    assert address("train", 1, {"a": 1, "b": 2}, {}) == address("train", 1, {"b": 2, "a": 1}, {})
