"""Evaluation: greedy answers are the model's own, losses are right, and both models stand side by side."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from stoker.errors import BadInput
from stoker.recipes import chatmask, evaluate, loading
from stoker.recipes.generation import Greedy
from stoker.recipes.metrics import METRICS, metric
from stoker.recipes.stage import Stage
from tests.recipes.small_training import FAST, make_base, make_chat, make_text, run

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chat(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run("train", folder, {**FAST, "epochs": 40, "precision": "fp32"}, base=base, data=data)
    return folder / "train"


def evaluate_here(folder: Path, **given: Any) -> dict[str, Any]:
    inputs = {name: given.pop(name) for name in ("base", "data", "train")}
    output = folder / "evaluate"
    output.mkdir(parents=True)
    return evaluate.run(Stage(evaluate.Config(threads=1, **given), inputs, output, folder))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def naive(model: Any, prompt: tuple[int, ...], limit: int, end: int) -> list[int]:
    said: list[int] = []
    while len(said) < limit and (not said or said[-1] != end):
        with torch.no_grad():
            said.append(int(model(input_ids=torch.tensor([[*prompt, *said]])).logits[0, -1].argmax()))
    return said


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_answers_in_batches_are_those_of_one_prompt_at_a_time(batch: int, base: Path) -> None:
    tokenizer, model = loading.load_tokenizer(base), loading.load_base(base, torch.float32)
    asked = ["hot?", "why is the gpu hot and the rail down", "链路", "list all jobs"]
    prompts = [chatmask.prompt(tokenizer, [{"role": "user", "content": text}]) for text in asked]
    answers = Greedy(model, {tokenizer.eos_token_id}, batch).answers(prompts, 9)
    assert [answer.tokens for answer in answers] == [
        naive(model, prompt, 9, tokenizer.eos_token_id) for prompt in prompts
    ]
    for answer in answers:
        assert [top[0][0] for top in answer.top] == answer.tokens
        assert all(len(top) == 10 and sum(math.exp(logprob) for _, logprob in top) <= 1.001 for top in answer.top)


def test_base_and_new_model_stand_side_by_side(base: Path, data: Path, trained: Path, tmp_path: Path) -> None:
    result = evaluate_here(tmp_path, base=base, data=data, train=trained)
    assert result["count"] == result["held_out"] == 4
    assert result["base"]["score"] == 0.0
    assert result["new"]["score"] == 1.0
    assert result["new"]["loss"] < result["base"]["loss"] - 1
    assert result["new"]["perplexity"] == pytest.approx(math.exp(result["new"]["loss"]), rel=0.01)
    answers = lines(tmp_path / "evaluate" / "answers.jsonl")
    assert answers[1]["id"] == "r1"
    assert answers[1]["prompt"] == [{"role": "user", "content": "why is the gpu hot"}]
    assert answers[1]["reference"] == answers[1]["new"] == "the fan is off"
    assert answers[1]["scores"] == {"base": 0.0, "new": 1.0}


def test_probes_hold_the_trained_models_own_tokens(base: Path, data: Path, trained: Path, tmp_path: Path) -> None:
    evaluate_here(tmp_path, base=base, data=data, train=trained, probes=2)
    probes = lines(tmp_path / "evaluate" / "probes.jsonl")
    tokenizer, model = loading.load_tokenizer(base), loading.load_trained(base, trained, torch.float32)
    assert len(probes) == 2
    for one in probes:
        prompt = chatmask.prompt(tokenizer, one["messages"])
        assert one["tokens"] == naive(model, prompt, len(one["tokens"]), tokenizer.eos_token_id)
        assert one["text"] == tokenizer.decode(one["tokens"], skip_special_tokens=True)
        with torch.no_grad():
            logprobs = torch.log_softmax(model(input_ids=torch.tensor([prompt])).logits[0, -1], -1)
        assert one["top"][0][0][1] == pytest.approx(float(logprobs.max()), abs=1e-3)


def test_a_larger_split_is_sampled_and_said_so(base: Path, data: Path, trained: Path, tmp_path: Path) -> None:
    result = evaluate_here(tmp_path, base=base, data=data, train=trained, count=3)
    assert (result["count"], result["held_out"]) == (3, 4)
    assert len(lines(tmp_path / "evaluate" / "answers.jsonl")) == 3


def test_raw_text_has_a_loss_and_no_answers(base: Path, trained: Path, tmp_path: Path) -> None:
    result = evaluate_here(tmp_path, base=base, data=make_text(tmp_path / "text"), train=trained)
    assert result["base"]["score"] is None
    assert result["base"]["loss"] > 0
    assert lines(tmp_path / "evaluate" / "answers.jsonl") == lines(tmp_path / "evaluate" / "probes.jsonl") == []


def test_nothing_held_out_is_told(base: Path, trained: Path, tmp_path: Path) -> None:
    empty = make_chat(tmp_path / "empty")
    (empty / "heldout.jsonl").write_text("")
    with pytest.raises(BadInput, match="nothing was held out"):
        evaluate_here(tmp_path, base=base, data=empty, train=trained)


@pytest.mark.parametrize(
    ("name", "answer", "reference", "score"),
    [
        ("exact_match", " The  Fan\nis off", "the fan is off", 1.0),
        ("exact_match", "the fan is off.", "the fan is off", 0.0),
        ("contains", "I think the fan is off, so", "The fan is OFF", 1.0),
        ("token_f1", "the fan is on", "the fan is off", 0.75),
        ("token_f1", "风扇停了", "风扇坏了", 0.75),
        ("token_f1", "", "off", 0.0),
        ("rouge_l", "the old fan is off", "the fan is off", 2 * 4 / 9),
        ("rouge_l", "off is fan the", "the fan is off", 0.25),
    ],
)
def test_metrics(name: str, answer: str, reference: str, score: float) -> None:
    assert METRICS[name](answer, reference) == pytest.approx(score)


def test_a_metric_of_ones_own_is_imported_by_name() -> None:
    assert metric("operator:eq")("a", "a") == 1.0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("exact_mach", 'no metric "exact_mach"; near names: exact_match'),
        ("nowhere:f", "cannot be imported: No module named 'nowhere'"),
        ("math:pi", 'metric "math:pi" is no function'),
    ],
)
def test_an_unknown_metric_is_named(name: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        metric(name)
