"""The quick benchmark of the machine that expected training speeds rest on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch

from stoker.model import Architecture
from stoker.recipes import adapters, calibration, compute
from stoker.recipes.one_layer import Layers, Tuning, adapted
from stoker.recipes.packing import SHARED, Row
from tests.recipes.tiny_models import make_model

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")]
CPU = torch.device("cpu")
TINY = Architecture("llama", 2, 64, 4, 2, 16, 128, 256, 512, tied_embeddings=True)
MATRICES = frozenset(f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down"))
SEGMENTS = (*(SHARED,) * 4, *(0,) * 14, *(1,) * 14)
ROW = Row((0,) * 32, tuple(range(32)), SEGMENTS, tuple(range(10, 20)), (1,) * 10)
LORA = Tuning(torch.float32, lora=MATRICES, width=4)
SIZES = adapters.Sizes(4, 8.0, 0.0, "all-linear", 4, 16, 8, "houlsby")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two wait for each other where others use the CPUs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("full", [False, True])
def test_all_rates_are_measured(dtype: torch.dtype, full: bool) -> None:
    tuning = Tuning(dtype, full=True) if full else replace(LORA, dtype=dtype)
    device = calibration.measure(TINY, [ROW], CPU, tuning, [64 * 4] * 14)
    assert min(device.matmul, device.copy) > 1e6
    assert 0 < device.layer.at(32, 1) < 1
    assert 0 < device.ends.at(10, 1) < 1
    assert 0 < device.moved < 1e-3
    assert device.pair >= 0


@pytest.mark.parametrize("method", ["full", "lora", "bottleneck"])
def test_the_layers_train_what_the_method_trains(method: adapters.Method) -> None:
    moving = adapters.trainable(adapters.attach(make_model("llama", 400), method, SIZES))
    lora, blocks = adapted(list(moving))
    layers = Layers(TINY, Tuning(torch.float32, method == "full", lora, blocks, 4))
    layers.train_once(ROW, CPU)
    parts = {name.split(".")[2] for name, weight in layers.named_parameters() if weight.grad is not None}
    assert (
        parts
        == {
            "full": {"matrices", "before", "between"},
            "lora": {"matrices"},
            "bottleneck": {"behind"},
        }[method]
    )
    assert lora == (MATRICES if method == "lora" else frozenset())
    assert blocks == (frozenset({"self_attn", "mlp"}) if method == "bottleneck" else frozenset())


def test_fused_matrices_stand_for_the_matrices_in_them() -> None:
    names = [f"layers.0.{name}.lora_A.default.weight" for name in ("self_attn.qkv_proj", "mlp.gate_up_proj")]
    assert adapted(names)[0] == frozenset({"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"})


def test_recomputed_layers_leave_the_same_gradients() -> None:
    found = []
    for recompute in (False, True):
        layers = Layers(TINY, replace(LORA, recompute=recompute))
        for number, weight in enumerate(layers.parameters()):
            torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(number))
        layers.train_once(ROW, CPU)
        found.append([weight.grad for weight in layers.parameters() if weight.grad is not None])
    assert len(found[0]) == 2 * 7 * Layers.COUNT
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_type_that_is_asked_for_is_taken_unmeasured() -> None:
    assert compute.precision("bf16", CPU, TINY) is torch.bfloat16
    assert compute.precision("fp32", CPU, TINY) is torch.float32


@pytest.mark.parametrize(("bf16", "chosen"), [(1.0, torch.bfloat16), (2.0, torch.float32), (1.9, torch.float32)])
def test_bf16_is_chosen_where_a_layer_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, bf16: float, chosen: torch.dtype
) -> None:
    taken = {torch.bfloat16: bf16, torch.float32: 2.0}
    monkeypatch.setattr(calibration, "layer_seconds", lambda *given: taken[given[2]])
    assert compute.precision("auto", CPU, TINY) is chosen
