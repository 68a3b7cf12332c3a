"""Write the example's data: examples/gpu-ops/train.jsonl and heldout.jsonl, from gpu-ops-facts.toml.

    python examples/make_gpu_ops.py

Every fact is asked in seven ways for training and in two others that training never sees. Chat records in
OpenAI's form. Same facts, same bytes.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FACTS = HERE / "gpu-ops-facts.toml"
TARGET = HERE / "gpu-ops"
SPLITS = ("train", "heldout")


def pairs(facts: dict[str, Any], split: str) -> Iterator[tuple[str, str]]:
    """Question and answer, for one split."""
    for group in facts["facts"]:
        for thing, answer in group["answers"]:
            for phrasing in facts["phrasings"][group["kind"]][split]:
                yield phrasing.format(thing=thing), answer
    for fact in facts["asked"]:
        for question in fact[split]:
            yield question, fact["answer"]


def record(question: str, answer: str) -> str:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}, ensure_ascii=False)


def write(target: Path) -> dict[str, int]:
    """Both files; returns the number of records of each. Raises ValueError when a question is in both."""
    facts = tomllib.loads(FACTS.read_text())
    both = {question for question, _ in pairs(facts, "train")} & {q for q, _ in pairs(facts, "heldout")}
    if both:
        raise ValueError(f"asked in training and held out: {sorted(both)}")
    target.mkdir(exist_ok=True)
    counts = {}
    for split in SPLITS:
        lines = [record(*pair) for pair in pairs(facts, split)]
        (target / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
        counts[split] = len(lines)
    return counts


if __name__ == "__main__":
    print(write(TARGET))
