"""What an inference engine should deliver: arithmetic that can be done by hand, order, and refusals in one line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stoker.errors import BadInput, NotFound, Unfit
from stoker.perf.accelerator import accelerator
from stoker.perf.models import transformer
from stoker.perf.serving import expect
from stoker.perf.serving.cache import memory
from stoker.perf.serving.curves import curves, engines
from stoker.perf.serving.links import bandwidth
from stoker.perf.serving.load import Load, Objective, most, steady
from stoker.perf.serving.prompts import Prompts
from stoker.perf.serving.quantisation import QUANTISATIONS, quantisation
from stoker.perf.serving.replica import Lengths, closed_loop, room
from stoker.perf.serving.split import Split, check
from stoker.perf.serving.step import Replica, decode_seconds, prefill_seconds
from stoker.perf.serving.work import Batch, imbalance, operations, touched

LENGTHS = Lengths(1000, 300)


def replica(
    model: str = "llama-3.1-8b", card: str = "H100", formats: str = "bf16", engine: str = "vllm", **split: int
) -> Replica:
    return Replica(transformer(model), accelerator(card), Split(**split), quantisation(formats), curves(engine))


def tuned(of: Replica, **engine: float) -> Replica:
    """With an engine set otherwise."""
    return replace(of, curves=replace(of.curves, engine=replace(of.curves.engine, **dict[str, Any](engine))))


def total(of: Replica, batch: Batch, what: str) -> float:
    found = operations(of.model, of.split, of.quantisation, batch, of.curves.common, of.cached)
    return sum(one.times * float(getattr(one, what)) for one in found)


def test_a_decode_step_streams_weights_and_cache_once() -> None:
    of = replica()
    moved = total(of, Batch(1, past=1000), "moved")
    cache = 32 * 2 * 8 * 128 * 2 * 1000  # blocks, keys and values, heads, width, bytes, tokens
    assert moved == pytest.approx(of.model.active_parameters * 2 + cache, rel=1e-3)


def test_a_prefill_multiplies_each_weight_twice_per_token() -> None:
    of = replica()
    flops = total(of, Batch(1024, pairs=1024 * 512, decode=False), "flops")
    attention = 32 * of.model.attention.pair_flops * 1024 * 512
    output = of.model.embedding_parameters
    assert flops == pytest.approx(
        2 * 1024 * (of.model.active_parameters - output) + attention + 2 * output, rel=1e-3
    )


def test_latent_attention_caches_one_short_vector_a_token() -> None:
    per_token = memory(replica("deepseek-v3", "B200", "fp8", tp=8)).per_token
    assert per_token == 61 * (512 + 64)  # eight bits, the same on each device


def test_linear_attention_keeps_a_state_and_little_cache() -> None:
    found = memory(replica("qwen3.5-397b-a17b", "B200", "fp4", tp=4))
    assert found.per_token == 15 * 2 * 256  # one head on each of four devices, fifteen blocks of sixty
    assert found.per_sequence == 45 * 64 * 128 * 128 * 4 / 4


def test_a_cache_of_groups_is_split_no_finer_than_its_heads() -> None:
    assert memory(replica(tp=8)).per_token * 8 == memory(replica()).per_token
    assert memory(replica("qwen3-30b-a3b", tp=8)).per_token == memory(replica("qwen3-30b-a3b", tp=4)).per_token


def test_a_window_ends_what_a_token_looks_at() -> None:
    of = replica("gpt-oss-120b", "B200", "fp4")
    near, far = (total(of, Batch(1, past=past), "moved") for past in (128, 10128))
    assert far - near == pytest.approx(18 * 10000 * 2 * 8 * 64)  # half of the blocks see all of it


def test_few_tokens_meet_few_experts() -> None:
    assert touched(256, 8, 1, 1.0) == pytest.approx(8)
    assert touched(256, 8, 1000, 1.0) == pytest.approx(256)
    assert touched(256, 8, 1000, 0.5) == pytest.approx(128)
    assert touched(8, 8, 1, 1.0) == 8
    assert imbalance(100, 1) == 1.0
    assert 1.0 < imbalance(1000, 8) < imbalance(10, 8) < 8


@pytest.mark.parametrize("engine", engines())
def test_more_of_anything_takes_longer(engine: str) -> None:
    of = replica("mixtral-8x7b", "H100", "fp8", engine, tp=2)
    assert decode_seconds(of, 1, 1000) < decode_seconds(of, 64, 1000) < decode_seconds(of, 64, 8000)
    short, long = prefill_seconds(of, 1000, 1000), prefill_seconds(of, 8000, 8000)
    assert short.device < long.device
    assert short.device <= short.latency


def test_fewer_bits_and_more_devices_make_a_token_faster() -> None:
    times = [decode_seconds(replica("llama-3.1-70b", "B200", q, tp=4), 4, 1000) for q in ("bf16", "fp8", "fp4")]
    assert times == sorted(times, reverse=True)
    assert decode_seconds(replica("llama-3.1-70b", "B200", tp=8), 4, 1000) < times[0]


def test_a_card_with_memory_bandwidth_decodes_and_one_with_arithmetic_prefills() -> None:
    h20, h100 = (replica("qwen2.5-72b", card, "fp8", tp=4) for card in ("H20", "H100"))
    assert decode_seconds(h20, 4, 1000) < decode_seconds(h100, 4, 1000)
    assert prefill_seconds(h20, 8000, 8000).device > 3 * prefill_seconds(h100, 8000, 8000).device


def test_formats_without_units_are_unpacked() -> None:
    a100, b200 = accelerator("A100"), accelerator("B200")
    assert QUANTISATIONS["fp4"].units(b200) == "fp4"
    assert QUANTISATIONS["fp4"].units(a100) == "bf16"
    with pytest.raises(Unfit, match="has no units for"):
        QUANTISATIONS["bf16"].units(replace(a100, peak={}))


def test_cards_without_bf16_serve_in_fp16() -> None:
    assert QUANTISATIONS["bf16"].units(accelerator("T4")) == "fp16"
    assert decode_seconds(replica("llama-3.2-1b", "T4"), 1, 1000) > decode_seconds(replica("llama-3.2-1b"), 1, 1000)


def test_users_beyond_the_cache_wait() -> None:
    of = replica("llama-3.1-70b", "H100", "fp8", tp=2)
    room = memory(of).sequences(8300, 1)
    few, many = closed_loop(of, Lengths(8000, 600), room / 2), closed_loop(of, Lengths(8000, 600), room * 3)
    assert many.running <= room < 3 * room
    assert many.waiting > 600 * many.tpot > few.waiting
    assert many.tokens_per_second < 3 * few.tokens_per_second


def test_prompts_that_share_a_pass_take_less_each_and_all_wait_longer() -> None:
    prompts = Prompts.on(replica("deepseek-v3", "B200", "fp8", "sglang", tp=8), 1000)
    assert prompts.most == 16  # of 1,000 tokens in a pass of 16,384
    assert prompts.until_answered(4) > prompts.until_answered(1)
    assert prompts.each(4) < prompts.each(1)
    assert prompts.each(100) == prompts.each(16)
    assert prompts.sharing(0.01, 0.02) == 1  # one now and then comes alone
    seldom = replace(prompts, engine=replace(prompts.engine, looks=30.0))
    assert seldom.sharing(0.1, 0.02) == pytest.approx(3)  # a look every thirty steps finds three


def test_a_mixed_pass_saves_the_running_sequences_a_step() -> None:
    mixed, apart = (Prompts.on(replica(engine=engine), 1000) for engine in ("vllm", "sglang"))
    assert mixed.each(1) - mixed.delay(1) == pytest.approx(decode_seconds(replica(), 1, 1))
    assert apart.delay(1) == apart.each(1)


def test_an_engine_that_looks_seldom_answers_late() -> None:
    often = replica("qwen3.5-397b-a17b", "B200", "fp4", "sglang", tp=4)
    few, more = (closed_loop(tuned(often, looks=looks), LENGTHS, 16, rounds=0) for looks in (10.0, 30.0))
    assert more.ttft - few.ttft > 8 * few.tpot  # half of thirty steps against half of ten, a little faster each


def test_a_prompt_that_is_held_back_waits_for_others_or_for_the_last_step() -> None:
    eager = replica("llama-3.1-70b", "B200", "fp8", "trtllm", tp=4)
    slow = Prompts.on(tuned(eager, hold=20.0), 1000)
    assert slow.unnoticed(1e-9) == pytest.approx(20.5)  # nobody else comes; half a step until the engine looks
    assert slow.unnoticed(0.1) == pytest.approx((20 + 2 * 10) / 3 + 0.5)  # two come meanwhile and wait half of it
    assert slow.sharing(0.1, 0.02) == pytest.approx(3)
    quick = Prompts.on(tuned(eager, hold=20.0, enough=2.0), 1000)
    assert quick.unnoticed(0.1) == pytest.approx((10 + 5) / 2 + 0.5)  # the second comes after ten steps
    plain, held = (closed_loop(of, LENGTHS, 8) for of in (eager, tuned(eager, hold=20.0)))
    assert held.ttft - plain.ttft > 0.9 * 10 * plain.tpot  # in nine of ten rounds


def test_users_who_start_together_wait_for_half_of_the_passes() -> None:
    prompts = Prompts.on(replica("llama-3.1-70b", "B200", "fp8", "vllm", tp=8), 8192)
    assert prompts.most == 1
    assert prompts.at_once(1) == 0
    assert prompts.at_once(9) == pytest.approx(4 * prompts.until_answered(1))
    shared = replace(prompts, most=4.0)
    assert shared.at_once(4) == pytest.approx(0.75 * shared.until_answered(4))  # one pass, three of it are others'


def test_an_engine_that_books_whole_answers_begins_fewer() -> None:
    lengths = Lengths(1000, 8000)
    books, grows = (replica("llama-3.1-70b", "B200", "fp8", engine) for engine in ("trtllm", "vllm"))
    assert room(books, lengths) == memory(books).sequences(9000, 1)
    assert room(grows, lengths) == memory(grows).sequences(5000, 1)


def test_a_reserve_of_the_rest_is_smaller_than_one_of_the_whole() -> None:
    card = accelerator("B200").memory_bytes
    rest, whole = (memory(replica("llama-3.1-70b", "B200", "fp8", engine)) for engine in ("trtllm", "vllm"))
    assert rest.reserved == pytest.approx(0.1 * (card - rest.weights))
    assert whole.reserved == pytest.approx(0.1 * card)


def test_bounds_are_wide_where_no_card_of_the_maker_was_measured() -> None:
    def bounds(card: str) -> tuple[float, str]:
        of = replica("qwen2.5-7b", card)
        found = steady(of, LENGTHS, 0.1)
        assert found is not None
        told = expect.tpot(of, found, LENGTHS)
        return told.high / told.value, told.basis

    known, unknown = bounds("H100"), bounds("Ascend-910B4")
    assert unknown[0] == pytest.approx(2.3 * known[0])
    assert "no measurement of this vendor (Huawei)" in unknown[1]
    assert "no measurement" not in known[1]


def test_prompts_elsewhere_leave_decoding_alone() -> None:
    of = replica("llama-3.1-70b", "H100", "fp8", tp=4)
    together = closed_loop(of, Lengths(8000, 300), 32)
    apart = closed_loop(of, Lengths(8000, 300), 32, prefillers=4, prefill_on=of)
    assert apart.tpot < together.tpot


def test_a_busier_replica_is_slower_until_it_cannot_keep_up() -> None:
    of = replica("llama-3.1-8b", "H100")
    calm, busy = steady(of, LENGTHS, 1.0), steady(of, LENGTHS, 10.0)
    assert calm is not None
    assert busy is not None
    assert (calm.tpot, calm.ttft_tail, calm.running) < (busy.tpot, busy.ttft_tail, busy.running)
    assert busy.running == pytest.approx(10.0 * 300 * busy.tpot, rel=0.01)  # Little's law
    assert steady(of, LENGTHS, 1e4) is None


def test_the_highest_rate_meets_the_objective_and_no_higher_one_does() -> None:
    of, objective = replica("llama-3.1-8b", "H100"), Objective(ttft=0.5, tpot=0.02)
    rate = most(of, LENGTHS, objective)
    below, above = steady(of, LENGTHS, rate * 0.99), steady(of, LENGTHS, rate * 1.02)
    assert below is not None
    assert below.meets(objective)
    assert above is None or not above.meets(objective)
    assert most(of, LENGTHS, Objective(ttft=0.5, tpot=1e-5)) == 0.0


def test_cards_without_scale_up_meet_over_pcie() -> None:
    card = accelerator("L20")
    assert bandwidth(card, "all_reduce", 2, 8, 50e9) == pytest.approx(
        31.5e9 * 12 / 15.75, rel=0.05
    )  # Gen4, one way
    assert decode_seconds(replica(card="L20", tp=2), 1, 1000) > 0.5 * decode_seconds(replica(card="L20"), 1, 1000)


def test_links_are_those_of_collectives() -> None:
    """A ring of eight sends 14/8 of the buffer over each link; multicast about 9/8 of it."""
    ring = bandwidth(accelerator("A100"), "all_reduce", 8, 8, 25e9)
    assert ring == pytest.approx(240e9 / (14 / 8), rel=0.05)
    assert bandwidth(accelerator("H100"), "all_reduce", 8, 8, 50e9) == pytest.approx(490e9 / (14 / 8), rel=0.05)
    over = bandwidth(accelerator("A100"), "all_reduce", 16, 8, 25e9)
    assert over == pytest.approx(187.7e9 / (30 / 16), rel=0.05)  # two NDv4 as Azure measured them


def test_an_early_release_is_slower_on_a_young_card_with_experts_alone() -> None:
    def tpot(model: str, card: str, *, early: bool) -> float:
        return decode_seconds(replace(replica(model, card, "fp8", tp=8), early=early), 8, 1000)

    assert tpot("deepseek-v3", "B200", early=True) > 1.05 * tpot("deepseek-v3", "B200", early=False)
    for model, card in (("llama-3.1-70b", "B200"), ("qwen3-235b-a22b", "H100")):
        assert tpot(model, card, early=True) == tpot(model, card, early=False)


@pytest.mark.parametrize(
    ("model", "split", "reason"),
    [
        ("llama-3.1-8b", Split(tp=3), "tp 3 does not divide the 32 attention heads"),
        ("llama-3.1-8b", Split(ep=2), "has no experts"),
        ("llama-3.1-8b", Split(pp=33), "more than the 32 layers"),
        ("mixtral-8x7b", Split(tp=16, ep=16), "more than the 8 experts"),
        ("mixtral-8x7b", Split(tp=4, ep=8), "does not divide the 4 devices"),
    ],
)
def test_impossible_splits_are_refused(model: str, split: Split, reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        check(transformer(model), split)


def test_wrong_words_are_answered_in_one_line() -> None:
    with pytest.raises(NotFound, match="near names: vllm"):
        curves("vlm")
    with pytest.raises(BadInput, match="int4"):
        quantisation("int5")
    with pytest.raises(BadInput, match="tp 0 was given"):
        Split(tp=0)
    with pytest.raises(BadInput, match="rate 0 was given"):
        Load(0, LENGTHS)
    with pytest.raises(BadInput, match="tpot -1 s"):
        Objective(1, -1)
    with pytest.raises(Unfit, match="more devices or fewer bits"):
        closed_loop(replica("deepseek-v3", "H100", "fp8", tp=8), LENGTHS, 1)
