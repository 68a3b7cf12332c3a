"""Costs of training by formula, held against counts made by other means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.errors import Unfit
from stoker.model import Architecture
from stoker.perf import memory
from stoker.perf.training import Device, Line, Step, expected_speed, flops, seconds

LLAMA_7B = Architecture("llama", 32, 4096, 32, 32, 128, 11008, 32000, 4096)
SMOL = Architecture("llama", 30, 576, 9, 3, 64, 1536, 49152, 8192, tied_embeddings=True)
WHOLE = Step(2048, 1, 2048 * 2048, 2048, 0, full=True, recompute=False)
DEVICE = Device(matmul=1e12, copy=1e11, layer=Line(1e-3, 1e-5), pair=1e-9, ends=Line(1e-2, 1e-4), moved=1e-9)


def test_full_training_costs_six_flops_per_weight_and_token() -> None:
    attention = (
        12 * 32 * 4096 * 2048 * 2048
    )  # forward and twice backward: 3 x 4 x heads x head_dim x pairs x layers
    # The backward pass of attention has no weights, so it is counted twice and not three times.
    assert flops(LLAMA_7B, WHOLE) == pytest.approx(6 * 6.607e9 * 2048 + attention * 2 / 3, rel=0.001)


def test_an_adapter_saves_the_gradient_of_the_weights() -> None:
    adapter = replace(WHOLE, full=False, adapter_parameters=1_000_000)
    weights = flops(LLAMA_7B, WHOLE) - flops(LLAMA_7B, replace(WHOLE, full=False))
    assert weights == pytest.approx(2 * 6.607e9 * 2048, rel=0.001)
    assert flops(LLAMA_7B, adapter) - flops(LLAMA_7B, replace(WHOLE, full=False)) == 6 * 1_000_000 * 2048


def test_recomputation_adds_one_forward_of_the_layers() -> None:
    layers = 2 * 6.476e9 * 2048 + 4 * 32 * 4096 * 2048 * 2048
    assert flops(LLAMA_7B, replace(WHOLE, recompute=True)) - flops(LLAMA_7B, WHOLE) == pytest.approx(
        layers, rel=0.001
    )


def test_a_step_is_the_sum_of_its_measured_parts() -> None:
    found = seconds(SMOL, WHOLE, DEVICE)
    assert found.layers == pytest.approx(30 * (1e-3 + 2048e-5))
    assert found.attention == pytest.approx(30 * 2048 * 2048 * 1e-9)
    assert found.ends == pytest.approx(1e-2 + 2048e-4)
    assert found.optimiser == pytest.approx(SMOL.parameters * 1e-9)
    assert found.total == pytest.approx(found.layers + found.attention + found.ends + found.optimiser)


def test_more_small_rows_take_longer_by_their_starts_and_their_gradients() -> None:
    one, many = (seconds(SMOL, replace(WHOLE, rows=rows), DEVICE) for rows in (1, 16))
    assert many.layers - one.layers == pytest.approx(15 * 30 * 1e-3)
    assert many.ends - one.ends == pytest.approx(15 * 1e-2)
    assert many.optimiser - one.optimiser == pytest.approx(15 * 12 * SMOL.parameters / 1e11)


def test_the_expectation_says_what_it_follows_from() -> None:
    expected = expected_speed(SMOL, WHOLE, DEVICE, counted=2048, ranks=2)
    assert expected.value == pytest.approx(2 * 2048 / seconds(SMOL, WHOLE, DEVICE).total)
    assert "1,000 GFLOP/s measured" in expected.basis


def test_memory_of_full_training_is_sixteen_bytes_a_weight_and_more() -> None:
    needed = memory.training(
        LLAMA_7B,
        trainable=LLAMA_7B.parameters,
        full=True,
        row_tokens=2048,
        predictions=2048,
        bytes_per_value=4,
        checkpointing=False,
    )
    assert needed.weights + needed.gradients + needed.optimiser == 16 * LLAMA_7B.parameters
    assert needed.total > 100 << 30


def test_checkpointing_and_adapters_need_less() -> None:
    def total(*, full: bool, checkpointing: bool) -> int:
        moving = LLAMA_7B.parameters if full else memory.adapter_parameters(LLAMA_7B, "lora", rank=16)
        return memory.training(
            LLAMA_7B,
            trainable=moving,
            full=full,
            row_tokens=2048,
            predictions=500,
            bytes_per_value=2,
            checkpointing=checkpointing,
        ).total

    assert (
        total(full=False, checkpointing=True)
        < total(full=False, checkpointing=False)
        < total(full=True, checkpointing=True)
    )


def test_lora_parameters_are_those_peft_makes() -> None:
    assert memory.adapter_parameters(SMOL, "lora", rank=16) == 4_884_480


def test_the_refusal_shows_the_sum() -> None:
    needed = memory.Memory(
        weights=8 << 30, gradients=1 << 30, optimiser=2 << 30, activations=1 << 30, logits=1 << 30, runtime=0
    )
    with pytest.raises(Unfit) as refused:
        memory.check_fits(needed, 4 << 30, advice="use lora")
    assert str(refused.value) == (
        "training needs (weights 8.0 GiB + gradients 1.0 GiB + optimiser 2.0 GiB + activations 1.0 GiB + "
        "logits 1.0 GiB + runtime 0 B) x 1.1 = 14.3 GiB, but 4.0 GiB are free: use lora"
    )
