"""Compares predicted with measured serving: TTFT and TPOT of inference_silicon.csv, throughput of published tables.

    python benchmarks/perf_serving.py [--facts DIR] [--held-out] [--write] [--markdown]

Without options it judges the curves of the catalogue. With --held-out every model is predicted with curves that
were fitted to the other models' rows alone (minutes); models of one shape, such as DeepSeek-V3 and R1, are one
model. --write fits all rows and writes the catalogue file.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serving_calibration import ENGINES, fit, predict, toml
from serving_published import domestic, throughput
from serving_rows import Case, cases

from stoker.errors import StokerError
from stoker.perf.serving import curves as catalogue
from stoker.perf.serving.curves import Curves, curves


@dataclass(frozen=True)
class Error:
    case: Case
    tpot: float  # predicted / measured
    ttft: float


Which = Literal["tpot", "ttft"]
Key = Callable[[Case], tuple[str, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("--facts", type=Path, default=here.parent / "shared" / "facts")
    parser.add_argument("--held-out", action="store_true", help="fit without the judged model, one by one")
    parser.add_argument("--write", action="store_true", help="fit all rows and write catalogue/serving.toml")
    options = parser.parse_args()
    everything, left = cases(options.facts / "inference_silicon.csv")
    found, assumed = [one for one in everything if not one.assumed], [one for one in everything if one.assumed]
    _described(found, assumed, left)
    if options.write:
        file = Path(catalogue.__file__).parents[1] / "catalogue" / "serving.toml"
        file.write_text(toml(fit(found)))
        print(f"\nwrote {file.name}; run again to judge it")
        return
    shipped = {name: curves(name) for name in ENGINES}
    _report("calibrated on all models", _errors(found, shipped))
    if options.held_out:
        _report("held out: fitted to the other models alone", _held_out(found))
    for reason in sorted({one.assumed for one in assumed}):
        some = [one for one in assumed if one.assumed == reason]
        _report(f"rows that say too little, assuming: {reason}", _errors(some, shipped))
    _published(options.facts)


def _described(found: Sequence[Case], assumed: Sequence[Case], left: Mapping[str, int]) -> None:
    rows = len(found) + len(assumed) + sum(left.values())
    print(f"{rows} rows, {len(found)} predicted as told, {len(assumed)} with something assumed; left out:\n")
    for reason, count in sorted(left.items(), key=lambda item: -item[1]):
        print(f"- {count} {reason}")


def _held_out(found: Sequence[Case]) -> list[Error]:
    errors: list[Error] = []
    for family in sorted({case.family for case in found}):
        using = fit([case for case in found if case.family != family])
        errors += _errors([case for case in found if case.family == family], using)
    return errors


def _errors(found: Iterable[Case], using: Mapping[str, Curves]) -> list[Error]:
    errors: list[Error] = []
    for case in found:
        if case.engine not in using:
            continue
        try:
            service = predict(case, using)
        except StokerError as error:
            print(f"- not predicted: {case.row}: {error}")
            continue
        errors.append(Error(case, service.tpot / case.tpot, service.ttft / case.ttft))
    return errors


def _report(title: str, errors: Sequence[Error]) -> None:
    naive = [Error(one.case, _roofline(one.case) / one.case.tpot, 1.0) for one in errors]
    print(f"\n## {title}\n")
    print(f"naive roofline (weights and cache at the data sheet's bandwidth), TPOT: {_mean(naive, 'tpot'):.1%}\n")
    print("| | rows | TPOT mean | TPOT median | TPOT bias | TTFT mean | TTFT median | TTFT bias |")
    print("|---|---|---|---|---|---|---|---|")
    keys: tuple[Key, ...] = (
        lambda case: ("all", case.mode),
        lambda case: ("model", case.family, case.mode),
        lambda case: ("client", "InferenceMAX" if case.ours else "aiconfigurator", case.mode),
        lambda case: ("hardware", case.system),
        lambda case: ("backend", case.engine),
        lambda case: ("format", case.quantisation.name),
        lambda case: ("layout", case.layout),
    )
    for key in keys:
        for group in sorted({key(one.case) for one in errors}):
            _line(" ".join(group), [one for one in errors if key(one.case) == group])
    print(f"\nbounds that hold nine of ten: TPOT x {_range(errors, 'tpot')}, TTFT x {_range(errors, 'ttft')}")


def _line(name: str, errors: Sequence[Error]) -> None:
    cells = [f"{len(errors)}"]
    whiches: tuple[Which, ...] = ("tpot", "ttft")
    for which in whiches:
        bias = math.exp(sum(math.log(ratio) for ratio in _ratios(errors, which)) / len(errors))
        cells += [f"{_mean(errors, which):.1%}", f"{_median(errors, which):.1%}", f"{bias:.2f}"]
    print(f"| {name} | {' | '.join(cells)} |")


def _ratios(errors: Sequence[Error], which: Which) -> list[float]:
    return [one.tpot if which == "tpot" else one.ttft for one in errors]


def _mean(errors: Sequence[Error], which: Which) -> float:
    return sum(abs(ratio - 1.0) for ratio in _ratios(errors, which)) / len(errors)


def _median(errors: Sequence[Error], which: Which) -> float:
    return sorted(abs(ratio - 1.0) for ratio in _ratios(errors, which))[len(errors) // 2]


def _range(errors: Sequence[Error], which: Which) -> str:
    """What predictions are multiplied with so that nine of ten measurements lie between."""
    ordered = sorted(1.0 / ratio for ratio in _ratios(errors, which))
    return f"{ordered[len(ordered) // 20]:.2f} to {ordered[-len(ordered) // 20 - 1]:.2f}"


def _roofline(case: Case) -> float:
    """Seconds to stream one device's share of all weights and of the cache once, at the data sheet's bandwidth."""
    model, split, width = case.model, case.split, case.quantisation.weight
    weights = (model.active_parameters if case.users < 2 else model.parameters) * width / split.devices
    cached = 2.0 * model.attention.kv_heads * model.attention.head_dim
    if model.attention.kv_rank:
        cached = float(model.attention.kv_rank + model.attention.rope_dim)
    sequences = case.users / case.workers / split.adp
    past = case.prompt + case.answer / 2
    read = sequences * past * cached * model.attention_blocks * case.quantisation.cached / split.tp
    return (weights + read) / float(case.on.memory_bandwidth or 1.0)


def _published(facts: Path) -> None:
    for title, rows in (
        ("published_inference_perf.csv, output tokens/s", throughput(facts / "published_inference_perf.csv")),
        ("published_inference_domestic.csv, tokens/s", domestic(facts / "published_inference_domestic.csv")),
    ):
        print(f"\n## {title} (used for no calibration)\n")
        print("| | rows | mean | median | bias |\n|---|---|---|---|---|")
        for name, ratios in rows.items():
            ordered = sorted(abs(ratio - 1.0) for ratio in ratios)
            bias = math.exp(sum(map(math.log, ratios)) / len(ratios))
            print(
                f"| {name} | {len(ratios)} | {sum(ordered) / len(ordered):.0%} "
                f"| {ordered[len(ordered) // 2]:.0%} | {bias:.2f} |"
            )


if __name__ == "__main__":
    main()
