"""Training: every method learns, is saved and comes back; a killed one ends as if it had not been killed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from stoker.errors import BadInput, Broken, Unfit
from stoker.recipes import checkpoint, loading, packing, train
from stoker.recipes.row_pass import RowPass
from stoker.recipes.stage import Stage
from tests.recipes.small_training import FAST, make_base, make_chat, make_text, reports, run, start, write_spec

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")]
METHODS = ("full", "lora", "ptuning", "bottleneck", "ia3")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chat(tmp_path_factory.mktemp("data"))


def train_here(folder: Path, base: Path, data: Path, **config: Any) -> dict[str, Any]:
    """In this process: quicker, and errors arrive as exceptions."""
    output, scratch = folder / "train", folder / "scratch"
    output.mkdir(parents=True)
    settings = train.Config(**{**FAST, "precision": "fp32", **config})
    result = train.run(Stage(settings, {"base": base, "data": data}, output, scratch))
    (output / "result.json").write_text(json.dumps(result))
    return result


def loss_on(model: Any, base: Path, data: Path) -> float:
    """Mean loss over the training data, computed record by record."""
    from stoker.recipes import records

    tokenizer = loading.load_tokenizer(base)
    tokens = [piece for record in records.read(data, "train") for piece in records.tokens(tokenizer, record, 256)]
    one = RowPass(model, torch.device("cpu"), torch.float32)
    with torch.no_grad():
        total = sum(float(one.loss(packing.pack([piece], 0))) for piece in tokens)
    return total / sum(sum(piece.trained) for piece in tokens)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_learns_and_what_is_saved_is_what_was_trained(
    method: str, base: Path, data: Path, tmp_path: Path
) -> None:
    rate = {"full": 0.003, "ia3": 0.05}.get(method, 0.02)
    result = train_here(tmp_path, base, data, method=method, epochs=10, learning_rate=rate, schedule="constant")
    before = loss_on(loading.load_base(base, torch.float32), base, data)
    after = loss_on(loading.load_trained(base, tmp_path / "train", torch.float32), base, data)
    assert result["method"] == method
    assert after < before - 0.05
    # The last steps' loss was measured while the weights still moved: near, not equal.
    assert after == pytest.approx(sum(result["loss_curve"][-2:]) / 2, rel=0.35)


def test_the_same_seed_gives_the_same_run_bit_for_bit(base: Path, data: Path, tmp_path: Path) -> None:
    first, second, other = (
        train_here(tmp_path / name, base, data, seed=seed, lora_dropout=0.1)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first["loss_digest"] == second["loss_digest"] != other["loss_digest"]


@pytest.mark.parametrize("change", [{"packing": False}, {"row_tokens": 40}, {"gradient_checkpointing": True}])
def test_how_rows_are_cut_and_activations_kept_changes_nothing_that_is_learnt(
    change: dict[str, Any], base: Path, data: Path, tmp_path: Path
) -> None:
    usual = train_here(tmp_path / "usual", base, data)
    other = train_here(tmp_path / "other", base, data, **change)
    assert other["loss_curve"] == pytest.approx(usual["loss_curve"], abs=2e-3)


def test_a_killed_training_ends_as_if_it_had_not_been_killed(base: Path, data: Path, tmp_path: Path) -> None:
    config = {**FAST, "epochs": 20, "lora_dropout": 0.1, "precision": "fp32"}
    whole = run("train", tmp_path / "whole", config, base=base, data=data)
    spec = write_spec(tmp_path / "killed", "train", config, base=base, data=data)
    saved = tmp_path / "saved"
    with start("train", spec, STOKER_SAVED=str(saved)) as process:
        checkpoints = tmp_path / "killed" / "train-scratch" / "checkpoints"
        while process.poll() is None and not saved.exists():
            time.sleep(0.01)
        process.kill()
    assert list(checkpoints.glob("step-*"))  # what it says is saved, is
    assert not (tmp_path / "killed" / "train").exists()
    resumed = run("train", tmp_path / "killed", config, base=base, data=data)
    phases = [line["text"] for line in reports(tmp_path / "killed", "train") if line["kind"] == "phase"]
    assert any(text.startswith("from step ") for text in phases)
    assert resumed["loss_digest"] == whole["loss_digest"]
    assert len(list(checkpoints.iterdir())) <= checkpoint.KEPT


def test_two_ranks_learn_what_one_learns(base: Path, data: Path, tmp_path: Path) -> None:
    config = {**FAST, "row_tokens": 40, "precision": "fp32"}
    one = run("train", tmp_path / "one", config, base=base, data=data)
    two = run("train", tmp_path / "two", config, base=base, data=data, ranks=2)
    assert two["ranks"] == 2
    assert two["loss_curve"] == pytest.approx(one["loss_curve"], abs=2e-3)


def test_raw_text_is_trained_whole(base: Path, tmp_path: Path) -> None:
    text = make_text(tmp_path / "text")
    result = train_here(tmp_path, base, text, epochs=6, max_length=64)
    assert result["loss_curve"][-1] < result["loss_curve"][0] - 0.5
    assert result["tokens"] > 6 * 8 * 40


def test_the_first_batch_is_shown_with_its_mask(base: Path, data: Path, tmp_path: Path) -> None:
    run("train", tmp_path, {**FAST, "max_steps": 1}, base=base, data=data)
    said = reports(tmp_path, "train")
    (shown,) = (line["data"] for line in said if line.get("name") == "first_batch")
    texts = ["".join(token["token"] for token in record) for record in shown]
    answers = ["".join(token["token"] for token in record if token["trained"]) for record in shown]
    assert len(shown) == 4
    assert all(
        text.startswith("<|im_start|>user\n") and text.endswith(f"assistant\n{answer}")
        for text, answer in zip(texts, answers, strict=True)
    )
    assert all(answer.endswith("<|im_end|>") and len(answer) > 12 for answer in answers)
    progress = [line for line in said if line["kind"] == "progress"]
    told = set(progress[0]["values"])
    assert told - {"cpu_share"} == {"loss", "tokens_per_s", "mfu", "lr"}  # the share where the kernel counts it
    (expected,) = (line for line in said if line["kind"] == "expect")
    assert 0 < expected["low"] < expected["value"] < expected["high"]
    assert "GFLOP/s measured" in expected["basis"]


def test_a_loss_that_is_no_number_stops_with_the_step(base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Broken, match=r"the loss became nan at step \d+ .*lower learning_rate"):
        train_here(tmp_path, base, data, method="full", learning_rate=1e30, epochs=4, clip=0.0)


def test_what_cannot_fit_is_refused_with_the_arithmetic(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stoker.recipes.compute.free_memory", lambda _on: 300 << 20)
    with pytest.raises(Unfit, match=r"needs \(weights .* \+ gradients .*\) .* but 300.0 MiB are free: use lora"):
        train_here(tmp_path, base, data)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"batch": 0}, "batch is 0; it must be above 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0; it must not be below 0"),
        ({"max_length": 9999}, "max_length is 9999, the base was made for 256 tokens"),
        ({"max_length": 8}, "no record fits max_length 8"),
    ],
)
def test_settings_that_mean_nothing_are_named(
    config: dict[str, Any], words: str, base: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=words):
        train_here(tmp_path, base, data, **config)


def test_a_record_that_cannot_be_trained_is_named(base: Path, tmp_path: Path) -> None:
    empty = make_chat(tmp_path / "data", [("hot?", "yes"), ("cold?", " ")])
    with pytest.raises(BadInput, match="record r1: a record has no assistant message"):
        train_here(tmp_path, base, empty)


def test_a_base_without_chat_template_takes_no_conversations(data: Path, tmp_path: Path) -> None:
    plain = make_base(tmp_path / "plain")
    (plain / "chat_template.jinja").unlink()
    with pytest.raises(BadInput, match="no chat template"):
        train_here(tmp_path, plain, data)


def test_the_expected_loss_of_a_fresh_model_is_that_of_guessing(base: Path, data: Path, tmp_path: Path) -> None:
    result = train_here(tmp_path, base, data, max_steps=1)
    assert result["final_loss"] == pytest.approx(math.log(len(loading.load_tokenizer(base))), rel=0.1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk_is_told_and_leaves_no_output(base: Path, data: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        spec = write_spec(small, "train", FAST, base=base, data=data)
        with start("train", spec, STOKER_PROBE=str(tmp_path / "probe")) as process:
            _, errors = process.communicate(timeout=240)
        assert process.returncode == 1
        assert "no space left on device while writing" in errors.splitlines()[-1]
        assert not (small / "train").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)
