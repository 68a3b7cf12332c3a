"""Train: a curated dataset and a base model make an adapter, or a whole new model.

Inputs: ``data`` (output of curate) and ``base`` (Hugging Face folder or .gguf file). Output: ``adapter/`` or
``model/``, and ``result.json``. Chat data trains what the assistant says and nothing else; raw text trains every
token (continued pre-training). Started by torchrun it trains on all its ranks. A killed training goes on from its
last checkpoint in scratch, and ends as it would have ended.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch

from stoker import probe
from stoker.errors import BadInput
from stoker.expectation import Expectation
from stoker.model import Architecture
from stoker.perf import memory
from stoker.recipes import (
    adapters,
    calibration,
    checkpoint,
    compute,
    loading,
    one_layer,
    ranks,
    records,
    row_pass,
    stage,
)
from stoker.recipes.bottleneck import Placement
from stoker.recipes.checkpoint import Progress
from stoker.recipes.cpu_share import CpuShare
from stoker.recipes.packing import SHARED, Row
from stoker.recipes.ranks import Ranks
from stoker.recipes.row_pass import RowPass
from stoker.recipes.shelf import Shelf
from stoker.recipes.tensor_files import full_disk_told
from stoker.recipes.training_loop import Loop
from stoker.recipes.training_plan import Plan, Schedule, learning_rate
from stoker.recipes.training_speed import Speed
from stoker.sources import basemodel
from stoker.typed import strict

VERSION = 1
_CURVE = 200  # points of the loss curve kept in the result
_SHOWN_RECORDS, _SHOWN_TOKENS = 4, 256  # of the first batch


@strict
@dataclass(frozen=True)
class Config:
    """How to train."""

    method: adapters.Method = "lora"  # full: every weight; the others a few: lora, ia3, bottleneck, ptuning
    epochs: float = 4.0  # how often every record is seen
    max_steps: int = 0  # stop after so many steps; 0: as many as the epochs make
    batch: int = 16  # records per optimiser step, over all ranks
    row_tokens: int = 1024  # tokens computed at once; a batch of more accumulates gradients over several rows
    packing: bool = True  # several short records in one row, each seeing only itself
    max_length: int = 0  # longest record in tokens, cut there; 0: 1024, or what the base was made for if less
    learning_rate: float = 0.0  # the schedule's peak; 0: 2e-3, 5e-3 for ia3 and ptuning, 1e-4 for full
    learning_rate_multiplier: float = 1.0  # the peak is multiplied by it: a choice relative to the usual
    schedule: Schedule = "cosine"  # how the learning rate falls to zero, or constant
    warmup: float = 0.05  # share of the steps over which the learning rate rises
    weight_decay: float = 0.0  # AdamW's, for the weights that move
    clip: float = 1.0  # largest norm of the gradient; 0 does not clip
    lora_rank: int = 16  # width of LoRA's two matrices
    lora_alpha: float = 32.0  # LoRA's update is scaled by alpha / rank
    lora_dropout: float = 0.0  # share of LoRA's inputs set to zero while training
    lora_targets: str = "all-linear"  # which matrices get LoRA: all-linear, or names such as q_proj,v_proj
    prompt_tokens: int = 16  # virtual tokens of ptuning
    prompt_hidden: int = 256  # width of ptuning's prompt encoder
    bottleneck_size: int = 32  # width of bottleneck adapters
    bottleneck_placement: Placement = "pfeiffer"  # behind the feed-forward block, or behind attention too (houlsby)
    gradient_checkpointing: bool = False  # compute activations twice instead of keeping them: less memory, slower
    precision: compute.Precision = "auto"  # bf16 where the hardware multiplies it fast, else fp32
    seed: int = 0  # of the order of records, initial adapter weights and dropout
    checkpoint_every: int = 50  # steps
    threads: int = 0  # CPU threads; 0: every CPU this job may use

    @property
    def peak_rate(self) -> float:
        """The learning rate at its highest."""
        usual = {"full": 1e-4, "ia3": 5e-3, "ptuning": 5e-3}
        return (self.learning_rate or usual.get(self.method, 2e-3)) * self.learning_rate_multiplier

    @property
    def adapter_width(self) -> int:
        """The rank of the adapter's matrices; 0 where it has none."""
        return {"lora": self.lora_rank, "bottleneck": self.bottleneck_size}.get(self.method, 0)

    @property
    def sizes(self) -> adapters.Sizes:
        """How big the adapter is."""
        return adapters.Sizes(
            self.lora_rank,
            self.lora_alpha,
            self.lora_dropout,
            self.lora_targets,
            self.prompt_tokens,
            self.prompt_hidden,
            self.bottleneck_size,
            self.bottleneck_placement,
        )


def run(this: stage.Stage[Config]) -> dict[str, Any]:
    """Raises BadInput or Unfit for what cannot be trained, Broken when the loss is no number any more."""
    _check(this.config)
    device = compute.device()
    threads = compute.use_threads(this.config.threads)
    group = ranks.join(device)
    try:
        dtype = _precision(this, device, group, basemodel.architecture(this.inputs["base"]))
        return _train(this, device, dtype, group) | {"threads": threads, "ranks": group.count}
    finally:
        ranks.leave()


def _precision(this: stage.Stage[Config], device: torch.device, group: Ranks, model: Architecture) -> torch.dtype:
    """The same on all ranks, and after a kill the same as before: what is measured may differ from node to node."""
    kept = this.scratch / "precision"
    chosen: compute.Precision = this.config.precision
    if chosen == "auto" and group.first:
        if not kept.exists():
            half = kept.with_suffix(".part")
            half.write_text("bf16" if compute.precision("auto", device, model) == torch.bfloat16 else "fp32")
            half.replace(kept)
        chosen = cast(compute.Precision, kept.read_text())
    return compute.precision(group.tell(chosen), device, model)


def _train(this: stage.Stage[Config], device: torch.device, dtype: torch.dtype, group: Ranks) -> dict[str, Any]:
    config, base = this.config, this.inputs["base"]
    architecture = basemodel.architecture(base)
    plan = _plan(this, architecture)
    needed = _check_memory(config, architecture, plan, device, dtype)
    probe.phase("load", f"{base.name}, {architecture.parameters / 1e6:,.0f} M parameters")
    model = _model(config, base, architecture, device, dtype)
    moving = adapters.trainable(model)
    optimiser = torch.optim.AdamW(moving.values(), weight_decay=config.weight_decay, betas=(0.9, 0.99))
    speed = _speed(config, architecture, plan, moving, device, dtype)
    expected = speed.expect(group)
    folder = this.scratch / "checkpoints"
    loop = Loop(
        plan,
        RowPass(model, device, dtype),
        moving,
        optimiser,
        group,
        rate_at=lambda step: learning_rate(step, plan.steps, config.peak_rate, config.schedule, config.warmup),
        clip=config.clip,
        flops_of=speed.flops,
        peak=speed.device.matmul,
        save=partial(_save, this.shelf, folder, parameters=moving, optimiser=optimiser),
        save_every=config.checkpoint_every,
        cpus=CpuShare() if device.type == "cpu" else None,
    )
    if this.shelf and group.first:
        this.shelf.bring(folder.name)
    start = checkpoint.restore(folder, moving, optimiser, group, device) or Progress(0, 0, (), 0.0)
    probe.phase("train", f"from step {start.step} of {plan.steps}" if start.step else f"{plan.steps} steps")
    cpus = CpuShare()
    progress = loop.run(start)
    got = cpus.lap() if device.type == "cpu" else None
    if not group.first:
        _leave_quietly(group)
    with full_disk_told(this.output):
        folder_name = adapters.save(model, config.method, config.sizes, this.output)
    group.wait()
    return _result(this, progress, moving, speed, expected) | {
        "folder": folder_name,
        "cpu_share": None if got is None else round(got, 3),
        "memory_bytes": compute.peak_memory(device),
        "expected_memory_bytes": needed.total,
    }


def _save(shelf: Shelf | None, folder: Path, progress: Progress, **state: Any) -> None:
    if shelf:
        shelf.settle()
    checkpoint.save(folder, progress, **state)
    if shelf:
        shelf.keep(folder.name)


def _check(config: Config) -> None:
    """Raises BadInput for numbers that mean nothing."""
    for name in (
        "epochs",
        "batch",
        "row_tokens",
        "lora_rank",
        "prompt_tokens",
        "bottleneck_size",
        "checkpoint_every",
    ):
        if getattr(config, name) <= 0:
            raise BadInput(f"{name} is {getattr(config, name)}; it must be above 0", param=name)
    for name in (
        "learning_rate",
        "learning_rate_multiplier",
        "max_steps",
        "max_length",
        "weight_decay",
        "clip",
        "threads",
    ):
        if getattr(config, name) < 0:
            raise BadInput(f"{name} is {getattr(config, name)}; it must not be below 0", param=name)


def _plan(this: stage.Stage[Config], architecture: Architecture) -> Plan:
    """The data as tokens, in the order of training; the first batch is shown with its mask."""
    config = this.config
    longest = config.max_length or min(1024, architecture.context)
    if longest > architecture.context:
        raise BadInput(
            f"max_length is {longest}, the base was made for {architecture.context} tokens", param="max_length"
        )
    tokenizer = loading.load_tokenizer(this.inputs["base"])
    if records.kind(this.inputs["data"]) == "chat":
        records.check_template(tokenizer, this.inputs["base"])
    made = [records.tokens(tokenizer, record, longest) for record in records.read(this.inputs["data"], "train")]
    tokens = list(chain.from_iterable(made))
    too_long = sum(not pieces for pieces in made)
    probe.note("records", {"read": len(made), "trained": len(tokens), "without_answer_in_max_length": too_long})
    if not tokens:
        raise BadInput(f"nothing to train on: no record fits max_length {longest} with an answer in it")
    plan = Plan(
        tokens, config.batch, max(config.row_tokens, longest if not config.packing else 0), config.packing,
        config.epochs, config.max_steps, config.seed,
    )  # fmt: skip
    probe.note("first_batch", _shown(tokenizer, plan.rows(0)[0]))
    return plan


def _shown(tokenizer: Any, row: Row) -> list[list[dict[str, Any]]]:
    """The first records of a row as people see them: each token with whether it is trained."""
    trained = {place + 1 for place in row.predicts}
    records: dict[int, list[dict[str, Any]]] = {}
    for place, (token, segment) in enumerate(zip(row.ids, row.segments, strict=True)):
        if segment < _SHOWN_RECORDS:
            shown = {"token": tokenizer.decode([token]), "trained": place in trained}
            records.setdefault(segment, []).append(shown)
    beginning = records.pop(SHARED, [])
    return [[*beginning, *own][:_SHOWN_TOKENS] for own in records.values()]


def _check_memory(
    config: Config, architecture: Architecture, plan: Plan, device: torch.device, dtype: torch.dtype
) -> memory.Memory:
    """What the training will need; raises Unfit when that is more than is free."""
    rows = [row for step in range(min(plan.steps, plan.steps_per_epoch, 20)) for row in plan.rows(step)]
    moving = memory.adapter_parameters(
        architecture,
        config.method,
        rank=config.lora_rank,
        size=config.bottleneck_size,
        tokens=config.prompt_tokens,
    )
    needed = memory.training(
        architecture,
        trainable=moving,
        full=config.method == "full",
        row_tokens=max(len(row) for row in rows),
        predictions=max(len(row.targets) for row in rows),
        bytes_per_value=dtype.itemsize,
        checkpointing=config.gradient_checkpointing,
    )
    probe.note("memory", asdict(needed) | {"total": needed.total})
    advice = "use lora, gradient_checkpointing, a smaller row_tokens or max_length, or a smaller base"
    memory.check_fits(needed, compute.free_memory(device), advice=advice)
    return needed


def _model(config: Config, base: Path, architecture: Architecture, device: torch.device, dtype: torch.dtype) -> Any:
    """The base with the method's parameters on it, ready to train."""
    held = torch.float32 if config.method == "full" else dtype
    model = loading.load_base(base, held, attention=row_pass.attention_for(architecture.family))
    torch.manual_seed(config.seed)
    tuned = adapters.attach(model, config.method, config.sizes).to(device)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    return tuned.train()


def _speed(
    config: Config,
    architecture: Architecture,
    plan: Plan,
    moving: dict[str, torch.nn.Parameter],
    device: torch.device,
    dtype: torch.dtype,
) -> Speed:
    full = config.method == "full"
    lora, blocks = one_layer.adapted(list(moving))
    tuning = one_layer.Tuning(dtype, full, lora, blocks, config.adapter_width, config.gradient_checkpointing)
    sizes = [value.numel() for value in moving.values()]
    return Speed(
        architecture,
        plan,
        adapter_parameters=0 if full else sum(sizes),
        full=full,
        recompute=config.gradient_checkpointing,
        device=calibration.measure(architecture, plan.rows(0), device, tuning, sizes),
    )


def _leave_quietly(group: Ranks) -> None:
    """Only the first rank has something to write."""
    group.wait()
    ranks.leave()
    raise SystemExit(0)


def _result(
    this: stage.Stage[Config],
    progress: Progress,
    moving: dict[str, torch.nn.Parameter],
    speed: Speed,
    expected: Expectation,
) -> dict[str, Any]:
    losses = progress.losses
    every = max(1, -(-len(losses) // _CURVE))
    spent = max(progress.seconds, 1e-9)
    return {
        "method": this.config.method,
        "steps": progress.step,
        "tokens": progress.tokens,
        "final_loss": losses[-1],
        "loss_curve": [round(loss, 4) for loss in losses[::every]],
        "loss_digest": hashlib.sha256(json.dumps(losses).encode()).hexdigest(),
        "seconds": round(spent, 2),
        "cpu_seconds": round(sum(os.times()[:2]), 2),
        "tokens_per_s": round(progress.tokens / spent, 1),
        "expected_tokens_per_s": round(expected.value, 1),
        "expected_basis": expected.basis,
        "mfu": round(speed.mean_mfu(progress, ranks=int(os.environ.get("WORLD_SIZE", "1"))), 4),
        "trainable": sum(parameter.numel() for parameter in moving.values()),
        "base_digest": basemodel.digest(this.inputs["base"]),
        "config": asdict(this.config),
    }


if __name__ == "__main__":
    stage.main(Config, run)
