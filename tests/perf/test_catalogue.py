"""The catalogue is read strictly, and says where every number is from."""

from __future__ import annotations

import pytest

from stoker.errors import BadInput, NotFound
from stoker.perf import datasheet
from stoker.perf.accelerator import accelerator, accelerators, processor
from stoker.perf.models import models, transformer
from stoker.perf.precision import precision

SOURCES = {"lab": {"title": "the lab", "read": "2026-11"}}
GOOD = {"value": 80, "unit": "GiB", "kind": "measured", "source": "lab"}


def test_every_card_and_cpu_is_read_and_every_number_has_a_source() -> None:
    cards = accelerators()
    assert {"NVIDIA", "Huawei", "Hygon"} <= {card.vendor for card in cards}
    assert len(cards) >= 28
    for file in ("accelerators", "cpus", "links", "curves"):
        for sheet in datasheet.sheets(file).values():
            assert all(quantity.source.title and quantity.source.read for quantity in sheet.quantities.values())
    for name in datasheet.sheets("cpus"):
        assert processor(name).peak_flops("fp32") > 5e11


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("h100_80gb", "H100-SXM5-80GB"),
        ("a100-80gb", "A100-SXM4-80GB"),
        ("910B", "Ascend-910B3"),
        ("H20", "H20-96GB"),
    ],
)
def test_people_spell_cards_as_they_like(spelled: str, name: str) -> None:
    assert accelerator(spelled).name == name


def test_numbers_are_in_base_units_and_name_their_source() -> None:
    card = accelerator("H100")
    assert card.peak_flops("bf16") == 989e12
    assert card.achieved_flops("bf16") == 794.5e12  # measured beats the architecture's share
    assert card.scale_up_one_way == 450e9
    assert "datasheet: stas00/ml-engineering" in str(card.peak["bf16"])


def test_an_unknown_card_is_answered_with_near_names() -> None:
    with pytest.raises(NotFound, match="near names: H100-SXM5-80GB"):
        accelerator("H101")


def test_what_nobody_states_is_not_guessed() -> None:
    with pytest.raises(BadInput, match="A100-SXM4-80GB has no fp8 peak"):
        accelerator("A100").peak_flops("fp8")
    with pytest.raises(BadInput, match="nobody states the memory bandwidth of Hygon-K100"):
        _ = accelerator("K100").achieved_bandwidth


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unit": "GBps"}, 'unit "GBps" is unknown'),
        ({"value": 0}, "must be a number above 0"),
        ({"kind": "guess"}, 'kind "guess"'),
        ({"source": "nobody"}, 'source "nobody" is not in'),
        ({"date": "today"}, "a number is given as"),
    ],
)
def test_a_spoilt_file_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        datasheet.parse({"sources": SOURCES, "X": {"memory": {**GOOD, **change}}}, what="own.toml")


def test_shapes_have_the_published_number_of_parameters() -> None:
    published = {
        "llama-3.1-70b": 70.6e9, "llama-3.1-405b": 405.9e9, "qwen3-235b-a22b": 235.1e9,
        "deepseek-v3-without-mtp": 671e9,
        "kimi-k2": 1026e9, "mixtral-8x7b": 46.7e9, "nemotron-3-nano": 31.6e9, "gpt-175b": 174.6e9, "mpt-7b": 6.65e9,
        "gpt-oss-120b": 116.8e9, "qwen2.5-0.5b": 0.494e9,
    }  # fmt: skip
    for name, parameters in published.items():
        assert transformer(name).parameters == pytest.approx(parameters, rel=0.005), name
    assert transformer("deepseek-v3").active_parameters == pytest.approx(37e9, rel=0.02)
    assert len(models()) > 50


def test_the_count_of_flop_is_megatrons() -> None:
    """Megatron-Bridge publishes 5,243 tokens/s as 2,355 TFLOPS for this model at 8,192 tokens."""
    assert transformer("LLAMA3_70B").flops_per_token(8192) * 5243 == pytest.approx(2355e12, rel=0.001)


def test_precisions_have_many_names() -> None:
    assert [precision(text) for text in ("bfloat16", "MXFP8", "NVFP4", "amp_bf16")] == [
        "bf16",
        "fp8",
        "fp4",
        "bf16",
    ]
    with pytest.raises(BadInput, match='precision "bf17" was given; near names: bf16'):
        precision("bf17")
