"""stoker plan memory and stoker plan training, as people call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Stoker


def test_memory_says_whether_it_fits_with_the_arithmetic(alone: Stoker) -> None:
    said = alone("plan", "memory", "qwen3-8b", "--gpu", "H100", "--explain")
    assert said.code == 0
    assert "8 x H100-SXM5-80GB (dp 8, micro-batch 1, FSDP): fits" in said.out
    assert "81,559 MiB are shown" in said.out
    over = alone("plan", "memory", "llama3-70b", "--gpu", "H100", "--json").json
    assert over["fewest"]["devices"] > 8
    cure = f"it fits on {over['fewest']['devices']} x {over['accelerator']} "
    assert cure in alone("plan", "memory", "llama3-70b", "--gpu", "H100").out
    assert (
        "no split over up to 1,024" in alone("plan", "memory", "kimi-k2", "--gpu", "T4", "--precision", "fp16").out
    )
    assert over["fits"] is False
    assert sum(over["needed"].values()) == pytest.approx(over["expectation"]["value"], rel=1e-6)


def test_memory_without_a_card_names_the_fewest_of_each_that_hold_it(alone: Stoker) -> None:
    cards = {one["accelerator"]: one for one in alone("plan", "memory", "llama3-70b", "--json").json}
    h100 = cards["H100-SXM5-80GB"]
    assert h100["needed_bytes"] < h100["available_bytes"]
    one = ("plan", "memory", "llama3-70b", "--gpu", "H100", "--sharding", "full", "--recompute", "full", "--json")
    split = ("--tp", str(h100["layout"]["tp"]), "--count", str(h100["devices"]))
    assert alone(*one, *split).json["fits"]
    assert not any(alone(*one, "--tp", tp, "--count", str(h100["devices"] // 2)).json["fits"] for tp in "1248")
    assert "T4" not in cards  # it does not compute in bf16
    assert "最少需要的卡数" in alone("--lang", "zh", "plan", "memory", "llama3-70b").out


def test_training_ranks_layouts_and_counts_cost(alone: Stoker) -> None:
    arguments = ("plan", "training", "llama3-70b", "--gpu", "H100", "--count", "64", "--nic", "400Gb/s")
    said = alone(*arguments, "--tokens", "1e12", "--hour-price", "2", "--explain")
    assert said.code == 0
    assert "not taken" in said.out
    assert "attention counted full" in said.out
    plan = alone(*arguments, "--tokens", "1e12", "--hour-price", "2", "--json").json
    first = plan["best"][0]
    assert first["cost"] == pytest.approx(first["seconds_for_tokens"] / 3600 * 2 * 64)
    assert first["speed"]["low"] < first["speed"]["value"] < first["speed"]["high"]
    assert plan["not_taken"]


def test_reports_speak_chinese(alone: Stoker) -> None:
    assert "放得下" in alone("--lang", "zh", "plan", "memory", "qwen3-8b", "--gpu", "H100").out


def test_a_cluster_file_and_a_models_folder(alone: Stoker, tmp_path: Path) -> None:
    cluster = tmp_path / "box.yaml"
    cluster.write_text("resources:\n  gpu: {type: A100-80GB, count: 8, nvlink_bandwidth: 600GB/s}\n")
    config = {
        "model_type": "qwen2", "num_hidden_layers": 28, "hidden_size": 3584, "num_attention_heads": 28,
        "num_key_value_heads": 4, "intermediate_size": 18944, "vocab_size": 152064,
    }  # fmt: skip
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text(json.dumps(config))
    plan = alone("plan", "training", str(tmp_path / "own"), "--cluster", str(cluster), "--json").json
    assert (plan["model"], plan["accelerator"], plan["devices"]) == ("own", "A100-SXM4-80GB", 8)
    (tmp_path / "own" / "config.json").write_text(json.dumps({**config, "model_type": "t5"}))
    said = alone("plan", "memory", str(tmp_path / "own"), "--gpu", "H100")
    assert (said.code, said.out) == (2, "")
    assert 'models of family "t5" are not modelled' in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gpu", "H101"), "near names: H100-SXM5-80GB"),
        (("--gpu", "H100", "--count", "0"), "count: 0 was given"),
        (("--gpu", "H100", "--tp", "3"), "does not divide 8 devices"),
        (("--gpu", "H100", "--precision", "fp9"), 'precision "fp9"'),
        (("--gpu", "H100", "--sharding", "all"), "allowed are none, optimiser, gradients, full"),
        (("--gpu", "H100", "--cluster", "x.yaml"), "give either --cluster FILE or --gpu NAME"),
    ],
)
def test_bad_input_is_one_line(alone: Stoker, arguments: tuple[str, ...], said: str) -> None:
    answer = alone("plan", "memory", "qwen3-8b", *arguments)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
