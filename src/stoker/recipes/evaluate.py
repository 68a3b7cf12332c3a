"""Evaluate: what the base and the trained model say about records that training never saw, side by side.

Inputs: ``data`` (output of curate), ``base`` and ``train`` (output of train). Output:

    answers.jsonl   {id, prompt, reference, base, new, scores: {base, new}} per held-out record
    probes.jsonl    {messages, tokens, text, top} of the trained model, for `verify` to hold the served one against
    result.json     loss, perplexity and mean score of both

Loss counts what the assistant says; on raw text every token, and there are no answers to compare.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import torch

from stoker import probe
from stoker.errors import BadInput
from stoker.recipes import adapters, chatmask, compute, loading, packing, records, stage
from stoker.recipes.generation import Answer, Greedy
from stoker.recipes.metrics import Metric, metric
from stoker.recipes.row_pass import RowPass
from stoker.sources import basemodel
from stoker.typed import strict

VERSION = 1
_ROW = 512  # tokens of a packed row when only the loss is wanted
_ROOM = 8  # tokens an answer may be longer than the longest reference before it is cut


@strict
@dataclass(frozen=True)
class Config:
    """What to measure."""

    metric: str = "exact_match"  # exact_match, contains, token_f1, rouge_l, or module:function of your own
    count: int = 200  # held-out records looked at; a larger split is sampled
    probes: int = 48  # prompts kept for verifying the served model; up to 64 are useful
    max_tokens: int = 0  # longest answer in tokens; 0: a little more than the longest reference, 256 at most
    batch: int = 48  # prompts answered together
    max_length: int = 1024  # longest record in tokens, cut there
    seed: int = 0  # of the sample
    threads: int = 0  # CPU threads; 0: every CPU this job may use


@dataclass(frozen=True)
class _Task:
    """What both models are asked."""

    records: Sequence[Mapping[str, Any]]
    tokens: Sequence[chatmask.Tokens]
    prompts: Sequence[Sequence[int]]  # of each record; empty for raw text
    references: Sequence[str]
    longest: int  # tokens of an answer


@dataclass(frozen=True)
class _Outcome:
    """What one model made of it."""

    loss: float  # mean over trained tokens, nats
    answers: Sequence[Answer]
    texts: Sequence[str]


def run(this: stage.Stage[Config]) -> dict[str, Any]:
    """Raises BadInput when nothing was held out or the metric is unknown."""
    config = this.config
    score = metric(config.metric)
    compute.use_threads(config.threads)
    device = compute.device()
    dtype = compute.precision("auto", device, basemodel.architecture(this.inputs["base"]))  # of both losses
    tokenizer = loading.load_tokenizer(this.inputs["base"])
    chosen, held = _sample(this.inputs["data"], config)
    task = _task(tokenizer, chosen, config)
    probe.phase("base", f"{len(chosen)} of {held} held-out records")
    model = loading.load_base(this.inputs["base"], torch.float32).to(device)
    base = _outcome(model, tokenizer, task, config, device, dtype)
    method = loading.method_of(this.inputs["train"])
    model = loading.put_trained(model, this.inputs["train"], method).to(device)
    probe.phase("new", method)
    new = _outcome(model, tokenizer, task, config, device, dtype)
    _write_probes(this.output / "probes.jsonl", tokenizer, task, new, config.probes)
    scores = _write_answers(this.output / "answers.jsonl", task, base, new, score)
    return {
        "metric": config.metric,
        "count": len(chosen),
        "held_out": held,
        "base": _figures(base, scores["base"]),
        "new": _figures(new, scores["new"]),
    }


def _sample(data: Path, config: Config) -> tuple[list[dict[str, Any]], int]:
    """At most `count` held-out records, drawn evenly by the seed, in their order; and how many there are."""
    held = list(records.read(data, "heldout"))
    if not held:
        raise BadInput(
            "nothing was held out, so nothing can be evaluated; give held-out data, or set heldout_fraction of "
            "curate above 0"
        )
    places = range(len(held))
    if len(held) > config.count:
        places = sorted(Random(config.seed).sample(places, config.count))  # type: ignore[assignment]  # noqa: S311
    return [held[place] for place in places], len(held)


def _task(tokenizer: Any, chosen: Sequence[Mapping[str, Any]], config: Config) -> _Task:
    tokens = list(chain.from_iterable(records.tokens(tokenizer, record, config.max_length) for record in chosen))
    if "messages" not in chosen[0]:
        return _Task(chosen, tokens, [], [], 0)
    asked = [_asked(record["messages"]) for record in chosen]
    prompts = [chatmask.prompt(tokenizer, messages) for messages, _ in asked]
    references = [reference for _, reference in asked]
    needed = max(len(tokenizer(reference)["input_ids"]) for reference in references) + _ROOM
    return _Task(chosen, tokens, prompts, references, config.max_tokens or min(256, needed))


def _asked(messages: Sequence[Mapping[str, str]]) -> tuple[Sequence[Mapping[str, str]], str]:
    """The conversation up to the last thing the assistant says, and that."""
    last = max(index for index, message in enumerate(messages) if message["role"] == "assistant")
    return messages[:last], messages[last]["content"]


def _outcome(
    model: Any, tokenizer: Any, task: _Task, config: Config, device: torch.device, dtype: torch.dtype
) -> _Outcome:
    loss = _loss(RowPass(model, device, dtype), task.tokens)
    ends = loading.end_tokens(tokenizer, adapters.inner(model))
    greedy = Greedy(model, ends, config.batch)
    total = len(task.prompts)
    answers = greedy.answers(task.prompts, task.longest, lambda done: probe.report(step=done, total=total))
    texts = [tokenizer.decode(answer.tokens, skip_special_tokens=True).strip() for answer in answers]
    return _Outcome(loss, answers, texts)


def _loss(row_pass: RowPass, tokens: Sequence[chatmask.Tokens]) -> float:
    shared = packing.common_beginning(tokens)
    total, targets = 0.0, 0
    with torch.no_grad():
        for row in packing.rows(sorted(tokens, key=len), shared, _ROW):
            total += float(row_pass.loss(row))
            targets += len(row.targets)
    return total / max(1, targets)


def _figures(outcome: _Outcome, scores: Sequence[float]) -> dict[str, float | None]:
    return {
        "loss": round(outcome.loss, 4),
        "perplexity": round(math.exp(min(outcome.loss, 50.0)), 3),
        "score": round(sum(scores) / len(scores), 4) if scores else None,
    }


def _write_answers(path: Path, task: _Task, base: _Outcome, new: _Outcome, score: Metric) -> dict[str, list[float]]:
    """Write the answers side by side; the scores of both models."""
    scores: dict[str, list[float]] = {"base": [], "new": []}
    lines = []
    for record, reference, old, fresh in zip(task.records, task.references, base.texts, new.texts, strict=False):
        scored = {"base": score(old, reference), "new": score(fresh, reference)}
        for who, value in scored.items():
            scores[who].append(value)
        prompt, _ = _asked(record["messages"])
        lines.append(
            {
                "id": record["id"],
                "prompt": prompt,
                "reference": reference,
                "base": old,
                "new": fresh,
                "scores": scored,
            }
        )
    _write_lines(path, lines)
    probe.note("answers", lines[:5])
    return scores


def _write_probes(path: Path, tokenizer: Any, task: _Task, new: _Outcome, count: int) -> None:
    """Evenly spaced prompts with what the trained model says and how sure it is."""
    every = max(1, len(task.prompts) // max(1, count))
    places = range(0, len(task.prompts), every)[:count]
    _write_lines(
        path,
        (
            {
                "messages": _asked(task.records[place]["messages"])[0],
                "tokens": new.answers[place].tokens,
                "text": tokenizer.decode(new.answers[place].tokens, skip_special_tokens=True),
                "top": new.answers[place].top,
            }
            for place in places
        ),
    )


def _write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    stage.main(Config, run)
