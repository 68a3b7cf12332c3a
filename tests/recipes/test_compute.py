"""The quick benchmark of the machine that expected training speeds rest on."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from stoker.model import Architecture
from stoker.recipes import compute
from stoker.recipes.little_layer import LittleLayer, one_pass

pytestmark = pytest.mark.train
TINY = Architecture("llama", 2, 64, 4, 2, 16, 128, 256, 512)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_rates_are_measured(dtype: torch.dtype) -> None:
    device = compute.calibrate(TINY, 32, torch.device("cpu"), dtype, adapter_width=4)
    assert min(device.matmul, device.layer, device.narrow, device.copy) > 1e6
    assert 1e-6 < device.layer_start < 1
    assert device.adapter_start >= 0
    assert device.bytes_per_value == dtype.itemsize


@pytest.mark.parametrize("adapted", [False, True])
def test_the_little_layer_trains_what_the_method_trains(adapted: bool) -> None:
    layer = LittleLayer(adapted=adapted)
    one_pass(layer, torch.device("cpu"), torch.float32)
    moving = {name for name, weight in layer.named_parameters() if weight.grad is not None}
    assert any("query" in name for name in moving)
    assert all(("up" in name or "down" in name) for name in moving) is adapted
