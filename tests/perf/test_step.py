"""Spread-out training: what layouts need and how long steps take, held against counts made by other means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.errors import BadInput, Unfit
from stoker.perf.accelerator import accelerator
from stoker.perf.goodput import goodput
from stoker.perf.hardware import Hardware, Nics
from stoker.perf.layout import Layout, Workload, check
from stoker.perf.layout_memory import device_memory, fits, lightest_recompute
from stoker.perf.models import transformer
from stoker.perf.stack import stack, stacks
from stoker.perf.step import step_time

LLAMA, GPT = transformer("llama-3.1-70b"), transformer("gpt-175b")
EIGHT = Hardware("one", accelerator("H100"), 8)
MANY = Hardware("many", accelerator("H100"), 8, 32, Nics("ConnectX-7", 8, 50e9))
MEGATRON = stack("megatron")


def test_states_follow_zero() -> None:
    """Rajbhandari et al. 2020: 16 bytes a parameter, of which stages 1, 2, 3 spread 12, 14 (here 16), 16."""
    small = transformer("llama-3.1-8b")
    work = Workload(8, 2048)

    def states(sharding: str) -> float:
        memory = device_memory(small, work, Layout(8, sharding=sharding))  # type: ignore[arg-type]
        return (memory.weights + memory.gradients + memory.optimiser) / small.parameters

    assert states("none") == pytest.approx(18)  # with float32 gradients
    assert states("optimiser") == pytest.approx(6 + 12 / 8)
    assert states("gradients") == pytest.approx(2 + 16 / 8)
    assert states("full") == pytest.approx(16 / 8)


def test_activations_are_korthikantis() -> None:
    """Equation 2 without dropout masks and squares: 32 s b h a layer; full recomputation keeps 2 s b h."""
    gpt = transformer("gpt-22b")
    work = Workload(1, 2048)
    kept = device_memory(gpt, work, Layout(1, sharding="none")).activations
    assert kept == pytest.approx(32 * 2048 * 6144 * 48, rel=0.01)
    full = device_memory(gpt, work, Layout(1, sharding="none", recompute="full")).activations
    assert full == pytest.approx(2 * 2048 * 6144 * 48 + 2 * 32 * 2048 * 6144, rel=0.02)


def test_pipelines_hold_as_many_micro_batches_as_stages() -> None:
    work = Workload(64, 2048)
    plain = device_memory(GPT, work, Layout(64, tp=8, pp=8)).activations
    interleaved = device_memory(GPT, work, Layout(64, tp=8, pp=8, virtual=3)).activations
    assert interleaved / plain == pytest.approx(1 + 7 / 24)  # Narayanan et al. 2021


def test_the_upper_bound_decides_whether_it_fits() -> None:
    work = Workload(64, 8192)
    layout = Layout(256, tp=8, pp=2)
    memory = device_memory(LLAMA, work, layout)
    assert fits(memory, EIGHT.accelerator) == (memory.total * 1.07 < 79.6 * 2**30)
    assert not fits(device_memory(LLAMA, work, Layout(256)), EIGHT.accelerator)
    lighter = lightest_recompute(LLAMA, work, Layout(64, tp=2, pp=4), EIGHT.accelerator)
    assert lighter.recompute != "none"
    assert fits(device_memory(LLAMA, work, lighter), EIGHT.accelerator)


def test_a_step_is_never_faster_than_its_arithmetic() -> None:
    work = Workload(128, 8192)
    for layout in (Layout(256, tp=8, pp=2), Layout(256, tp=4, pp=4, virtual=5), Layout(256, sharding="full")):
        time = step_time(MANY, MEGATRON, LLAMA, work, layout)
        least = LLAMA.flops_per_token(8192) * work.tokens / 256 / 989e12
        assert time.total > least
        assert time.total == pytest.approx(sum(time.parts().values()))


def test_the_bubble_is_narayanans() -> None:
    work = Workload(64, 8192)
    time = step_time(MANY, MEGATRON, LLAMA, work, Layout(256, tp=8, pp=8))
    busy = time.total - time.bubble - time.data - time.optimiser - time.other
    assert time.bubble / busy == pytest.approx(7 / 16)
    shorter = step_time(MANY, MEGATRON, LLAMA, work, Layout(256, tp=8, pp=8, virtual=5))
    assert shorter.bubble < time.bubble / 4


def test_recomputing_costs_a_forward_pass_and_saves_memory() -> None:
    work = Workload(64, 8192)
    layout = Layout(256, tp=8, pp=2)
    plain, again = (
        step_time(MANY, MEGATRON, LLAMA, work, each) for each in (layout, replace(layout, recompute="full"))
    )
    busy = plain.products + plain.attention + plain.elementwise
    assert again.recompute / busy == pytest.approx(1 / 3, abs=0.02)
    assert (
        device_memory(LLAMA, work, replace(layout, recompute="full")).total
        < device_memory(LLAMA, work, layout).total
    )


def test_latents_are_expanded_again_at_little_cost() -> None:
    """Megatron's recompute module mla_up_proj: queries, keys and values go, what they come from stays."""
    deepseek, work = transformer("deepseek-v3"), Workload(512, 4096)
    layout = Layout(256, pp=8, ep=32)
    latents = replace(layout, recompute="latents")
    plain, again = (step_time(MANY, MEGATRON, deepseek, work, each) for each in (layout, latents))
    assert 0 < again.recompute < 0.05 * plain.total
    kept, dropped = (device_memory(deepseek, work, each).activations for each in (layout, latents))
    held = 8 * 4096 * deepseek.layers / 8  # tokens of eight micro-batches in an eighth of the layers
    widths = 128 * (192 + 192 + 128)  # of queries, keys and values in DeepSeek-V3
    assert kept - dropped == pytest.approx(2 * widths * held)
    assert device_memory(LLAMA, work, Layout(256, tp=8, recompute="latents")) == device_memory(
        LLAMA, work, Layout(256, tp=8)
    )


def test_every_expert_of_a_device_costs_a_start() -> None:
    """The same tokens in products of the same size: only how many experts a device has differs."""
    work, few = Workload(512, 4096), replace(MEGATRON, grouped=0.0)

    def more(ep: int) -> float:
        told = [
            step_time(MANY, each, transformer("deepseek-v3"), work, Layout(256, ep=ep)) for each in (MEGATRON, few)
        ]
        return told[0].elementwise - told[1].elementwise

    assert more(8) == pytest.approx(4 * more(32))


def test_experts_are_exchanged_and_dense_models_are_not() -> None:
    work = Workload(256, 4096)
    layout = Layout(256, ep=8, sharding="full")
    assert step_time(MANY, MEGATRON, transformer("qwen3-30b-a3b"), work, layout).expert > 0
    assert step_time(MANY, MEGATRON, LLAMA, work, Layout(256, sharding="full")).expert == 0


def test_servers_without_a_network_cannot_work_together() -> None:
    alone = Hardware("apart", accelerator("H100"), 8, 2)
    with pytest.raises(Unfit, match="need a network between them"):
        step_time(alone, MEGATRON, LLAMA, Workload(16, 4096), Layout(16, sharding="full"))


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (Layout(8, tp=3), "tp 3 x pp 1 x cp 1 = 3 does not divide 8 devices"),
        (Layout(96, tp=6), "tp 6 does not divide the 64 attention heads"),
        (Layout(128, pp=128), "128 x 1 stages are more than the 80 layers"),
        (Layout(8, ep=2), "has no experts"),
        (Layout(8, micro_batch=3), "a global batch of 64 sequences does not divide"),
        (Layout(8, virtual=2), "need a pipeline"),
        (Layout(64, tp=8, cp=8), "cp 8 needs a sequence that 16 divides"),
    ],
)
def test_impossible_layouts_are_refused_with_one_reason(layout: Layout, said: str) -> None:
    with pytest.raises(Unfit, match=said):
        check(LLAMA, Workload(64, 4104 if layout.cp > 1 else 4096), layout)


def test_zero_is_no_size() -> None:
    with pytest.raises(BadInput, match="tp 0 was given"):
        Layout(8, tp=0)
    with pytest.raises(BadInput, match="global_batch 0"):
        Workload(0, 4096)


def test_every_stack_is_read() -> None:
    assert all(stack(name).name == name for name in stacks())
    assert not stack("pytorch-fsdp").native_attention


def test_more_devices_fail_more_often() -> None:
    few, lots = goodput(LLAMA, EIGHT), goodput(LLAMA, replace(MANY, servers=2048))
    assert lots.mtbf == pytest.approx(54 * 86400 / 419, rel=0.001)  # 16,384 devices, as Llama 3's
    assert lots.share < few.share <= 1
    assert lots.failures(86400) == pytest.approx(7.76, rel=0.01)


@pytest.mark.parametrize(
    ("name", "devices", "tp", "pp", "virtual", "micro", "gib"),
    [
        ("gpt-22b", 8, 8, 1, 1, 4, 104.8),
        ("gpt-175b", 64, 8, 8, 3, 1, 112.4),
        ("gpt-530b", 280, 8, 35, 3, 1, 145.7),
        ("gpt-1t", 512, 8, 64, 1, 1, 164.2),
    ],
)
def test_what_is_published_as_too_large_never_fits(
    name: str, devices: int, tp: int, pp: int, virtual: int, micro: int, gib: float
) -> None:
    """Korthikanti et al. 2022, figure 1: without recomputation none fits 80 GB; with theirs all do, and ran."""
    model, card = transformer(name), accelerator("A100-SXM4-80GB")
    work = Workload(devices * micro if pp == 1 else devices, 2048, "fp16", fused_attention=False)
    layout = Layout(devices, tp, pp, virtual=virtual, micro_batch=micro, sharding="none", sequence_parallel=False)
    needed = device_memory(model, work, layout)
    assert needed.allocated / 2**30 == pytest.approx(gib, rel=0.05)
    assert not fits(needed, card)
    theirs = replace(layout, recompute="selective", sequence_parallel=True)
    assert fits(device_memory(model, work, theirs), card)
