"""The best layouts of a training, and the reasons against the others."""

from __future__ import annotations

import pytest

from stoker.errors import BadInput, Unfit
from stoker.perf.accelerator import accelerator
from stoker.perf.hardware import Hardware, Nics
from stoker.perf.layout import Workload, impossible
from stoker.perf.models import transformer
from stoker.perf.precision import Precision
from stoker.perf.stack import stack
from stoker.perf.step import step_time
from stoker.plan.training import layouts, search

H100 = accelerator("H100")
POD = Hardware("pod", H100, 8, 8, Nics("ConnectX-7", 8, 50e9))
LLAMA = transformer("llama-3.1-70b")
WORK = Workload(256, 4096, states="lean")


def test_the_best_fit_and_are_ranked() -> None:
    found = search(LLAMA, POD, WORK, stack("megatron"))
    times = [plan.time.total for plan in found.best]
    assert times == sorted(times)
    assert (
        len({(p.layout.tp, p.layout.pp, p.layout.ep, p.layout.sharding) for p in found.best}) == len(found.best) > 2
    )
    assert all(plan.memory.total * 1.07 <= H100.memory_bytes for plan in found.best)
    assert all(not impossible(LLAMA, WORK, plan.layout) for plan in found.best)


def test_every_layout_is_taken_or_rejected_with_a_reason() -> None:
    found = search(LLAMA, POD, WORK, stack("megatron"))
    all_of_them = sum(1 for _ in layouts(LLAMA, POD))
    assert len(found.best) + sum(reason.count for reason in found.rejected) == all_of_them
    assert any("does not fit" in reason.reason for reason in found.rejected)
    assert all(reason.example for reason in found.rejected)


def test_the_shares_state_their_formula() -> None:
    found = search(LLAMA, POD, WORK, stack("megatron"), keep=1)
    best = found.best[0]
    half, full = found.model_flops_share(best), found.model_flops_share(best, causal=False)
    assert 0.2 < half.value < full.value < 0.8
    assert "attention counted half" in half.basis
    assert "attention counted full" in full.basis
    rate = LLAMA.flops_per_token(4096) * WORK.tokens / best.time.total / 64
    assert half.value == pytest.approx(rate / 989e12)
    assert found.seconds(1e12, best) > 1e12 / found.speed(best).value


def _lower_bound(card: str, name: str, precision: Precision = "bf16") -> tuple[float, str]:
    """As a share of what is expected, and its basis."""
    hardware, work = Hardware(card, accelerator(card), 8), Workload(64, 4096, precision, states="lean")
    found = search(transformer("llama-3.1-8b"), hardware, work, stack(name))
    speed = found.speed(found.best[0])
    return speed.low / speed.value, speed.basis


def test_bounds_reach_far_down_where_no_card_of_the_maker_was_measured() -> None:
    known, unknown = _lower_bound("H100", "megatron", "fp8"), _lower_bound("Ascend-910B3", "megatron")
    assert unknown[0] == pytest.approx(known[0] / 2.3)
    assert "no measurement of this vendor (Huawei)" in unknown[1]
    assert "calibrated it" not in known[1]


def test_bounds_reach_down_where_the_stack_was_never_measured_on_this_card_in_this_format() -> None:
    told, basis = _lower_bound("A100-SXM4-80GB", "megatron")
    assert "no published training with megatron on sm80 in bf16 calibrated it" in basis
    measured, plain = _lower_bound("A100-SXM4-80GB", "pytorch-fsdp")
    assert "calibrated it" not in plain
    assert told == pytest.approx(measured / 1.4)


def test_a_model_that_fits_nowhere_is_one_line_with_the_nearest() -> None:
    with pytest.raises(Unfit, match=r"fits on 8 x H100-SXM5-80GB in no layout; the nearest \(.*\) needs \d+ GiB"):
        search(transformer("llama-3.1-405b"), Hardware("one", H100, 8), Workload(8, 4096), stack("megatron"))


def test_servers_need_a_network() -> None:
    with pytest.raises(BadInput, match="64 devices in 8 servers need a network between them"):
        search(LLAMA, Hardware("apart", H100, 8, 8), WORK, stack("megatron"))


def test_precisions_the_card_lacks_are_refused() -> None:
    with pytest.raises(BadInput, match="A100-SXM4-80GB has no fp8 peak"):
        search(LLAMA, Hardware("old", accelerator("A100"), 8), Workload(8, 4096, "fp8"), stack("megatron"))


def test_the_search_finds_nothing_better_by_hand() -> None:
    found = search(LLAMA, POD, WORK, stack("megatron"), keep=1)
    best = found.best[0].time.total
    for layout in layouts(LLAMA, POD):
        if not impossible(LLAMA, WORK, layout) and layout == found.best[0].layout:
            assert step_time(POD, stack("megatron"), LLAMA, WORK, layout).total == best
