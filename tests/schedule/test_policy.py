"""Policy: bounds, and how people write one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import stoker
from stoker.errors import BadInput
from stoker.schedule.policy import BOUNDS, Order, Policy, Preempt, parse
from stoker.typed import dump, read


def test_settings_are_read_by_name_and_the_others_stay() -> None:
    base = Policy(turn=7.0)
    policy = parse("order=least-service, service-unit=7200, preempt=equals,lend=false", base)
    assert policy == Policy(Order.LEAST_SERVICE, service_unit=7200.0, preempt=Preempt.EQUALS, lend=False, turn=7.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ordr=shortest", "near names: order"),
        ("xyz=1", "there are order, backfill"),
        ("order=fastest", "order"),
        ("turn", "turn=VALUE"),
        ("turn=-1", "allowed is 0 to"),
        ("turn=nan", "turn"),
        ("service_step=1", "1.01"),
    ],
)
def test_wrong_ones_are_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as raised:
        parse(text)
    assert "\n" not in str(raised.value)


def test_it_survives_being_written_down() -> None:
    policy = parse("order=likely-end,stream=50,lend=no")
    assert read(Policy, dump(policy)) == policy


def test_every_number_has_bounds_around_its_default() -> None:
    numbers = {one.name for one in dataclasses.fields(Policy) if type(one.default) in (int, float)}
    assert set(BOUNDS) == numbers
    Policy()


def test_every_setting_is_read_somewhere() -> None:
    source = Path(stoker.__file__).parent
    text = "\n".join(path.read_text() for path in source.rglob("*.py") if path != source / "schedule" / "policy.py")
    assert [one.name for one in dataclasses.fields(Policy) if f"policy.{one.name}" not in text] == []
