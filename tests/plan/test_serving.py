"""The ranking of serving layouts: cheapest first, every refusal with its reason."""

from __future__ import annotations

import pytest

from stoker.errors import Unfit
from stoker.perf.accelerator import accelerator
from stoker.perf.hardware import Hardware
from stoker.perf.models import transformer
from stoker.perf.serving.curves import curves
from stoker.perf.serving.load import Load, Objective
from stoker.perf.serving.quantisation import quantisation
from stoker.perf.serving.replica import Lengths
from stoker.plan.serving import Wish, rank


def hardware(card: str) -> Hardware:
    return Hardware(card, accelerator(card), per_server=8)


def wish(
    model: str = "qwen2.5-72b", *, rate: float = 40, ttft: float = 1.0, tpot: float = 0.05, prompt: float = 1000
) -> Wish:
    load, objective = Load(rate, Lengths(prompt, 300)), Objective(ttft, tpot)
    return Wish(transformer(model), load, objective, quantisation("fp8"), curves("vllm"))


def test_the_fewest_cards_come_first_and_meet_the_objective() -> None:
    asked = wish()
    found = rank(asked, hardware("H100"))
    assert [plan.cards for plan in found.best] == sorted(plan.cards for plan in found.best)
    for plan in found.best:
        assert plan.service.meets(asked.objective)
        assert plan.replicas * plan.most >= asked.load.rate
        assert (plan.replicas - 1) * plan.most < asked.load.rate


def test_every_layout_is_taken_or_refused_with_a_reason() -> None:
    found = rank(wish(), hardware("H100"))
    assert all(one.reason for one in found.rejected)
    assert any("of weights" in one.reason for one in rank(wish("deepseek-v3"), hardware("H20")).rejected)


def test_twice_the_load_takes_about_twice_the_cards() -> None:
    once, twice = (rank(wish(rate=rate), hardware("H20")).best[0].cards for rate in (100, 200))
    assert 1.8 < twice / once < 2.2


def test_long_prompts_beside_tight_tokens_pay_for_replicas_of_their_own() -> None:
    tight = rank(wish(rate=200, ttft=4.0, tpot=0.025, prompt=8000), hardware("H100"))
    assert tight.apart is not None
    assert tight.apart.prefillers > 0
    assert tight.apart_pays


def test_every_expectation_says_what_it_follows_from() -> None:
    asked = wish()
    for one in rank(asked, hardware("H100")).best[0].expectations(asked.load):
        assert one.low <= one.value <= one.high
        assert len(one.basis) > 30


@pytest.mark.parametrize(
    ("asked", "reason"),
    [(wish(tpot=0.0005), "a token takes .* even alone"), (wish("deepseek-v3"), "of weights")],
)
def test_what_cannot_be_is_told_with_the_nearest(asked: Wish, reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        rank(asked, hardware("T4" if asked.model.experts else "H100"))
