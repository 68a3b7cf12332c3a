"""Published training speeds as rows the performance model can be asked about."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stoker.errors import StokerError
from stoker.perf.accelerator import accelerator
from stoker.perf.hardware import Hardware, Nics
from stoker.perf.layout import Layout, Workload
from stoker.perf.layout_memory import lightest_recompute
from stoker.perf.models import transformer
from stoker.perf.precision import precision
from stoker.perf.transformer import Transformer

HERE = Path(__file__).resolve().parent
_PORT = {  # bytes/s of each card's port, as the sources' servers have them
    "A100-SXM4-40GB": 25e9, "A100-SXM4-80GB": 25e9, "H100-SXM5-80GB": 50e9, "B200-SXM-180GB": 50e9,
    "B300-SXM-288GB": 100e9, "GB200-186GB": 50e9, "GB300-288GB": 100e9,
}  # fmt: skip
_SHARDING = {"FULL_SHARD": "full", "SHARD_GRAD_OP": "gradients"}


@dataclass(frozen=True)
class Row:
    """One published measurement and what it was measured on."""

    source: str
    model: Transformer
    hardware: Hardware
    stack: str
    workload: Workload
    layout: Layout
    measured: float  # tokens/s of one accelerator
    note: str = ""

    @property
    def kind(self) -> str:
        """How the model is spread, in one word."""
        layout = self.layout
        names = [name for name in ("tp", "pp", "cp", "ep") if getattr(layout, name) > 1]
        return "+".join([*names, *(["fsdp"] if layout.sharding in ("full", "gradients") else [])]) or "dp"

    @property
    def family(self) -> str:
        if self.model.mamba_blocks:
            return "hybrid"
        return "experts" if self.model.experts else "dense"


def rows(facts: Path) -> list[Row]:
    """All rows that state model, layout and tokens/s; what is left out is printed."""
    found = list(_korthikanti(HERE / "published" / "korthikanti2022.csv"))
    with (facts / "published_training_perf.csv").open(newline="") as file:
        for entry in csv.DictReader(file):
            if not entry["tokens_per_s_per_gpu"] or not entry["gpus"].isdigit():
                continue
            try:
                found.append(_mosaic(entry) if entry["source"].startswith("mosaicml") else _bridge(entry))
            except StokerError as error:
                print(f"left out: {entry['model']} on {entry['hardware']}: {error}")
    return found


def cluster(name: str, count: int) -> Hardware:
    card = accelerator(name)
    per_server = min(count, 8 if card.scale_up_domain <= 8 else 4)
    return Hardware(
        card.name, card, per_server, max(1, count // per_server), Nics("", per_server, _PORT[card.name])
    )


def _mosaic(entry: Mapping[str, str]) -> Row:
    """llm-foundry's tables: PyTorch FSDP; attention and precision as their yamls of 2023 have them."""
    gpus = int(entry["gpus"])
    pure = entry["precision"] == "bf16" and "40gb" in entry["hardware"]
    workload = Workload(
        int(entry["gbs_seqs"]), int(entry["seq_len"]), precision(entry["precision"]),
        states="bf16" if pure else "mixed", logit_bytes=4.0,
    )  # fmt: skip
    layout = Layout(
        gpus, micro_batch=int(entry["mbs"]), sharding=_SHARDING[entry["fsdp"]],  # type: ignore[arg-type]
        recompute="full" if entry["act_recompute"] == "True" else "none",
    )  # fmt: skip
    return _row("mosaicml", entry, workload, layout, "pytorch-fsdp")


def _bridge(entry: Mapping[str, str]) -> Row:
    """Megatron-Bridge's tables do not tell what is recomputed: the least that fits is taken."""

    def ways(name: str) -> int:
        return int(entry[name]) if entry[name].isdigit() and entry[name] != "0" else 1

    told = entry["precision"]
    workload = Workload(
        int(entry["gbs_seqs"]), int(entry["seq_len"]), precision(told), block_scaled=told[:2] in ("MX", "NV"),
        states="frozen" if "LoRA" in entry["note"] else "lean",
    )  # fmt: skip
    layout = Layout(
        int(entry["gpus"]), ways("tp"), ways("pp"), ways("cp"), ways("ep"), ways("vp"), ways("mbs"),
        "full" if entry["fsdp"] not in ("", "0") else "optimiser",
    )  # fmt: skip
    row = _row("megatron-bridge", entry, workload, layout, release(entry["release_or_date"]))
    return replace(row, layout=lightest_recompute(row.model, workload, layout, row.hardware.accelerator))


def release(text: str) -> str:
    """The stack of a container's release."""
    if text.startswith("25"):
        return "megatron-25"
    return "megatron-26.02" if text.startswith(("26.02", "26.04")) else "megatron"


def _row(source: str, entry: Mapping[str, str], workload: Workload, layout: Layout, stack: str) -> Row:
    model = transformer(re.sub(r" \((tokendrop|dropless)\)", "", entry["model"]))
    hardware = cluster(entry["hardware"], layout.gpus)
    note = f"{entry['release_or_date']} {entry['precision']}"
    return Row(source, model, hardware, stack, workload, layout, float(entry["tokens_per_s_per_gpu"]), note)


def unseen() -> list[Row]:
    """Rows of sources that no calibration takes."""
    with (HERE / "published" / "unseen.csv").open(newline="") as file:
        return [_unseen(entry) for entry in csv.DictReader(file)]


def _unseen(entry: Mapping[str, str]) -> Row:
    workload = Workload(
        int(entry["global_batch"]), int(entry["sequence"]), precision(entry["precision"]), states="lean"
    )
    least = entry["recompute"] == "least"
    layout = Layout(
        int(entry["gpus"]), int(entry["tp"]), int(entry["pp"]), int(entry["cp"]), virtual=int(entry["interleaved"]),
        micro_batch=int(entry["micro_batch"]), sharding=entry["sharding"],  # type: ignore[arg-type]
        recompute="none" if least else entry["recompute"],  # type: ignore[arg-type]
    )  # fmt: skip
    model, hardware = transformer(entry["model"]), cluster(entry["hardware"], layout.gpus)
    if least:
        layout = lightest_recompute(model, workload, layout, hardware.accelerator)
    speed = float(entry["tokens_per_s_per_gpu"])
    return Row(entry["source"], model, hardware, entry["stack"], workload, layout, speed)


def fitting() -> list[tuple[Row, float, bool]]:
    """Layouts of which a source says what they need (GiB) and whether that fitted; they carry no speed."""
    with (HERE / "published" / "out_of_memory.csv").open(newline="") as file:
        return [
            (_megatron_2022(entry, 0.0), float(entry["needed_gib"]), entry["ran"] == "yes")
            for entry in csv.DictReader(file)
        ]


def _korthikanti(path: Path) -> Iterator[Row]:
    """Step times of table 5; Calculon's llm/validation.py holds the same eight."""
    with path.open(newline="") as file:
        for entry in csv.DictReader(file):
            yield _megatron_2022(entry, float(entry["step_s"]))


def _megatron_2022(entry: Mapping[str, str], step: float) -> Row:
    workload = Workload(int(entry["global_batch"]), int(entry["sequence"]), "fp16", fused_attention=False)
    layout = Layout(
        int(entry["gpus"]), int(entry["tp"]), int(entry["pp"]), virtual=int(entry["interleaved"]),
        micro_batch=int(entry["micro_batch"]), sharding="none",
        recompute=entry["recompute"],  # type: ignore[arg-type]
        sequence_parallel=entry["sequence_parallel"] == "yes",
    )  # fmt: skip
    speed = workload.tokens / step / layout.gpus if step else 0.0
    hardware = cluster(entry["hardware"], layout.gpus)
    return Row(
        "korthikanti", transformer(entry["model"]), hardware, "megatron-2022", workload, layout, speed,
        entry["recompute"],
    )  # fmt: skip
