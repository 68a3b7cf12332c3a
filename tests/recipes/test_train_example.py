"""The example: what is committed is what its script writes, and held out is held out.

That it is really learnt: tests/api/test_openai.py.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = EXAMPLES / "gpu-ops"


def questions(split: str) -> dict[str, str]:
    lines = [json.loads(line)["messages"] for line in (DATA / f"{split}.jsonl").read_text().splitlines()]
    return {asked["content"]: answer["content"] for asked, answer in lines}


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("make_gpu_ops", EXAMPLES / "make_gpu_ops.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_data_is_what_the_script_writes(tmp_path: Path) -> None:
    counts = generator().write(tmp_path)
    for split, count in counts.items():
        assert (tmp_path / f"{split}.jsonl").read_bytes() == (DATA / f"{split}.jsonl").read_bytes()
        assert len(questions(split)) == count


def test_no_question_is_in_both_splits_and_every_fact_is_in_both() -> None:
    train, heldout = questions("train"), questions("heldout")
    assert not {plain(text) for text in train} & {plain(text) for text in heldout}
    assert set(train.values()) == set(heldout.values())
    assert len(set(train.values())) >= 50


def test_no_wording_of_the_heldout_split_is_trained_with_another_fact() -> None:
    module = generator()
    facts = module.tomllib.loads(module.FACTS.read_text())
    for kind, wordings in facts["phrasings"].items():
        assert not set(wordings["train"]) & set(wordings["heldout"]), kind


def plain(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())
