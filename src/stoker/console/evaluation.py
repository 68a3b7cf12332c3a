"""Base and new model side by side, as the evaluation of a shipment wrote them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

ANSWERS = "answers.jsonl"  # beside the result: one line a held-out record
MOST_ANSWERS = 60  # shown on a page
RIGHT = 0.999  # a score from here on is a right answer

_COSTS = ("loss", "error", "latency")
_SHARES = ("score", "exact_match", "contains", "token_f1", "rouge_l", "accuracy", "mfu")


@dataclass(frozen=True)
class Metric:
    name: str
    base: float | None
    new: float | None

    @property
    def better(self) -> bool | None:
        """Whether new beats base; None when they are equal or one is missing."""
        if self.base is None or self.new is None or self.base == self.new:
            return None
        return (self.new < self.base) == lower_is_better(self.name)


@dataclass(frozen=True)
class Answer:
    prompt: str
    expected: str
    base: str
    new: str
    base_score: float
    new_score: float

    @property
    def base_right(self) -> bool:
        return self.base_score >= RIGHT

    @property
    def new_right(self) -> bool:
        return self.new_score >= RIGHT


@dataclass(frozen=True)
class Evaluation:
    count: int  # held-out records looked at
    metrics: tuple[Metric, ...]
    answers: tuple[Answer, ...]


def evaluation(result: Mapping[str, Any], folder: Path | None) -> Evaluation | None:
    """From the stage's result and the folder of its output; None when the result holds no two tables of numbers."""
    base, new = _floats(result.get("base")), _floats(result.get("new"))
    if not base and not new:
        return None
    called = {"score": str(result.get("metric", "score"))}
    metrics = tuple(Metric(called.get(name, name), base.get(name), new.get(name)) for name in {**new, **base})
    count = result.get("count")
    return Evaluation(count if isinstance(count, int) else 0, metrics, tuple(_answers(folder)))


def lower_is_better(metric: str) -> bool:
    """By its name: losses, errors and times are the better the lower, everything else the higher."""
    last = metric.rpartition(".")[2]
    if last.endswith("per_s"):
        return False
    return last in ("seconds", "perplexity") or last.endswith("_s") or any(word in last for word in _COSTS)


def unit_of(metric: str) -> str:
    """The unit of a metric by its name, as `figures.quantity` takes it."""
    last = metric.rpartition(".")[2]
    if last in _SHARES:
        return "share"
    if last.endswith("_per_s"):
        return f"{last.removesuffix('_per_s')}/s"
    return "s" if last == "seconds" or last.endswith(("_s", "_seconds")) else ""


def _answers(folder: Path | None) -> Iterator[Answer]:
    """The first answers of the file; none where it is not there (raw text has none)."""
    if folder is None:
        return
    try:
        with (folder / ANSWERS).open(encoding="utf-8") as lines:
            for line in islice(lines, MOST_ANSWERS):
                if answer := _answer(json.loads(line)):
                    yield answer
    except (OSError, ValueError):  # cleaned away, or not ours: the figures stand without it
        return


def _answer(line: Any) -> Answer | None:
    if not isinstance(line, Mapping):
        return None
    scores = line.get("scores")
    scored = _floats(scores)
    return Answer(
        _prompt(line.get("prompt")),
        str(line.get("reference", "")),
        str(line.get("base", "")),
        str(line.get("new", "")),
        scored.get("base", 0.0),
        scored.get("new", 0.0),
    )


def _prompt(messages: Any) -> str:
    """What was asked: the last message, or the text itself."""
    if isinstance(messages, list) and messages and isinstance(messages[-1], Mapping):
        return str(messages[-1].get("content", ""))
    return str(messages or "")


def _floats(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {}
    return {
        str(name): float(number)
        for name, number in value.items()
        if isinstance(number, (int, float)) and not isinstance(number, bool)
    }
