"""Predicted against published training speeds and memory peaks.

    python benchmarks/perf_training.py [--facts DIR] [--rows] [--quick] [--speed] [--groups] [--write]

Reads `published_training_perf.csv` from DIR (default ../shared/facts) and the tables in `published/`. Prints
Markdown: errors of what the catalogue ships, and errors with the knobs found anew without the model that is judged,
in any source (leave one group out; a group is a model). `--quick` leaves the second out, `--write` calibrates on
all rows and puts the knobs into the catalogue.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import perf_knobs
from benchmarks.perf_rows import HERE, Row, cluster, fitting, rows, unseen

from stoker.perf.calibrate import Fit, fit
from stoker.perf.layout import Layout, Workload
from stoker.perf.layout_memory import device_memory, fits
from stoker.perf.models import transformer
from stoker.perf.precision import precision
from stoker.perf.stack import stack
from stoker.perf.step import step_time
from stoker.plan.training import search

TARGETS = {"mosaicml": (0.04, 0.10), "megatron-bridge": (0.08, 0.20), "korthikanti": (0.035, None)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--facts", type=Path, default=HERE.parent.parent / "shared" / "facts")
    options.add_argument("--rows", action="store_true", help="print every row")
    options.add_argument("--quick", action="store_true", help="only what the catalogue ships")
    options.add_argument("--speed", action="store_true", help="only layouts looked at in a second")
    options.add_argument("--groups", action="store_true", help="only groups that calibration is kept from seeing")
    options.add_argument("--write", action="store_true", help="calibrate on all rows and write the catalogue")
    given = options.parse_args()
    if given.speed:
        speed()
        return
    found = rows(given.facts)
    if given.groups:
        unseen_groups(found)
        return
    if given.write:
        perf_knobs.write(calibrate(found).values, found)
        return
    errors = [shipped(row) for row in found]
    report("What is shipped, on the rows it was calibrated on", found, errors)
    if given.rows:
        for row, error in zip(found, errors, strict=True):
            print(f"{error:+.1%}  {row.source} {row.model.name} {row.hardware.name} {row.note}: {row.layout}")
    if not given.quick:
        report("Without the judged model", found, held_out(found))
    new = unseen()
    report("Sources that no calibration takes", new, [shipped(row) for row in new])
    memory(HERE / "published" / "memory.csv", found)
    refused()


def speed() -> None:
    """Layouts a search looks at in a second of processor time, memory of all and time of those that fit."""
    for name, card, count, precise in (
        ("llama-3.1-70b", "H100", 256, "bf16"),
        ("deepseek-v3", "H100", 1024, "fp8"),
    ):
        workload = Workload(4096, 4096, precision(precise), states="lean")
        started = time.process_time()
        found = search(transformer(name), cluster(card, count), workload, stack("megatron"))
        taken = time.process_time() - started
        print(f"{name} on {count} x {card}: {found.looked_at:,} layouts, {found.looked_at / taken:,.0f} a second")


def calibrate(found: Sequence[Row], start: Mapping[str, float] | None = None, rounds: int = 15) -> Fit:
    return fit(
        lambda values, some: perf_knobs.predict(found, values, some),
        [row.measured for row in found],
        perf_knobs.knobs(found),
        start=start,
        rounds=rounds,
    )


def shipped(row: Row) -> float:
    """Relative error of the catalogue as it is."""
    taken = step_time(row.hardware, stack(row.stack), row.model, row.workload, row.layout)
    return row.workload.tokens / taken.total / row.layout.gpus / row.measured - 1


def held_out(found: Sequence[Row]) -> list[float]:
    """Relative errors of every row, each with knobs that have seen no row of its model."""
    start = calibrate(found).values
    errors = {}
    for group in sorted({row.model.name for row in found}):
        others = [row for row in found if row.model.name != group]
        values = calibrate(others, start, rounds=6).values
        held = perf_knobs.model(values)
        errors.update(
            {id(row): held.tokens_per_second(row) / row.measured - 1 for row in found if row.model.name == group}
        )
    return [errors[id(row)] for row in found]


def unseen_groups(found: Sequence[Row]) -> None:
    """Predicted / measured of each stack on each architecture in each format, calibrated without that group."""
    start = calibrate(found).values
    print("\n| group | rows | least | 10 % | median | 90 % | most |\n|---|---|---|---|---|---|---|")
    for group in sorted({perf_knobs.group(row) for row in found}):
        judged = [row for row in found if perf_knobs.group(row) == group]
        others = [row for row in found if perf_knobs.group(row) != group]
        held = perf_knobs.model(calibrate(others, start, rounds=6).values)
        ratios = sorted(held.tokens_per_second(row) / row.measured for row in judged)
        places = (0, len(ratios) // 10, len(ratios) // 2, int(0.9 * len(ratios)), len(ratios) - 1)
        print(f"| {' '.join(group)} | {len(ratios)} | {' | '.join(f'{ratios[i]:.2f}' for i in places)} |")


def report(title: str, found: Sequence[Row], errors: Sequence[float]) -> None:
    print(f"\n### {title}\n\n| | rows | median | mean | p90 | bias | wanted |\n|---|---|---|---|---|---|---|")
    by: Sequence[Callable[[Row], str]] = (
        lambda row: row.source,
        lambda row: f"{row.source}, {row.hardware.name}, {row.workload.precision}",
        lambda row: f"{row.source}, {row.family}",
        lambda row: f"{row.source}, {row.model.name}",
        lambda row: f"{row.source}, {row.kind}",
    )
    for key in by:
        groups: dict[str, list[float]] = {}
        for row, error in zip(found, errors, strict=True):
            groups.setdefault(key(row), []).append(error)
        for name, inside in sorted(groups.items()):
            print(_line(name, inside))


def _line(name: str, errors: Sequence[float]) -> str:
    sizes = sorted(abs(error) for error in errors)
    p90 = sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))]
    wanted = ""
    if name in TARGETS:
        middle, high = TARGETS[name]
        wanted = f"mean {middle:.1%}" if high is None else f"{middle:.0%} / {high:.0%}"
    return (
        f"| {name} | {len(sizes)} | {statistics.median(sizes):.1%} | {statistics.mean(sizes):.1%} | {p90:.1%} | "
        f"{statistics.median(errors):+.1%} | {wanted} |"
    )


def memory(path: Path, found: Sequence[Row]) -> None:
    """Published peaks against predicted ones; and rows that ran although they are said not to fit."""
    print("\n### Memory\n\n| model | spread | published GiB | predicted GiB | error |\n|---|---|---|---|---|")
    with path.open(newline="") as file:
        for entry in csv.DictReader(file):
            model, layout = transformer(entry["model"]), _layout(entry)
            workload = Workload(
                layout.dp * layout.micro_batch * layout.pp, int(entry["sequence"]), precision(entry["precision"]),
                logit_bytes=float(entry["logit_bytes"]),
            )  # fmt: skip
            told = float(entry["peak_gib"])
            due = device_memory(model, workload, layout).allocated / 2**30
            print(f"| {model.name} | {layout}, {workload.sequence} | {told} | {due:.1f} | {due / told - 1:+.1%} |")
    ran = [row for row in found if row.source != "megatron-bridge"]
    over = [
        row for row in ran
        if not fits(device_memory(row.model, row.workload, row.layout), row.hardware.accelerator)
    ]  # fmt: skip
    print(f"\n{len(over)} of {len(ran)} rows that ran as stated are said not to fit (their upper bound does not).")


def refused() -> None:
    """Layouts of which a source says whether they fit: what they need, and what we say."""
    print("\n### Layouts published as fitting or not\n")
    print("| model | spread | published GiB | predicted GiB | error | ran | said to fit |")
    print("|---|---|---|---|---|---|---|")
    for row, told, ran in fitting():
        found = device_memory(row.model, row.workload, row.layout)
        due, says = found.allocated / 2**30, fits(found, row.hardware.accelerator)
        words = f"{'yes' if ran else 'no'} | {'yes' if says else 'no'}"
        print(f"| {row.model.name} | {row.layout} | {told} | {due:.1f} | {due / told - 1:+.1%} | {words} |")


def _layout(entry: Mapping[str, str]) -> Layout:
    return Layout(
        int(entry["gpus"]), int(entry["tp"]), int(entry["pp"]), int(entry["cp"]),
        micro_batch=int(entry["micro_batch"]), sharding="full", recompute=entry["recompute"],  # type: ignore[arg-type]
    )  # fmt: skip


if __name__ == "__main__":
    main()
