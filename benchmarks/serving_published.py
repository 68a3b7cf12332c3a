"""Published throughput as predicted / measured, by source and model. None of it is used for calibration."""

from __future__ import annotations

import csv
from pathlib import Path

from serving_rows import Undescribed, shape

from stoker.errors import StokerError
from stoker.perf.accelerator import accelerator
from stoker.perf.serving.curves import curves
from stoker.perf.serving.quantisation import quantisation
from stoker.perf.serving.replica import Lengths, closed_loop, room
from stoker.perf.serving.split import Split, impossible
from stoker.perf.serving.step import Replica

_UNITS = {"tok/s (system)": 0, "tok/s/GPU": 1}  # whether a figure is per GPU
_BATCH = 2048  # what trtllm-bench runs at once at most
_CARDS = {"Hygon K100-AI": "Hygon-K100-AI", "Ascend 910B4": "Ascend-910B4", "RTX 4090D": "RTX-4090D"}


def throughput(file: Path) -> dict[str, list[float]]:
    """trtllm-bench rows whose card, layout and lengths are given: offline, as many requests as fit."""
    found: dict[str, list[float]] = {}
    left = 0
    for row in csv.DictReader(file.open(newline="")):
        try:
            ratio = _ratio(row)
        except (Undescribed, StokerError, ValueError, ZeroDivisionError):
            left += 1
            continue
        found.setdefault(f"{row['model']} {row['gpu']} {row['precision']}", []).append(ratio)
    print(f"\npublished_inference_perf.csv: {left} rows without card, layout, lengths or a modelled shape left out")
    return found


def _ratio(row: dict[str, str]) -> float:
    if row["scope"] != "trtllm-bench throughput" or row["unit"] not in _UNITS:
        raise Undescribed("another kind of figure")
    model, devices = shape(row["model"]), int(row["n_gpu"])
    tp = int(row["tp"] or devices)
    split = Split(tp=tp, pp=int(row["pp"] or 1), ep=tp if model.experts and tp > 1 else 1)
    if impossible(model, split) or split.devices != devices:
        raise Undescribed("no layout")
    replica = Replica(model, accelerator(row["gpu"]), split, quantisation(row["precision"]), curves("trtllm"))
    lengths = Lengths(float(row["isl"]), float(row["osl"]), 0.0)
    users = min(_BATCH, room(replica, lengths))
    service = closed_loop(replica, lengths, users, rounds=0)
    value = float(row["value"]) * (devices if _UNITS[row["unit"]] else 1)
    return users * lengths.answer / (lengths.answer * service.tpot + service.prefill) / value


def domestic(file: Path) -> dict[str, list[float]]:
    """Qwen2.5-7B in 16 bits, prompts of 512 and answers of 128, on one card, by users at once."""
    found: dict[str, list[float]] = {}
    for row in csv.DictReader(file.open(newline="")):
        try:
            card = accelerator(_CARDS.get(row["card"], row["card"].removeprefix("NVIDIA ")))
            replica = Replica(shape("qwen2.5-7b"), card, Split(), quantisation("bf16"), curves("vllm"))
            for users in (1, 4, 16, 64, 128, 256):
                measured = row[f"conc{users}"]
                if measured:
                    service = closed_loop(replica, Lengths(512, 128, 0.0), users, rounds=0)
                    found.setdefault(row["card"], []).append(service.tokens_per_second / float(measured))
        except StokerError as error:
            print(f"- {row['card']}: {error}")
    return found
