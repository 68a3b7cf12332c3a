"""Expected against measured speed of training on this machine's CPUs, over models, lengths, methods and types.

    python benchmarks/training_cpu.py [--threads 1] [--only TEXT] [--steps 5]

Each configuration is a model of random weights, trained by the recipe's own row pass and optimiser on two rows of
random words in records of one length. Half of the steps come before the quick benchmark and half after. Measured is
the median step's time x the share of CPU that the process got while it ran (see docs/performance-model.md), so that
a busy machine gives a figure, too. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from random import Random
from statistics import median

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from stoker.model import Architecture
from stoker.perf import training
from stoker.recipes import adapters, calibration, one_layer, packing, row_pass
from stoker.recipes.chatmask import Tokens
from stoker.recipes.cpu_share import CpuShare
from stoker.recipes.packing import Row
from stoker.recipes.row_pass import RowPass
from stoker.recipes.train import Config

MODELS = {
    "8 x 256, 8k words": Architecture("llama", 8, 256, 4, 2, 64, 688, 8192, 2048, tied_embeddings=True),
    "6 x 384, 32k words": Architecture("llama", 6, 384, 6, 6, 64, 1024, 32000, 2048),
    "2 x 896, 48k words": Architecture("qwen2", 2, 896, 14, 2, 64, 4864, 49152, 2048, tied_embeddings=True),
}
ROWS = {"10 x 40": (10, 40), "1 x 384": (1, 384)}  # records x tokens of a row
METHODS: tuple[adapters.Method, ...] = ("lora", "full")
TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
SHARED = 16  # tokens that all records of a row begin with
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    model: str
    records: str
    method: adapters.Method
    type: str

    def __str__(self) -> str:
        return f"{self.model} | {self.records} | {self.method} | {self.type}"


class Trained:
    """A model in training: `step` gives the seconds a step takes, without what others took of the CPU."""

    def __init__(self, case: Case) -> None:
        config = Config(method=case.method)
        self.model = MODELS[case.model]
        self.full = case.method == "full"
        self.dtype = TYPES[case.type]
        torch.manual_seed(0)
        base = _base(self.model, torch.float32 if self.full else self.dtype)
        tuned = adapters.attach(base, case.method, config.sizes).train()
        self.moving = adapters.trainable(tuned)
        self.width = config.adapter_width
        self.pass_ = RowPass(tuned, CPU, self.dtype)
        self.optimiser = torch.optim.AdamW(self.moving.values(), weight_decay=0.0, betas=(0.9, 0.99))
        self.rows = list(_rows(*ROWS[case.records], self.model.vocabulary))
        self.cpus = CpuShare()

    def step(self) -> float:
        self.cpus.lap()
        started = time.perf_counter()
        targets = sum(len(row.targets) for row in self.rows)
        for row in self.rows:
            (self.pass_.loss(row) / targets).backward()
        torch.nn.utils.clip_grad_norm_(self.moving.values(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return (time.perf_counter() - started) * (self.cpus.lap() or 1.0)

    def device(self) -> training.Device:
        lora, blocks = one_layer.adapted(list(self.moving))
        tuning = one_layer.Tuning(self.dtype, self.full, lora, blocks, self.width)
        return calibration.measure(self.model, self.rows, CPU, tuning, self.sizes)

    def expected(self, device: training.Device) -> training.StepSeconds:
        step = training.Step(
            tokens=sum(len(row) for row in self.rows),
            rows=len(self.rows),
            pairs=sum(row.pairs for row in self.rows),
            predictions=sum(len(row.targets) for row in self.rows),
            adapter_parameters=0 if self.full else sum(self.sizes),
            full=self.full,
            recompute=False,
        )
        return training.seconds(self.model, step, device)

    @property
    def sizes(self) -> list[int]:
        return [value.numel() for value in self.moving.values()]


def _base(model: Architecture, held: torch.dtype) -> torch.nn.Module:
    config = AutoConfig.for_model(
        model.family,
        vocab_size=model.vocabulary,
        hidden_size=model.hidden,
        intermediate_size=model.ffn,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.kv_heads,
        head_dim=model.head_dim,
        max_position_embeddings=model.context,
        tie_word_embeddings=model.tied_embeddings,
    )
    attention = row_pass.attention_for(model.family)
    return AutoModelForCausalLM.from_config(config, dtype=held, attn_implementation=attention)


def _rows(records: int, length: int, vocabulary: int, rows: int = 2) -> Iterator[Row]:
    """Half of each record's own tokens are trained, as in chat data."""
    draw = Random(0)
    shared = SHARED if records > 1 else 0
    head = draw.choices(range(vocabulary), k=shared)
    own = length - shared
    trained = (False,) * (length - own // 2) + (True,) * (own // 2)
    for _ in range(rows):
        texts = [tuple(head + draw.choices(range(vocabulary), k=own)) for _ in range(records)]
        yield packing.pack([Tokens(text, trained) for text in texts], shared)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="configurations with this text in their name")
    parser.add_argument("--steps", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(
        "| model | records of a row | method | type | expected | measured | measured speed / expected | benchmark |"
    )
    print("|---|---|---|---|---:|---:|---:|---:|")
    ratios = []
    for case in (Case(*one) for one in product(MODELS, ROWS, METHODS, TYPES)):
        if given.only in str(case):
            ratios.append(judge(case, given.steps))
            gc.collect()
    ordered = sorted(ratios)
    inside = sum(0.85 <= ratio <= 1.15 for ratio in ordered)
    print(f"\nmedian {median(ordered):.2f}, from {ordered[0]:.2f} to {ordered[-1]:.2f}, {inside} of {len(ordered)} "
          f"within 0.85 to 1.15; {given.threads} threads")  # fmt: skip


def judge(case: Case, steps: int) -> float:
    """Print the line of `case`; measured speed / expected."""
    trained = Trained(case)
    trained.step()  # the first finds memory and starts kernels
    taken = [trained.step() for _ in range(steps // 2)]
    began = time.process_time()
    device = trained.device()
    spent = time.process_time() - began
    taken += [trained.step() for _ in range(steps - steps // 2)]
    due, measured = trained.expected(device), median(taken)
    print(
        f"| {case} | {due.total:.3g} s | {measured:.3g} s | **{due.total / measured:.2f}** | {spent:.1f} s |",
        flush=True,
    )
    return due.total / measured


if __name__ == "__main__":
    main()
