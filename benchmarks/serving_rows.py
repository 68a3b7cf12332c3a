"""Rows of inference_silicon.csv as cases to predict, or the reason why a row says too little to be predicted.

Nothing here looks at what was measured but to leave out empty cells and repetitions of the same measurement.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from serving_settings import Settings, settings

from stoker.errors import StokerError
from stoker.perf.accelerator import Accelerator, accelerator
from stoker.perf.models import transformer
from stoker.perf.serving.quantisation import Quantisation, quantisation
from stoker.perf.serving.split import Split, impossible
from stoker.perf.transformer import Transformer

Row = Mapping[str, str]
_SUFFIXES = re.compile(
    r"-(fp8|fp4|nvfp4|mxfp4|int4|bf16|awq|gptq|w4a16|instruct|0528|thinking|2507)", re.IGNORECASE
)
_CONCURRENCY = re.compile(r"silicon_concurrency=(\d+)")
_MEASURED = re.compile(r"measured=(\d{4})")
_LARGEST_TP = 16  # heads and feed-forward widths are not cut finer by the engines' serving layouts
_USUAL_LOAD = 3.0  # sequences of a decoding device: the median of the rows that say it
_MOST_DEVICES = 48  # that decode in one deployment, of those rows
_RANDOM_RATIO = 0.8  # InferenceMAX draws lengths evenly from 0.8 to 1.0 of the nominal one
ROUNDS = 10  # prompts of a user, here and in aiconfigurator's evaluation


class Undescribed(Exception):
    """The row does not say what ran."""


@dataclass(frozen=True)
class Case:
    row: str
    model: Transformer
    on: Accelerator
    system: str
    engine: str
    quantisation: Quantisation
    mode: str  # agg, disagg
    split: Split  # of the replica that decodes
    workers: int  # replicas that decode
    prefill_split: Split
    prefill_workers: int
    prompt: float  # mean tokens
    answer: float
    variation: float
    users: float
    ours: bool  # InferenceMAX measured it; else aiconfigurator's evaluation
    early: bool  # the engine's release is of 2025
    settings: Settings
    assumed: str  # what the row does not say and we took for granted; empty when it says all
    ttft: float  # s, measured
    tpot: float

    @property
    def layout(self) -> str:
        """How the replica that decodes is spread, in one word."""
        names = {"tp": self.split.tp, "pp": self.split.pp, "ep": self.split.ep, "attention-dp": self.split.adp}
        return "+".join(name for name, ways in names.items() if ways > 1) or "one device"

    @property
    def family(self) -> str:
        """Models of one shape are one model, whatever they are called: held out together."""
        return self.model.name


def cases(file: Path) -> tuple[list[Case], dict[str, int]]:
    """What can be predicted, each measurement once, and how many rows were left out for which reason."""
    found: list[Case] = []
    left: dict[str, int] = {}
    seen: set[str] = set()
    told, untold = [], []
    for row in rows(file):
        (told if row["silicon_data_source"].startswith("db-dump") else untold).append(row)
    for row in [*told, *untold]:  # of two that repeat each other, the one that says more
        try:
            case = _case(row)
            _check_new(case, seen)
        except (Undescribed, StokerError) as reason:
            left[str(reason)] = left.get(str(reason), 0) + 1
        else:
            found.append(case)
    return found, left


def _check_new(case: Case, seen: set[str]) -> None:
    """Files round differently, so three digits decide."""
    measured = f"{case.ttft:.3g} {case.tpot:.3g} {case.users} {case.prompt} {case.answer}"
    if measured in seen:
        raise Undescribed("the same measurement again, from another file")
    seen.add(measured)


def rows(file: Path) -> Iterator[Row]:
    with file.open(newline="") as content:
        yield from csv.DictReader(content)


def shape(path: str) -> Transformer:
    """The catalogue's model behind a repository name such as nvidia/DeepSeek-V3.1-NVFP4."""
    return transformer(_SUFFIXES.sub("", path.rpartition("/")[2]))


def _case(row: Row) -> Case:
    model = shape(row["model_path"])
    split, workers, before, prefillers = _spread(row)
    for one in (split, before):
        reason = impossible(model, one)
        if reason:
            raise Undescribed(reason)
    assumed = _assumed(row, model)
    ours, users = _ours(row), _users(row)
    formats = quantisation(row["precision"] or row["gemm_quant_mode"] or "bf16")
    mean = (1 + _RANDOM_RATIO) / 2 if ours else 1.0
    return Case(
        row=row["id"],
        model=model,
        on=accelerator(row["system"].partition("_")[0]),
        system=row["system"],
        engine=row["backend"],
        quantisation=formats,
        mode=row["mode"],
        split=split,
        workers=workers,
        prefill_split=before,
        prefill_workers=prefillers,
        prompt=float(row["isl"]) * mean,
        answer=float(row["osl"]) * mean,
        variation=(1 - _RANDOM_RATIO) / 12**0.5 / mean if ours else 0.0,
        users=users,
        ours=ours,
        early=_early(row),
        settings=settings(row, model.name, formats.name, users, split, ours=ours, early=_early(row)),
        assumed=assumed,
        ttft=_milliseconds(row, "silicon_ttft_ms"),
        tpot=_milliseconds(row, "silicon_tpot_ms"),
    )


def _ours(row: Row) -> bool:
    """Whether InferenceMAX measured it; else aiconfigurator's evaluation, with lengths as named."""
    return "aic-auto" not in row["silicon_data_source"]


def _assumed(row: Row, model: Transformer) -> str:
    """The database's dump holds runs without drafting; the older tables hold both and do not tell them apart."""
    if row["mode"] != "agg" and not _says_workers(row):
        return "one worker that prefills, and decoding ones for the load"
    told = row["silicon_data_source"].startswith("db-dump") or not model.extra_predictions
    return "" if told else "the model drafts no tokens"


def _says_workers(row: Row) -> bool:
    return bool(row["decode_num_workers"] and row["prefill_num_workers"])


def _early(row: Row) -> bool:
    """By the day of the measurement; tables without one hold releases of 2025."""
    told = _MEASURED.search(row["silicon_data_source"])
    return told is None or told[1] < "2026"


def _users(row: Row) -> float:
    match = _CONCURRENCY.search(row["silicon_data_source"])
    if match:
        return float(match[1])
    if row["batch_size"]:
        return float(row["batch_size"]) * max(1, _number(row, "attention_dp_size"))
    raise Undescribed("neither concurrency nor batch is given")


def _spread(row: Row) -> tuple[Split, int, Split, int]:
    if row["mode"] == "agg":
        split = _split(row, "")
        return split, 1, split, 1
    decode, prefill = _split(row, "decode_"), _split(row, "prefill_")
    if not _says_workers(row):
        workers = min(_MOST_DEVICES, _users(row) / _USUAL_LOAD) / decode.devices
        return decode, max(1, round(workers)), prefill, 1
    return decode, _number(row, "decode_num_workers"), prefill, _number(row, "prefill_num_workers")


def _split(row: Row, part: str) -> Split:
    """The layout, after undoing a habit of the tables: tp x ep told as tp. Whole deployments are refused."""
    tp, pp = _number(row, f"{part}tp_size"), _number(row, f"{part}pp_size")
    adp = max(1, _number(row, f"{part}attention_dp_size"))
    cut, whole = max(1, _number(row, f"{part}moe_tp_size")), max(1, _number(row, f"{part}moe_ep_size"))
    if row["system"].endswith("_sxm") and tp * adp > 8 and part == "":
        tp, adp, whole = _divided(tp, adp, cut, whole)
    elif tp > _LARGEST_TP or (cut > _LARGEST_TP and whole == 1):
        raise Undescribed("all devices of a deployment are given in place of a replica's layout")
    stage = tp * adp
    return Split(tp=tp, pp=max(1, pp), ep=whole if stage % whole == 0 else 1, adp=adp)


def _divided(tp: int, adp: int, cut: int, whole: int) -> tuple[int, int, int]:
    if cut == whole and tp * adp == cut * whole:  # tp 16, experts 4 x 4: four devices
        return (whole, 1, whole) if adp == 1 else (1, whole, whole)
    if tp == adp and whole == tp * adp:  # tp 4, adp 4, ep 16: four devices
        return tp, 1, tp
    raise Undescribed("more devices than the system has in one server")


def _number(row: Row, name: str) -> int:
    return int(float(row[name] or 1))


def _milliseconds(row: Row, name: str) -> float:
    if not row[name] or not float(row[name]) > 0:
        raise Undescribed("nothing was measured")
    return float(row[name]) / 1e3
