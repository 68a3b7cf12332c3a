"""Predicted against published bus bandwidth of collectives, and what the prediction cannot beat.

    python benchmarks/perf_network.py [--facts DIR] [--rows] [--calibrate]

Reads `published_nccl.csv` and `nccl_bound_check.csv` from DIR (default ../shared/facts) and `nccl_curves.csv`
beside this file. Prints Markdown: how long each host takes to start a collective, errors of the catalogue's seven
numbers, and errors with those numbers found anew without any row of the source that is judged. `--calibrate` prints
the numbers that all sources together give, as they stand in `perf/catalogue/nccl.toml`.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from stoker.perf.accelerator import Accelerator, accelerator
from stoker.perf.calibrate_fabric import Measured, calibrated
from stoker.perf.collective import Kind, bus_factor, ceiling, collective_seconds, expected_bus_bandwidth
from stoker.perf.fabric import Fabric, Timing
from stoker.perf.nccl import constants
from stoker.perf.network import card_fabric, nic

Found = TypeVar("Found")
HERE = Path(__file__).resolve().parent
MEGABYTE = 1 << 20
CURVE = 7  # rows of a family that tell its launch
LARGE = float(8 << 30)  # of rows that tell only the best bandwidth
KINDS: dict[str, Kind] = {
    "allreduce": "all_reduce",
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "allgather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "all_to_all": "all_to_all",
    "broadcast": "broadcast",
    "sendrecv": "send_recv",
}


CARDS = {  # a word of the hardware's name, and the card it means; the first that fits counts
    "GB300": "GB300",
    "GB200": "GB200",
    "B300": "B300",
    "B200": "B200",
    "H800": "H800",
    "H200": "H200",
    "H100": "H100",
    "H20": "H20",
    "A800": "A800",
    "A100": "A100-SXM4-80GB",
}
PLATFORMS = {  # likewise, and the ports its servers have where the columns are silent: how many, of which adapter
    "p4d": (4, "EFA 100G"),
    "p5": (32, "EFA"),
    "p6": (8, "EFA 400G"),
    "NDv4": (8, "ConnectX-6"),
    "NDv5": (8, "ConnectX-7"),
    "RoCE": (8, "ConnectX-7 RoCE"),
    "EFA": (32, "EFA"),
}


@dataclass(frozen=True)
class Row:
    """One measurement: bus bandwidth in GB/s of one collective of one size."""

    source: str
    hardware: str
    kind: Kind
    ranks: int
    per_domain: int
    size: float
    measured: float
    fabric: Fabric

    @property
    def group(self) -> str:
        return f"{self.source.split(' (')[0].split(',')[0][:34]}: {self.hardware}, {self.kind} x{self.ranks}"

    @property
    def family(self) -> str:
        """What is left out together: one kind of hardware of one source."""
        return f"{self.source}|{self.hardware}"

    def error(self, timing: Timing | None = None) -> float:
        """Predicted / measured - 1."""
        fabric = self.fabric if timing is None else timed(self.fabric, timing)
        seconds = collective_seconds(self.kind, self.size, self.ranks, fabric, self.per_domain)
        return self.size * bus_factor(self.kind, self.ranks) / seconds / 1e9 / self.measured - 1


@lru_cache(maxsize=256)
def timed(fabric: Fabric, timing: Timing) -> Fabric:
    """One object for all rows of a fabric: what NCCL may take is worked out once for each object."""
    return replace(fabric, timing=timing)


def rows_of(path: Path) -> tuple[list[Row], list[str]]:
    """What can be predicted, and why the rest cannot."""
    found, skipped = [], []
    fabrics: dict[tuple[object, ...], Fabric] = {}
    for entry in csv.DictReader(path.open(encoding="utf-8")):
        row = read_row(entry)
        if isinstance(row, Row):
            found.append(replace(row, fabric=fabrics.setdefault(astuple(row.fabric), row.fabric)))
        else:
            skipped.append(f"{entry['hardware']}, {entry['collective']}: {row}")
    return found, skipped


def read_row(entry: dict[str, str]) -> Row | str:
    """A row of nccl-tests, or why it is none."""
    kind = KINDS.get(entry["collective"].split()[0])
    card = word_in(CARDS, entry["hardware"])
    if entry["kind"] != "measured":
        return f"a {entry['kind']}, not a measurement"
    if kind is None or card is None:
        return "not a collective of NCCL" if kind is None else "hardware not in the table of this benchmark"
    if "reported as bidirectional" in entry["note"] or not entry["gpus"]:
        return "both directions added up, or no count of GPUs"
    ranks = int(float(entry["gpus"]))
    measured = bus_bandwidth(entry, kind, ranks)
    if measured < 0.05:
        return "below what its column resolves"
    servers = int(float(entry["nodes"] or 1))
    if any(word in entry["hardware"] for word in ("MNNVL", "NVL72")):
        servers = 1
    if servers > 1 and not (entry["nics_per_node"] or word_in(PLATFORMS, entry["hardware"])):
        return "between servers, and its network is not told"
    size = float(entry["size_bytes"] or LARGE)
    fabric = fabric_of(entry, accelerator(card), ranks, servers)
    return Row(entry["source"], entry["hardware"], kind, ranks, -(-ranks // servers), size, measured, fabric)


def bus_bandwidth(entry: dict[str, str], kind: Kind, ranks: int) -> float:
    """GB/s; from the time or the algorithm's bandwidth where the row tells only those."""
    if entry["busbw_gbs"]:
        return float(entry["busbw_gbs"])
    if entry["algbw_gbs"]:
        return float(entry["algbw_gbs"]) * bus_factor(kind, ranks)
    if entry["time_us"] and entry["size_bytes"]:
        return float(entry["size_bytes"]) / float(entry["time_us"]) / 1e3 * bus_factor(kind, ranks)
    return 0.0


def word_in(table: dict[str, Found], name: str) -> Found | None:
    return next((found for word, found in table.items() if word in name), None)


def fabric_of(entry: dict[str, str], card: Accelerator, ranks: int, servers: int) -> Fabric:
    """The fabric that a row's columns tell; where they are silent, its platform's."""
    count, adapter = word_in(PLATFORMS, entry["hardware"]) or (8, "ConnectX-7")
    port = nic(adapter)
    speed = float(entry["nic_gbps"]) / 8 * 1e9 if entry["nic_gbps"] else float(port.speed)
    ring = "NVLS_ENABLE=0" in entry["note"] or "ring" in entry["collective"]
    inside = card_fabric(card, max(ranks if servers == 1 else 1, int(float(entry["gpus_per_node"] or 8))))
    return replace(
        inside, network=float(entry["nics_per_node"] or count) * speed, network_share=float(port.share),
        network_latency=port.latency, whole_lines=port.whole_lines, multicast=inside.multicast and not ring,
    )  # fmt: skip


def calibrate(rows: Sequence[Row]) -> Timing:
    """The seven numbers: the least mean error, every family counting the same, and the launch of the median host.

    Launches belong to hosts, not to cards or links: fitted with the rest, the launch would be that of hosts with
    the most rows. So the other six are found first, then each family's own launch, of which the median counts, and
    the other six with it. Pattern search, no randomness.
    """
    families = list(grouped([row for row in rows if row.size >= MEGABYTE]).values())
    timing = _others(families, Timing(20.0, 40.0, 0.7, 0.3, 0.5, 0.8, 0.98))
    found = [launch(group, timing) for group in families if len(group) >= CURVE]
    return _others(families, replace(timing, launch_us=float(statistics.median(found))))


def grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row.family, []).append(row)
    return families


def launch(group: Sequence[Row], timing: Timing) -> float:
    """Microseconds with which `group` is predicted best where launches count: below 64 MB."""
    small = [row for row in group if row.size < 64 * MEGABYTE]
    return min(range(71), key=lambda us: _mean_error(small, replace(timing, launch_us=float(us))))


def _others(families: Sequence[Sequence[Row]], timing: Timing) -> Timing:
    """All but the launch."""

    def loss(point: Sequence[float]) -> float:
        if min(point) < 0 or point[5] > 1:
            return math.inf
        trial = Timing(timing.launch_us, *point)
        return statistics.fmean(_mean_error(group, trial) for group in families)

    found = least(loss, astuple(timing)[1:], steps=(8.0, 0.2, 0.15, 0.15, 0.2, 0.01))
    return Timing(timing.launch_us, *(round(value, 4) for value in found))


def _mean_error(rows: Sequence[Row], timing: Timing) -> float:
    return statistics.fmean(abs(math.log1p(row.error(timing))) for row in rows)


def least(
    loss: Callable[[Sequence[float]], float], start: Sequence[float], steps: Sequence[float]
) -> Sequence[float]:
    """Where `loss` is least: tries a step each way along every axis, halves the steps when none is better."""
    point, best, steps = list(start), loss(start), list(steps)
    for _ in range(7):
        moved = True
        while moved:
            moved = False
            for axis in range(len(point)):
                for sign in (1, -1):
                    trial = [*point]
                    trial[axis] += sign * steps[axis]
                    if (value := loss(trial)) < best:
                        point, best, moved = trial, value, True
                        break
        steps = [step / 2 for step in steps]
    return point


def summary(errors: Sequence[float]) -> str:
    """``n | median | 90th percentile | worst``, in per cent."""
    sizes = sorted(abs(error) for error in errors)
    p90 = sizes[min(len(sizes) - 1, math.ceil(0.9 * len(sizes)) - 1)]
    return f"{len(sizes)} | {statistics.median(sizes):.1%} | {p90:.1%} | {sizes[-1]:.1%}"


def table(title: str, rows: Sequence[Row], errors: Sequence[float], key: Callable[[Row], str]) -> None:
    groups: dict[str, list[float]] = {}
    for row, error in zip(rows, errors, strict=True):
        groups.setdefault(key(row), []).append(error)
    print(f"\n| {title} | rows | median | 90 % | worst |\n|---|---:|---:|---:|---:|")
    for name, group in groups.items():
        print(f"| {name} | {summary(group)} |")
    print(f"| **all** | {summary(errors)} |")


def left_out(rows: Sequence[Row], known: Sequence[Row], part: Callable[[Row], str]) -> list[float]:
    """Errors of `rows`, each with the numbers that `known` gives without the row's own part."""
    timings = {name: calibrate([row for row in known if part(row) != name]) for name in {part(r) for r in rows}}
    return [row.error(timings[part(row)]) for row in rows]


def sites(rows: Sequence[Row]) -> None:
    """Curves of one site: every other point calibrates, the points between are judged."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row.group}, ring" if not row.fabric.multicast else row.group, []).append(row)
    print("\n| calibrated with every other size | rows | median before | after | worst before | after |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, group in groups.items():
        if len(group) < 10:
            continue
        group.sort(key=lambda row: row.size)
        points = [Measured(row.kind, row.size, row.ranks, row.measured, row.per_domain) for row in group[::2]]
        bent, _ = calibrated(group[0].fabric, points)
        before = [abs(row.error()) for row in group[1::2]]
        after = [abs(replace(row, fabric=bent).error()) for row in group[1::2]]
        medians = f"{statistics.median(before):.1%} | {statistics.median(after):.1%}"
        print(f"| {name} | {len(after)} | {medians} | {max(before):.1%} | {max(after):.1%} |")


def bounds(path: Path, rows: Sequence[Row]) -> None:
    """Measured against what nothing can beat, and against what is expected at 16 GiB or the size in the name."""
    print("\n| case | measured, GB/s | expected | error | published bound | our ceiling | measured / ceiling |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for entry in csv.DictReader(path.open(encoding="utf-8")):
        name = word_in(CARDS, entry["case"])
        ranks, servers, ports = int(entry["gpus"]), int(entry["nodes"]), float(entry["nic_node_GBs"]) * 1e9
        inside = card_fabric(accelerator(name or ""), 8)
        port = nic((word_in(PLATFORMS, entry["case"]) or (8, "ConnectX-7"))[1])
        fabric = replace(
            inside, network=ports, multicast=inside.multicast and "ring" not in entry["case"],
            network_share=float(port.share), network_latency=port.latency, whole_lines=port.whole_lines,
        )  # fmt: skip
        told = re.search(r"(\d+)GiB", entry["case"])
        size = float(int(told[1]) if told else 16) * (1 << 30)
        expected = expected_bus_bandwidth("all_reduce", size, ranks, fabric, ranks // servers).value
        bound = ceiling("all_reduce", ranks, fabric, ranks // servers).value
        measured = float(entry["measured"])
        error = f"{expected:.0f} | {expected / measured - 1:+.1%}"
        print(
            f"| {entry['case']} | {measured} | {error} | {entry['bound']} | {bound:.0f} | {measured / bound:.2f} |"
        )
    over = [
        row for row in rows if row.measured > 1.02 * ceiling(row.kind, row.ranks, row.fabric, row.per_domain).value
    ]
    print(f"\nRows above our ceiling by more than 2 %: {len(over)}.")
    for row in over:
        print(f"- {row.group}: {row.measured} GB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=Path, default=HERE.parent.parent / "shared" / "facts")
    parser.add_argument("--rows", action="store_true", help="print every row")
    parser.add_argument("--calibrate", action="store_true", help="print the seven numbers that all rows give")
    chosen = parser.parse_args()
    rows, skipped = rows_of(chosen.facts / "published_nccl.csv")
    known = rows + rows_of(HERE / "nccl_curves.csv")[0]
    judged, small = [r for r in known if r.size >= MEGABYTE], [r for r in known if r.size < MEGABYTE]
    if chosen.calibrate:
        print(calibrate(judged))
        return
    print(f"Catalogue: {constants().timing}\n\n## Launches\n\n| host | us |\n|---|---:|")
    for name, group in grouped(judged).items():
        if len(group) >= CURVE:
            print(f"| {name.replace('|', ', ')} | {launch(group, constants().timing)} |")
    print("\n## Messages of 1 MB and more")
    table("catalogue's numbers, by group", judged, [r.error() for r in judged], lambda r: r.group)
    held_out = left_out(judged, judged, lambda r: r.source)
    table("leaving out the judged source, by group", judged, held_out, lambda r: r.group)
    table("leaving out the judged source", judged, held_out, lambda r: r.source)
    sites(judged)
    print("\n## Smaller messages")
    table("catalogue's numbers", small, [r.error() for r in small], lambda r: r.group)
    print("\n## Ceilings")
    bounds(chosen.facts / "nccl_bound_check.csv", known)
    print(f"\nNot judged: {len(skipped)} rows" + "".join(f"\n- {line}" for line in sorted(set(skipped))))
    if chosen.rows:
        print("\n| group | size | measured | error |\n|---|---:|---:|---:|")
        for row in known:
            print(f"| {row.group} | {row.size:.0f} | {row.measured} | {row.error():+.1%} |")


if __name__ == "__main__":
    main()
