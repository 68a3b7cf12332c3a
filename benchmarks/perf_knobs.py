"""The knobs that calibration may turn, what is believed of them beforehand, and how they enter the model.

Every knob is one physical number of an architecture or of a software stack; none belongs to a row or a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.perf_rows import Row

from stoker.perf import curves, stack
from stoker.perf.accelerator import Accelerator
from stoker.perf.calibrate import Knob
from stoker.perf.step import step_time

_CATALOGUE = Path(stack.__file__).parent / "catalogue"
INF = float("inf")

# (file, entry, number): prior, doubt, bound. "default" holds for every architecture without a number of its own.
_CURVES = {
    ("sm80", "sustained"): (0.95, 0.1, 1.1),
    ("sm90", "sustained"): (0.92, 0.1, 1.1),
    ("sm100", "sustained"): (0.92, 0.1, 1.1),
    ("sm103", "sustained"): (0.92, 0.1, 1.1),
    ("default", "power"): (0.5, 0.6, 2.0),
    ("default", "share.fp4"): (0.65, 0.2, 1.0),
    ("default", "narrow_sustained"): (0.9, 0.15, 1.05),
    ("sm80", "ported_attention_share"): (0.6, 0.3, 0.9),
    ("sm90", "ported_attention_share"): (0.4, 0.3, 0.9),
    ("sm90", "attention_share"): (0.6, 0.2, 0.9),
    ("sm100", "attention_share"): (0.6, 0.2, 0.9),
    ("sm103", "attention_share"): (0.65, 0.2, 0.9),
    ("default", "memory_share"): (0.85, 0.03, 0.95),
    ("default", "unhidden"): (0.5, 0.5, 1.0),
    ("default", "scan_share"): (0.1, 0.7, 1.0),
    ("default", "start"): (3e-6, 0.3, INF),
}
_STACKS = {
    ("pytorch-fsdp", "passes"): (1.5, 0.4, INF),
    ("pytorch-fsdp", "data_exposed"): (0.2, 0.5, 1.0),
    ("pytorch-fsdp", "optimiser_passes"): (2.0, 0.4, INF),
    ("pytorch-fsdp", "jitter"): (0.005, 0.7, INF),
    ("pytorch-fsdp", "quantise"): (1.5, 0.4, INF),
    ("megatron", "passes"): (1.0, 0.3, INF),
    ("megatron", "quantise"): (1.0, 0.4, INF),
    ("megatron", "tensor_exposed"): (0.5, 0.4, 1.0),
    ("megatron", "tensor_plain"): (0.9, 0.3, 1.0),
    ("megatron", "expert_exposed"): (0.7, 0.4, 1.5),
    ("megatron", "data_exposed"): (0.15, 0.5, 1.0),
    ("megatron", "context_exposed"): (0.3, 0.5, 1.0),
    ("megatron", "pipeline_exposed"): (0.3, 0.6, 1.0),
    ("megatron", "permute"): (1.5, 0.4, INF),
    ("megatron", "jitter"): (0.005, 0.7, INF),
    ("megatron", "grouped"): (1e-5, 0.7, INF),
    ("megatron", "routing"): (5e-4, 0.3, INF),
    ("megatron-26.02", "routing"): (5e-4, 0.3, INF),
    ("megatron-25", "routing"): (5e-4, 0.3, INF),
    ("megatron-25", "permute"): (1.5, 0.4, INF),
    ("megatron-2022", "passes"): (1.3, 0.3, INF),
    ("megatron-2022", "optimiser_passes"): (1.8, 0.3, INF),
    ("megatron-2022", "tensor_exposed"): (0.9, 0.2, 1.0),
    ("megatron-2022", "pipeline_exposed"): (0.7, 0.4, 1.0),
    ("megatron-2022", "jitter"): (0.003, 0.5, INF),
}
# A later release differs from "megatron" only in the numbers it has of its own.
_BASE = {"megatron-26.02": "megatron", "megatron-25": "megatron"}
_STACK_NAMES = ("megatron", "megatron-26.02", "megatron-25", "megatron-2022", "pytorch-fsdp")


def name(file: str, entry: str, number: str) -> str:
    return f"{file}/{entry}/{number}"


def knobs(rows: Sequence[Row]) -> list[Knob]:
    """All of them, each with the rows it has a part in."""
    found = []
    for file, table in (("curves", _CURVES), ("stacks", _STACKS)):
        for (entry, number), (prior, doubt, most) in table.items():
            touches = frozenset(i for i, row in enumerate(rows) if _touches(row, file, entry))
            found.append(Knob(name(file, entry, number), prior, doubt, most, touches))
    return found


def _touches(row: Row, file: str, entry: str) -> bool:
    if file == "curves":
        return entry in ("default", row.hardware.accelerator.architecture)
    return entry in (row.stack, _BASE.get(row.stack))


@dataclass(frozen=True)
class Model:
    """The performance model with one setting of all knobs."""

    stacks: Mapping[str, stack.Stack]
    values: Mapping[str, float]
    cards: dict[str, Accelerator]

    def tokens_per_second(self, row: Row) -> float:
        """Of one accelerator."""
        taken = step_time(
            row.hardware, self.stacks[row.stack], row.model, row.workload, row.layout, card=self._card(row)
        )
        return row.workload.tokens / taken.total / row.layout.gpus

    def _card(self, row: Row) -> Accelerator:
        card = row.hardware.accelerator
        if card.name not in self.cards:
            numbers = curves.numbers_of(card.architecture)
            for entry in ("default", card.architecture):
                numbers.update(_numbers(self.values, "curves", entry))
            self.cards[card.name] = replace(card, curves=curves.from_numbers(numbers))
        return self.cards[card.name]


def model(values: Mapping[str, float]) -> Model:
    stacks = {}
    for entry in _STACK_NAMES:
        numbers = _numbers(values, "stacks", _BASE.get(entry, entry)) | _numbers(values, "stacks", entry)
        stacks[entry] = stack.from_numbers(entry, numbers, native_attention=entry != "pytorch-fsdp")
    return Model(stacks, values, {})


def predict(rows: Sequence[Row], values: Mapping[str, float], some: Iterable[int]) -> list[float]:
    held = model(values)
    return [held.tokens_per_second(rows[i]) for i in some]


def _numbers(values: Mapping[str, float], file: str, entry: str) -> dict[str, float]:
    start = f"{file}/{entry}/"
    return {key.removeprefix(start): value for key, value in values.items() if key.startswith(start)}


def group(row: Row) -> tuple[str, str]:
    """The software stack, whatever its release, and the architecture with the format."""
    return _BASE.get(row.stack, row.stack), f"{row.hardware.accelerator.architecture} {row.workload.precision}"


def write(values: Mapping[str, float], rows: Sequence[Row]) -> None:
    """Put calibrated numbers into the catalogue, and on what they were calibrated: what people get."""
    path = _CATALOGUE / "curves.toml"
    text = path.read_text()
    for entry in dict.fromkeys(entry for entry, _ in _CURVES):
        text = _with_entry(text, entry, _numbers(values, "curves", entry))
    path.write_text(text)
    lines = [_HEAD]
    for entry in _STACK_NAMES:
        numbers = _numbers(values, "stacks", _BASE.get(entry, entry)) | _numbers(values, "stacks", entry)
        lines += [f'["{entry}"]', f"native_attention = {str(entry != 'pytorch-fsdp').lower()}"]
        measured = sorted({what for who, what in map(group, rows) if who == _BASE.get(entry, entry)})
        lines.append("measured = [" + ", ".join(f'"{what}"' for what in measured) + "]")
        lines += [_line(key, value) for key, value in numbers.items()] + [""]
    (_CATALOGUE / "stacks.toml").write_text("\n".join(lines))


def _with_entry(text: str, entry: str, numbers: Mapping[str, float]) -> str:
    """`text` with the entry's calibrated numbers after its heading, in place of those of an earlier calibration."""
    head = f'["{entry}"]' if f'["{entry}"]' in text else f"[{entry}]"
    before, _, after = text.partition(head + "\n")
    body, bracket, rest = after.partition("\n[")
    kept = [line for line in body.splitlines() if line and not re.match(rf"({'|'.join(numbers)}) = ", line)]
    return (
        before + head + "\n" + "\n".join([*kept, *(_line(k, v) for k, v in numbers.items()), ""]) + bracket + rest
    )


def _line(key: str, value: float) -> str:
    if key in ("start", "routing", "grouped"):
        return f'{key} = {{value = {value * 1e6:.4g}, unit = "us", kind = "measured", source = "calibrated"}}'
    return f'{key} = {{value = {value:.4g}, unit = "", kind = "measured", source = "calibrated"}}'


_HEAD = """# Software stacks: see stoker/perf/stack.py. Written by benchmarks/perf_training.py --write.

[sources.calibrated]
title = "calibration on published training speeds, benchmarks/perf_training.py"
read = "2026-11"
"""
