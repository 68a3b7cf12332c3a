"""What recipes say is read into forms for pages; what they do not say breaks nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stoker.console.evaluation import evaluation, lower_is_better, unit_of
from stoker.console.stages import curation, first_batch
from stoker.console.summary import summary
from stoker.console.texts import Say
from stoker.recipes.curation.tally import Tally
from stoker.shipment import Stage, StageRun, StageState
from tests.console import scene

JUNK: list[Any] = [None, 3, "text", [], [1], [[1]], {}, {"base": 3}, {"dropped": [], "kept": "x"}, {"rows": [{}]}]


def test_neighbours_of_the_same_mask_are_one_piece() -> None:
    row = [{"token": text, "trained": flag} for text, flag in (("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 0))]
    (read,) = first_batch([row])
    assert [(piece.trained, piece.tokens) for piece in read.pieces] == [
        (False, ("a", "b")),
        (True, ("c", "d")),
        (False, ("e",)),
    ]
    assert (read.trained, read.tokens) == (2, 5)


def test_curation_reads_the_tally_of_the_recipes() -> None:
    tally = Tally()
    for _ in range(3):
        tally.add("near_duplicate", "a.jsonl:1", "the same again")
    tally.add("empty", "a.jsonl:9")
    report = curation({"input": 10, "kept": 6, "dropped": tally.to_json(), "masked": {"email": 2, "phone": 0}})
    assert report is not None
    assert [(drop.reason, drop.count, drop.share) for drop in report.dropped] == [
        ("near_duplicate", 3, 0.3),
        ("empty", 1, 0.1),
    ]
    assert report.dropped[0].samples[0].detail == "the same again"
    assert report.masked == {"email": 2}


def test_evaluation_reads_figures_and_the_answers_beside_them(tmp_path: Path) -> None:
    line = {
        "prompt": [{"role": "user", "content": "Xid 79?"}],
        "reference": "off the bus",
        "base": "?",
        "new": "Off the bus",
        "scores": {"base": 0.0, "new": 1.0},
    }
    (tmp_path / "answers.jsonl").write_text(json.dumps(line) + "\n")
    read = evaluation(scene.results()[Stage.EVALUATE], tmp_path)
    assert read is not None
    better = {metric.name: metric.better for metric in read.metrics}
    assert better == {"loss": True, "perplexity": True, "exact_match": True}
    (answer,) = read.answers
    assert (answer.prompt, answer.new_right, answer.base_right) == ("Xid 79?", True, False)


@pytest.mark.parametrize("text", ["", "not json\n", "[1]\n", None])
def test_figures_stand_without_answers(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "answers.jsonl").write_text(text)
    read = evaluation(scene.results()[Stage.EVALUATE], tmp_path)
    assert read is not None
    assert read.answers == ()


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_foreign_recipes_break_nothing(junk: Any) -> None:
    assert first_batch(junk) == ()
    if isinstance(junk, dict):
        assert curation(junk) is None
        assert evaluation(junk, None) is None
        for stage in Stage:
            assert summary(StageRun(stage, StageState.DONE, result=junk), Say("en")) == ""


def test_a_finished_stage_is_told_in_one_line() -> None:
    said = {stage: summary(StageRun(stage, result=result), Say("en")) for stage, result in scene.results().items()}
    assert said[Stage.TRAIN] == "104 steps, loss 0.113 · 431.2 tokens/s, expected 468: 92 %"
    assert said[Stage.EVALUATE] == "Exact match: base 0 %, new 88 % · loss 2.31 → 1.02"
    assert said[Stage.CURATE] == "212 → 208 records, personal data masked in 3"
    assert all(said.values())
    assert "断" not in said[Stage.TRAIN]
    assert summary(StageRun(Stage.DEPLOY), Say("zh")) == ""


@pytest.mark.parametrize(
    ("metric", "lower", "unit"),
    [
        ("evaluate.new.loss", True, ""),
        ("train.tokens_per_s", False, "tokens/s"),
        ("evaluate.new.score", False, "share"),
        ("train.seconds", True, "s"),
        ("perplexity", True, ""),
    ],
)
def test_metrics_are_known_by_their_names(metric: str, lower: bool, unit: str) -> None:
    assert (lower_is_better(metric), unit_of(metric)) == (lower, unit)
